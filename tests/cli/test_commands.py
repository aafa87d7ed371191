"""The verbs through the real command line: what they print, and how they end when something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pkd.cli.main import main

Run = Any


@pytest.fixture
def pkd(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: (exit code, standard output, standard error on one line)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, " ".join(printed.err.split())

    return run


def finetune(folder: Path, csv: str | bytes, name: str = "train.csv") -> list[object]:
    path = folder / name
    path.write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    return ["finetune", "--model", folder / "no-model", "--train", path, "--output", folder / "teacher"]


@pytest.mark.parametrize(
    ("csv", "words"),
    [
        ("text,topic\na,b\nc,d\n", ["has no column", "label", "topic", "--label-column"]),  # 1
        ("body_x,label\na,b\nc,d\n", ["body_x", "--text-columns"]),  # 2
        ("text;label\na;b\nc;d\n", [";", "sep"]),  # 5
        ("text,label,text\na,b,c\n", ["text"]),  # 6
        ("text,label\na,b,c\n", ["line 2"]),  # 11
        ("text,label\na,b\nonly\n", ["line 3"]),  # 12
        ('text,label\n"open,b\nc,d\n', ["line 2"]),  # 13
        ("text,label\na,\nb,x\nc,y\n", ["label"]),  # 19
        ("text,label\na,x\nb,x\n", ["class"]),  # 31
        ("text,label\n", ["0 rows"]),  # 33
        ("", ["0 rows"]),  # 33
        ("id,text,label\n1,a,x\n1,b,y\n", ["id"]),  # 35
        ("text,label\na,-100\nb,1\n", ["-100"]),  # 28
        ("text,label\n,x\na,y\nb,x\n", ["empty"]),  # 16
        (b"text,label\ncaf\xe9,x\nb,y\n", ["byte", "encoding"]),  # 9
        ("text,label\na,x\nb,y\n".encode("utf-16"), ["encoding"]),  # 10
    ],
)
def test_a_file_that_cannot_be_used_ends_with_3_and_says_where_and_what_to_do(
    pkd: Run, tmp_path: Path, csv: str | bytes, words: list[str]
) -> None:
    code, _, told = pkd(*finetune(tmp_path, csv))
    assert code == 3, told
    assert "train" in told
    for word in words:
        assert word in told, told
    assert not (tmp_path / "teacher").exists()


def test_a_missing_file_is_told_with_near_names(pkd: Run, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,x\nb,y\n")
    code, _, told = pkd("finetune", "--model", "m", "--train", tmp_path / "trian.csv", "--output", tmp_path / "t")
    assert code == 3
    assert str(tmp_path / "trian.csv") in told
    assert "train.csv" in told


def test_labels_are_matched_by_name_and_others_are_refused(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    common = ["distill", "--teacher", workspace / "teacher", "--eval", workspace / "dev.csv", "--layers", 2]
    common += ["--max-length", 32, "--output", tmp_path / "student", "--train"]
    for csv, words in (
        ("text,label\na,good\nb,bad\n", ["good", "bad", "negative", "positive"]),  # 23
        ("text,label\na,0\nb,1\n", ["negative", "positive"]),  # 24
    ):
        (tmp_path / "train.csv").write_text(csv)
        code, _, told = pkd(*common, tmp_path / "train.csv")
        assert code == 3
        assert all(word in told for word in words), told
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"a film {n},{n % 2}\n" for n in range(8)))
    check = ["annotate", "--teacher", workspace / "teacher", "--train", tmp_path / "train.csv", "--max-length", 32]
    code, _, told = pkd(*check, "--output", tmp_path / "rows", "--set", "data.label_ids_are_teacher_ids=true")
    assert code == 0, told


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--alpha", "70"], 2, ["alpha", "1"]),  # 58
        (["--temperature", "0"], 2, ["temperature"]),  # 59
        (["--beta", "-1"], 2, ["beta"]),
        (["--learning-rate", "nan"], 2, ["learning"]),
        (["--seed", "-1"], 2, ["seed"]),
        (["--layers", "9"], 2, ["9", "4"]),  # 42
        (["--layers", "1"], 2, ["patience no layer"]),
        (["--layer-map", "1:4"], 2, ["layer"]),  # 44
        (["--start", "1,9"], 2, ["start"]),
        (["--max-length", "65"], 2, ["65", "64"]),  # 56
        (["--set", "students.0.betta=5"], 2, ["beta"]),  # 60
        (["--set", "training.evaluation_strategy=epoch"], 2, ["evaluation_strategy"]),  # 61
        (["--set", "training.device=cuda"], 2, ["cuda"]),  # 72
    ],
)
def test_a_setting_that_cannot_be_ends_before_anything_is_paid_for(
    pkd: Run, workspace: Path, tmp_path: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    common = ["distill", "--teacher", workspace / "teacher", "--train", workspace / "train.csv"]
    common += ["--eval", workspace / "dev.csv", "--output", tmp_path / "student"]
    base = [] if "--max-length" in arguments else ["--max-length", "32"]
    given, _, told = pkd(*common, *base, *arguments)
    assert given == code, told
    assert all(word in told for word in words), told
    assert not (tmp_path / "student").exists()


def test_a_teacher_that_is_none_ends_with_4(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    common = ["--train", workspace / "train.csv", "--eval", workspace / "dev.csv", "--output", tmp_path / "student"]
    code, _, told = pkd("distill", "--teacher", tmp_path / "nothing", *common)
    assert (code, "does not exist" in told) == (4, True)
    code, _, told = pkd("distill", "--teacher", "someone/else", *common)
    assert (code, "HF_HUB_OFFLINE" in told) == (4, True)


def test_all_faults_of_a_recipe_come_at_once_with_their_lines(pkd: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("teacher: {model: t}\ndata:\n  train: a.csv\n  maxlength: 3\nstudents:\n  - alpha: 1.5\n")
    code, _, told = pkd("check", recipe)
    assert code == 2
    assert "recipe.yaml:4" in told
    assert "max_length" in told
    assert "recipe.yaml:6" in told


def test_a_whole_life_from_fine_tuning_to_prediction(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    quick = ["--max-length", 32, "--num-train-epochs", 1, "--set", "training.device=cpu", "--quiet"]
    rows = ["--train", workspace / "train.csv", "--eval", workspace / "dev.csv"]
    teacher, student = tmp_path / "with space é" / "teacher", tmp_path / "student"  # 74
    code, _, told = pkd("finetune", "--model", workspace / "teacher", *rows, "--output", teacher, *quick)
    assert code == 0, told
    distil = ["distill", "--teacher", teacher, *rows, "--layers", 2, "--output", student, "--controls", *quick]
    code, out, told = pkd(*distil, "--set", "evaluation.resamples=50")
    assert code == 0, told
    assert "pkd-skip-L2-spread" in out
    assert "Did it help?" in out
    code, out, _ = pkd(
        "evaluate",
        student,
        "--teacher",
        teacher,
        "--test",
        workspace / "test.csv",
        "--json",
        "--max-length",
        32,
    )
    assert code == 0
    assert "against the teacher" in out
    code, out, _ = pkd("predict", student, "a great film", "an awful plot")
    assert code == 0
    assert [line.split("\t")[2] for line in out.splitlines()] == ["a great film", "an awful plot"]
    code, out, _ = pkd("predict", student, "--json", "a great film")
    assert set(json.loads(out)["probabilities"]) == {"negative", "positive"}
    code, out, _ = pkd("report", tmp_path / "student.work")
    assert code == 0
    assert (tmp_path / "student.work" / "report.html").is_file()


def test_a_recipe_is_checked_and_run_and_kept(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"output: {tmp_path / 'run'}\nteacher: {{model: {workspace / 'teacher'}}}\n"
        f"data: {{train: {workspace / 'train.csv'}, eval: {workspace / 'dev.csv'}, max_length: 32}}\n"
        "training: {num_train_epochs: 1, device: cpu}\ncontrols: false\nstudents: [{layers: 2}]\n"
    )
    code, out, _ = pkd("check", recipe)
    assert code == 0
    assert "student layer 1 ← teacher layer 2" in out
    code, out, told = pkd("run", recipe)
    assert code == 0, told
    code, out, told = pkd("run", recipe)
    assert code == 0
    assert "kept" in told
    assert "train pkd-skip" not in told
    code, _, told = pkd("run", recipe, "--set", "students.0.beta=7")
    assert code == 0
    assert "students" in told
    assert "beta 100" in told


def test_a_learning_rate_without_bounds_ends_with_6_before_the_weights_change(
    pkd: Run, workspace: Path, tmp_path: Path
) -> None:
    code, _, told = pkd(
        "distill", "--teacher", workspace / "teacher", "--train", workspace / "train.csv", "--eval", workspace / "dev.csv",
        "--layers", 2, "--output", tmp_path / "student", "--max-length", 32, "--learning-rate", "1e30",
        "--precision", "float32", "--set", "training.device=cpu", "--set", "training.max_grad_norm=0",
    )  # fmt: skip
    assert code == 6, told
    assert "training stopped before the weights changed" in told


def test_a_folder_of_somebody_else_is_not_overwritten(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "thesis.txt").write_text("the only copy")
    rows = ["--train", workspace / "train.csv", "--max-length", 32]
    code, _, told = pkd("finetune", "--model", workspace / "teacher", *rows, "--output", tmp_path / "teacher")
    assert code == 2
    assert "--overwrite" in told


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_same_command_goes_on(workspace: Path, tmp_path: Path, sent: int, code: int) -> None:
    command = [
        sys.executable, "-m", "pkd", "distill", "--teacher", str(workspace / "teacher"),
        "--train", str(workspace / "train.csv"), "--eval", str(workspace / "dev.csv"), "--layers", "2", "--max-length", "32",
        "--output", str(tmp_path / "student"), "--num-train-epochs", "40", "--set", "training.device=cpu",
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:
        if "train pkd-skip" in line:
            break
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("student.work/students/*.partial/checkpoint-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sent)
    told = process.stderr.read()
    assert process.wait(timeout=60) == code, told
    assert "saved" in told
    assert not (tmp_path / "student").exists()
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    assert "goes on from" in again.stderr
    assert (tmp_path / "student" / "model.safetensors").is_file()
