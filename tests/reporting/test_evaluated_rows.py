from __future__ import annotations

import pytest

from pkd.reporting.evaluated_rows import rows_in_words, rows_warning
from pkd.reporting.results import MeasuredOn


def on(held_out: bool | None = False, chose: list[str] | None = None, **shared: int) -> MeasuredOn:
    return MeasuredOn(source="test.csv", held_out=held_out, shared=shared, chose=["epoch"] if chose is None else chose)


@pytest.mark.parametrize(
    ("split", "rows", "described", "words"),
    [
        ("test", 1066, on(held_out=True), "1,066 held-out rows"),
        ("test", 1, on(held_out=True), "1 held-out row"),
        ("test", 96, on(held_out=None), "96 rows of test.csv"),
        ("test", 96, on(train=96), "96 test rows (all of them are training rows too)"),
        ("test", 96, on(train=1), "96 test rows (1 of them is a training row too)"),
        ("test", 1, on(train=1), "1 test row (it is a training row too)"),
        ("test", 96, on(eval=96), "96 test rows (all of them are development rows too, which chose the epoch)"),
        (
            "test",
            1200,
            on(train=1100, eval=3, unlabelled=1, chose=["epoch", "start"]),
            "1,200 test rows (1,100 of them are training rows too; 3 of them are development rows too, which chose the "
            "epoch and the start; 1 of them is an unlabelled text too)",
        ),
        ("eval", 60, on(), "60 development rows (which chose the epoch)"),
        (
            "eval",
            60,
            on(train=60, chose=["epoch", "start", "hyper-parameters"]),
            "60 development rows (which chose the epoch, the start and the hyper-parameters; "
            "all of them are training rows too)",
        ),
    ],
)
def test_only_rows_that_nobody_saw_and_that_chose_nothing_are_held_out(
    split: str, rows: int, described: MeasuredOn, words: str
) -> None:
    assert rows_in_words(split, rows, described) == words


def test_scores_that_flatter_say_why_and_others_say_nothing() -> None:
    assert rows_warning("test", 96, on(held_out=True)) == rows_warning("test", 96, on(held_out=None)) == ""
    seen = rows_warning("test", 96, on(train=12, eval=30))
    assert seen.startswith(
        "12 of the 96 test rows are training rows too, word for word; 30 are development rows too, which chose the "
        "epoch: there the scores"
    )
    assert rows_warning("test", 96, on(train=96)).startswith("All 96 test rows are training rows too, word for word:")
    selected = rows_warning("eval", 60, on(chose=["epoch", "start"]))
    assert "chose the epoch and the start, so they flatter" in selected
    assert "--test FILE" in selected
    assert "word for word" not in selected
