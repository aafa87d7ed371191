"""Precision, recall and F1 of spans, and what else measures a model that gives every word a tag.

Logits [N, W, C], NaN where a row has fewer than W words, and class ids [N, W], −100 there, come in; counts and shares
go out. Every row's parts in the sums are counted once, so that resamples cost nothing more (`resampling`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkd.errors import DataError, TeacherError
from pkd.evaluation.by_type import blind_to_types, by_type, label_counts
from pkd.evaluation.fidelity import agreement_by_row, kl_by_row
from pkd.evaluation.metrics import CALIBRATION_BINS, calibration_gap_by_row, cross_entropy_by_row
from pkd.evaluation.probabilities import predictions, probabilities
from pkd.evaluation.resampling import resampled_sums
from pkd.evaluation.scoring import Scoring
from pkd.evaluation.tags import (
    NO_WORD,
    Floats,
    Integers,
    Names,
    Span,
    answered_and_wanted,
    answered_tags,
    same_width,
    span_words,
    spans_by_row,
)

_OF_SPANS = ("span_f1", "span_precision", "span_recall", "rows_right")


def scoring_of_tags(names: Names) -> Scoring:
    """The measures for classes with these names; differences of the share of rows without a wrong span are tested."""

    def of(function: Any) -> Any:
        return functools.partial(function, names)

    return Scoring(
        metric="span_f1",
        choosing=("span_f1", "word_accuracy"),
        chance_corrected="span_f1",
        gain="rows_right",
        score=of(score),
        compare_with_teacher=compare_with_teacher,
        bootstrap_samples=of(bootstrap_samples),
        gain_by_row=of(gain_by_row),
        negative_flips=of(negative_flips),
        constant=of(constant),
        constant_in_words=lambda metric: "" if metric in _OF_SPANS else ", as the commonest tag",
        probabilities=probabilities,
        answers=lambda logits, names: list(map(span_words, spans_by_row(names, answered_tags(logits)))),
        label_words=lambda labels, names: list(map(span_words, spans_by_row(names, labels))),
        label_counts=label_counts,
        by_class=by_type,
        blind_spots=blind_to_types,
        answer_spans=lambda logits, names: spans_by_row(names, answered_tags(logits)),
        label_spans=lambda labels, names: spans_by_row(names, labels),
    )


def score(names: Names, logits: Floats, labels: Integers) -> dict[str, float]:
    """`span_f1`, `span_precision`, `span_recall`, `word_accuracy`, `rows_right`, `cross_entropy` and `ece` of words.

    The first three are micro averages over all spans, and 0 where there is none. `rows_right` is the share of rows
    whose spans are all right, with none too many.

    Raises:
        DataError: if there is no labelled word, or the shapes do not fit.
        TeacherError: if a word's logits are not finite.
    """
    sums = _contributions(names, logits, labels).sum(axis=0)[None]
    return {name: float(values[0]) for name, values in _metrics(sums, len(labels)).items()}


def compare_with_teacher(logits: Floats, teacher_logits: Floats) -> dict[str, float]:
    """Fidelity: `agreement`, the share of words answered alike, and `kl`, the mean over words, in nats."""
    alike, divergence, words = _beside_teacher(logits, teacher_logits).sum(axis=0)
    return {"agreement": float(alike / words), "kl": float(divergence / words)}


def bootstrap_samples(
    names: Names,
    logits: Floats,
    labels: Integers,
    *,
    resamples: int,
    seed: int,
    teacher_logits: Floats | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Every metric of `score` and `compare_with_teacher` in each resample of the rows, [R]."""
    own = _contributions(names, logits, labels)
    beside = np.zeros((len(own), 0)) if teacher_logits is None else _beside_teacher(logits, teacher_logits)
    sums = resampled_sums(np.hstack([own, beside]), resamples, seed)
    samples = _metrics(sums[:, : own.shape[1]], len(own))
    if teacher_logits is not None:
        alike, divergence, words = sums[:, own.shape[1] :].T
        samples |= {"agreement": alike / np.maximum(words, 1), "kl": divergence / np.maximum(words, 1)}
    return samples


def gain_by_row(names: Names, logits: Floats, labels: Integers) -> NDArray[np.float64]:
    """1 where a row's spans are all right and none is too many, else 0, [N]."""
    answered, wanted = answered_and_wanted(names, logits, labels)
    return np.asarray([set(mine) == set(theirs) for mine, theirs in zip(answered, wanted, strict=True)], np.float64)


def negative_flips(names: Names, logits: Floats, teacher_logits: Floats, labels: Integers) -> NDArray[np.int64]:
    """Rows that the teacher gets right and the student not, those with the student's surest wrong word first."""
    lost = gain_by_row(names, teacher_logits, labels) - gain_by_row(names, logits, labels)
    flipped = np.flatnonzero(lost > 0)
    logits, labels = same_width(logits[flipped], labels[flipped])
    wrong = (labels >= 0) & (answered_tags(logits) != labels)
    sure = np.where(wrong, probabilities(logits).max(axis=-1), 0.0).max(axis=1, initial=0.0)
    return np.asarray(flipped[np.argsort(-sure, kind="stable")], dtype=np.int64)


def constant(names: Names, labels: Integers, classes: int, metric: str) -> NDArray[np.float64]:
    """The tag that is best for every word by a metric of spans, for other metrics the commonest: [N, W, C]."""
    is_word = labels != NO_WORD
    best = int(np.bincount(labels[is_word], minlength=classes).argmax())
    if metric in _OF_SPANS:
        wanted = spans_by_row(names, labels)

        def by_metric(tag: int) -> float:
            counts = _span_counts(spans_by_row(names, np.where(is_word, tag, NO_WORD)), wanted)
            return float(_of_span_counts(counts.sum(axis=0)[None], len(labels))[metric][0])

        best = max(range(classes), key=by_metric)
    return np.where(is_word[..., None], np.eye(classes)[best], np.nan)


def _contributions(names: Names, logits: Floats, labels: Integers) -> NDArray[np.float64]:
    """Each row's part in the sums that `_metrics` takes, [N, 7 + bins]."""
    answered, wanted = answered_and_wanted(names, logits, labels)
    logits, labels = same_width(logits, labels)
    is_word = labels >= 0
    row_of_word = np.nonzero(is_word)[0]
    of_words, true = logits[is_word], labels[is_word]  # [words, C], [words]
    bins, gap = calibration_gap_by_row(of_words, true)
    gaps = np.zeros((len(labels), CALIBRATION_BINS))
    np.add.at(gaps, (row_of_word, bins), gap)
    return np.column_stack(
        [
            _span_counts(answered, wanted),
            *_summed_by_row(row_of_word, len(labels), np.ones(len(true)), predictions(of_words) == true),
            *_summed_by_row(row_of_word, len(labels), cross_entropy_by_row(of_words, true)),
            gaps,
        ]
    ).astype(np.float64)


def _span_counts(answered: Sequence[Sequence[Span]], wanted: Sequence[Sequence[Span]]) -> NDArray[np.float64]:
    """Right, predicted and true spans, and whether all are right, per row: [N, 4]."""
    counts = [
        (len(set(mine) & set(theirs)), len(mine), len(theirs), set(mine) == set(theirs))
        for mine, theirs in zip(answered, wanted, strict=True)
    ]
    return np.asarray(counts, dtype=np.float64).reshape(-1, 4)


def _of_span_counts(sums: NDArray[np.float64], rows: int) -> dict[str, NDArray[np.float64]]:
    right, given, there, rows_right = sums[:, :4].T
    return {
        "span_f1": 2 * right / np.maximum(given + there, 1),
        "span_precision": right / np.maximum(given, 1),
        "span_recall": right / np.maximum(there, 1),
        "rows_right": rows_right / rows,
    }


def _metrics(sums: NDArray[np.float64], rows: int) -> dict[str, NDArray[np.float64]]:
    words, words_right, cross_entropy = sums[:, 4:7].T
    words = np.maximum(words, 1)
    return {
        **_of_span_counts(sums, rows),
        "word_accuracy": words_right / words,
        "cross_entropy": cross_entropy / words,
        "ece": np.abs(sums[:, 7:]).sum(axis=1) / words,
    }


def _beside_teacher(logits: Floats, teacher_logits: Floats) -> NDArray[np.float64]:
    """Words answered alike, KL(teacher ‖ student) summed over words, and words, per row: [N, 3]."""
    if logits.ndim != 3 or logits.shape != teacher_logits.shape:
        raise DataError(
            f"The student's logits have the shape {logits.shape}, the teacher's {teacher_logits.shape}; both must be "
            "[rows, words, classes] of the same rows and classes. Evaluate both on the same file."
        )
    is_word = ~(np.isnan(logits) & np.isnan(teacher_logits)).all(axis=-1)
    if not is_word.any():
        raise DataError("There are 0 words to compare student and teacher on. Give at least one row.")
    mine, theirs = logits[is_word], teacher_logits[is_word]
    if not (np.isfinite(mine).all() and np.isfinite(theirs).all()):
        raise TeacherError("Some of the words have logits that are not finite. The weights are damaged; train again.")
    row_of_word, rows = np.nonzero(is_word)[0], len(logits)
    by_word = (agreement_by_row(mine, theirs), kl_by_row(mine, theirs), np.ones(len(mine)))
    return np.column_stack(_summed_by_row(row_of_word, rows, *by_word))


def _summed_by_row(row_of_word: Integers, rows: int, *by_word: Any) -> list[NDArray[np.float64]]:
    return [np.bincount(row_of_word, weights=values, minlength=rows).astype(np.float64) for values in by_word]
