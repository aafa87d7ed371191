"""Two classes and one output, the logit of the second: σ(z) = softmax(0, z)[1]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pkd.evaluation.probabilities import logit_of_mean_sigmoid, sigmoid, two_logits
from pkd.evaluation.word_counts import fit_one_output
from pkd.tasks.kind import TaskKind
from pkd.tasks.single_label import SINGLE_LABEL

if TYPE_CHECKING:
    import torch

    from pkd.evaluation.scoring import Scoring

Array = NDArray[Any]
NO_NAMES = ("0", "1")  # the classes of an output without a name


def binary_classes(name: str) -> tuple[str, str]:
    """The two classes of a single output.

    >>> binary_classes("spam"), binary_classes("LABEL_0")
    (('not spam', 'spam'), ('0', '1'))
    """
    return NO_NAMES if name == "LABEL_0" else (f"not {name}", name)


def _ce_rows(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of one output [B, 1] with class ids [B]."""
    from pkd import losses

    return losses.ce_loss(losses.two_logits(logits), labels)


def _own_labels(logits: torch.Tensor) -> torch.Tensor:
    """The second class where the output is positive, [B]."""
    return (logits[:, 0] > 0).long()


def _kd_rows(
    logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float, reduction: Literal["mean", "sum"]
) -> torch.Tensor:
    from pkd import losses

    return losses.kd_loss(losses.two_logits(logits), losses.two_logits(teacher_logits), temperature, reduction)


def _output_words(logits: Array, names: tuple[str, ...]) -> list[str]:
    """The name of the one output for every row, as in transformers' pipeline; its probability gives the class."""
    return [names[0]] * len(logits)


def _of_two(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adapt a function of logits [N, C] to one output [N, 1]."""

    def of_one_output(*arrays: Any, teacher_logits: Array | None = None, **keywords: Any) -> Any:
        if teacher_logits is not None:
            keywords["teacher_logits"] = two_logits(teacher_logits)
        return function(*(two_logits(array) if np.ndim(array) == 2 else array for array in arrays), **keywords)

    return of_one_output


def _both(names: tuple[str, ...]) -> tuple[str, ...]:
    return names if len(names) == 2 else binary_classes(*names)


def _scoring() -> Scoring:
    """The measures of two classes, for logits of one output [N, 1] or of both classes [N, 2]."""
    of_two = SINGLE_LABEL.scoring
    blind_spots, figures = of_two.blind_spots, of_two.by_class
    assert figures is not None
    return replace(
        of_two,
        score=_of_two(of_two.score),
        compare_with_teacher=_of_two(of_two.compare_with_teacher),
        bootstrap_samples=_of_two(of_two.bootstrap_samples),
        gain_by_row=_of_two(of_two.gain_by_row),
        negative_flips=_of_two(of_two.negative_flips),
        constant=lambda labels, _, metric: of_two.constant(labels, 2, metric),
        probabilities=_of_two(of_two.probabilities),
        answers=lambda logits, names: of_two.answers(two_logits(logits), _both(names)),
        by_class=lambda logits, labels, names, teacher_logits=None: figures(
            two_logits(logits), labels, _both(names), None if teacher_logits is None else two_logits(teacher_logits)
        ),
        blind_spots=lambda logits, labels, names: blind_spots(two_logits(logits), labels, _both(names)),
    )


BINARY = TaskKind(
    name="binary_classification",
    labels_in_words="two classes",
    has_classes=True,
    has_one_output=True,
    tells_two_classes=True,
    name_in_config="multi_label_classification",  # transformers treats one output as a set of one label
    probabilities=sigmoid,
    words=_output_words,
    ce_rows=_ce_rows,
    own_labels=_own_labels,
    kd_rows=_kd_rows,
    ce_formula="BCE(σ(z_student), label)",
    kd_formula="T² · KL(Bernoulli(σ(z_teacher / T)) ‖ Bernoulli(σ(z_student / T)))",
    make_scoring=_scoring,
    mean_logits=logit_of_mean_sigmoid,
    mean_formula="logit of the teachers' mean σ(z)",
    fit_word_counts=fit_one_output,
    of_classes=two_logits,
)
