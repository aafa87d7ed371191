"""How labels are meant is decided once, and what could be meant in two ways is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pkd.data.outputs import Outputs
from pkd.data.read_labels import LabelReader
from pkd.data.tables import RawTable
from pkd.errors import DataError, RecipeError
from pkd.recipe.settings import DataSettings, ProblemType
from pkd.tasks.binary import binary_classes

SINGLE, SETS = "single_label_classification", "multi_label_classification"


def table(values: Sequence[Any], *, is_typed: bool = False) -> RawTable:
    lines = np.arange(2, 2 + len(values))
    return RawTable(
        "train.csv", (pa.chunked_array([["x"] * len(values)]),), list(values), lines=lines, is_typed=is_typed
    )


def teacher(*names: str, kind: ProblemType = SINGLE, is_declared: bool = True) -> Outputs:
    return Outputs(kind, names, is_declared)


def read(
    values: Sequence[Any], outputs: Outputs | None = None, *more: Sequence[Any], is_typed: bool = False, **settings: Any
) -> Any:
    """The labels of a file; of several the last one's, which are read as the first ones are."""
    reader = LabelReader(DataSettings(**settings), outputs)
    for each in (values, *more):
        raw = table(each, is_typed=is_typed)
        read = reader.read(raw, reader.labelled(raw, None))
    return read.to_pylist()


def kind(values: Sequence[Any], outputs: Outputs | None = None, *, is_typed: bool = False, **settings: Any) -> str:
    reader = LabelReader(DataSettings(**settings), outputs)
    reader.read(table(values, is_typed=is_typed), None)
    assert reader.kind is not None
    return reader.kind.problem_type


SECTIONS = ["2.1", "2.10", "3.4"] * 4


def test_the_spelling_of_known_names_wins_over_what_labels_look_like() -> None:
    assert read(SECTIONS, teacher("2.1", "2.10", "3.4")) == SECTIONS
    assert read(SECTIONS, teacher("2.1", "2.10", "3.4", is_declared=False)) == SECTIONS
    assert read(SECTIONS, label_names=["3.4", "2.1", "2.10"]) == SECTIONS
    assert read(["1", "2", "3"], label_names=["1", "2", "3"]) == ["1", "2", "3"]  # no places, of which 3 is none
    assert read(["1e3", "1000"], teacher("1000", "1e3")) == ["1e3", "1000"]
    assert read(["0,5", "1,0"], teacher("0,5", "1,0")) == ["0,5", "1,0"]
    assert read(["a|b", "a"], teacher("a|b", "a")) == ["a|b", "a"]
    assert read(["[1]", "[2]"], teacher("[1]", "[2]")) == ["[1]", "[2]"]
    assert read(["True", "1"], teacher("True", "1")) == ["True", "1"]


@pytest.mark.parametrize(
    "values", [SECTIONS, ["1.0", "2.0"], ["+1", "-1"], ["007", "7"], ["1e3", "1000"], ["nan", "inf", "1"], ["1", "1.0"]]
)
def test_number_like_text_is_a_name_where_single_labels_are_asked_for(values: list[str]) -> None:
    assert read(values, problem_type=SINGLE) == values


def test_text_that_a_format_calls_text_stays_a_name(heard: Any) -> None:
    assert read(SECTIONS, is_typed=True) == SECTIONS
    assert any("are names. If they are scores, set problem_type='regression'" in note for note in heard.notes)
    assert read(SECTIONS, is_typed=True, problem_type="regression") == [2.1, 2.1, 3.4] * 4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (SECTIONS, "'2.1', '2.10' are one number in two spellings, so they could be names as well as scores"),
        (["1", "0", "1.0"], "'1', '1.0' are one number in two spellings. Write each class in one way"),
        (["1000", "1e3"], "one number in two spellings"),
        (["true", "1", "0"], "mix true and false with numbers"),
        (
            ["0,5", "1,0", "3"],
            "look like numbers with a decimal comma ('0,5', '1,0', '3'). Set problem_type='regression'",
        ),
        (["1.234,5", "2.000,0"], "decimal comma or grouped thousands"),
        (["1,234", "2,000"], "decimal comma or grouped thousands"),
        ([2.1, "a"], "Write them all as names"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused(values: list[Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        read(values)
    assert words in str(caught.value)


def test_few_scores_are_learned_with_a_warning_that_they_could_be_names(heard: Any) -> None:
    assert kind(["0.5", "1.5", "2.5"] * 5) == "regression"
    assert any("problem_type='regression' silences this" in warning for warning in heard.warnings)
    heard.warnings.clear()
    assert kind(["0.5", "1.5", "2.5"] * 5, problem_type="regression") == "regression"
    assert kind([str(number / 7) for number in range(40)] + ["0.5", "0.50"]) == "regression"
    assert not heard.warnings


def test_typed_numbers_cannot_choose_between_two_spellings() -> None:
    with pytest.raises(DataError, match=r"2\.1 is a number, and could be any of the classes '2\.1', '2\.10'"):
        read([2.1, 3.4], teacher("2.1", "2.10", "3.4"), is_typed=True)
    assert read([2.1, 3.4], teacher("2.1", "3.4"), is_typed=True) == ["2.1", "3.4"]


def test_a_decimal_comma_is_read_where_scores_are_asked_for_and_it_can_be_nothing_else() -> None:
    assert read(["0,5", "1,25", "3"], problem_type="regression") == [0.5, 1.25, 3]
    assert read(["0,5"], None, ["1,125"], problem_type="regression") == [1.125]  # as the training rows say
    assert read(["0,5"], teacher("score", kind="regression")) == [0.5]
    with pytest.raises(DataError, match=r"'1,234', which is 1\.234 if the comma is decimal and 1234 if it groups"):
        read(["1,234", "2,000"], problem_type="regression")
    with pytest.raises(DataError, match=r"line 3: the label is '1,234\.5', which is no number"):
        read(["0.5", "1,234.5"], problem_type="regression")


# Other files are read as the training rows are --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "dev", "expected"),
    [
        (["TRUE", "FALSE", "NOT ENOUGH INFO"], ["TRUE", "FALSE"], ["TRUE", "FALSE"]),
        (["1", "2", "none"], ["1", "2"], ["1", "2"]),
        (["0.5", "1.5"], ["1", "2"], [1.0, 2.0]),
        (["0", "1"], ["true", "false"], [1, 0]),
        (["0.0", "1.0"], ["1", "0"], [1, 0]),
        ([["a"], ["a", "b"]], ["a", "b"], [["a"], ["b"]]),
        (["01", "02", "x"], ["01"], ["01"]),
        (["-", "+", "o"], ["-", "-"], ["-", "-"]),
    ],
)
def test_the_training_rows_decide_for_all_files(train: list[Any], dev: list[Any], expected: list[Any]) -> None:
    assert read(train, None, dev) == expected


def test_what_parts_sets_is_decided_by_the_training_rows() -> None:
    assert read(["a;b|c", "b|c", "a;b"], None, ["b|c"], problem_type=SETS) == [["b", "c"]]
    assert read(["a|b,c", "a"], None, ["b,c"], problem_type=SETS) == [["b,c"]]
    names = teacher("oil, gas", "coal", kind=SETS)
    assert read(["oil, gas|coal", "oil, gas"], names) == [["coal", "oil, gas"], ["oil, gas"]]
    assert read(["oil, gas;coal"], names) == [["coal", "oil, gas"]]


# Sets ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]],
        [[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
        [[False, True, False, True], [True, False, False, False], [False] * 4],
        ["[0, 1, 0, 1]", "[1, 0, 0, 0]", "[0,0,0,0]"],
        ["[0. 1. 0. 1.]", "[1. 0. 0. 0.]", "[0. 0. 0. 0.]"],
        ["[0 1 0 1]", "[1 0 0 0]", "[0 0 0 0]"],
    ],
)
def test_vectors_of_zero_and_one_are_sets_of_the_classes_in_their_order(values: list[Any]) -> None:
    expected = [["b", "d"], ["a"], []]
    assert read(values, teacher("a", "b", "c", "d", kind=SETS)) == expected
    assert read(values, teacher("a", "b", "c", "d", is_declared=False)) == expected
    assert read(values, label_names=["a", "b", "c", "d"]) == expected
    with pytest.raises(DataError, match=r"vectors of 4 zeros and ones.*the classes have no names"):
        read(values)
    with pytest.raises(DataError, match=r"vectors of 4 zeros and ones.*but there are 3 classes"):
        read(values, label_names=["a", "b", "c"])


def test_vectors_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="they have 3 to 4 numbers"):
        read([[0, 1, 0, 1], [1, 0, 0]], teacher("a", "b", "c", "d", kind=SETS))


def test_parted_vectors_are_vectors_too() -> None:
    assert read(["0|1", "1|1"], problem_type=SETS, label_names=["a", "b"]) == [["b"], ["a", "b"]]
    with pytest.raises(DataError, match=r"line 3: the label is '0\|2', but labels are vectors of 2 zeros and ones"):
        read(["0|1", "1|0"], None, ["0|1", "0|2"], problem_type=SETS, label_names=["a", "b"])


def test_sets_of_class_ids_are_read_where_single_ids_are(heard: Any) -> None:
    ids = [[0, 2], [1], []]
    assert read(ids, label_names=["a", "b", "c"]) == [["a", "c"], ["b"], []]
    assert read(ids, teacher("LABEL_0", "LABEL_1", "LABEL_2", kind=SETS)) == [["LABEL_0", "LABEL_2"], ["LABEL_1"], []]
    assert any("the numbers in sets of labels are read as its class ids" in warning for warning in heard.warnings)
    named = teacher("a", "b", "c", kind=SETS)
    assert read(ids, named, label_ids_are_teacher_ids=True) == [["a", "c"], ["b"], []]
    assert read(ids, named) == [["0", "2"], ["1"], []]  # which `encode_labels` refuses, with the way out
    assert read(["0|2", "1", ""], named, label_ids_are_teacher_ids=True) == [["a", "c"], ["b"], []]
    assert read(ids, teacher("0", "1", "2", kind=SETS)) == read(ids) == [["0", "2"], ["1"], []]
    with pytest.raises(DataError, match=r"line 2: a label is '7', but the classes are numbered from 0 to 2"):
        read([[0, 7], [1]], label_names=["a", "b", "c"])


def test_single_labels_that_look_like_sets_are_warned_of_unless_they_are_asked_for(heard: Any) -> None:
    piped = ["a|b", "b|c", "a", "b", "a|c"]
    assert kind(piped) == SINGLE
    assert any("'b|c' look like sets of labels" in w and "label_sep='|'" in w for w in heard.warnings)
    heard.warnings.clear()
    kind(["a|b", "c"], teacher("a", "b", "c"))
    assert any("'a|b' look like sets of labels" in warning for warning in heard.warnings)
    heard.warnings.clear()
    kind(piped, problem_type=SINGLE)
    kind(["news, world", "sport, football", "weather"])
    kind(piped, teacher(*piped))
    assert not heard.warnings


# Rows without a label ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["-", "", None, "N/A", "n/a", "?", "—", "<NA>", float("nan")])
def test_rows_without_a_label_are_counted_and_left_out_if_asked(mark: Any) -> None:
    values = ["yes", mark, "no", mark]
    with pytest.raises(DataError, match=r"2 of 4 rows have no label \(.*lines 3, 5\).*on_no_label='drop'"):
        read(values)
    reader = LabelReader(DataSettings(on_no_label="drop"))
    kept = reader.labelled(table(values), None)
    assert kept is not None
    assert kept.tolist() == [True, False, True, False]
    assert reader.read(table(values), kept).to_pylist() == ["yes", None, "no", None]


def test_a_mark_that_a_class_is_called_is_a_label() -> None:
    assert read(["-", "+", "-"]) == ["-", "+", "-"]
    assert read(["-", "x"], label_names=["-", "x"]) == ["-", "x"]
    assert read(["?", "x"], teacher("?", "x")) == ["?", "x"]


@pytest.mark.parametrize("values", [[-1, 0, 1, 2], ["-1", "0"], ["-1", "yes"], [-100, 0, 1]])
def test_minus_one_and_minus_one_hundred_are_no_labels(values: list[Any]) -> None:
    with pytest.raises(DataError, match=r"has (hidden labels \(-1\)|the label -100) in 1 of \d rows \(line 2\)"):
        read(values)
    assert len(read([value for value in values if str(value) not in ("-1", "-100")])) == len(values) - 1


@pytest.mark.parametrize("values", [[-1, 1], [-1, 0, 1], ["-1", "1"]])
def test_minus_one_may_be_a_class_of_sentiment(values: list[Any], heard: Any) -> None:
    assert read(values) == [int(value) for value in values]
    assert any("-1 is read as a class" in warning for warning in heard.warnings)
    assert read(["-1", "5"], teacher("-1", "5")) == ["-1", "5"]


def test_minus_one_is_a_score() -> None:
    assert read(["-1", "0.5"]) == [-1, 0.5]
    with pytest.raises(DataError, match=r"1 of 3 rows have no label \('-' in 1; line 4\)"):
        read(["-1", "0.5", "-"])


def test_a_file_of_hidden_labels_can_be_predicted_only() -> None:
    with pytest.raises(DataError, match=r"hidden labels \(-1\) in 3 of 3 rows .*They can be used for prediction"):
        read([0, 1, 0], None, [-1, -1, -1])
    with pytest.raises(DataError, match="They can be used for prediction"):
        read(["-", "-"], on_no_label="drop")


def test_rows_without_a_label_in_columns_are_those_of_nothing_but_minus_one_and_nothing() -> None:
    rows = [["1", "0"], ["-1", "-1"], ["", ""]]
    with pytest.raises(DataError, match=r"2 of 3 rows have no label"):
        read(rows, label_columns=["a", "b"])
    assert read(rows, label_columns=["a", "b"], on_no_label="drop") == [["a"], [], []]


def test_the_empty_set_is_a_label() -> None:
    assert read([["a"], None, []]) == read(["a", "", ""], problem_type=SETS) == [["a"], [], []]


# One output -------------------------------------------------------------------------------------------------------


def one_output(name: str = "LABEL_0", *, is_declared: bool = False) -> Outputs:
    return Outputs("binary_classification", binary_classes(name), is_declared)


@pytest.mark.parametrize(
    "values", [["1", "0"], [1, 0], ["true", "false"], [True, False], [1.0, 0.0], [[1], [0]], [["spam"], []]]
)
def test_one_output_with_two_classes_is_binary(values: list[Any]) -> None:
    assert kind(values, one_output("spam")) == "binary_classification"
    assert read(values, one_output("spam")) == [1, 0]


def test_one_output_with_other_numbers_is_a_score_unless_a_sigmoid_follows_it() -> None:
    assert kind(["0.5", "1"], one_output()) == kind([0, 1, 2, 3], one_output()) == "regression"
    assert kind([0, 1], one_output(), problem_type="regression") == "regression"
    assert read(["1", "0"], one_output(), label_columns=[]) == [1, 0]
    for asked in (SINGLE, SETS):
        assert kind(["1", "0"], one_output(), problem_type=asked) == "binary_classification"
    with pytest.raises(RecipeError, match="problem_type is regression, but the teacher has learned binary"):
        LabelReader(DataSettings(problem_type="regression"), one_output(is_declared=True))


# What is asked for, and what a configuration says -------------------------------------------------------------------


def test_the_user_says_what_a_configuration_leaves_open() -> None:
    columns = [["1", "0"], ["1", "1"]]
    silent = teacher("a", "b", is_declared=False)
    for settings in ({"label_columns": ["a", "b"]}, {"label_columns": ["a", "b"], "problem_type": SETS}):
        reader = LabelReader(DataSettings(**settings), silent)
        reader.read(table(columns), None)
        assert reader.outputs == teacher("a", "b", kind=SETS)
    reader = LabelReader(DataSettings(), silent)
    reader.read(table([["a"], ["a", "b"]]), None)
    assert reader.outputs == teacher("a", "b", kind=SETS)  # by the labels
    with pytest.raises(RecipeError, match=f"problem_type is {SETS}, but the teacher has learned {SINGLE}"):
        LabelReader(DataSettings(problem_type=SETS), teacher("a", "b"))
    with pytest.raises(RecipeError, match="problem_type is regression, but the teacher has 2 outputs"):
        LabelReader(DataSettings(problem_type="regression"), silent)


def test_label_names_name_the_outputs_of_a_teacher_without_names(heard: Any) -> None:
    unnamed = teacher("LABEL_0", "LABEL_1", "LABEL_2")
    for values in (["b", "a", "c"], [1, 0, 2], ["1", "0", "2"]):
        reader = LabelReader(DataSettings(label_names=["a", "b", "c"]), unnamed)
        assert reader.outputs == teacher("a", "b", "c")
        assert reader.read(table(values), None).to_pylist() == ["b", "a", "c"]
    assert any("label_names names them, in this order: 0 a, 1 b, 2 c" in note for note in heard.notes)
    partly = LabelReader(DataSettings(label_names=["a", "b", "c"]), teacher("A", "LABEL_1", "c"))
    assert partly.outputs == teacher("A", "b", "c")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"], ["b", "a", "c"]])
def test_names_that_do_not_fit_the_outputs_are_refused(names: list[str]) -> None:
    with pytest.raises(RecipeError, match=r"the classifier has 3 outputs: a, LABEL_1, LABEL_2"):
        LabelReader(DataSettings(label_names=names), teacher("a", "LABEL_1", "LABEL_2"))


def test_classes_of_one_output_are_named_by_one_name_or_two() -> None:
    for names, classes in ((["ham", "spam"], ("ham", "spam")), (["spam"], ("not spam", "spam"))):
        outputs = LabelReader(DataSettings(label_names=names), one_output()).outputs
        assert outputs is not None
        assert outputs.label_names == classes
        assert outputs.output_names == ("spam",)
    with pytest.raises(RecipeError, match=r"the classifier has 1 output: LABEL_0"):
        LabelReader(DataSettings(label_names=["a", "b", "c"]), one_output())
