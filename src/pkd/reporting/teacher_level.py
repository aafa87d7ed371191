"""How good the teacher is, in words: beside the word-count baseline, and whether it was trained enough."""

from __future__ import annotations

from collections.abc import Sequence

from pkd.reporting.amounts import score_words
from pkd.reporting.results import Record, TeacherLevel
from pkd.reporting.wording import run_of


def level_sentence(level: TeacherLevel) -> str:
    """The teacher's score beside that of word counts, e.g. for a page."""
    teacher = f"On {level.rows:,} development row{'s' * (level.rows != 1)} the teacher has {_score(level, level.score)}"
    if level.word_counts is None:
        return f"{teacher}."
    baseline = "the word-count baseline (TF-IDF of one and two words, a linear model)"
    return f"{teacher}, {baseline} {_score(level, level.word_counts)}."


def under_trained(level: TeacherLevel) -> str:
    """Why the teacher is under-trained, and what to do; empty if it is not."""
    reasons = []
    if level.word_counts is not None and level.score < level.word_counts:
        of = f"{_score(level, level.score)} on {level.rows:,} development rows, where counting words alone reaches "
        reasons.append(f"it has {of}{_score(level, level.word_counts)}")
    if level.still_rising:
        reasons.append("its development score was still rising at its last epoch")
    if not reasons:
        return ""
    return (
        f"The teacher is under-trained: {', and '.join(reasons)}. Train it for more epochs or at a higher learning "
        "rate before anything is distilled from it; where neither is given, `pkd finetune` chooses both."
    )


def teacher_sentences(records: Sequence[Record]) -> tuple[str, str]:
    """The two sentences about a run's teacher; empty where it was not measured."""
    run = run_of(records)
    if run is None or run.teacher_level is None:
        return "", ""
    return level_sentence(run.teacher_level), under_trained(run.teacher_level)


def _score(level: TeacherLevel, value: float) -> str:
    return score_words(level.metric, value)
