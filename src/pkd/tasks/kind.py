"""`TaskKind`: everything that depends on the kind of problem, one object per kind.

Code that differs between kinds takes a `TaskKind` and uses its functions; no other module compares a kind's name.
N rows, B rows of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pkd.evaluation.probabilities import log_mean_probability
from pkd.evaluation.word_counts import Fit

if TYPE_CHECKING:
    import torch

    from pkd.evaluation.scoring import Scoring
    from pkd.recipe.settings import ProblemType

Array = NDArray[Any]


def _same(logits: Array) -> Array:
    return logits


@dataclass(frozen=True, kw_only=True)
class TaskKind:
    """A kind of problem; its torch parts and its metrics are imported on use.

    Attributes:
        name: `problem_type` in recipes, records and configurations.
        labels_in_words: the rows' labels, for messages.
        has_classes: a label is one of the classes that the outputs are named after.
        has_sets: a label is a set of classes.
        has_scores: a label is a number.
        has_choices: a row is a question with choices, and a label the index of one.
        has_tokens: every word of a text has a class; logits are [N, W, C] for the W words of the longest row, NaN where
            a row has fewer, and labels [N, W], -100 there.
        has_one_output: the head has one output; for multiple choice one per choice.
        tells_two_classes: that output is the logit of the second of two classes.
        name_in_config: its name in transformers' configuration; None if it has none.
        auto_class: the transformers class that loads it.
        pipeline_tag: the hub's.
        probabilities: logits [N, C] → probability of each class, [N, C] in float64; for a score, the score itself.
        words: logits [N, C] and the names of the outputs → the class, the classes or the score per row.
        ce_rows: logits [B, C] and labels → the paper's L_CE per row [B].
        own_labels: logits [B, C] → the labels that they stand for, as `ce_rows` takes them; of scores none (NaN), as a
            score's distance to itself teaches nothing.
        kd_rows: student's and teacher's logits [B, C], T and the reduction over classes → L_DS per row [B].
        ce_formula: the formula of `ce_rows`.
        kd_formula: the formula of `kd_rows`, without the reduction.
        temperature: T where it is `auto`.
        make_scoring: makes `scoring`.
        of_classes: the outputs as logits of classes [N, C].
        fit_word_counts: the linear model of the word-count baseline; None if there is none.
        mean_logits: logits [N, C] of several classifiers → the logits of their mean probability at T = 1; of scores
            their mean.
        mean_formula: `mean_logits` in words.
        names: the classes that its scoring is for; only kinds whose scores depend on names have them (`of_names`).
        scoring_of: makes the scoring of classes with names; None if it is the same for all.
    """

    name: ProblemType
    labels_in_words: str
    has_classes: bool = False
    has_sets: bool = False
    has_scores: bool = False
    has_choices: bool = False
    has_tokens: bool = False
    has_one_output: bool = False
    tells_two_classes: bool = False
    name_in_config: str | None
    auto_class: str = "AutoModelForSequenceClassification"
    pipeline_tag: str = "text-classification"
    probabilities: Callable[[Array], NDArray[np.float64]]
    words: Callable[[Array, tuple[str, ...]], list[str]]
    ce_rows: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    own_labels: Callable[[torch.Tensor], torch.Tensor]
    kd_rows: Callable[[torch.Tensor, torch.Tensor, float, Literal["mean", "sum"]], torch.Tensor]
    ce_formula: str
    kd_formula: str
    temperature: float = 4.0
    make_scoring: Callable[[], Scoring]
    of_classes: Callable[[Array], Array] = _same
    fit_word_counts: Fit | None = None
    mean_logits: Callable[[Sequence[Array]], Array] = log_mean_probability
    mean_formula: str = "log of the teachers' mean softmax(z)"
    names: tuple[str, ...] = ()
    scoring_of: Callable[[tuple[str, ...]], Scoring] | None = None

    @cached_property
    def scoring(self) -> Scoring:
        """The measures of this kind."""
        return self.make_scoring() if self.scoring_of is None else self.scoring_of(self.names)

    def of_names(self, names: tuple[str, ...]) -> TaskKind:
        """This kind for classes with these names: another object only if its scores depend on them."""
        from pkd.tasks import kind_of

        return kind_of(self.name, names)

    def __reduce__(self) -> tuple[Callable[..., TaskKind], tuple[ProblemType, tuple[str, ...]]]:
        from pkd.tasks import kind_of

        return kind_of, (self.name, self.names)  # one object per kind and names, in every process
