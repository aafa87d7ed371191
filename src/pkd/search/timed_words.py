"""The word-count baseline of a search, timed as the shapes are: what a user could have for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pkd import progress
from pkd.jobs.evaluate import LOGITS, read_logits
from pkd.jobs.plan import RunPlan
from pkd.jobs.stages import WORD_COUNTS
from pkd.jobs.word_counts import fitted_words, joined_texts, words_inputs
from pkd.reporting.results import Score
from pkd.runs.fingerprint import fingerprint
from pkd.runs.stage import run_stage
from pkd.search.timing import TEACHER, Timed, latency_of, machine, one_at_a_time, teacher_work, time_in_rounds

KIND = "timed word counts"


@dataclass(frozen=True)
class TimedWords:
    """The baseline as a model that could be deployed.

    Attributes:
        latency: milliseconds of one text, from the text to its logits.
        bytes: of its words and weights.
        logits: of the development rows, [N, C].
    """

    latency: Score
    bytes: int
    logits: np.ndarray


def timed_words_stage(plan: RunPlan, timed: Timed, *, overwrite: bool) -> TimedWords | None:
    """Fit the baseline, answer the development rows, and time it one text at a time, in turns with the teacher.

    Returns:
        None if such problems have no baseline, or there are no words or no development rows.
    """
    examples, place = plan.examples, plan.folder.timed_words
    if examples.outputs.kind.fit_word_counts is None or "eval" not in examples.splits:
        return None
    inputs = {
        **words_inputs(examples),
        "texts": fingerprint({"texts": [repr(text) for text in timed.texts]}),
        "threads": timed.threads,
        "machine": machine(),
    }

    def build(partial: Path) -> Mapping[str, Any]:
        with progress.stage(WORD_COUNTS):
            fitted = fitted_words(examples)
            if fitted is None:
                return {}
            np.save(partial / LOGITS, fitted.logits(joined_texts(examples.splits["eval"])), allow_pickle=False)
        with teacher_work(plan, timed) as teacher:
            works = {TEACHER: teacher, WORD_COUNTS: one_at_a_time(fitted.logits, timed)}
            rounds = time_in_rounds(works, "time word counts in turns with the teacher")
        latency = latency_of([times[WORD_COUNTS] for times in rounds], plan.recipe.evaluation.confidence)
        return {"latency": latency.model_dump(), "bytes": fitted.bytes}

    facts = run_stage(place, KIND, inputs, build, overwrite=overwrite, resumes=False).manifest.facts
    if not facts:
        return None
    return TimedWords(Score(**facts["latency"]), facts["bytes"], read_logits(place))
