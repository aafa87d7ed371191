from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkd.data.find_columns import (
    ANSWERS,
    CHOICES,
    CONTEXTS,
    GROUP_COLUMNS,
    LABELS,
    OTHER_LABELS,
    QUESTIONS,
    ROW_IDS,
    SINGLE_TEXTS,
    TEXT_PAIRS,
    Columns,
    find_columns,
)
from pkd.data.sources import choose_columns
from pkd.errors import DataError, RecipeError
from pkd.recipe.settings import DataSettings


@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        (["text", "label"], ("text",), "label"),
        (["idx", "sentence", "label"], ("sentence",), "label"),
        (["Text", "Label"], ("Text",), "Label"),
        (["review", "target"], ("review",), "target"),
        (["utterance", "intent"], ("utterance",), "intent"),
        (["review", "sentiment"], ("review",), "sentiment"),
        (["text", "emotion", "label"], ("text",), "label"),
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
    for part in ("train.csv", "'text', 'lable'", "Did you mean 'lable'?", "with label_column."):
        assert part in str(error.value)


def test_a_missing_text_column_lists_the_columns_the_close_match_and_the_flag():
    with pytest.raises(DataError, match="with text_columns") as error:
        find_columns(["setence", "label"], DataSettings(), "train.csv")
    assert "Did you mean 'setence'?" in str(error.value)


def test_a_chosen_column_that_is_not_there_is_told_with_its_near_name():
    with pytest.raises(DataError, match=r"no column 'revew'.*Did you mean 'review'"):
        find_columns(["review", "label"], DataSettings(text_columns=["revew"]), "train.csv")
    with pytest.raises(DataError, match=r"no column 'Quality'.*label_column"):
        find_columns(["review", "label"], DataSettings(label_column="Quality"), "train.csv")


def test_several_texts_or_labels_that_could_be_meant_are_refused():
    with pytest.raises(DataError, match=re.escape("'text' or 'sentence'. Choose with text_columns")):
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


@pytest.mark.parametrize(
    ("columns", "text", "choices"),
    [
        (["text", "question", "choices", "answer"], ("text", "question"), "choices"),
        (["question", "article", "options", "answer"], ("article", "question"), "options"),
        (["Passage", "Query", "choices", "label"], ("Passage", "Query"), "choices"),
        (["sent1", "sent2", "ending0", "ending1", "label"], ("sent1", "sent2"), None),
        (["premise", "choice1", "choice2", "question", "label"], ("premise", "question"), None),
        (["text_a", "choice_0", "choice_1", "label"], ("text_a",), None),
        (["question", "choices", "answer"], ("question",), "choices"),
    ],
)
def test_a_question_is_told_from_what_it_is_about_by_their_names(columns, text, choices):
    found = find_columns(columns, DataSettings(), "asked.jsonl")
    assert (found.text, found.choices, len(found.choice_set)) == (text, choices, 0 if choices else 2)
    assert found.label in ("answer", "label")


def test_a_question_and_its_context_can_be_chosen_where_multiple_choices_are_asked_for():
    columns = ["asked", "about", "question", "choices", "answer"]
    chosen = DataSettings(text_columns=["about", "asked"], problem_type="multiple_choice")
    found = find_columns(columns, chosen, "asked.jsonl")
    assert (found.text, found.choices, found.label) == (("about", "asked"), "choices", "answer")
    with pytest.raises(DataError, match=r"has no column 'abuot'.*Did you mean 'about'"):
        find_columns(columns, DataSettings(text_columns=["abuot"], problem_type="multiple_choice"), "asked.jsonl")


def test_what_multiple_choices_lack_is_told():
    asked = DataSettings(problem_type="multiple_choice")
    with pytest.raises(DataError, match=r"has no choices .*'options', .*its columns: 'question', 'answer'"):
        find_columns(["question", "answer"], asked, "asked.csv")
    with pytest.raises(DataError, match=r"has no questions .*'question'.*text_columns"):
        find_columns(["stem", "choices", "answer"], asked, "asked.csv")


USUAL = sorted(
    {name for pair in TEXT_PAIRS for name in pair}.union(
        SINGLE_TEXTS, LABELS, OTHER_LABELS, CONTEXTS, QUESTIONS, CHOICES,
        ANSWERS, GROUP_COLUMNS, ROW_IDS, ["choice_0", "choice_1", "optiona", "optionb", "ending_9"],
    )
)  # fmt: skip
OF_A_FILE = st.lists(
    st.sampled_from(USUAL).flatmap(lambda name: st.sampled_from([name, name.upper(), name.title()])),
    min_size=1,
    max_size=6,
    unique=True,
)
KINDS = st.sampled_from(["auto", "single_label_classification", "multiple_choice"])


@given(columns=OF_A_FILE, kind=KINDS, labelled=st.booleans(), chosen=st.booleans())
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_column_of_a_usual_name_is_read_or_named(heard, columns, kind, labelled, chosen):
    asked = DataSettings(problem_type=kind, text_columns=columns[:1] if chosen else [])
    heard.notes.clear()
    heard.warnings.clear()
    try:
        found = choose_columns(columns, settings=asked, source="file", labelled=labelled)
    except DataError:
        return
    told = re.sub(r"Choose other columns with .*", "", " ".join([*heard.notes, *heard.warnings]))
    unread = [column for column in columns if column not in found.all]
    assert [column for column in unread if f"'{column}'" not in told] == []
    assert [column for column in found.all if f"'{column}'" in told] == []
    assert bool(heard.notes or heard.warnings) == bool(unread)
