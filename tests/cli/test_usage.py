"""A command that was written wrongly is told what it has, and where what it has not belongs."""

from __future__ import annotations

import pytest

from pkd.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["finetune", "--model", "m", "--test", "t.csv"],
         "`pkd finetune` has no --test; `pkd distill`, `pkd evaluate` and `pkd speed` have."),
        (["predict", "m", "--alpha", "3"], "`pkd predict` has no --alpha; `pkd distill` has."),
        (["distill", "--lr", "3"], "write --learning-rate."),
        (["distill", "--epochs", "3"], "write --num-train-epochs."),
        (["distill", "--learnin-rate", "3"], "did you mean --learning-rate?"),
        (["distill", "--weight-decay", "3"], "write --set training.weight_decay=..."),
        (["run", "r.yaml", "--beta", "3"], "keys of the recipe are given as --set students.0.beta=..."),
        (["distill", "--fp16"], "float16 is not used"),
        (["evaluate", "m", "--zzz"], "`pkd evaluate` has no --zzz. `pkd evaluate --help` lists what there is."),
        (["distill"], "pkd: --teacher and --output are missing."),
        (["distill", "--output=o"], "pkd: --teacher is missing."),
        (["export", "m"], "pkd: --output is missing."),
        (["serve", "m", "--port", "99999"], "'--port': it must be less than or equal to 65535"),
    ],
)  # fmt: skip
def test_usage_is_told_in_sentences(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
