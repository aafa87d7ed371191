"""The objective as a list of terms, each of which says once what it is called, reads, weighs and computes.

L_PKD = (1 − α) L_CE + α L_DS + β L_PT (Sun et al. 2019); a row without a label has L_DS + β L_PT. The trainer sums the
terms, diagnosis measures them, plans, cards and charts name them. A new term on stored columns is a formula in
`losses`, its weight in `LossSettings`, and one entry of `TERMS`. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkd.recipe.settings import LossSettings

if TYPE_CHECKING:
    import torch

    from pkd.tasks import TaskKind


@dataclass(frozen=True, kw_only=True)
class TermInputs:
    """One batch of annotated rows and the student's answers to it: B rows, C classes, K patient layers of H units.

    Attributes:
        settings: of the loss.
        kind: of problem.
        logits: [B, C], the student's.
        labels: class ids [B], scores [B] or sets [B, C].
        teacher_logits: [B, C].
        cls_states: [B, K, H], the student's, in the teacher's width; the choices of a multiple choice count as layers.
        teacher_cls_states: [B, K, H].
    """

    settings: LossSettings
    kind: TaskKind
    logits: torch.Tensor
    labels: torch.Tensor
    teacher_logits: torch.Tensor | None = None
    cls_states: torch.Tensor | None = None
    teacher_cls_states: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Term:
    """One term of the objective.

    Attributes:
        name: in logs (`loss/NAME`), records and formulas.
        symbol: the paper's.
        title: of its curve.
        reads: the teacher's columns that it compares with.
        settings: the keys of `LossSettings` that this term alone reads, besides its weight.
        weight: in the loss of a labelled row.
        unlabelled_weight: in the loss of a row without a label.
        row_losses: its value per row, [B].
        formula: the value in words.
    """

    name: str
    symbol: str
    title: str
    reads: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    weight: Callable[[LossSettings], float]
    unlabelled_weight: Callable[[LossSettings], float]
    row_losses: Callable[[TermInputs], torch.Tensor]
    formula: Callable[[LossSettings, TaskKind], str]


def objective_of(settings: LossSettings, *, unlabelled: bool) -> list[Term]:
    """The terms that a training computes: those of some weight, and `ce`, which costs nothing and is always logged.

    Args:
        settings: of the loss.
        unlabelled: whether rows without a label are among the training rows.
    """
    return [
        term
        for term in TERMS
        if term is TERMS[0] or term.weight(settings) > 0 or (unlabelled and term.unlabelled_weight(settings) > 0)
    ]


def columns_read(terms: Sequence[Term]) -> set[str]:
    """The teacher's columns that `terms` compare with."""
    return {column for term in terms for column in term.reads}


def weighted(
    term: Term, values: torch.Tensor, settings: LossSettings, labelled: torch.Tensor | None = None
) -> torch.Tensor:
    """What a term adds to the loss of each row.

    Args:
        term: of the objective.
        values: [B], the term's value per row; what it holds where its weight is 0 does not matter.
        settings: of the loss.
        labelled: [B] bool; None where every row has a label.

    Returns:
        [B].
    """
    import torch

    weight, other = term.weight(settings), term.unlabelled_weight(settings)
    if labelled is None or weight == other:
        return weight * values
    return torch.where(labelled, weight * values, other * values if other else 0.0)


def rows_with(
    term: Term, values: torch.Tensor, settings: LossSettings, labelled: torch.Tensor | None = None
) -> torch.Tensor:
    """The values of the rows that have the term, for logs: those of rows without a label only where they weigh."""
    return values if labelled is None or term.unlabelled_weight(settings) > 0 else values[labelled]


def describe_objective(settings: LossSettings, kind: TaskKind, *, unlabelled: bool = False) -> list[str]:
    """The loss of a row with its weights, and each of its terms with its reductions, a line each.

    >>> from pkd.tasks import SINGLE_LABEL
    >>> describe_objective(LossSettings(alpha=0.0, beta=0.0), SINGLE_LABEL)
    ['loss of a row = ce', 'ce = −log p_student(label)']
    """
    terms = [
        term
        for term in objective_of(settings, unlabelled=unlabelled)
        if term.weight(settings) > 0 or (unlabelled and term.unlabelled_weight(settings) > 0)
    ]
    lines = [f"loss of a row = {_sum(terms, [term.weight(settings) for term in terms])}"]
    if unlabelled:
        weights = [term.unlabelled_weight(settings) for term in terms]
        lines.append(f"loss of an unlabelled row = {_sum(terms, weights)}")
    return [*lines, *(f"{term.name} = {term.formula(settings, kind)}" for term in terms)]


def _sum(terms: Sequence[Term], weights: Sequence[float]) -> str:
    return " + ".join(
        term.name if weight == 1 else f"{weight:g} · {term.name}"
        for term, weight in zip(terms, weights, strict=True)
        if weight > 0
    )


def _ce_rows(batch: TermInputs) -> torch.Tensor:
    return batch.kind.ce_rows(batch.logits, batch.labels)


def _kd_rows(batch: TermInputs) -> torch.Tensor:
    assert batch.teacher_logits is not None  # the trainer checked the rows' columns
    settings = batch.settings
    return batch.kind.kd_rows(batch.logits, batch.teacher_logits, settings.temperature, settings.kd_reduction)


def _kd_formula(settings: LossSettings, kind: TaskKind) -> str:
    if kind.has_scores:  # one output, and no temperature
        return kind.kd_formula
    return f"{kind.kd_formula}{_OVER_CLASSES[settings.kd_reduction]}, T = {settings.temperature:g}"


def _pt_rows(batch: TermInputs) -> torch.Tensor:
    from pkd.losses import pt_loss

    assert batch.cls_states is not None  # the trainer asked the student for them
    assert batch.teacher_cls_states is not None  # and checked the rows' columns
    return pt_loss(batch.cls_states, batch.teacher_cls_states, batch.settings.normalize, batch.settings.pt_reduction)


def _pt_formula(settings: LossSettings, kind: TaskKind) -> str:
    states = "h_student,j − h_teacher,I(j)"
    if settings.normalize:
        states = "h_student,j / ‖h_student,j‖ − h_teacher,I(j) / ‖h_teacher,I(j)‖"
    return f"Σ_j ‖{states}‖²{_OVER_UNITS[settings.pt_reduction]}"


_OVER_CLASSES = {"mean": " / C (mean over the C classes)", "sum": " (sum over classes)"}
_OVER_UNITS = {"mean": " / (K · H) (mean over K layers and H hidden units)", "sum": " (sum over layers and units)"}

TERMS = (
    Term(
        name="ce",
        symbol="L_CE",
        title="ce, what the labels teach",
        weight=lambda settings: 1 - settings.alpha,
        unlabelled_weight=lambda settings: 0.0,
        row_losses=_ce_rows,
        formula=lambda settings, kind: kind.ce_formula,
    ),
    Term(
        name="kd",
        symbol="L_DS",
        title="kd, softened output of the teacher",
        reads=("teacher_logits",),
        settings=("temperature", "kd_reduction"),
        weight=lambda settings: settings.alpha,
        unlabelled_weight=lambda settings: 1.0,
        row_losses=_kd_rows,
        formula=_kd_formula,
    ),
    Term(
        name="pt",
        symbol="L_PT",
        title="pt, patience: the [CLS] states",
        reads=("teacher_cls_states",),
        settings=("pt_reduction", "normalize"),
        weight=lambda settings: settings.beta,
        unlabelled_weight=lambda settings: settings.beta,
        row_losses=_pt_rows,
        formula=_pt_formula,
    ),
)
