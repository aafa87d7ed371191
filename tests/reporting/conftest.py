"""Records as a run of three seeds leaves them: a teacher, two starts, each with patience and its two controls."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import datasets
import numpy as np
import pytest

from pkd.data.sources import Source
from pkd.encoder.hub import ModelSource
from pkd.jobs.evaluate import EvaluatedRows, Measured, class_records, compare, flip_records, model_records
from pkd.recipe.settings import EvaluationSettings, ProblemType
from pkd.reporting.results import (
    ClassesRecord,
    ComparisonRecord,
    FlipRecord,
    MeasuredOn,
    ModelRecord,
    PairedTest,
    Record,
    RunRecord,
    Score,
)
from pkd.tasks import kind_of

ROWS = 1066
SEEDS = [42, 43, 44]
HELD_OUT = MeasuredOn(source="test.csv", held_out=True, chose=["epoch"])
SELECTED_ON = {"split": "eval", "measured_on": MeasuredOn(source="dev.csv", held_out=False, chose=["epoch"])}
ACCURACIES = {
    "pkd-skip-L3-spread": (0.828, 0.831, 0.837),
    "kd-L3-spread": (0.828, 0.829, 0.840),
    "ft-L3-spread": (0.818, 0.823, 0.821),
    "pkd-skip-L3-first": (0.811, 0.811, 0.805),
    "kd-L3-first": (0.809, 0.807, 0.812),
    "ft-L3-first": (0.811, 0.802, 0.806),
}
SETTINGS = {
    "temperature": 10.0,
    "alpha": 0.5,
    "beta": 100.0,
    "kd_reduction": "mean",
    "pt_reduction": "mean",
    "normalize": True,
    "learning_rate": 5e-5,
    "num_train_epochs": 2.0,
    "per_device_train_batch_size": 32,
}


def score_with_interval(value: float) -> Score:
    half = 1.96 * math.sqrt(value * (1 - value) / ROWS)
    return Score(value=value, low=value - half, high=value + half)


def scores_of(accuracy: float, *, student: bool) -> dict[str, Score]:
    scores = {
        "accuracy": score_with_interval(accuracy),
        "macro_f1": score_with_interval(accuracy - 0.001),
        "mcc": Score(value=2 * accuracy - 1, low=2 * accuracy - 1.05, high=2 * accuracy - 0.95),
        "cross_entropy": Score(value=0.41, low=0.38, high=0.44),
        "ece": Score(value=0.031, low=0.022, high=0.05),
    }
    if student:
        scores["agreement"] = score_with_interval(0.915)
        scores["kl"] = Score(value=0.071, low=0.064, high=0.079)
    return scores


def history_of(method: str, accuracy: float, noise: random.Random) -> list[dict[str, float]]:
    lines: list[dict[str, float]] = []
    for step in range(20, 501, 20):
        line = {"step": float(step), "epoch": step / 250, "loss": 0.9 * math.exp(-step / 200) + noise.gauss(0.3, 0.01)}
        line["loss/ce"] = 0.4 * math.exp(-step / 150) + noise.gauss(0.3, 0.01)
        if method != "ft":
            line["loss/kd"] = 0.5 * math.exp(-step / 120) + noise.gauss(0.1, 0.01)
        if method.startswith("pkd"):
            line["loss/pt"] = 0.004 * math.exp(-step / 180) + noise.gauss(0.001, 0.00005)
        lines.append(line)
    for epoch in (1, 2):
        lines.append({"step": epoch * 250.0, "epoch": epoch, "eval_accuracy": accuracy - 0.02 / epoch})
    return lines


def model(name: str, seed: int, accuracy: float) -> ModelRecord:
    method, _, start = name.rpartition("-L3-")
    patient = method.startswith("pkd")
    return ModelRecord(
        role="student" if patient else "control",
        name=name,
        folder=f"students/{name}-seed{seed}",
        seed=seed,
        method=method,
        layers=3,
        start=start,
        start_layers=[1, 3, 5] if start == "spread" else [1, 2, 3],
        layer_map=[(1, 2), (2, 4)] if patient else None,
        settings=SETTINGS | {"beta": 100.0 if patient else 0.0, "alpha": 0.0 if method == "ft" else 0.5},
        split="test",
        rows=ROWS,
        measured_on=HELD_OUT,
        scores=scores_of(accuracy, student=True),
        selection={"metric": "accuracy", "score": accuracy + 0.004, "epoch": 2, "on": "eval"},
        starts_tried={"spread": 0.84, "first": 0.81} if patient else {},
        parameters=17_388_674,
        bytes=69_569_136,
        rows_per_second=218.0 + seed % 3,
        train_seconds=61.5,
        history=history_of(method, accuracy, random.Random(seed * 31 + len(name))),
    )


def teacher() -> ModelRecord:
    return ModelRecord(
        role="teacher",
        name="teacher",
        folder="teacher",
        layers=6,
        split="test",
        rows=ROWS,
        measured_on=HELD_OUT,
        scores=scores_of(0.8386, student=False),
        selection={"metric": "accuracy", "score": 0.845, "epoch": 3, "on": "eval"},
        parameters=22_713_986,
        bytes=90_870_598,
        rows_per_second=104.0,
    )


def run_record() -> RunRecord:
    return RunRecord(
        name="demo",
        created="2025-11-24T04:13:00Z",
        recipe={
            "name": "demo",
            "teacher": {"model": "sentence-transformers/all-MiniLM-L6-v2", "finetune": {"learning_rate": 5e-5}},
            "data": {"train": "train.csv", "eval": "dev.csv", "test": "test.csv", "unlabelled": []},
            "students": [{"method": "pkd", "layers": 3, "start": "spread"}, {"method": "pkd", "start": "first"}],
            "evaluation": {"metric": "accuracy", "confidence": 0.95, "resamples": 2000},
        },
        rows={"train": 8530, "eval": 1066, "test": ROWS},
        teacher=ModelSource("sentence-transformers/all-MiniLM-L6-v2", hub=True),
        sources={
            "train": [Source("train.csv", "file", 8530, ("text",), ("label",))],
            "eval": [Source("dev.csv", "file", 1066, ("text",), ("label",))],
            "test": [Source("test.csv", "file", ROWS, ("text",), ("label",))],
        },
        fingerprints={"teacher": "3f" * 32, "data train": "a7" * 32},
        versions={"pkd": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        hardware={"device": "CPU", "cores": "2"},
        labels=["negative", "positive"],
        evaluated_on="test",
        warnings=["12 rows of train occur in test too."],
    )


def comparison(question: str, a: str, b: str, low: float, high: float, verdict: str) -> ComparisonRecord:
    value = (low + high) / 2
    return ComparisonRecord(
        question=question,
        a=a,
        b=b,
        difference=Score(value=value, low=low, high=high),
        seeds_a=len(SEEDS),
        seeds_b=None if b == "teacher" else len(SEEDS),
        verdict=verdict,  # type: ignore[arg-type]
        examples=value * ROWS,
        rows=ROWS,
        tests=[PairedTest(seed=seed, only_a=30 + seed % 5, only_b=34, p=0.12 + seed % 3 * 0.2) for seed in SEEDS],
    )


def sample_records() -> list[Record]:
    records: list[Record] = [run_record(), teacher()]
    for name, accuracies in ACCURACIES.items():
        records += [model(name, seed, value) for seed, value in zip(SEEDS, accuracies, strict=True)]
    records += [
        comparison("patience", "pkd-skip-L3-spread", "kd-L3-spread", -0.006, 0.0055, "UNCLEAR"),
        comparison("kd", "kd-L3-spread", "ft-L3-spread", 0.004, 0.019, "HELPS"),
        comparison("patience", "pkd-skip-L3-first", "kd-L3-first", -0.0061, 0.0066, "UNCLEAR"),
        comparison("start first against spread", "pkd-skip-L3-first", "pkd-skip-L3-spread", -0.036, -0.01, "DOES NOT"),
        comparison("against the teacher", "pkd-skip-L3-spread", "teacher", -0.014, 0.001, "UNCLEAR"),
        comparison("against the teacher", "pkd-skip-L3-first", "teacher", -0.041, -0.018, "DOES NOT"),
    ]
    texts = [
        "a film that takes its time, and yours, and gives back less of either than it owes .",
        "<script>alert(1)</script> is what the projector should have shown </script> instead .",
        "not unfunny, for once, and never quite as clever as the trailer, now seen eleven times & counting .",
    ]
    for name in ("pkd-skip-L3-spread", "pkd-skip-L3-first"):
        for index, text in enumerate(texts):
            records.append(
                FlipRecord(
                    model=name,
                    seed=42,
                    row=17 * index + 3,
                    text=text,
                    label="negative",
                    teacher="negative",
                    student="positive",
                    confidence=0.97 - index * 0.06,
                )
            )
    return records


def with_classes(
    records: Sequence[Record],
    names: Sequence[str],
    labels: np.ndarray,
    logits: Mapping[str, np.ndarray],
    problem_type: ProblemType = "single_label_classification",
) -> list[Record]:
    """The records with the classes of those models whose logits are given, on so many rows as there are labels."""
    made: list[Record] = []
    scoring = kind_of(problem_type).scoring
    for record in records:
        if isinstance(record, ModelRecord) and record.name in logits:
            answers = logits[record.name]
            beside = logits["teacher"] if record.role != "teacher" and "teacher" in logits else None
            blind = scoring.blind_spots(answers, labels, tuple(names))
            record = record.model_copy(update={"rows": len(labels), "blind_spots": blind})
            assert scoring.by_class is not None
            found = scoring.by_class(answers, labels, names, beside)
            made.append(ClassesRecord(model=record.name, seed=record.seed, **vars(found)))
        made.append(record)
    return made


@pytest.fixture
def collapsed_records() -> list[Record]:
    """The same run on ten rows: the teacher has all right, PKD-Skip from spread answers 'fine' to all of them."""
    labels = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1])
    logits = {"teacher": np.eye(2)[labels], "pkd-skip-L3-spread": np.eye(2)[[0] * 10]}
    return with_classes(sample_records(), ("fine", "unsafe"), labels, logits)


@pytest.fixture
def records() -> list[Record]:
    return sample_records()


@pytest.fixture
def selected_records() -> list[Record]:
    """The same run without test rows."""
    return [each.model_copy(update=SELECTED_ON) if isinstance(each, ModelRecord) else each for each in sample_records()]


TAGS = ("O", "B-person", "I-person", "B-creative-work", "I-creative-work")
SENTENCES = (  # words, labels, the teacher's answers and the student's
    ("Rick Morty is on", [3, 4, 0, 0], [3, 4, 0, 0], [3, 0, 0, 0]),
    ("Ada saw it", [1, 0, 0], [1, 0, 0], [1, 0, 0]),
    ("so it is <b>", [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
    ("Ada Lovelace saw Alien", [1, 2, 0, 3], [1, 2, 0, 0], [1, 2, 0, 0]),
)


@pytest.fixture
def records_of_tags() -> list[Record]:
    """A teacher and a student of it on four sentences, whose words have tags, as `pkd evaluate` records them."""
    texts = [words for words, *_ in SENTENCES]
    offsets = [[place for word in re.finditer(r"\S+", text) for place in word.span()] for text in texts]
    labels, by_teacher, by_student = zip(*(tags for _, *tags in SENTENCES), strict=True)
    rows = datasets.Dataset.from_dict({"text": texts, "word_offsets": offsets, "label": labels})
    on = EvaluatedRows("test", rows, TAGS, kind_of("token_classification", TAGS), HELD_OUT)
    padded = np.full((len(rows), 4), -100)
    for row, tags in enumerate(labels):
        padded[row, : len(tags)] = tags
    vars(on)["labels"] = padded
    measured = []
    for name, answers, sure in (("teacher", by_teacher, 4.0), ("pkd-skip-L3-spread", by_student, 2.0)):
        logits = np.full((len(rows), 4, len(TAGS)), np.nan, dtype=np.float32)
        for row, tags in enumerate(answers):
            logits[row, : len(tags)] = sure * np.eye(len(TAGS))[tags]
        role: Literal["teacher", "student"] = "teacher" if name == "teacher" else "student"
        seed = None if role == "teacher" else 42
        size = {"layers": 6 if role == "teacher" else 3, "parameters": 1_000_000, "bytes": 4_000_000}
        measured.append(Measured(name=name, role=role, folder=name, logits=logits, seed=seed, **size))
    settings = EvaluationSettings()
    run = run_record().model_copy(
        update={
            "labels": list(TAGS),
            "problem_type": "token_classification",
            "recipe": {**run_record().recipe, "evaluation": {"metric": "span_f1", "confidence": 0.95}},
        }
    )
    against = compare("against the teacher", measured[1:], measured[:1], on, settings, as_models=True)
    return [
        *(run, *model_records(measured, on, settings), *class_records(measured, on), against),
        *flip_records(measured, on, settings),
    ]
