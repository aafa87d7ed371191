"""Compare an exported graph with PyTorch: logits over many shapes, and predictions for real texts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from pkd import progress
from pkd.data.outputs import Outputs
from pkd.encoder.load import LoadedClassifier
from pkd.errors import TeacherError
from pkd.evaluation.by_class import BlindSpots
from pkd.evaluation.scoring import Scoring
from pkd.serving.export import example_inputs
from pkd.serving.loaded import Graph
from pkd.serving.torch_model import max_length_of

SHAPES = (
    (1, 1), (1, 2), (1, 7), (2, 8), (3, 17), (1, 32), (7, 31), (32, 32), (1, 128), (32, 128), (1, 512), (32, 512),
)  # fmt: skip
_CHOICES = (4, 2, 3, 5, 1)  # of a question, in turn
TOLERANCE = 1e-4  # of a logit, absolute


@dataclass(frozen=True)
class Parity:
    """How close a graph's logits are to PyTorch's; shapes are rows, choices (of multiple choice), word pieces."""

    largest_difference: float
    tolerance: float
    shapes: list[tuple[int, ...]]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Alone:
    """The changed model on one text at a time; int8 of ONNX differs there, as its scales depend on the whole batch.

    Attributes:
        rows: how many texts were run alone.
        agreement: share of predictions equal to the unchanged model's; for scores the correlation.
        before: the metric of the unchanged model on them; None without labels.
        after: the metric of the changed one, one text at a time.
        differ: how many predictions differ from those in batches.
        median: how far a text's neighbours change its probabilities (or score): the largest change per text, the median
            over texts.
        largest: the same, the largest over texts.
    """

    rows: int
    agreement: float
    before: float | None
    after: float | None
    differ: int
    median: float
    largest: float

    @property
    def drop(self) -> float | None:
        """How much the metric falls; negative where it rises."""
        return None if self.before is None or self.after is None else self.before - self.after


@dataclass(frozen=True)
class Change:
    """What a format changes in the predictions for real texts.

    Attributes:
        on: the source of the texts.
        rows: how many.
        agreement: share of predictions that stay the same; for scores the correlation.
        metric: of `before` and `after`; None without labels.
        alone: the same for one text at a time.
        blind_spots: classes that the changed model never predicts, which its score may hide.
    """

    on: str
    rows: int
    agreement: float
    metric: str | None = None
    before: float | None = None
    after: float | None = None
    alone: Alone | None = None
    blind_spots: BlindSpots = field(default_factory=BlindSpots)  # of the changed model's answers

    @property
    def drop(self) -> float | None:
        """How much the metric falls; negative where it rises."""
        return None if self.before is None or self.after is None else self.before - self.after

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "drop": self.drop}


def shapes_for(longest: int, *, several: bool = False) -> list[tuple[int, ...]]:
    """The shapes to prove, none longer than the model reads; with `several`, one to five choices per row.

    >>> shapes_for(16)[-2:]
    [(1, 16), (32, 16)]
    >>> shapes_for(16, several=True)[-2:]
    [(1, 1, 16), (16, 2, 16)]
    """
    if not several:
        return list(dict.fromkeys((rows, min(length, longest)) for rows, length in SHAPES))
    return list(
        dict.fromkeys(
            (max(1, rows // choices), choices, min(length, longest))
            for (rows, length), choices in zip(SHAPES, itertools.cycle(_CHOICES), strict=False)
        )
    )


def shape_text(shape: Sequence[int]) -> str:
    """A shape in words.

    >>> shape_text((8, 4, 32))
    '8 × 4 × 32 word pieces'
    """
    return f"{' × '.join(map(str, shape))} word pieces"


def prove(loaded: LoadedClassifier, graph: Graph, library: str = "onnxruntime") -> Parity:
    """Compare a float32 graph with the whole PyTorch model, which has no shortcut.

    Args:
        loaded: the classifier.
        graph: as it is served on a processor.
        library: that runs it.

    Raises:
        TeacherError: if a logit is further away than 1e-4, or is not finite.
    """
    several = loaded.outputs.kind.has_choices
    shapes = shapes_for(max_length_of(loaded), several=several)
    worst = 0.0
    with progress.stage("prove the graph against PyTorch", len(shapes), "shapes") as stage, torch.inference_mode():
        for number, (rows, *choices, length) in enumerate(shapes):
            inputs = example_inputs(loaded, rows, length, number, *choices)
            expected = loaded.model(**inputs).logits.numpy()
            got = graph.run({name: inputs[name].numpy() for name in graph.inputs})
            if got.shape == expected.shape and got.ndim == 3 and loaded.outputs.kind.has_tokens:
                is_read = inputs["attention_mask"].numpy() > 0  # what is answered at padding means nothing
                got, expected = got[is_read], expected[is_read]
            difference = float(np.abs(got - expected).max()) if got.shape == expected.shape else float("inf")
            if not difference <= TOLERANCE:  # also refuses NaN
                raise TeacherError(
                    f"The exported graph of {loaded.name} is wrong: of {shape_text(shapes[number])} its logits are "
                    f"{difference:.2g} away from PyTorch's, and {TOLERANCE:g} is allowed. Nothing was written. Please "
                    f"report it with the versions of torch, transformers and {library}."
                )
            worst = max(worst, difference)
            stage.advance(1)
    return Parity(worst, TOLERANCE, shapes)


def measure_change(
    before: np.ndarray,
    after: np.ndarray,
    alone: np.ndarray,
    asked_alone: np.ndarray,
    labels: np.ndarray | None,
    outputs: Outputs,
    metric: str,
    on: str,
) -> Change:
    """What changed between two models' logits [N, C] on the same texts; of tags [N, W, C].

    Args:
        before: of the original model.
        after: of the changed one, in batches.
        alone: of the changed one, [M, C], one text at a time.
        asked_alone: the indices of these texts, [M].
        labels: of the rows, as they are scored; None if there are none.
        outputs: what the logits mean.
        metric: the metric to compare.
        on: the source of the texts, for the record.
    """
    scoring = outputs.kind.scoring

    def score(logits: np.ndarray, rows: Any = slice(None)) -> float | None:
        return None if labels is None else scoring.score(logits, labels[rows])[metric]

    among = after[asked_alone]
    moved = np.nan_to_num(np.abs(scoring.probabilities(alone) - scoring.probabilities(among)))
    moved = moved.reshape(len(alone), -1).max(axis=1, initial=0.0)
    names = tuple(str(index) for index in range(after.shape[-1]))
    answers = zip(scoring.answers(alone, names), scoring.answers(among, names), strict=True)
    return Change(
        on=on,
        rows=len(before),
        agreement=_agreement(scoring, after, before),
        metric=None if labels is None else metric,
        before=score(before),
        after=score(after),
        alone=Alone(
            rows=len(alone),
            agreement=_agreement(scoring, alone, before[asked_alone]),
            before=score(before[asked_alone], asked_alone),
            after=score(alone, asked_alone),
            differ=sum(one != other for one, other in answers),
            median=float(np.median(moved)),
            largest=float(moved.max()),
        ),
        blind_spots=(BlindSpots() if labels is None else scoring.blind_spots(after, labels, outputs.label_names)),
    )


def _agreement(scoring: Scoring, after: np.ndarray, before: np.ndarray) -> float:
    fidelity = scoring.compare_with_teacher(after, before)
    return fidelity.get("agreement", fidelity.get("teacher_pearson", float("nan")))


def refusals(change: Change, max_drop: float, min_agreement: float) -> Sequence[str]:
    """Why a changed model is not good enough, one clause per reason; empty if it is."""
    reasons = []
    for each, how in ((change, ""), (change.alone, " one at a time")):
        if each is None:
            continue
        if each.drop is not None and not each.drop <= max_drop:
            reasons.append(
                f"{change.metric} falls from {each.before:.4f} to {each.after:.4f} on {each.rows:,} rows of "
                f"{change.on}{how}, by {each.drop:.4f} where {max_drop:g} is allowed"
            )
        if not each.agreement >= min_agreement:
            reasons.append(
                f"{each.agreement:.2%} of the answers to {each.rows:,} rows of {change.on}{how} stay the same, where "
                f"{min_agreement:.2%} are asked for"
            )
    return reasons
