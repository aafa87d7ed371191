"""The canary: answers that are to be used again are asked for again, some of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from conftest import make_teacher, make_tokenizer
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.canary import doubt_answers, is_doubtful


@pytest.fixture
def stored(rows: datasets.Dataset, teacher: torch.nn.Module, tmp_path: Path) -> dict[str, Any]:
    as_stored = TeacherPass(teacher, make_tokenizer(), [1, 3], 64)  # type: ignore[arg-type]
    annotate_rows(rows, as_stored, tmp_path)
    return {"folder": tmp_path, "rows": rows, "teacher": as_stored, "stored_dtype": None, "seed": 5}


def doubted(stored: dict[str, Any], **teacher: Any) -> str | None:
    """The doubts about what is stored, of a teacher that differs in this."""
    return doubt_answers(**{**stored, "teacher": replace(stored["teacher"], **teacher)})


def test_answers_of_this_teacher_are_not_doubted(stored: dict[str, Any]) -> None:
    assert doubt_answers(**stored) is None
    assert doubted(stored, autocast_dtype=torch.bfloat16) is None  # another precision, allowed for


def test_another_teacher_another_order_and_other_rows_are(stored: dict[str, Any]) -> None:
    other = make_teacher(seed=1).eval()
    assert "answers row" in str(doubted(stored, model=other))
    turned = stored["rows"].select(range(39, -1, -1))
    assert "off by" in str(doubt_answers(**{**stored, "rows": turned}))
    assert "40 rows are stored, but there are 39" in str(
        doubt_answers(**{**stored, "rows": stored["rows"].select(range(39))})
    )


def test_states_under_another_layers_name_are(stored: dict[str, Any], tmp_path: Path) -> None:
    with torch.no_grad():  # the same answers, other states on the way
        stored["teacher"].model.bert.encoder.layer[2].output.LayerNorm.bias.add_(0.5)
    assert doubt_answers(**stored) is not None


@pytest.mark.parametrize(
    ("rows", "value", "doubted"),
    [
        (1, 0.024, False),
        (4, 0.024, False),
        (5, 0.024, True),
        (1, 0.11, True),
        (1, float("nan"), True),
        (32, 0.02, False),
    ],
)
def test_a_few_rows_may_be_moved_by_the_arithmetic_and_none_by_far(rows: int, value: float, doubted: bool) -> None:
    far = np.zeros(32)
    far[:rows] = value
    assert is_doubtful(far, 0.02) is doubted


def test_no_rows_raise_no_doubt(stored: dict[str, Any], tmp_path: Path) -> None:
    none = stored["rows"].select([])
    (tmp_path / "none").mkdir()
    annotate_rows(none, replace(stored["teacher"], teacher_layers=[]), tmp_path / "none")
    assert doubted({**stored, "folder": tmp_path / "none", "rows": none}, teacher_layers=[]) is None
