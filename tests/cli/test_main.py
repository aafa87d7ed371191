"""The command line as its users meet it: a process, its two outputs and its exit code."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import pkd as pkd_library
from pkd._version import __version__
from pkd.cli.main import app, main
from pkd.recipe.reading import read_recipe
from pkd.recipe.settings import ProblemType

COMMANDS = ["run", "demo", "recipe", "finetune", "annotate", "distill", "evaluate", "report", "predict", "check"]
COMMANDS += ["augment", "compress", "speed", "paper", "sweep", "verify", "submit", "export", "serve", "push"]


def pkd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m pkd` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "pkd", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "COLUMNS": "100", "PYTHONUTF8": "1", **environment},
        timeout=60,
        check=False,
    )


def test_the_commands_are_those_that_are_tested_here() -> None:
    assert sorted(COMMANDS) == sorted(str(command.name) for command in app.registered_commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_is_one_screen_that_ends_with_an_example(command: str) -> None:
    done = pkd(command, "--help")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) <= 57
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith(f"Usage: pkd {command}")
    last = [line for line in lines if line.strip()][-1]
    assert last.startswith(f"  pkd {command}")


def test_the_first_help_is_one_screen_that_begins_with_the_commands_most_people_need() -> None:
    done = pkd("--help", COLUMNS="80")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 45
    headings = [line for line in lines[2:] if line and not line.startswith(" ")]
    assert headings[0] == "Start here"
    first = done.stdout.split("Start here")[1].split(headings[1])[0]
    for command in ("finetune", "distill"):
        assert f"\n  {command} " in first
    assert [command for command in COMMANDS if f"\n  {command} " not in done.stdout] == []
    assert pkd(COLUMNS="80").stdout.rstrip() == done.stdout.rstrip()  # what one sees who writes `pkd` alone


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_no_help_shows_the_insides_of_a_flag(command: str) -> None:
    text = pkd(*command.split(), "--help", COLUMNS="80").stdout
    assert not re.search(r"<\w+>|\bbool\b|\bNone\b|INTEGER|BOOLEAN", text)
    for line in text.splitlines():
        assert len(line) <= 80 or line.startswith(("  pkd", "Usage:"))


def test_the_version_has_a_short_flag() -> None:
    assert pkd("-V").stdout == pkd("--version").stdout == f"pkd {__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [("pkd di", "distill"), ("pkd distill --problem-type multip", "multiple_choice"), ("pkd distill --teac", "--teacher"), ("pkd distill --method p", "pkd"),
     ("pkd speed --no-mem", "--no-memory")],
)  # fmt: skip
def test_tab_completes_commands_flags_and_values(words: str, expected: str) -> None:
    given = {"_PKD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert pkd(**given).stdout.split() == [expected]


def test_the_help_of_distill_groups_the_recipe_by_its_classes_and_shows_its_defaults() -> None:
    text = pkd("distill", "--help").stdout
    headings = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert headings[2:] == ["Required", "Data", "Student", "Training", "Run", "Output and more", "Examples"]
    assert "--beta X" in text
    assert "for L_PT; it sets β (default: 0.1)" in text
    assert "pairs [student, teacher layer]" in text
    for name, effort in (
        ("temperature X", "4, of tags 1 [default: auto]"),
        ("augment N", "[default: auto]"),
        ("effort", "[default: normal]"),
    ):
        about = " ".join(text.split(f"--{name}")[1].split("\n  --")[0].split())
        assert effort in about, name  # what the default effort gives, not the bare setting
    assert inspect.signature(pkd_library.distill).parameters["controls"].default is False
    assert "[default: --no-controls]" in " ".join(text.split())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("distill", ["--problem-type KIND", *get_args(ProblemType)]),
        ("distill", ["--train FILE", "training examples: CSV, TSV, JSONL, Parquet, CoNLL or hub name"]),
        ("speed", ["--memory, --no-memory", "[default: --memory]", "--rounds N", "[default: 5]"]),
        ("push", ["--private, --public", "(default: as your account has it)", "message of the commit"]),
        ("submit", ["--max-length N", "(default: as the model was trained)"]),
        ("run", ["--set KEY=VALUE", "give a key of the recipe another value"]),
    ],
)
def test_a_flag_shows_what_it_takes_and_what_it_is_without_it(command: str, words: list[str]) -> None:
    text = " ".join(pkd(command, "--help").stdout.split())
    assert [one for one in words if one not in text] == []


def test_every_switch_of_two_names_shows_its_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        for name in re.findall(r"^  --[a-z-]+, (--(?:no-)?[a-z-]+) ", text, re.MULTILINE):
            about = " ".join(text.split(name, 1)[1].split("\n  -")[0].split())
            assert "default: " in about, (command, name)


@pytest.mark.parametrize("arguments", [["--help"], ["distill", "--help"], ["recipe"], ["--version"]])
def test_nothing_heavy_is_imported_for_what_needs_none(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom pkd.cli.main import main\n"
        f"code = main({arguments!r})\n"
        "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_place_without_a_model_is_told_before_the_heavy_libraries_are_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pkd.cli.main import main\n"
        f"code = main(['predict', {str(tmp_path)!r}, 'a fine film'])\n"
        "sys.exit('imported torch' if 'torch' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4, done.stderr
    assert f"{tmp_path} is not a saved model" in done.stderr


def test_the_printed_recipe_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(pkd("recipe").stdout, encoding="utf-8")
    student = read_recipe(path).students[0]
    assert (student.patience, student.beta, student.kd_reduction, student.normalize) == (None, None, "sum", "length")


def test_a_recipe_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = str(tmp_path / "recipe.yaml")
    assert pkd("recipe", "--output", path).returncode == 0
    again = pkd("recipe", "--output", path)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert pkd("recipe", "--output", path, "--overwrite").returncode == 0


def test_a_bad_recipe_is_told_in_sentences_with_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("teacher: {model: t}\ndata: {train: a}\nstudents:\n  - alpha: 70\n    bta: 3\n")
    for command in ("run", "check"):
        done = pkd(command, str(path))
        assert done.returncode == 2
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert f"{path}:4: students.0.alpha is 70; it must be at most 1, did you mean 0.7?" in done.stderr
        assert f"{path}:5: students.0.bta is not known; did you mean beta?" in done.stderr


def test_debug_shows_the_traceback_too(tmp_path: Path) -> None:
    done = pkd("run", str(tmp_path / "none.yaml"), "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert f"pkd: {tmp_path / 'none.yaml'} does not exist." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["distil"], "Did you mean 'distill'?"),
        (["distill", "--teacher", "t"], "--output is missing (folder for the result)"),
        (["distill", "--alpha", "x"], "--output is missing (folder for the result)"),
        (["distill", "--teacher", "t", "--train", "a", "--output", "o", "--alpha", "7"], "\n--alpha is 7; it must be"),
        (["distill", "--teacher", "t", "--train", "a", "--output", "o", "--set", "bta=7"],
         "--set bta is no setting of pkd; did you mean --beta?"),
        (["distill", "--teacher", "t", "--train", "a", "--output", "o", "--set", "beta"], "expected key=value"),
        (["distill", "--teacher", "t", "--train", "a", "--output", "o", "--layer-map", "1:x"], "is no pair as 1:2"),
        (["annotate", "--teacher", "t", "--train", "a", "--output", "o", "--teacher-layers", "x"], "no list of layers"),
        (["annotate", "--teacher", "t", "--train", "a", "--output", "o", "--teacher-layers", "2", "--layers", "3"],
         "leave out --layers"),
        (["predict", "m", "a text", "--file", "f.csv"], "TEXT and --file are both given; give one of them"),
        (["predict", "m", "a text", "--text-columns", "a,b"], "--text-columns names columns of --file"),
        (["predict", "m", "--text-columns", "a"], "--text-columns names columns of --file"),
    ],
)  # fmt: skip
def test_wrong_usage_is_told_without_a_traceback(arguments: list[str], expected: str) -> None:
    done = pkd(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_ranks_without_a_launcher_are_told_how_to_start(tmp_path: Path) -> None:
    done = pkd("demo", "--output", str(tmp_path / "demo"), RANK="0", WORLD_SIZE="2")
    assert done.returncode == 7
    assert "Start them with torchrun" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "abc"}, "The environment variable WORLD_SIZE is 'abc', which is no number"),
        ({"RANK": "x"}, "The environment variable RANK is 'x'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2 and WORLD_SIZE 2"),
    ],
)
def test_variables_of_a_launcher_that_make_no_sense_are_named(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["run", "nowhere.yaml"]) == 2
    assert words in capsys.readouterr().err


def test_what_an_outputs_encoding_cannot_hold_and_closed_streams_are_no_error() -> None:
    done = pkd("distill", "--help", PYTHONUTF8="0", PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert "?, weight of L_PT" in done.stdout
    done = subprocess.run(
        f"'{sys.executable}' -m pkd recipe <&- >&- && '{sys.executable}' -m pkd run nowhere.yaml 2>&-; echo $?",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m pkd recipe | head -n 1; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""
