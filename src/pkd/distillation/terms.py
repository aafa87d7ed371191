"""The objective as a list of terms; each defines its name, columns, weight and value once.

L_PKD = (1 − α) L_CE + α L_DS + β L_PT (Sun et al. 2019); a row without a label has L_DS + β L_PT. The trainer sums the
terms, the ledger measures them, plans, cards and charts name them. A new term on stored columns is a formula in
`losses`, its weight in `LossSettings`, and one entry of `TERMS`. Importing this module does not import torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pkd.recipe.settings import LossSettings, comparison

if TYPE_CHECKING:
    import torch

    from pkd.tasks import TaskKind

Loss = TypeVar("Loss", bound=LossSettings)
WEAK = 0.05  # below this share of the gradient a term has next to no effect


@dataclass(frozen=True, kw_only=True)
class TermInputs:
    """One batch of annotated rows and the student's outputs: B rows, C classes, K patient layers of H units.

    Attributes:
        settings: of the loss.
        kind: of problem.
        logits: [B, C], the student's.
        labels: class ids [B], scores [B] or sets [B, C].
        teacher_logits: [B, C].
        cls_states: [B, K, H], the student's, in the teacher's width; the choices of a multiple choice count as layers.
        teacher_cls_states: [B, K, H].
        deviations: [K, H], of the teacher's units over the training rows, if states are compared by them.
    """

    settings: LossSettings
    kind: TaskKind
    logits: torch.Tensor
    labels: torch.Tensor
    teacher_logits: torch.Tensor | None = None
    cls_states: torch.Tensor | None = None
    teacher_cls_states: torch.Tensor | None = None
    deviations: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Term:
    """One term of the objective.

    Attributes:
        name: in logs (`loss/NAME`), records and formulas.
        symbol: the paper's.
        weight_symbol: the paper's symbol of its weight.
        title: of its curve.
        reads: the teacher's columns that it compares with.
        settings: the keys of `LossSettings` that this term alone reads, besides its weight.
        weight: in the loss of a labelled row.
        unlabelled_weight: in the loss of a row without a label.
        share: the requested share of the gradient, if the weight follows from one.
        dial: the key that sets its weight; empty if the weight follows from other keys.
        row_losses: its value per row, [B].
        formula: the value in words.
    """

    name: str
    symbol: str
    weight_symbol: str
    title: str
    reads: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    weight: Callable[[LossSettings], float]
    unlabelled_weight: Callable[[LossSettings], float]
    share: Callable[[LossSettings], float | None] = lambda settings: None
    dial: str = ""
    row_losses: Callable[[TermInputs], torch.Tensor]
    formula: Callable[[LossSettings, TaskKind], str]


def objective_of(settings: LossSettings, *, unlabelled: bool) -> list[Term]:
    """The terms that a training computes: those with a weight, and `ce`, which costs nothing and is always logged.

    Args:
        settings: of the loss.
        unlabelled: whether some training rows have no label.
    """
    return [term for term in TERMS if term is TERMS[0] or reaches_the_loss(term, settings, unlabelled=unlabelled)]


def reaches_the_loss(term: Term, settings: LossSettings, *, unlabelled: bool) -> bool:
    """Whether a term contributes to the loss."""
    if (share := term.share(settings)) is not None:
        return share > 0
    return term.weight(settings) > 0 or (unlabelled and term.unlabelled_weight(settings) > 0)


def weighed(settings: LossSettings, beta: float) -> LossSettings:
    """The settings with the β measured for a share of the gradient; settings with a β of their own do not change."""
    return settings if settings.patience_share is None else dataclasses.replace(settings, beta=beta, patience=None)


def settled_loss(settings: Loss, kind: TaskKind) -> Loss:
    """The settings with the kind's temperature in place of `auto`.

    >>> from pkd.tasks import kind_of
    >>> [settled_loss(LossSettings(temperature=T), kind_of("token_classification")).temperature for T in ("auto", 4.0)]
    [1.0, 4.0]
    """
    return dataclasses.replace(settings, temperature=kind.temperature) if settings.temperature == "auto" else settings


def temperature_of(settings: LossSettings) -> float:
    """T of settled settings."""
    assert settings.temperature != "auto"
    return settings.temperature


def columns_read(terms: Sequence[Term]) -> set[str]:
    """The teacher's columns that `terms` read."""
    return {column for term in terms for column in term.reads}


def weighted(
    term: Term, values: torch.Tensor, settings: LossSettings, labelled: torch.Tensor | None = None
) -> torch.Tensor:
    """What a term adds to the loss of each row.

    Args:
        term: of the objective.
        values: [B], the term's value per row; ignored where its weight is 0.
        settings: of the loss.
        labelled: [B] bool; None if every row has a label.

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
    """The values of the rows that have the term, for logs; unlabelled rows count only if the term weighs there."""
    return values if labelled is None or term.unlabelled_weight(settings) > 0 else values[labelled]


def describe_objective(settings: LossSettings, kind: TaskKind, *, unlabelled: bool = False) -> list[str]:
    """The loss of a row with its weights, then one line per term with its formula.

    >>> from pkd.tasks import SINGLE_LABEL
    >>> describe_objective(LossSettings(alpha=0.0, beta=0.0), SINGLE_LABEL)
    ['loss of a row = ce', 'ce = −log p_student(label)']
    """
    terms = [term for term in TERMS if reaches_the_loss(term, settings, unlabelled=unlabelled)]
    by_share = [term for term in terms if term.share(settings) is not None]

    def total(weight_of: Callable[[Term], float]) -> str:
        parts = [_part(term, None if term in by_share else weight_of(term)) for term in terms]
        return " + ".join(part for part in parts if part)

    lines = [f"loss of a row = {total(lambda term: term.weight(settings))}"]
    if unlabelled:
        lines.append(f"loss of an unlabelled row = {total(lambda term: term.unlabelled_weight(settings))}")
    lines += [
        f"{term.weight_symbol}: so large that {term.name} has {100 * (term.share(settings) or 0.0):g} % of the "
        "gradient's norm as the student starts"
        for term in by_share
    ]
    return [*lines, *(f"{term.name} = {term.formula(settings, kind)}" for term in terms)]


def _part(term: Term, weight: float | None) -> str:
    """A term in a sum; without a number, if its weight is not measured yet."""
    if weight is None:
        return f"{term.weight_symbol} · {term.name}"
    if weight == 0:
        return ""
    return term.name if weight == 1 else f"{weight:g} · {term.name}"


def _ce_rows(batch: TermInputs) -> torch.Tensor:
    return batch.kind.ce_rows(batch.logits, batch.labels)


def _kd_rows(batch: TermInputs) -> torch.Tensor:
    assert batch.teacher_logits is not None  # the trainer checked the rows' columns
    settings = batch.settings
    return batch.kind.kd_rows(batch.logits, batch.teacher_logits, temperature_of(settings), settings.kd_reduction)


def _kd_formula(settings: LossSettings, kind: TaskKind) -> str:
    if kind.has_scores:  # one output, and no temperature
        return kind.kd_formula
    over = "mean" if kind.has_sets else settings.kd_reduction
    return f"{kind.kd_formula}{_OVER_CLASSES[over]}, T = {temperature_of(settings):g}"


def _beta(settings: LossSettings) -> float:
    if settings.beta is None:
        raise ValueError("β follows from patience's share of the gradient, and is not measured yet.")
    return settings.beta


def _pt_rows(batch: TermInputs) -> torch.Tensor:
    from pkd.losses import pt_loss

    assert batch.cls_states is not None  # the trainer requested them from the student
    assert batch.teacher_cls_states is not None  # and checked the rows' columns
    return pt_loss(
        batch.cls_states,
        batch.teacher_cls_states,
        batch.settings.normalize,
        batch.settings.pt_reduction,
        batch.deviations,
    )


def _pt_formula(settings: LossSettings, kind: TaskKind) -> str:
    return f"Σ_j ‖{_STATES[comparison(settings.normalize)]}‖²{_OVER_UNITS[settings.pt_reduction]}"


_OVER_CLASSES = {"mean": " / C (mean over the C classes)", "sum": " (sum over classes)"}
_STATES = {
    "length": "h_student,j / ‖h_student,j‖ − h_teacher,I(j) / ‖h_teacher,I(j)‖",
    "none": "h_student,j − h_teacher,I(j)",
    "units": "(h_student,j − μ_I(j)) / σ_I(j) − (h_teacher,I(j) − μ_I(j)) / σ_I(j)",  # μ and σ: of the teacher's units
}
_OVER_UNITS = {"mean": " / (K · H) (mean over K layers and H hidden units)", "sum": " (sum over layers and units)"}

TERMS = (
    Term(
        name="ce",
        symbol="L_CE",
        weight_symbol="1 − α",
        title="ce, what the labels teach",
        weight=lambda settings: 1 - settings.alpha,
        unlabelled_weight=lambda settings: 0.0,
        row_losses=_ce_rows,
        formula=lambda settings, kind: kind.ce_formula,
    ),
    Term(
        name="kd",
        symbol="L_DS",
        weight_symbol="α",
        title="kd, softened output of the teacher",
        reads=("teacher_logits",),
        settings=("temperature", "kd_reduction"),
        weight=lambda settings: settings.alpha,
        unlabelled_weight=lambda settings: 1.0,
        dial="alpha",
        row_losses=_kd_rows,
        formula=_kd_formula,
    ),
    Term(
        name="pt",
        symbol="L_PT",
        weight_symbol="β",
        title="pt, patience: the [CLS] states",
        reads=("teacher_cls_states",),
        settings=("pt_reduction", "normalize"),
        weight=_beta,
        unlabelled_weight=_beta,
        share=lambda settings: settings.patience_share,
        dial="beta",
        row_losses=_pt_rows,
        formula=_pt_formula,
    ),
)
