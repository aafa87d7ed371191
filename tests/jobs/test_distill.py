"""What most users type: one teacher, one file, one student."""

from __future__ import annotations

import csv
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

import pkd
from conftest import FILLER, make_teacher, make_tokenizer, teach
from pkd.errors import RecipeError
from pkd.reporting.results import ComparisonRecord, ModelRecord, RunRecord
from pkd.runs.seal import seal

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
        augment=1,
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


def test_the_snippets_of_a_card_run_as_they_stand_from_the_folders_parent(
    result, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_run = result.work / result.student.folder
    for folder in (result.folder, of_run):
        ((language, code),) = snippets_of(folder)
        assert language == "python"
        monkeypatch.chdir(folder.parent)
        *lines, last = code.splitlines()
        names: dict[str, object] = {}
        exec("\n".join(lines), names)
        assert eval(last, names)[0]["label"] in ("negative", "positive")


def test_the_snippets_of_an_exports_card_run_as_they_stand_too(result, tmp_path: Path) -> None:
    served = tmp_path / "-it's served"  # a name that a shell would take apart
    pkd.export(str(result.folder), output=str(served))
    card = (served / "README.md").read_text()
    assert "transformers import" not in card
    assert str(tmp_path) not in card
    ((language, code),) = snippets_of(served)
    assert language == "bash"
    command = f'pkd() {{ {sys.executable} -m pkd "$@"; }}\n{code}'
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[0] in ("negative", "positive")


def snippets_of(folder: Path) -> list[tuple[str, str]]:
    """The code of a card that says how the folder is used: language and text."""
    card = (folder / "README.md").read_text()
    return [(language, code) for language, code in re.findall(r"```(python|bash)\n(.*?)\n```", card, re.DOTALL)]


def test_the_card_names_the_data_and_tells_no_path(result, workspace: Path) -> None:
    card = (result.folder / "README.md").read_text()
    assert "- Training data: 160 rows of train.csv (columns text and label)" in card
    assert "- Teacher: `teacher`" in card
    assert "base_model" not in card
    assert f"# {result.folder.name}\n" in card
    for place in (str(workspace), str(result.folder.parent)):
        assert place not in card
        for path in result.work.rglob("manifest.json"):
            manifest = json.loads(path.read_text())
            assert place not in json.dumps([manifest["inputs"], manifest["facts"]]), path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train.csv", "160 test rows (all of them are training rows too)"),
        ("dev.csv", "60 test rows (all of them are development rows too, which chose the epoch)"),
        ("unlabelled.csv", "40 test rows (all of them are unlabelled texts too)"),
        ("test.csv", "60 rows of test.csv"),
    ],
)
def test_a_student_knows_again_what_it_was_trained_on_and_chosen_by(
    name: str, words: str, result, workspace: Path, tmp_path: Path
) -> None:
    test = workspace / name
    if name == "unlabelled.csv":
        test = tmp_path / name
        lines = (workspace / "unlabelled.txt").read_text().splitlines()
        labels = itertools.cycle(("negative", "positive"))
        test.write_text("text,label\n" + "".join(f"{line},{next(labels)}\n" for line in lines))
    records = pkd.evaluate(result.folder, test=test, max_length=32, resamples=20)
    assert f" on {words}" in str(records)
    assert ("held-out" in str(records)) is False


def test_printed_it_is_a_few_lines_and_its_attributes_say_the_same(result) -> None:
    lines = str(result).splitlines()
    assert repr(result) == str(result)
    assert len(lines) == 3
    assert lines[0].startswith("pkd-skip-L2-spread: ")
    assert lines[1:] == [f"student: {result.folder}", f"report: {result.report}"]
    assert result.report.is_file()
    assert result.student.name == "pkd-skip-L2-spread"
    assert result.score.low <= result.score.value <= result.score.high


def test_the_run_is_called_as_the_student(result) -> None:
    run = next(record for record in result.records if isinstance(record, RunRecord))
    assert run.name == "student"
    assert "Patient knowledge distillation · student" in result.report.read_text()


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


def test_the_same_command_again_redoes_nothing_and_nor_does_it_where_all_was_moved_to(
    workspace: Path, tmp_path: Path
) -> None:
    def distil(place: Path) -> Any:
        return pkd.distill(
            teacher=str(place / "teacher"), train=str(place / "train.csv"), eval=str(place / "dev.csv"),
            output=str(place / "student"), layers=2, augment=0, **SETTINGS,
        )  # fmt: skip

    def when(place: Path) -> dict[str, int]:
        return {
            str(path.relative_to(place)): path.stat().st_mtime_ns
            for path in place.rglob("*")
            if path.name in ("model.safetensors", "results.jsonl", "manifest.json", "logits.npy")
        }

    here, there = tmp_path / "here", tmp_path / "there" / "deep"
    shutil.copytree(workspace, here)
    distil(here)
    before = when(here)
    distil(here)
    assert when(here) == before
    there.parent.mkdir()
    here.rename(there)
    result = distil(there)
    assert when(there) == before
    assert result.student.folder.startswith("students/")
    found = pkd.verify(there / "student")
    assert (found.damage, found.notes) == ([], [])
    names = {path.name for path in there.iterdir()}
    assert names == {*(path.name for path in workspace.iterdir()), "student", "student.work"}


@pytest.mark.slow
def test_eight_skewed_classes_of_long_texts_go_from_csv_to_student(tmp_path: Path) -> None:
    """Fine-tune and distil with no line of code that knows the data: names as labels, quotes and commas in texts."""
    topics = ["art", "bank", "code", "diet", "energy", "film", "garden", "health"]
    chooser = random.Random(0)
    encoder = make_teacher(layers=4)
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
    more = {"num_train_epochs": 12, "learning_rate": 8e-3, "device": "cpu", "max_length": 64, "precision": "float32"}
    tuned = pkd.finetune(
        model=str(tmp_path / "encoder"), train=train, eval=dev, output=str(tmp_path / "teacher"), **more
    )
    assert tuned.scores["accuracy"] > 0.5
    result = pkd.distill(
        teacher=str(tmp_path / "teacher"), train=train, eval=dev, layers=2, output=str(tmp_path / "student"),
        resamples=100, augment=1, **more,
    )  # fmt: skip
    student = next(record for record in result.records if isinstance(record, ModelRecord) and record.role == "student")
    assert student.scores["accuracy"].value > 0.5
    prediction = pkd.Classifier.load(str(tmp_path / "student"))("film, film the film")[0]
    assert set(prediction.probabilities) == {f"{topic} news" for topic in topics}
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize("layers", [4, 5])
def test_the_python_of_the_readme_runs_as_it_stands(
    layers: int, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a teacher of any depth and two files lie."""
    config = make_teacher(layers=layers).config
    config.max_position_embeddings = 128
    torch.manual_seed(0)
    model, tokenizer = AutoModelForSequenceClassification.from_config(config), make_tokenizer()
    teach(model, tokenizer)
    model.save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text((workspace / name).read_text())
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert "\nstudent: student\n" in capsys.readouterr().out
    assert 0 <= names["trainer"].evaluate()["eval_accuracy"] <= 1
    for folder in ("student", "student-by-hand"):
        assert AutoModelForSequenceClassification.from_pretrained(folder).config.num_hidden_layers == layers // 2


def test_a_folder_that_is_in_the_way_is_found_before_anything_is_paid_for(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "thesis.txt").write_text("the only copy")
    rows = {split: str(workspace / f"{split}.csv") for split in ("train", "test")}
    with pytest.raises(RecipeError, match=r"student exists and was not made by this command.*overwrite=True"):
        pkd.distill(teacher=str(workspace / "teacher"), **rows, layers=2, output=str(tmp_path / "student"), **SETTINGS)
    seal(tmp_path / "student", "teacher", {})
    with pytest.raises(RecipeError, match=r"student holds a teacher, not a distilled student"):
        pkd.distill(teacher=str(workspace / "teacher"), **rows, layers=2, output=str(tmp_path / "student"), **SETTINGS)
    assert not (tmp_path / "student.work").exists()


@pytest.mark.parametrize("output", [None, "", "/", "s3://bucket/student"])
def test_an_output_that_is_no_folder_here_is_refused_with_the_other_faults(output: str) -> None:
    with pytest.raises(RecipeError, match=r"(?m)^output is"):
        pkd.distill(teacher="nowhere", train="nowhere.csv", output=output)


def test_an_output_that_is_the_current_folder_is_in_the_way_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").write_text("the only copy")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="exists and was not made by this command"):
        pkd.distill(teacher="nowhere", train="nowhere.csv", output=".")


def test_without_development_rows_those_that_finetuning_held_out_choose_again_and_no_verdict_rests_on_them(
    workspace: Path, tmp_path: Path
) -> None:
    quick = {**SETTINGS, "num_train_epochs": 1, "train": workspace / "train.csv"}
    del quick["resamples"]
    tuned = pkd.finetune(model=workspace / "teacher", output=tmp_path / "teacher", **quick)
    assert tuned.measured_on.drawn
    result = pkd.distill(
        teacher=tuned.folder, output=tmp_path / "student", layers=2, method="kd", start=["spread", "first"],
        controls=True, measure_speed=False, resamples=20, **quick,
    )  # fmt: skip
    texts = [
        json.loads((folder / "manifest.json").read_text())["facts"]["texts"] for folder in (tuned.folder, result.folder)
    ]
    assert texts[0] == texts[1]
    run = next(record for record in result.records if isinstance(record, RunRecord))
    assert (run.rows, run.evaluated_on) == ({"train": 144, "eval": 16, "augmented": 568}, "eval")
    assert not [record for record in result.records if isinstance(record, ComparisonRecord)]
    assert set(result.student.starts_tried) == {"spread", "first"}
    assert "on 16 development rows (held out of the training rows; which chose the epoch and the start)" in str(result)
    for page in (result.folder / "README.md", result.report):
        assert "may have learned from them: no verdict rests on them" in page.read_text()
    again = pkd.distill(
        teacher=tuned.folder, output=tmp_path / "student", layers=2, method="kd", start=["spread", "first"],
        controls=True, measure_speed=False, resamples=20, **quick,
    )  # fmt: skip
    assert again.records == result.records
