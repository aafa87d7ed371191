"""Files with one word a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from transformers import BertConfig

import pkd
from pkd.data.examples import load_examples
from pkd.data.labels import label_array
from pkd.data.outputs import Outputs, outputs_of
from pkd.data.sources import read_data, read_sentences, read_texts
from pkd.data.streaming import spool
from pkd.data.windows import Sentence
from pkd.errors import DataError, TeacherError
from pkd.progress import stage
from pkd.recipe.settings import DataSettings

TAGGED = "EU NNP I-ORG\nrejects VBZ O\n\nPeter NNP I-PER\nBlackburn NNP I-PER\n. . O\n"


def _file(folder: Path, text: str, name: str = "train.conll") -> str:
    path = folder / name
    path.write_bytes(text.encode())
    return str(path)


def _rows(folder: Path, text: str, name: str = "train.conll", **settings: Any) -> datasets.Dataset:
    return read_data(DataSettings(train=_file(folder, text, name), **settings))["train"]


def _labels(folder: Path, text: str, name: str = "train.conll", **settings: Any) -> list[list[str]]:
    labels: list[list[str]] = _rows(folder, text, name, **settings)["label"][:]
    return labels


def test_sentences_become_texts_with_the_places_of_their_words(tmp_path: Path) -> None:
    rows = _rows(tmp_path, TAGGED)

    assert rows.to_list() == [
        {"text": "EU rejects", "word_offsets": [0, 2, 3, 10], "label": ["B-ORG", "O"]},
        {"text": "Peter Blackburn .", "word_offsets": [0, 5, 6, 15, 16, 17], "label": ["B-PER", "I-PER", "O"]},
    ]


def test_rows_are_encoded_by_name_with_whole_pairs(tmp_path: Path) -> None:
    examples = load_examples(DataSettings(train=_file(tmp_path, TAGGED)))

    assert examples.label_names == ("O", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert examples.outputs.kind.has_tokens
    assert examples.splits["train"]["label"][:] == [[1, 0], [3, 4, 0]]
    assert label_array(examples.splits["train"]).tolist() == [[1, 0, -100], [3, 4, 0]]
    assert pkd.load_data(train=_file(tmp_path, TAGGED))["train"]["label"][:] == [[1, 0], [3, 4, 0]]


def test_a_teacher_gives_the_order_of_the_classes(tmp_path: Path) -> None:
    teacher = Outputs("token_classification", ("B-PER", "I-PER", "O", "B-ORG", "I-ORG", "B-LOC"))

    examples = load_examples(DataSettings(train=_file(tmp_path, TAGGED)), teacher=teacher)

    assert examples.label_names == teacher.label_names
    assert examples.splits["train"]["label"][:] == [[3, 2], [0, 1, 2]]


def test_a_tag_that_the_teacher_lacks_is_refused_with_both_lists(tmp_path: Path) -> None:
    teacher = Outputs("token_classification", ("O", "B-PER", "I-PER"))

    with pytest.raises(DataError, match=r"labels that are not among those of the classifier: 'B-ORG' \(1 words\)"):
        load_examples(DataSettings(train=_file(tmp_path, TAGGED)), teacher=teacher)


def test_a_classifier_with_only_inner_tags_takes_beginnings_as_these_where_that_loses_nothing(tmp_path: Path) -> None:
    teacher = Outputs("token_classification", ("O", "I-PER", "I-ORG"))
    side_by_side = "A I-PER\nB B-PER\nC I-ORG\n"

    apart = load_examples(DataSettings(train=_file(tmp_path, TAGGED)), teacher=teacher)

    assert apart.splits["train"]["label"][:] == [[2, 0], [1, 1, 0]]
    with pytest.raises(DataError, match=r"in 1 rows, first in row 1, two spans of one type stand side by side"):
        load_examples(DataSettings(train=_file(tmp_path, side_by_side)), teacher=teacher)


def test_a_saved_classifier_of_words_has_the_classes_of_its_configuration_in_iob2() -> None:
    def config(*names: str) -> BertConfig:
        return BertConfig(
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            architectures=["BertForTokenClassification"],
        )

    assert outputs_of(config("O", "PER_B", "PER_I")) == Outputs("token_classification", ("O", "B-PER", "I-PER"))
    with pytest.raises(TeacherError, match=r"its classes \(O, B-PER, E-PER\) mark where spans end"):
        outputs_of(config("O", "B-PER", "E-PER"))


def test_a_classifier_of_whole_texts_is_refused(tmp_path: Path) -> None:
    teacher = Outputs("single_label_classification", ("O", "B-ORG"), is_declared=False)

    with pytest.raises(DataError, match=r"train.conll has tags of words, but classes are learned"):
        load_examples(DataSettings(train=_file(tmp_path, TAGGED)), teacher=teacher)


@pytest.mark.parametrize(
    "text",
    [
        "EU\tNNP\tB-ORG\nrejects\tVBZ\tO\n\nPeter\tNNP\tB-PER\n",  # tabs
        "EU   NNP  B-ORG\nrejects VBZ O\n\nPeter NNP B-PER",  # runs of spaces, no last line end
        "\ufeffEU NNP B-ORG\r\nrejects VBZ O\r\n\r\nPeter NNP B-PER\r\n",  # byte order mark, Windows
        "\n\n-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\t\n \nPeter NNP B-PER\n\n-DOCSTART-\n\n",
        "# sent_id = 1\n# text = EU rejects\nEU NNP B-ORG\nrejects VBZ O\n\n# newdoc\nPeter NNP B-PER\n",
        "EU NNP B-ORG \nrejects VBZ O\t\n\nPeter NNP\tB-PER\n",  # blanks at the ends, mixed
        "word pos ner\nEU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\n",  # a header
    ],
)
def test_ways_to_write_a_file_give_the_same_rows(text: str, tmp_path: Path) -> None:
    rows = _rows(tmp_path, text)

    assert rows["text"][:] == ["EU rejects", "Peter"]
    assert rows["label"][:] == [["B-ORG", "O"], ["B-PER"]]


@pytest.mark.parametrize("suffix", [".conll", ".bio", ".iob", ".iob2", ".conllu"])
def test_the_name_of_the_file_says_what_it_is(suffix: str, tmp_path: Path) -> None:
    assert _labels(tmp_path, "EU B-ORG\nrejects O\n", f"train{suffix}") == [["B-ORG", "O"]]


@pytest.mark.parametrize("column", ["2", "-2", "pos"])
def test_the_column_of_the_tags_has_a_number_or_a_name(column: str, tmp_path: Path) -> None:
    names = ["word", "pos", "ner"] if column == "pos" else []

    assert _labels(tmp_path, TAGGED, label_column=column, column_names=names)[0] == ["NNP", "VBZ"]


def test_the_column_of_the_words_can_be_named(tmp_path: Path) -> None:
    rows = _rows(tmp_path, "O x EU\nB-ORG y UN\n", text_columns=["3"], label_column="1")

    assert rows["text"][:] == ["EU UN"]
    assert rows["label"][:] == [["O", "B-ORG"]]


@pytest.mark.parametrize(("column", "says"), [("4", "has no column '4'; its lines have 3"), ("1", "named for both")])
def test_a_column_that_cannot_be_is_refused(column: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        _rows(tmp_path, TAGGED, label_column=column)


def test_conll_u_is_read_word_by_word_with_its_parts_of_speech(tmp_path: Path) -> None:
    rest = "\t_\t_\t0\troot\t_\t_"
    text = "# sent_id = 1\n# text = zum Haus\n1-2\tzum\t_\t_" + rest + "\n1\tzu\tzu\tADP" + rest
    text += "\n2\tdem\tder\tDET" + rest + "\n3\tHaus\tHaus\tNOUN" + rest + "\n3.1\tx\tx\tX" + rest + "\n\n"

    rows = _rows(tmp_path, text, "de.conllu")

    assert rows.to_list() == [
        {"text": "zu dem Haus", "word_offsets": [0, 2, 3, 6, 7, 11], "label": ["ADP", "DET", "NOUN"]}
    ]


def test_words_that_are_numbered_are_found_behind_their_numbers(tmp_path: Path) -> None:
    text = "#\thttp://a.de\t[2009]\n1\tAufgrund\tO\tO\n2\tBonn\tB-LOC\tO\n\n#\thttp://b.de\t[2010]\n1\tEs\tO\tO\n"

    rows = _rows(tmp_path, text, label_column="3")

    assert rows["text"][:] == ["Aufgrund Bonn", "Es"]
    assert rows["label"][:] == [["O", "B-LOC"], ["O"]]


def test_a_number_sign_with_its_tag_is_a_word(tmp_path: Path) -> None:
    assert _rows(tmp_path, "#\tO\nUN\tB-ORG\n\n#tag\tO\n#\tO\n")["text"][:] == ["# UN", "#tag #"]
    assert _rows(tmp_path, "# O\nUN B-ORG\n")["text"][:] == ["# UN"]


@pytest.mark.parametrize(
    "comment", ["# id 5cb domain=en", "# newdoc", "# a = b", "#begin document (a); part 000", "#text = a # b O", "#"]
)
def test_comments_before_a_sentence_are_left_out_however_many_columns_they_seem_to_have(
    comment: str, tmp_path: Path
) -> None:
    rows = _rows(tmp_path, f"{comment}\nUN _ _ B-ORG\n\n{comment}\nit _ _ O\n# _ _ O\n")

    assert rows["text"][:] == ["UN", "it #"]


def test_a_hashtag_without_its_tag_is_no_comment(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: 1 of 2 columns"):
        _rows(tmp_path, "UN B-ORG\n\n#UN\nit O\n")


def test_blanks_that_are_no_ascii_belong_to_their_word(tmp_path: Path) -> None:
    rows = _rows(tmp_path, "a\u00a0b O\n\u2028 O\nUN\x85 B-ORG\n")

    assert rows["text"][:] == ["a\u00a0b \u2028 UN\x85"]
    assert rows["word_offsets"][:] == [[0, 3, 4, 5, 6, 9]]


def test_lines_with_another_number_of_columns_are_named(tmp_path: Path) -> None:
    text = "EU NNP B-ORG\nrejects VBZ O\n\nPeter NNP\n\nUN NNP B-ORG\n. . . O\n"

    with pytest.raises(DataError, match=r"of most; line 4: 2 of 3 columns, line 7: 4 of 3 columns\. Columns are"):
        _rows(tmp_path, text)
    assert _rows(tmp_path, text, on_uneven="drop")["text"][:] == ["EU rejects"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A B-PER\nB I-PER\n\nC O\nD I-LOC\n", "line 5: 'I-LOC' stands after 'O', but a span begins with 'B-LOC'"),
        ("# id = 1\nA B-PER\n\n# id = 2\nB I-LOC\n", "line 5: 'I-LOC' stands at the beginning"),
        ("A B-PER\nB O\n\nI I-PER\n", "line 4: 'I-PER' stands at the beginning of the sentence"),
        ("A S-PER\nB B-LOC\n\nC O\n", "line 2: the sentence ends after 'B-LOC'"),
        ("A S-PER\nB B-LOC\nC O\n", "lines 2 and 3: 'O' follows 'B-LOC'"),
        ("A B-PER\nB PER\nC O\n", "line 2: 'PER' is no tag of IOB2"),
    ],
)
def test_tags_that_cannot_be_are_refused_with_their_line(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        _rows(tmp_path, text)
    assert says in str(error.value)
    assert "train.conll" in str(error.value)


def test_the_first_file_decides_the_scheme_of_one_whose_tags_could_be_another(tmp_path: Path) -> None:
    settings = DataSettings(
        train=_file(tmp_path, "A B-PER\nB I-PER\n"), eval=_file(tmp_path, "A O\nB I-PER\n", "dev.conll")
    )

    with pytest.raises(DataError, match=r"dev.conll: there is a tag that cannot be in IOB2.* line 2"):
        read_data(settings)


def test_files_of_different_schemes_go_together(tmp_path: Path) -> None:
    settings = DataSettings(
        train=_file(tmp_path, "A B-PER\nB I-PER\n"), eval=_file(tmp_path, "A B-PER\nB L-PER\nC U-PER\n", "dev.conll")
    )

    assert read_data(settings)["eval"]["label"][:] == [["B-PER", "I-PER", "B-PER"]]


@pytest.mark.parametrize(("scheme", "fits"), [("iob1", True), ("iob2", False), ("plain", True), ("iobes", False)])
def test_a_scheme_can_be_named(scheme: str, fits: bool, tmp_path: Path) -> None:
    text = "A I-PER\nB O\n"
    if fits:
        assert _labels(tmp_path, text, tag_scheme=scheme) == [["I-PER" if scheme == "plain" else "B-PER", "O"]]
    else:
        with pytest.raises(DataError, match="line 1"):
            _rows(tmp_path, text, tag_scheme=scheme)


def test_columns_that_something_else_parts_are_told_how_to_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"';' in every line.*sep"):
        _rows(tmp_path, "EU;B-ORG\nsaid;O\n")
    assert _rows(tmp_path, "EU;B-ORG\nsaid;O\n", sep=";")["text"][:] == ["EU said"]


def test_one_column_has_no_tags(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no tags beside its words: its lines have one column"):
        _rows(tmp_path, "EU\nrejects\n")


def test_unlabelled_rows_have_the_words_of_their_file_or_of_their_text(tmp_path: Path) -> None:
    settings = DataSettings(
        train=_file(tmp_path, TAGGED),
        unlabelled=[_file(tmp_path, TAGGED, "more.conll"), _file(tmp_path, "U.S. 7\n", "more.txt")],
    )

    rows = read_data(settings)["unlabelled"]

    assert rows.column_names == ["text", "word_offsets"]
    assert rows["text"][:] == ["EU rejects", "Peter Blackburn .", "U.S. 7"]
    assert rows["word_offsets"][2] == [0, 1, 1, 2, 2, 3, 3, 4, 5, 6]


def test_a_text_file_is_read_as_columns_if_it_has_them_and_words_are_learned(tmp_path: Path) -> None:
    for name in ("train.txt", "train.tsv"):
        assert _labels(tmp_path, TAGGED.replace(" ", "\t"), name, problem_type="token_classification") == [
            ["B-ORG", "O"],
            ["B-PER", "I-PER", "O"],
        ]


def test_a_text_file_of_one_sentence_is_read_as_columns_by_its_tags(tmp_path: Path) -> None:
    one = _file(tmp_path, "EU\tB-ORG\nrejects\tO\n", "a.txt")

    assert list(read_sentences(one, DataSettings())) == [Sentence("EU rejects", ((0, 2), (3, 10)))]
    texts = _file(tmp_path, "vitamin B-12\nis good\n", "b.txt")
    assert list(read_sentences(texts, DataSettings())) == ["vitamin B-12", "is good"]


def test_sentences_to_classify_keep_the_words_of_their_file_and_plain_texts_have_none(tmp_path: Path) -> None:
    path = _file(tmp_path, TAGGED)

    assert next(read_sentences(path, DataSettings())) == Sentence("EU rejects", ((0, 2), (3, 10)))
    assert list(read_texts(path, DataSettings())) == ["EU rejects", "Peter Blackburn ."]
    words = list(read_sentences(_file(tmp_path, "I'm\n", "a.txt"), DataSettings()))
    assert words == ["I'm"]  # whose words are the tokenizer's parts


def test_words_and_whole_texts_do_not_go_together(tmp_path: Path) -> None:
    train = _file(tmp_path, TAGGED)
    other = _file(tmp_path, "text,label\na,b\nb,c\n", "dev.csv")

    with pytest.raises(
        DataError, match=r"dev.csv, line 2: the label is 'b', but token_classification learns a tag for every"
    ):
        load_examples(DataSettings(train=train, eval=other))
    with pytest.raises(DataError, match=r"train.conll has tags of words, but classes are learned"):
        load_examples(DataSettings(train=other, eval=train))


def test_a_stream_gives_the_same_rows(tmp_path: Path) -> None:
    path = _file(tmp_path, TAGGED)
    teacher = Outputs("token_classification", ("O", "B-ORG", "I-ORG", "B-PER", "I-PER"))
    folder = tmp_path / "rows"
    folder.mkdir()

    with stage("read", unit="rows") as counter:
        rows = spool(path, DataSettings(), teacher, folder, counter)

    whole = load_examples(DataSettings(train=path), teacher=teacher).splits["train"]
    assert rows.to_list() == whole.to_list()


def test_long_texts_are_not_cut(tmp_path: Path) -> None:
    words = 5000
    rows = _rows(tmp_path, "longword O\n" * words + "UN B-ORG\n", max_length=8)

    assert len(rows[0]["label"]) == words + 1
    assert rows[0]["text"].endswith("UN")


@pytest.mark.parametrize(
    "text",
    [
        "1\tEU\tB-ORG\t-\tann\n2\trejects\tO\t-\tbob\n\n1\tPeter\tB-PER\t-\tann\n",  # columns about the annotation
        "B-ORG\tEU\nO\trejects\n\nB-PER\tPeter\n",
        "B-ORG EU\nO rejects\n\nB-PER Peter\n",
    ],
)
def test_tags_that_mark_spans_are_found_beside_other_columns(text: str, tmp_path: Path) -> None:
    rows = _rows(tmp_path, text)

    assert rows["text"][:] == ["EU rejects", "Peter"]
    assert rows["label"][:] == [["B-ORG", "O"], ["B-PER"]]


def test_a_last_column_without_any_span_holds_the_tags(tmp_path: Path) -> None:
    assert _labels(tmp_path, "EU B-NP O\nrejects B-VP O\n") == [["O", "O"]]


def test_another_sign_for_outside_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: '_' is no tag of IOB2"):
        _rows(tmp_path, "Peter B-PER\nBlackburn I-PER\nran _\n")
