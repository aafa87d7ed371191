from __future__ import annotations

import re

import pytest

from pkd.data.tasks import Columns, find_columns
from pkd.errors import DataError, RecipeError
from pkd.recipe.settings import DataSettings


@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        (["text", "label"], ("text",), "label"),
        (["idx", "sentence", "label"], ("sentence",), "label"),
        (["Text", "Label"], ("Text",), "Label"),
        (["review", "target"], ("review",), "target"),
        (["text", "labels", "source"], ("text",), "labels"),
        (["index", "sentence1", "sentence2", "label"], ("sentence1", "sentence2"), "label"),
        (["premise", "hypothesis", "label"], ("premise", "hypothesis"), "label"),
        (["question", "sentence", "label"], ("question", "sentence"), "label"),
        (["question1", "question2", "label"], ("question1", "question2"), "label"),
        (["query", "document", "label"], ("query", "document"), "label"),
        (["text", "text_pair", "label"], ("text", "text_pair"), "label"),
        (["text_b", "text_a", "label"], ("text_a", "text_b"), "label"),
        (["text", "category", "label"], ("text",), "label"),
    ],
)
def test_usual_names_are_found(columns, text, label):
    assert find_columns(columns, DataSettings(), "train.csv") == Columns(text, label)


def test_the_users_choice_wins_over_usual_names():
    settings = DataSettings(text_columns=["#1 String", "#2 String"], label_column="Quality")
    found = find_columns(["Quality", "text", "label", "#1 String", "#2 String"], settings, "train.tsv")
    assert found == Columns(("#1 String", "#2 String"), "Quality")


def test_a_missing_label_column_lists_the_columns_the_close_match_and_the_flag():
    with pytest.raises(DataError, match=r"no column 'label'") as error:
        find_columns(["text", "lable"], DataSettings(), "train.csv")
    for part in ("train.csv", "'text', 'lable'", "Did you mean 'lable'?", "--label-column"):
        assert part in str(error.value)


def test_a_missing_text_column_lists_the_columns_the_close_match_and_the_flag():
    with pytest.raises(DataError, match=re.escape("--text-columns")) as error:
        find_columns(["setence", "label"], DataSettings(), "train.csv")
    assert "Did you mean 'setence'?" in str(error.value)


def test_a_chosen_column_that_is_not_there_is_told_with_its_near_name():
    with pytest.raises(DataError, match=r"no column 'revew'.*Did you mean 'review'"):
        find_columns(["review", "label"], DataSettings(text_columns=["revew"]), "train.csv")
    with pytest.raises(DataError, match=r"no column 'Quality'.*--label-column"):
        find_columns(["review", "label"], DataSettings(label_column="Quality"), "train.csv")


def test_several_texts_or_labels_that_could_be_meant_are_refused():
    with pytest.raises(DataError, match=re.escape("'text' or 'sentence'. Choose with --text-columns")):
        find_columns(["text", "sentence", "label"], DataSettings(), "train.csv")
    with pytest.raises(DataError, match=r"several columns that could be the label: 'label', 'labels'"):
        find_columns(["text", "label", "labels"], DataSettings(), "train.csv")


def test_half_a_pair_is_refused():
    with pytest.raises(DataError, match=r"'sentence1' but not 'sentence2'"):
        find_columns(["sentence1", "label"], DataSettings(), "train.csv")


def test_a_first_row_of_data_is_told_from_a_header():
    with pytest.raises(DataError, match=r"header looks like data"):
        find_columns(["a truly moving film from start to end", "1"], DataSettings(), "train.csv")


def test_no_label_is_needed_where_rows_may_be_unlabelled():
    assert find_columns(["text"], DataSettings(label_column="gold"), "more.csv", labelled=False) == Columns(("text",))


@pytest.mark.parametrize(
    "settings",
    [
        DataSettings(text_columns=["a", "b", "c"]),
        DataSettings(text_columns=["a", "a"]),
        DataSettings(text_columns=["a"], label_column="a"),
    ],
)
def test_settings_that_no_file_can_meet_are_the_recipes_fault(settings):
    with pytest.raises(RecipeError):
        find_columns(["a", "b", "c"], settings, "train.csv")
