from __future__ import annotations

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkd.data.labels import encode_labels, find_label_names
from pkd.data.outputs import has_placeholder_names
from pkd.errors import DataError
from pkd.tasks import MULTI_LABEL, SINGLE_LABEL

NAMES = ("negative", "positive")


def rows(labels, texts=None):
    return datasets.Dataset.from_dict({"text": texts or [f"text {i}" for i in range(len(labels))], "label": labels})


def encode(labels, names=NAMES, split="eval", **more):
    encoded = encode_labels(rows(labels), names, split=split, source="dev.csv", **more)
    assert str(encoded.features["label"].dtype) == "int64"
    return list(encoded["label"])


def test_names_of_words_are_sorted():
    assert find_label_names(rows(["pos", "neg", "pos"])) == ("neg", "pos")


def test_names_of_integers_are_their_digits_by_value():
    assert find_label_names(rows([10, 2, 0, 2])) == ("0", "2", "10")


@pytest.mark.parametrize("labels", [["x", "y", "x"], [["x"], ["y"], []]])
def test_names_that_do_not_name_every_class_are_refused_and_said_where_they_stand(labels):
    kind = MULTI_LABEL if isinstance(labels[0], list) else SINGLE_LABEL
    with pytest.raises(DataError, match=r"labels that label_names does not name: 'x', 'y'\. It names 'a', 'b'"):
        find_label_names(rows(labels), kind, ["a", "b"])
    assert find_label_names(rows(labels), kind, ["X", "y", "z"]) == ("X", "y", "z")
    assert find_label_names(rows([0, 1, 1]), MULTI_LABEL, ["a", "b"]) == ("a", "b")  # refused later


def test_one_class_to_learn_is_refused():
    with pytest.raises(DataError, match=r"only 1 class: all 3 rows have the label 'pos'"):
        find_label_names(rows(["pos"] * 3))
    with pytest.raises(DataError, match=r"only 1 class"):
        encode(["positive"] * 3, split="train")


def test_classes_that_differ_in_case_alone_are_warned_of(heard):
    find_label_names(rows(["Pos", "pos", "neg"]))
    assert any("'Pos', 'pos'" in warning for warning in heard.warnings)


def test_placeholder_names_are_known():
    assert has_placeholder_names(("LABEL_0", "LABEL_1", "LABEL_2"))
    assert not has_placeholder_names(("LABEL_1", "LABEL_0"))
    assert not has_placeholder_names(())


def test_words_are_matched_by_name_whatever_the_order_of_the_classes():
    assert encode(["positive", "negative"], ("positive", "negative")) == [0, 1]
    assert encode(["positive", "negative"], ("negative", "positive")) == [1, 0]


def test_case_does_not_matter_unless_it_tells_classes_apart():
    assert encode(["POSITIVE", "Negative"]) == [1, 0]
    assert encode(["Pos", "pos"], ("pos", "Pos")) == [1, 0]
    with pytest.raises(DataError, match=r"'POS'"):
        encode(["POS", "pos"], ("pos", "Pos"))


def test_integers_are_matched_with_names_that_are_their_digits():
    assert encode([5, 1, 3], ("1", "3", "5")) == [2, 0, 1]


def test_integers_against_names_of_words_are_refused_with_both_lists_and_the_way_out():
    with pytest.raises(DataError, match=r"not among those of the classifier") as error:
        encode([0, 1, 1])
    for part in ("'0', '1'", "'negative', 'positive'", "label_ids_are_teacher_ids=True", "'1' (2 rows)"):
        assert part in str(error.value)


def test_integers_are_class_ids_if_the_user_says_so():
    assert encode([1, 0, 1], ids_are_teacher_ids=True) == [1, 0, 1]
    assert encode([0, 1], ("1", "0"), ids_are_teacher_ids=True) == [0, 1]
    with pytest.raises(DataError, match=r"'2' \(1 rows\)"):
        encode([1, 0, 2], ids_are_teacher_ids=True)


def test_integers_are_class_ids_where_classes_have_no_names():
    assert encode([1, 0], ("LABEL_0", "LABEL_1")) == [1, 0]
    with pytest.raises(DataError, match=r"'7'.*output 0 first, with label_names"):
        encode([1, 7], ("LABEL_0", "LABEL_1"))


def test_a_label_that_training_never_saw_is_refused_with_its_count():
    with pytest.raises(DataError, match=r"dev.csv") as error:
        encode(["positive", "neutral", "neutral"])
    for part in ("'neutral' (2 rows)", "'neutral', 'positive'", "'negative', 'positive'"):
        assert part in str(error.value)


def test_rows_without_a_column_of_labels_are_refused():
    without = rows(["positive"]).remove_columns("label")
    with pytest.raises(DataError, match=r"has no labels"):
        encode_labels(without, NAMES, split="test", source="test.csv")


def test_rows_of_one_class_are_measured_on_and_many_of_them_warned_of(heard):
    assert encode(["positive"] * 3) == [1, 1, 1]
    assert not heard.warnings
    assert encode(["positive"] * 30) == [1] * 30
    assert any("'positive' in all of its 30 rows" in warning for warning in heard.warnings)


def test_a_class_with_one_example_is_warned_of(heard):
    encode(["positive", "negative", "negative"], split="train")
    assert any("'positive' has only one example" in warning for warning in heard.warnings)


def test_the_texts_stay_with_their_labels():
    data = rows(["positive", "negative", "positive"], ["a", "b", "c"]).select([2, 1])
    encoded = encode_labels(data, NAMES, split="eval", source="dev.csv")
    assert [(row["text"], row["label"]) for row in encoded] == [("c", 1), ("b", 0)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=12), st.permutations(["a", "b", "c"]))
def test_the_name_at_an_id_is_the_label_for_any_order_of_classes(labels, names):
    assert [names[index] for index in encode(labels, names)] == labels
