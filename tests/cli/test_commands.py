"""The verbs through the real command line: what they print and leave behind; bad input is in test_bad_input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pkd.cli.main import main
from pkd.cli.using import lines_as_texts

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


def test_a_whole_life_from_fine_tuning_to_prediction(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    quick = ["--max-length", 32, "--num-train-epochs", 1, "--set", "training.device=cpu", "--quiet"]
    rows = ["--train", workspace / "train.csv", "--eval", workspace / "dev.csv"]
    teacher, student = tmp_path / "teacher", tmp_path / "student"
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


@pytest.mark.parametrize("source", ["standard input", "texts.txt"])
@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (b"a great film\na fin\xe9 film\n", "line 2: the byte 0xe9 at character 6 is not UTF-8 text"),
        (b"a great film\na film\tan awful plot\n", "Text 2 is a pair"),
    ],
)
def test_lines_that_cannot_be_answered_are_told_after_the_answers_before_them(
    pkd: Run, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, lines: bytes, words: str
) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(lines)
    with path.open(encoding="ascii") as file:  # whatever the locale says
        monkeypatch.setattr("sys.stdin", file)
        code, out, told = pkd(
            "predict", workspace / "teacher", *(() if source == "standard input" else ("--file", path))
        )
    assert (code, [line.split("\t")[2] for line in out.splitlines()]) == (3, ["a great film"]), told
    assert words in told


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


def test_every_line_is_a_text_or_a_pair() -> None:
    assert list(lines_as_texts(["a\r\n", "\n", " \n", "b"])) == ["a", "", " ", "b"]
    assert list(lines_as_texts(["a\tb\n", "\n", "c\td"])) == [("a", "b"), ("", ""), ("c", "d")]
