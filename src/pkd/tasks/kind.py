"""What depends on the kind of problem that a classifier solves, in one object for each kind.

Whoever computes, reads or tells something that differs from kind to kind is handed a `TaskKind` and asks it; no other
place knows the kinds by name. N rows, B rows of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

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
    """A kind of problem; its torch parts and its metrics are imported when they are asked for.

    Attributes:
        name: `problem_type` in recipes, records and configurations.
        labels_in_words: what rows have, for messages.
        has_classes: a label is one of the classes that the outputs are named for.
        has_sets: a label is a set of classes.
        has_scores: a label is a number.
        has_choices: a row is a question with choices, and a label the place of one.
        has_one_output: the head has one output, of a multiple choice one for each choice.
        tells_two_classes: that output is the logit of the second of two classes.
        name_in_config: what transformers' configuration calls it; None where it says nothing.
        auto_class: the class of transformers that loads it.
        pipeline_tag: the hub's.
        probabilities: what logits [N, C] say of each class, [N, C] in float64; of a score the score itself.
        words: logits [N, C] and the names of the outputs → the class, the classes or the score of each row.
        ce_rows: logits [B, C] and labels → L_CE of each row [B], as the paper's.
        kd_rows: the logits of student and teacher [B, C], T and the reduction over classes → L_DS of each row [B].
        ce_formula: what `ce_rows` computes.
        kd_formula: what `kd_rows` computes, but for the reduction.
        make_scoring: how answers are measured.
        of_classes: the logits of the classes [N, C], where outputs are not classes.
        fit_word_counts: the linear model of the word-count baseline; None where there is none.
    """

    name: ProblemType
    labels_in_words: str
    has_classes: bool = False
    has_sets: bool = False
    has_scores: bool = False
    has_choices: bool = False
    has_one_output: bool = False
    tells_two_classes: bool = False
    name_in_config: str | None
    auto_class: str = "AutoModelForSequenceClassification"
    pipeline_tag: str = "text-classification"
    probabilities: Callable[[Array], NDArray[np.float64]]
    words: Callable[[Array, tuple[str, ...]], list[str]]
    ce_rows: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    kd_rows: Callable[[torch.Tensor, torch.Tensor, float, Literal["mean", "sum"]], torch.Tensor]
    ce_formula: str
    kd_formula: str
    make_scoring: Callable[[], Scoring]
    of_classes: Callable[[Array], Array] = _same
    fit_word_counts: Fit | None = None

    @cached_property
    def scoring(self) -> Scoring:
        """How answers of this kind are measured."""
        return self.make_scoring()

    def __reduce__(self) -> tuple[Callable[[ProblemType], TaskKind], tuple[ProblemType]]:
        from pkd.tasks import kind_of

        return kind_of, (self.name,)  # one object a kind, in every process
