"""Several teachers' stored answers become one, without running a teacher."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

from conftest import make_teacher, make_tokenizer
from pkd.data.arrays import column_array
from pkd.data.shards import open_shards
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.ensemble import StoredAnswers, average_answers
from pkd.errors import CacheError
from pkd.tasks import SINGLE_LABEL


@pytest.fixture
def parts(rows: datasets.Dataset, tmp_path: Path) -> list[StoredAnswers]:
    """Two teachers of different depth, the second of which has the classes the other way round."""
    for name, depth, seed, layers, size in (("one", 4, 0, [1, 3], 16), ("other", 2, 1, [], 7)):
        (tmp_path / name).mkdir()
        teacher = TeacherPass(make_teacher(depth, seed).eval(), make_tokenizer(), layers, 64, rows_per_shard=size)
        annotate_rows(rows, teacher, tmp_path / name)
    return [StoredAnswers(tmp_path / "one"), StoredAnswers(tmp_path / "other", [1, 0])]


def test_the_mean_takes_the_place_of_the_logits_and_all_else_is_the_leads(
    parts: list[StoredAnswers], tmp_path: Path
) -> None:
    (tmp_path / "mean").mkdir()
    mean = average_answers(parts, 0, SINGLE_LABEL, tmp_path / "mean", rows_per_shard=15)
    one, other = open_shards(tmp_path / "one"), open_shards(tmp_path / "other")
    assert mean.column_names == one.column_names
    assert mean.remove_columns("teacher_logits").to_list() == one.remove_columns("teacher_logits").to_list()
    swapped = column_array(other, "teacher_logits")[:, ::-1]
    probabilities = [
        np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (column_array(one, "teacher_logits"), swapped)
    ]
    np.testing.assert_allclose(
        np.exp(column_array(mean, "teacher_logits")), (probabilities[0] + probabilities[1]) / 2, rtol=1e-5
    )
    assert len(list((tmp_path / "mean").glob("*.arrow"))) == 3


def test_states_are_those_of_the_lead(parts: list[StoredAnswers], tmp_path: Path) -> None:
    (tmp_path / "mean").mkdir()
    mean = average_answers(parts, 1, SINGLE_LABEL, tmp_path / "mean", rows_per_shard=100)
    assert "teacher_cls_states" not in mean.column_names  # the second has none


def test_answers_to_other_rows_are_no_part_of_a_mean(
    parts: list[StoredAnswers], rows: datasets.Dataset, tmp_path: Path
) -> None:
    (tmp_path / "few").mkdir()
    annotate_rows(rows.select(range(9)), TeacherPass(make_teacher().eval(), make_tokenizer(), [], 64), tmp_path / "few")
    with pytest.raises(CacheError, match=r"holds 9 rows, but .* 40: not the same rows"):
        average_answers([*parts, StoredAnswers(tmp_path / "few")], 0, SINGLE_LABEL, tmp_path, rows_per_shard=9)


def test_no_rows_have_a_mean_without_rows(rows: datasets.Dataset, tmp_path: Path) -> None:
    for name in ("one", "other", "mean"):
        (tmp_path / name).mkdir()
    for name in ("one", "other"):
        annotate_rows(rows.select([]), TeacherPass(make_teacher().eval(), make_tokenizer(), [], 64), tmp_path / name)
    parts = [StoredAnswers(tmp_path / "one"), StoredAnswers(tmp_path / "other")]
    assert len(average_answers(parts, 0, SINGLE_LABEL, tmp_path / "mean", rows_per_shard=8)) == 0
