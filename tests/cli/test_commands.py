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
