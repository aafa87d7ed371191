"""What another version of pkd sealed: a run is refused in one sentence, its students and exports go on serving."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import make_reviews, make_teacher, make_tokenizer, teach, write_csv
from pkd.cli.main import main
from pkd.jobs.distill import distill
from pkd.runs.fingerprint import fingerprint
from pkd.runs.folder import RunFolder
from pkd.runs.seal import MANIFEST, SCHEMA, write_json
from serving.exported import Exported

SENTENCE = "which every command that takes a model still takes."


def age(folder: Path) -> None:
    """Seal every folder in `folder` as the version before did."""
    for path in [path for path in (folder, *folder.rglob("*")) if (path / MANIFEST).is_file()]:
        values: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        values["schema"] = SCHEMA - 1
        sealed = {name: value for name, value in values.items() if name not in ("fingerprint", "sha256")}
        write_json(path / MANIFEST, {**values, "sha256": fingerprint(sealed)})


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teacher, data, `student` and `student.work` of the version before; a test that writes takes a copy."""
    folder = tmp_path_factory.mktemp("aged")
    model, tokenizer = make_teacher(2), make_tokenizer()
    teach(model, tokenizer)
    model.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    write_csv(folder / "train.csv", make_reviews(64, seed=1))
    write_csv(folder / "dev.csv", make_reviews(32, seed=2))
    distill(**made_from(folder), output=str(folder / "student"))
    for name in ("student", "student.work"):
        age(folder / name)
    return folder


def made_from(folder: Path) -> dict[str, Any]:
    return {
        "teacher": str(folder / "teacher"), "train": str(folder / "train.csv"), "eval": str(folder / "dev.csv"),
        "layers": 1, "method": "kd", "max_length": 32, "num_train_epochs": 1, "device": "cpu", "resamples": 20,
        "measure_speed": False, "augment": 1,
    }  # fmt: skip


def flags(folder: Path) -> list[str]:
    settings = ["training.device=cpu", "evaluation.resamples=20", "evaluation.measure_speed=false"]
    return [
        "--train", str(folder / "train.csv"), "--eval", str(folder / "dev.csv"), "--layers", "1", "--max-length", "32",
        "--num-train-epochs", "1", "--augment", "1", "--quiet", "--set", "students.0.method=kd", *(word for setting in settings for word in ("--set", setting)),
    ]  # fmt: skip


TAKE_A_STUDENT = {
    "predict": "predict STUDENT 'a great film'",
    "evaluate": "evaluate STUDENT --teacher TEACHER --test DEV --max-length 32",
    "export": "export STUDENT --output NEW",
    "push": "push STUDENT org/name --dry-run NEW",
    "verify": "verify STUDENT",
}


@pytest.mark.parametrize("command", TAKE_A_STUDENT.values(), ids=TAKE_A_STUDENT.keys())
def test_a_student_of_another_schema_is_taken_by_every_command_that_takes_one(
    aged: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    student = shutil.copytree(aged / "student", tmp_path / "student")  # alone, without its work beside it
    stands = {"STUDENT": student, "TEACHER": aged / "teacher", "DEV": aged / "dev.csv", "NEW": tmp_path / "new"}
    words = command.split(" '")[0].split() + ([command.split("'")[1]] if "'" in command else [])
    code = main([str(stands.get(word, word)) for word in words])
    assert code == 0, capsys.readouterr().err


def test_a_student_of_another_schema_is_a_teacher(aged: Path, tmp_path: Path) -> None:
    given = ["distill", "--teacher", str(aged / "student"), *flags(aged)]
    assert main([*given, "--output", str(tmp_path / "again")]) == 0


def test_a_student_beside_a_run_of_another_schema_goes_to_the_hub_with_its_own_card(
    aged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = aged / "student"
    assert main(["push", str(student), "org/name", "--dry-run", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "README.md").read_bytes() == (student / "README.md").read_bytes()
    assert "goes with its own card" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["predict FOLDER 'a great film'", "speed FOLDER --test DEV --max-length 32", "push FOLDER org/name NEW"],
)
def test_an_export_of_another_schema_is_taken_by_every_command_that_takes_one(
    exported: Exported, aged: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(exported.int8, tmp_path / "served")
    age(folder)
    stands = {"FOLDER": folder, "TEACHER": aged / "teacher", "DEV": aged / "dev.csv", "NEW": f"--dry-run={tmp_path}/n"}
    words = command.split(" '")[0].split() + ([command.split("'")[1]] if "'" in command else [])
    code = main([str(stands.get(word, word)) for word in words])
    assert code == 0, capsys.readouterr().err


@pytest.mark.parametrize("left", ["all of it", "an annotation", "a checkpoint of an unfinished training"])
def test_a_run_of_another_schema_is_refused_in_one_sentence_before_the_teacher_is_loaded(
    aged: Path, tmp_path: Path, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    work = shutil.copytree(aged / "student.work", tmp_path / "student.work")
    if left != "all of it":
        (work / MANIFEST).unlink()
        shutil.rmtree(work / "predictions")
    if left == "a checkpoint of an unfinished training":
        trained = next((work / "students").iterdir())
        trained.rename(work / "checkpoint-4")
        (partial := trained.with_name(trained.name + ".partial")).mkdir()
        (work / "checkpoint-4").rename(partial / "checkpoint-4")
        shutil.rmtree(work / "annotated")
    before = sorted(path for path in work.rglob("*") if path.is_file())
    teacher = shutil.copytree(aged / "teacher", tmp_path / "teacher")
    (teacher / "model.safetensors").write_bytes(b"nothing that can be loaded")
    command = ["distill", "--teacher", str(teacher), *flags(aged), "--output", str(tmp_path / "student")]
    assert main(command) == 5
    told = " ".join(capsys.readouterr().err.split())
    assert f"{work} was made by another version of pkd (manifest schema {SCHEMA - 1}, this one has {SCHEMA})" in told
    assert told.endswith(SENTENCE)
    assert told.count(". ") == 0, "one sentence"
    assert [path for path in sorted(work.rglob("*")) if path.is_file() and path.suffix != ".lock"] == before


@pytest.mark.parametrize("command", ["report", "verify"])
def test_a_record_of_another_schema_is_not_told_again(
    aged: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(aged / "student.work")]) == 5
    printed = capsys.readouterr()
    assert SENTENCE in printed.out + printed.err


def test_a_run_of_another_schema_is_made_anew_where_that_is_asked_for(
    aged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("student", "student.work"):
        shutil.copytree(aged / name, tmp_path / name)
    command = ["distill", "--teacher", str(aged / "teacher"), *flags(aged)]
    output = ["--output", str(tmp_path / "student")]
    assert main([*command, *output]) == 5
    assert "student was made by another version" in capsys.readouterr().err
    assert main([*command, *output, "--overwrite"]) == 0
    assert main([*command, *output]) == 0  # what was put aside is in nobody's way
    aside = [stage for stage in RunFolder(tmp_path / "student.work") if ".before-" in stage.name]
    assert len(aside) == 10  # three encodings, three passes, word counts, sizes of terms, a student, its predictions
