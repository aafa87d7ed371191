"""What a teacher's configuration leaves open is settled by labels and user, and its students say it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

import pkd
from conftest import make_reviews, make_teacher, make_tokenizer, write_csv
from pkd.reporting.results import ModelRecord, RunRecord

SETTINGS: dict[str, Any] = {
    "num_train_epochs": 1, "learning_rate": 1e-3, "device": "cpu", "max_length": 32, "resamples": 50, "layers": 2,
    "measure_speed": False, "augment": 1,
}  # fmt: skip
IDS = {"negative": "0", "positive": "1"}
TEXTS = ["a great film", "the plot was awful and dull", "a"]


def as_ids(path: Path, folder: Path) -> str:
    with path.open() as file:
        rows = [(row["text"], IDS[row["label"]]) for row in csv.DictReader(file)]
    return str(write_csv(folder / path.name, rows))


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


@pytest.fixture(scope="module")
def one_output(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of one output, trained with binary cross-entropy, whose configuration names neither kind nor class."""
    folder = tmp_path_factory.mktemp("one-output")
    model, tokenizer = make_teacher(labels=("LABEL_0",)), make_tokenizer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    reviews = make_reviews(400, seed=5)
    for begin in range(0, 4 * len(reviews), 40):
        some = [reviews[index % len(reviews)] for index in range(begin, begin + 40)]
        batch = tokenizer([text for text, _ in some], padding=True, return_tensors="pt")
        labels = torch.tensor([[float(label == "positive")] for _, label in some])
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    for name in ("train.csv", "dev.csv", "test.csv"):
        as_ids(workspace / name, folder)
    return folder


@pytest.fixture(scope="module")
def binary(one_output: Path) -> Any:
    data = {split: str(one_output / f"{name}.csv") for split, name in (("train", "train"), ("eval", "dev"))}
    return pkd.distill(
        teacher=str(one_output / "teacher"),
        test=str(one_output / "test.csv"),
        output=str(one_output / "student"),
        metric="f1",
        **data,
        **SETTINGS,
    )


def test_a_student_of_one_output_is_measured_as_a_binary_classifier(binary: Any) -> None:
    records = binary.records
    run = next(record for record in records if isinstance(record, RunRecord))
    assert (run.problem_type, run.labels) == ("binary_classification", ["0", "1"])
    teacher, student = (record for record in records if isinstance(record, ModelRecord))
    assert teacher.scores["accuracy"].value > 0.9
    assert {"accuracy", "f1", "macro_f1", "mcc", "agreement", "kl"} <= student.scores.keys()
    assert student.scores["agreement"].value > 0.8
    card = (binary.folder / "README.md").read_text()
    assert "BCE(σ(z_student), label)" in card


def test_one_output_is_answered_as_transformers_pipeline_answers(binary: Any, one_output: Path) -> None:
    for folder in (one_output / "teacher", binary.folder):
        theirs = pipeline("text-classification", model=str(folder))(TEXTS)
        for mine, other in zip(pkd.predict(str(folder), TEXTS), theirs, strict=True):
            assert (mine.label, list(mine.probabilities)) == ("LABEL_0", ["LABEL_0"])
            assert mine.probabilities["LABEL_0"] == pytest.approx(other["score"], abs=1e-5)
            assert mine.labels == (("LABEL_0",) if other["score"] > 0.5 else ())
    assert config_of(binary.folder)["problem_type"] == "multi_label_classification"  # by which a sigmoid is taken


def test_one_output_is_exported_and_compared(binary: Any, one_output: Path, tmp_path: Path) -> None:
    test = str(one_output / "test.csv")
    exported = pkd.export(str(binary.folder), output=str(tmp_path / "served"), int8=True, eval=test)
    assert exported.facts["int8"]["metric"] == "accuracy"
    for mine, other in zip(
        pkd.predict(str(exported.folder), TEXTS), pkd.predict(str(binary.folder), TEXTS), strict=True
    ):
        assert mine.probabilities == pytest.approx(other.probabilities, abs=0.05)
        assert mine.label == other.label
    records = pkd.evaluate(
        [str(binary.folder)], test=test, teacher=str(one_output / "teacher"), max_length=32, measure_speed=False,
        resamples=20,
    )  # fmt: skip
    assert [record.scores["accuracy"].value > 0.8 for record in records if isinstance(record, ModelRecord)] == [
        True
    ] * 2


def test_the_class_of_one_output_may_have_a_name_and_the_other_any(
    binary: Any, one_output: Path, tmp_path: Path
) -> None:
    named = AutoModelForSequenceClassification.from_pretrained(binary.folder)
    named.config.id2label, named.config.label2id = {0: "spam"}, {"spam": 0}
    named.save_pretrained(tmp_path / "named")
    make_tokenizer().save_pretrained(tmp_path / "named")
    with (one_output / "test.csv").open() as file:
        rows = [(row["text"], "spam" if row["label"] == "1" else "ham") for row in csv.DictReader(file)]
    words = write_csv(tmp_path / "words.csv", rows)
    settings: dict[str, Any] = {"max_length": 32, "measure_speed": False, "resamples": 20}
    ids, by_name = (
        pkd.evaluate([str(folder)], test=str(test), **settings)[0]
        for folder, test in ((binary.folder, one_output / "test.csv"), (tmp_path / "named", words))
    )
    assert isinstance(ids, ModelRecord)
    assert isinstance(by_name, ModelRecord)
    assert ids.scores == by_name.scores
    with pytest.raises(pkd.DataError, match="outputs have names"):
        pkd.evaluate([str(binary.folder)], test=str(words), **settings)
    loaded = pkd.evaluate([str(binary.folder)], test=str(words), label_names=["ham", "spam"], **settings)[0]
    assert isinstance(loaded, ModelRecord)
    assert loaded.scores == ids.scores


def test_students_of_a_teacher_without_names_have_those_of_label_names(workspace: Path, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(workspace / "teacher")
    model.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    model.config.label2id = {"LABEL_0": 0, "LABEL_1": 1}
    model.save_pretrained(tmp_path / "teacher")
    make_tokenizer().save_pretrained(tmp_path / "teacher")
    ids = {split: as_ids(workspace / f"{split}.csv", tmp_path) for split in ("train", "dev")}
    names = ["negative", "positive"]
    students = [
        pkd.distill(
            teacher=str(tmp_path / "teacher"),
            train=train,
            eval=dev,
            label_names=names,
            output=str(tmp_path / f"student{number}"),
            **SETTINGS,
        )
        for number, (train, dev) in enumerate(
            [(str(workspace / "train.csv"), str(workspace / "dev.csv")), (ids["train"], ids["dev"])]
        )
    ]
    for student in students:
        assert config_of(student.folder)["id2label"] == {"0": "negative", "1": "positive"}
    weights = [(student.folder / "model.safetensors").read_bytes() for student in students]
    assert weights[0] == weights[1]  # names and ids are the same labels
    with pytest.raises(pkd.DataError, match="name them in their order, output 0 first, with label_names"):
        pkd.evaluate([str(tmp_path / "teacher")], test=str(workspace / "dev.csv"), max_length=32)
    compared = pkd.evaluate(
        [str(students[0].folder)], test=str(workspace / "dev.csv"), teacher=str(tmp_path / "teacher"),
        label_names=names, max_length=32, measure_speed=False, resamples=20,
    )  # fmt: skip
    assert len([record for record in compared if isinstance(record, ModelRecord)]) == 2


def test_a_silent_configuration_takes_the_users_word_for_sets_of_labels(workspace: Path, tmp_path: Path) -> None:
    silent = AutoModelForSequenceClassification.from_pretrained(workspace / "teacher")
    silent.config.problem_type = None
    silent.save_pretrained(tmp_path / "teacher")
    make_tokenizer().save_pretrained(tmp_path / "teacher")
    rows = [(text, "1,0" if label == "negative" else "0,1") for text, label in make_reviews(60, seed=1)]
    (tmp_path / "train.csv").write_text("text,negative,positive\n" + "".join(f"{text},{sets}\n" for text, sets in rows))
    for number, more in enumerate([{}, {"problem_type": "multi_label_classification"}]):
        student = pkd.distill(
            teacher=str(tmp_path / "teacher"),
            train=str(tmp_path / "train.csv"),
            test=str(tmp_path / "train.csv"),
            label_columns=["negative", "positive"],
            output=str(tmp_path / f"student{number}"),
            **more,
            **SETTINGS,
        )
        assert config_of(student.folder)["problem_type"] == "multi_label_classification"
