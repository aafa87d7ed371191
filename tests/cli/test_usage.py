"""A command that was written wrongly is told what it has, and where what it has not belongs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pkd.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["finetune", "--model", "m", "--test", "t.csv"],
         "`pkd finetune` has no --test; `pkd distill`, `pkd compress`, `pkd augment`, `pkd evaluate` and `pkd speed` have\n"),
        (["predict", "m", "--alpha", "3"], "`pkd predict` has no --alpha; `pkd distill` has\n"),
        (["distill", "--lr", "3"], "write --learning-rate\n"),
        (["distill", "--epochs", "3"], "write --num-train-epochs\n"),
        (["distill", "--learnin-rate", "3"], "did you mean --learning-rate?"),
        (["distill", "--weight-decay", "3"], "write --set training.weight_decay=..."),
        (["run", "r.yaml", "--beta", "3"], "keys of the recipe are given as --set students.0.beta=..."),
        (["distill", "--fp16"], "write --precision bfloat16 or --precision float32; float16 is not used"),
        (["evaluate", "m", "--zzz"], "`pkd evaluate` has no --zzz. `pkd evaluate --help` lists what there is.\n"),
        (["export", "m"], "pkd: --output is missing (folder for the result)\n"),
        (["serve", "m", "--port", "99999"], "--port is 99999; it must be at most 65535\n"),
        (["serve", "m", "--port", "x"], "--port is x; it must be a whole number\n"),
        (["speed", "m", "--layers", "3,x"], "--layers 3,x is no list of layers as 2,4\n"),
        (["export", "m", "--int8=3"], "--int8 takes no value\n"),
        (["run", "a.yaml", "b.yaml"], "`pkd run` has no use for 'b.yaml'\n"),
        (["push"], "OWNER/NAME is missing (repository on the hub)\n"),
        (["distill", "--student", "a", "--student=b"],
         "--student is given as a and as b; it takes one value; several students are a list in a recipe: `students`\n"),
        (["recipe", "--zzz"], "pkd: `pkd recipe` has no --zzz. "),
        (["predict", "m", "a text", "--file", "x.csv"], "TEXT and --file are both given; give one of them\n"),
    ],
)  # fmt: skip
def test_usage_is_told_in_sentences(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """What each line of the complaint begins with."""
    assert main(list(arguments)) == 2
    lines = capsys.readouterr().err.removeprefix("pkd: ").splitlines()
    if len(lines) > 1:
        assert lines.pop(0) == f"{len(lines)} things are wrong:"
    return [line.split(" is ")[0].split(";")[0].split(": ")[0] for line in lines]


def test_unknown_flags_missing_ones_wrong_values_and_what_the_job_finds_are_told_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(
        capsys, "distill", "--zzz", "3", "--lr=3", "--fp16", "--alpha", "x", "--device", "foo", "--train", "no.csv",
        "--layer-map", "1:x", "--set", "a", "--set", "data.sep=",
    ) == [
        "`pkd distill` has no --zzz. `pkd distill --help` lists what there is.", "`pkd distill` has no --lr",
        "`pkd distill` has no --fp16", "--teacher", "--output", "--layer-map 1:x", "--set a", "--device", "--alpha",
        "--set data.sep", "--train",
    ]  # fmt: skip
    assert told(capsys, "distill") == ["--teacher", "--output", "--train"]
    assert told(capsys, "evaluate", "--test", "no.csv") == ["MODEL", "--test"]
    assert told(capsys, "push", "--dry-run", "/") == ["MODEL", "OWNER/NAME", "--dry-run"]
    assert told(capsys, "submit", "no/", "--max-length", "x") == ["--task", "--output", "--max-length", "MODEL"]
    assert told(capsys, "recipe", "--zzz", "--output", "/nowhere/r.yaml") == [
        "`pkd recipe` has no --zzz. `pkd recipe --help` lists what there is.",
        "--output",
    ]
    assert not list(tmp_path.iterdir())


def test_what_follows_an_unknown_flag_is_not_taken_for_a_word_of_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told(capsys, "speed", "--zzz", "m", "--rounds", "x") == [
        "`pkd speed` has no --zzz. `pkd speed --help` lists what there is.",
        "--rounds",
    ]
    assert told(capsys, "run", "--zzz", "r.yaml") == ["`pkd run` has no --zzz. `pkd run --help` lists what there is."]


def test_a_flag_without_its_value_does_not_swallow_the_next_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "distill", "--teacher", "--train", "no.csv", "--output", "o", "--eval") == [
        "--eval needs a value", "--teacher needs a value", "--train",
    ]  # fmt: skip
    given = ["distill", "--teacher", "no", "--train", "no.csv", "--output", "o"]
    assert "--unlabelled needs a value" in told(capsys, *given, "--unlabelled", "--overwrite")[0]


def test_a_recipe_file_that_is_not_there_is_told_beside_a_wrong_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "nowhere.yaml", "--device", "foo"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "pkd: 2 things are wrong:"
    assert lines[1] == "--device is foo; it must be auto, cpu or cuda"
    assert "nowhere.yaml does not exist" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "names", "code"),
    [
        (["serve", "no/", "--port", "-1", "--max-queue", "3", "--host", "no host", "--workers", "0"],
         ["--port", "--workers", "'no host'", "--max-queue", "MODEL"], 2),
        (["submit", "no/", "--task", "foo", "--output", "s3://x/y"], ["--task", "--output", "MODEL"], 2),
        (["submit", "no/", "--task", "sst2", "--folder", "nowhere", "--output", "o"], ["--folder", "MODEL"], 3),
        (["push", "no/", "a/b/c", "--dry-run", "/"], ["MODEL", "OWNER/NAME", "--dry-run"], 2),
        (["report", "no/"], ["RUN"], 5),
        (["verify", "no/"], ["RUN"], 5),
        (["verify", "."], ["RUN"], 5),
        (["paper", "table9", "--output", "s3://x/y", "--teacher", "no/"], ["TABLE", "--output", "--teacher"], 2),
        (["paper", "table1", "--tasks", "foo", "--set", "bta=3", "--set", "students.0.beta=-1", "--base", "no/"],
         ["--tasks", "--base", "--set bta", "--set students.0.beta"], 2),
        (["paper", "table1", "--glue", "nowhere"], ["--glue"], 3),
        (["paper", "table4", "--dry-run"], ["TABLE"], 2),
        (["demo", "--output", "s3://x/y", "--seeds", "0"], ["--seeds", "--output"], 2),
        (["recipe", "--output", "."], ["--output"], 2),
    ],
)  # fmt: skip
def test_the_commands_without_a_recipe_tell_all_at_once_before_anything_heavy_is_loaded(
    arguments: list[str], names: list[str], code: int, tmp_path: Path
) -> None:
    program = (
        "import sys\nfrom pkd.cli.main import main\n"
        f"code = main({arguments!r})\n"
        "heavy = {'torch', 'transformers', 'datasets', 'altair', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    lines = done.stderr.removeprefix("pkd: ").splitlines()
    lines = lines[1:] if len(lines) > 1 else lines
    assert [line.split(" is ")[0].split(":")[0] for line in lines] == names, done.stderr
    assert done.returncode == code
