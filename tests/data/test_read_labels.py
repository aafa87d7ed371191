from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pkd.data.outputs import Outputs
from pkd.data.read_labels import LabelReader
from pkd.data.tables import RawTable
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings


def labels(values: list[Any], **settings: Any) -> list[Any]:
    texts = (pa.chunked_array([["x"] * len(values)]),)
    table = RawTable("train.csv", texts, values, lines=np.arange(2, 2 + len(values)), is_typed=False)
    return LabelReader(DataSettings(**settings)).read(table, None).to_pylist()


def test_fractions_are_scores_unless_classes_are_asked_for() -> None:
    assert labels(["1", "2.5"]) == [1.0, 2.5]
    assert labels([1, 0.5]) == [1.0, 0.5]
    assert labels(["1", "2.5"], problem_type="single_label_classification") == ["1", "2.5"]
    with pytest.raises(DataError, match=r"line 3: the label is 2.5; labels must be classes"):
        labels([1, 2.5], problem_type="single_label_classification")


def test_a_score_must_be_a_finite_number() -> None:
    assert labels(["3", "4"], problem_type="regression") == [3.0, 4.0]
    with pytest.raises(DataError, match=r"line 3: the label is 'good', which is no number"):
        labels(["3", "good"], problem_type="regression")
    with pytest.raises(DataError, match="no number"):
        labels([1.0, float("inf")], problem_type="regression")


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        (["a|b", "", "b"], {}),
        (["a;b", "", "b"], {}),
        (["b, a", "", "b"], {}),
        (["a b", "", "b"], {"label_sep": " "}),
        (["['a', 'b']", "[]", "['b']"], {}),
        ([["a", "b"], [], ["b"]], {}),
        ([["b", "a", "a"], None, "b"], {}),
    ],
)
def test_sets_are_read_from_lists_and_from_parted_text(values: list[Any], settings: dict[str, str]) -> None:
    assert labels(values, problem_type="multi_label_classification", **settings) == [["a", "b"], [], ["b"]]


def test_lists_are_sets_without_being_told() -> None:
    assert labels([["a"], ["a", "b"]]) == [["a"], ["a", "b"]]


def test_columns_of_zero_and_one_are_sets() -> None:
    rows = [["1", "0"], ["0", "false"], ["True", "yes"]]
    assert labels(rows, label_columns=["toxic", "insult"]) == [["toxic"], [], ["toxic", "insult"]]
    with pytest.raises(DataError, match=r"line 3: 'insult' is '0.7'"):
        labels([["1", "0"], ["0", "0.7"]], label_columns=["toxic", "insult"])


def test_integer_classes_get_their_names() -> None:
    assert labels(["1", "0"], label_names=["no", "yes"]) == ["yes", "no"]
    assert labels(["yes", "no"], label_names=["no", "yes"]) == ["yes", "no"]
    with pytest.raises(DataError, match=r"line 3: the label is 2, but label_names names the classes 0 to 1"):
        labels(["1", "2"], label_names=["no", "yes"])


@pytest.mark.parametrize("values", [["True", "false", None], [True, False, None]])
def test_true_and_false_are_words_where_classes_are_called_so(values: list[Any]) -> None:
    table = RawTable("train.csv", (pa.chunked_array([["x"] * 3]),), values)
    kept = np.array([True, True, False])

    def read(settings: DataSettings, names: Sequence[str] = ()) -> list[Any]:
        teacher = Outputs("single_label_classification", tuple(names)) if names else None
        words = LabelReader(settings, teacher).read(table, kept).to_pylist()
        return [word.casefold() if isinstance(word, str) else word for word in words]

    for named in (["FALSE", "True"], ["unknown", "true", "false"]):
        assert read(DataSettings(), named) == read(DataSettings(label_names=named)) == ["true", "false", None]
    assert read(DataSettings(), ["0", "1"]) == [1, 0, None]
