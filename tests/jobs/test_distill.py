"""What most users type: one teacher, one file, one student."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

import pkd
from conftest import FILLER, make_teacher
from pkd.errors import RecipeError
from pkd.reporting.results import ComparisonRecord, ModelRecord
from pkd.storage.seal import seal

SETTINGS = {"num_train_epochs": 2, "learning_rate": 1e-3, "device": "cpu", "max_length": 32, "resamples": 100}


@pytest.fixture(scope="module")
def result(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> pkd.jobs.distill.DistillResult:
    output = tmp_path_factory.mktemp("distilled") / "student"
    return pkd.distill(
        teacher=str(workspace / "teacher"),
        train=str(workspace / "train.csv"),
        eval=str(workspace / "dev.csv"),
        test=str(workspace / "test.csv"),
        unlabelled=str(workspace / "unlabelled.txt"),
        layers=2,
        output=str(output),
        controls=True,
        seeds=2,
        **SETTINGS,
    )


def test_a_saved_student_is_an_ordinary_folder(result) -> None:
    names = {path.name for path in result.folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"} <= names
    config = json.loads((result.folder / "config.json").read_text())
    assert config["num_hidden_layers"] == 2
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


def test_transformers_gives_the_same_answers_as_pkd(result) -> None:
    texts = ["a great film", "the plot was awful and dull", "a", "the scene was quite fine " * 20]
    ours = list(pkd.predict(str(result.folder), texts))
    theirs = pipeline("text-classification", model=str(result.folder), top_k=None)(texts, truncation=True)
    model = AutoModelForSequenceClassification.from_pretrained(result.folder)
    assert model.config.num_hidden_layers == 2
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.probabilities == pytest.approx({entry["label"]: entry["score"] for entry in other}, abs=1e-5)
        assert mine.label == other[0]["label"]


def test_the_card_tells_the_results_and_how_it_was_made(result) -> None:
    card = (result.folder / "README.md").read_text()
    assert card.startswith("---\n")
    assert "1908.09355" in card
    assert "pkd-skip-L2-spread" in card


def test_it_says_whether_patience_helped(result) -> None:
    questions = {record.question for record in result.records if isinstance(record, ComparisonRecord)}
    assert {"patience", "kd", "against the teacher"} <= questions
    roles = [record.role for record in result.records if isinstance(record, ModelRecord)]
    assert roles == ["teacher", "student", "student", "control", "control", "control", "control"]


def test_the_seed_with_the_best_dev_score_is_the_one_that_is_kept(result) -> None:
    students = [record for record in result.records if isinstance(record, ModelRecord) and record.role == "student"]
    best = max(students, key=lambda record: record.selection["score"])
    kept = (result.folder / "model.safetensors").read_bytes()
    assert kept == (result.work / best.folder / "model.safetensors").read_bytes()


def test_the_same_command_again_redoes_nothing(workspace: Path, tmp_path: Path) -> None:
    def distil() -> None:
        pkd.distill(
            teacher=str(workspace / "teacher"), train=str(workspace / "train.csv"), eval=str(workspace / "dev.csv"),
            output=str(tmp_path / "student"), layers=2, **SETTINGS,
        )  # fmt: skip

    distil()
    weights = tmp_path / "student" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    distil()
    assert weights.stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "student",
        "student.work",
    ]


@pytest.mark.slow
def test_eight_skewed_classes_of_long_texts_go_from_csv_to_student(tmp_path: Path) -> None:
    """Fine-tune and distil with no line of code that knows the data: names as labels, quotes and commas in texts."""
    topics = ["art", "bank", "code", "diet", "energy", "film", "garden", "health"]
    chooser = random.Random(0)
    encoder = make_teacher(layers=4)
    from conftest import make_tokenizer

    tokenizer = make_tokenizer()
    tokenizer.add_tokens(topics)
    encoder.resize_token_embeddings(len(tokenizer))
    encoder.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")

    def write(name: str, rows: int) -> str:
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "label"])
            for row in range(rows):
                topic = topics[min(int(chooser.expovariate(0.5)), 7)] if row >= 24 else topics[row % 8]
                words = [chooser.choice(FILLER) for _ in range(chooser.randint(30, 120))]
                words[0] = topic
                writer.writerow([f"{name}-{row}", ", ".join(words) + ' "end"', f"{topic} news"])
        return str(tmp_path / name)

    train, dev = write("train.csv", 320), write("dev.csv", 80)
    more = {"num_train_epochs": 30, "learning_rate": 8e-3, "device": "cpu", "max_length": 64, "precision": "float32"}
    tuned = pkd.finetune(
        model=str(tmp_path / "encoder"), train=train, eval=dev, output=str(tmp_path / "teacher"), **more
    )
    assert tuned.scores["accuracy"] > 0.5
    result = pkd.distill(
        teacher=str(tmp_path / "teacher"), train=train, eval=dev, layers=2, output=str(tmp_path / "student"),
        resamples=100, **more,
    )  # fmt: skip
    student = next(record for record in result.records if isinstance(record, ModelRecord) and record.role == "student")
    assert student.scores["accuracy"].value > 0.5
    prediction = pkd.Classifier.load(str(tmp_path / "student"))("film, film the film")[0]
    assert set(prediction.probabilities) == {f"{topic} news" for topic in topics}
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_the_api_by_hand_of_the_readme(workspace: Path, tmp_path: Path) -> None:
    loaded = pkd.load_teacher(str(workspace / "teacher"))
    teacher, tokenizer = loaded.model, loaded.tokenizer
    data = pkd.load_data(train=str(workspace / "train.csv"), eval=str(workspace / "dev.csv"), teacher=teacher)
    layer_map = pkd.LayerMap.skip(teacher_layers=4, student_layers=2)
    student = pkd.student_from(teacher, layers=2, start="spread")
    train = pkd.annotate(
        data["train"],
        teacher,
        tokenizer,
        teacher_layers=layer_map.teacher,
        output=str(tmp_path / "annotated"),
        max_length=32,
    )
    trainer = pkd.PatientTrainer(
        model=student, layer_map=layer_map, train_dataset=train, eval_dataset=data["eval"], processing_class=tokenizer,
        args=pkd.PatientTrainingArguments(
            str(tmp_path / "out"), temperature=10, alpha=0.5, beta=100, num_train_epochs=1, use_cpu=True, save_strategy="no"
        ),
    )  # fmt: skip
    trainer.train()
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1
    loss = pkd.losses.kd_loss(torch.zeros(2, 2), torch.zeros(2, 2), temperature=10)
    assert loss.tolist() == [0, 0]


def test_a_folder_that_is_in_the_way_is_found_before_anything_is_paid_for(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "thesis.txt").write_text("the only copy")
    rows = {split: str(workspace / f"{split}.csv") for split in ("train", "test")}
    with pytest.raises(RecipeError, match=r"student exists and was not made by this command.*--overwrite"):
        pkd.distill(teacher=str(workspace / "teacher"), **rows, layers=2, output=str(tmp_path / "student"), **SETTINGS)
    seal(tmp_path / "student", "teacher", {})
    with pytest.raises(RecipeError, match=r"student holds a teacher, not a distilled student"):
        pkd.distill(teacher=str(workspace / "teacher"), **rows, layers=2, output=str(tmp_path / "student"), **SETTINGS)
    assert not (tmp_path / "student.work").exists()


@pytest.mark.parametrize("output", [None, "", "/", "s3://bucket/student"])
def test_an_output_that_is_no_folder_here_is_refused_first(output: str) -> None:
    with pytest.raises(RecipeError, match=r"^output is"):
        pkd.distill(teacher="nowhere", train="nowhere.csv", output=output)


def test_an_output_that_is_the_current_folder_is_in_the_way_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").write_text("the only copy")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="exists and was not made by this command"):
        pkd.distill(teacher="nowhere", train="nowhere.csv", output=".")
