"""The word-count baseline of a job's examples, and the teacher's score beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets

from pkd import progress, ranks
from pkd.data.arrays import column_values
from pkd.data.examples import Examples
from pkd.data.labels import label_array
from pkd.data.tokenize import text_columns
from pkd.evaluation.word_counts import MOST_ROWS, WordCounts, fit_word_counts
from pkd.jobs.stages import WORD_COUNTS
from pkd.reporting.results import TeacherLevel
from pkd.runs.stage import Done, run_stage

KIND = "word counts"


def measure_word_counts(examples: Examples, metric: str, rows: datasets.Dataset | None = None) -> dict[str, Any]:
    """Fit the baseline to the training rows and score it on the development rows.

    Args:
        examples: of the job, with development rows.
        metric: the one that chooses the best epoch.
        rows: the development rows to score; all by default.

    Returns:
        The score, None if there is no such baseline, and the number of rows it learned from.
    """
    train, measured = examples.splits["train"], examples.splits["eval"] if rows is None else rows
    kind, score = examples.outputs.kind, math.nan
    if kind.fit_word_counts is not None:
        with progress.stage(WORD_COUNTS):
            if (fitted := fitted_words(examples)) is not None:
                logits = fitted.logits(joined_texts(measured))
                score = float(kind.scoring.score(logits, label_array(measured))[metric])
    return {"score": score if math.isfinite(score) else None, "rows": min(len(train), MOST_ROWS)}


def fitted_words(examples: Examples) -> WordCounts | None:
    """The baseline, fitted to the training rows; None if such problems have none, or no text has a word."""
    fit, train = examples.outputs.kind.fit_word_counts, examples.splits["train"]
    if fit is None:
        return None
    return fit_word_counts(fit, joined_texts(train), label_array(train), len(examples.label_names))


def word_counts_stage(folder: Path, examples: Examples, metric: str, *, overwrite: bool) -> Done:
    """The stage of a run that measures the baseline; its manifest holds the score."""
    inputs = {**words_inputs(examples), "metric": metric}

    def build(partial: Path) -> Mapping[str, Any]:
        return ranks.on_first(lambda: measure_word_counts(examples, metric))

    return run_stage(folder, KIND, inputs, build, overwrite=overwrite, resumes=False)


def teacher_level(
    metric: str, score: float, rows: int, baseline: Mapping[str, Any], history: Sequence[Mapping[str, float]] = ()
) -> TeacherLevel:
    """The teacher's score beside that of word counts, and whether it was still rising when training ended.

    Args:
        metric: the one that chooses the best epoch.
        score: the teacher's on the development rows.
        rows: number of development rows.
        baseline: from `measure_word_counts`.
        history: the log of its training, if known.
    """
    scores = [entry[f"eval_{metric}"] for entry in history if f"eval_{metric}" in entry]
    return TeacherLevel(
        metric=metric,
        score=score,
        rows=rows,
        word_counts=baseline["score"],
        word_count_rows=baseline["rows"],
        still_rising=_still_rises(scores, rows),
    )


def words_inputs(examples: Examples) -> dict[str, Any]:
    """What the fitted baseline and its answers depend on."""
    return {
        "data": {split: examples.fingerprints[split] for split in ("train", "eval")},
        "label_names": list(examples.label_names),
        "problem_type": examples.problem_type,
        "versions": {"scikit-learn": ".".join(version("scikit-learn").split(".")[:2])},
    }


def _still_rises(scores: Sequence[float], rows: int) -> bool:
    """Whether the last epoch's score is above all before it by more than the standard error of a share."""
    if len(scores) < 2:
        return False
    share = min(1.0, max(0.0, scores[-1]))
    return scores[-1] - max(scores[:-1]) > math.sqrt(share * (1 - share) / rows)


def joined_texts(rows: datasets.Dataset) -> list[str]:
    """The texts of rows, the two of a pair joined."""
    columns = [list(column_values(rows, column)) for column in text_columns(rows)]
    return [" ".join(texts) for texts in zip(*columns, strict=True)]
