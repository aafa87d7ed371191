import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import make_tokenizer
from pkd.data.windows import Pieces, Windows, pieces_of, special_around, split_words, windows_of

TOKENIZER = make_tokenizer()
SPECIAL = special_around(TOKENIZER("a").encodings[0])


def read(text: str, max_length: int, words: list[tuple[int, int]] | None = None) -> tuple[Windows, Pieces]:
    pieces = pieces_of(TOKENIZER([text], add_special_tokens=False, truncation=False).encodings[0])
    return windows_of(text, words or split_words(text), pieces, special=SPECIAL, max_length=max_length), pieces


def test_special_tokens_stand_around_every_window() -> None:
    assert SPECIAL == ([2], [3])
    made, _ = read("good bad good bad good bad", 5)
    begins = [sum(made.lengths[:index]) for index in range(len(made.lengths))]
    assert [made.input_ids[begin] for begin in begins] == [2] * len(begins)
    assert [made.input_ids[begin + length - 1] for begin, length in zip(begins, made.lengths, strict=True)] == [
        3
    ] * len(begins)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["good", "bad", "good-bad", "U.S.", "@user", "😀", "don't"]), min_size=1, max_size=40),
    st.integers(4, 20),
)
def test_every_part_of_every_word_is_taught_once_at_its_first_word_piece(words: list[str], max_length: int) -> None:
    text = " ".join(words)
    ends = [len(" ".join(words[: index + 1])) for index in range(len(words))]
    spans = [(end - len(word), end) for word, end in zip(words, ends, strict=True)]
    made, pieces = read(text, max_length, spans)
    assert max(made.lengths) <= max_length
    assert sum(made.lengths) == len(made.input_ids)
    assert made.words == sorted(made.words)
    assert set(made.words) == set(range(len(words)))
    first = [index for index, part in enumerate(pieces.parts) if index == 0 or part != pieces.parts[index - 1]]
    assert [made.input_ids[place] for place in made.taught] == [pieces.ids[index] for index in first]
    assert "".join(text[start:end] for start, end in made.spans) == text.replace(" ", "")


def test_a_part_in_two_windows_is_read_where_more_stands_around_it() -> None:
    letters = " ".join("good" if index % 2 else "bad" for index in range(14))
    made, _ = read(letters, 10)  # eight word pieces a window, two of which the next one repeats
    assert made.lengths == [10, 10]
    assert [place for place in made.taught if place < 10] == list(range(1, 8))  # the eighth is the second window's
    assert made.taught[7] == 10 + 2


def test_a_word_without_any_part_is_left_out_and_the_others_keep_their_numbers() -> None:
    made, _ = read("good \u200b bad", 64, [(0, 4), (5, 6), (7, 10)])
    assert made.words == [0, 2]


def test_characters_outside_of_every_word_are_read_and_not_taught() -> None:
    made, _ = read("good , bad", 64, [(0, 4), (7, 10)])
    assert len(made.input_ids) == 5
    assert made.words == [0, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Jose\u0301s 10°C, €5", ["Jose\u0301s", "10", "°", "C", ",", "€", "5"]),
        ("मैं दिल्ली में", ["मैं", "दिल्ली", "में"]),
        ("👩\u200d👧👍🏽❤\ufe0fa", ["👩\u200d👧", "👍🏽", "❤\ufe0f", "a"]),
        ("co\u00adop foo\u200bbar", ["co\u00adop", "foo\u200b", "bar"]),
        ("住在北京。Ann北", ["住", "在", "北", "京", "。", "Ann", "北"]),
        ("@ann_lee [MASK]", ["@", "ann", "_", "lee", "[MASK]"]),
        ("\u0301a \u200d", ["\u0301", "a", "\u200d"]),
    ],
)
def test_what_combines_with_a_sign_belongs_to_its_word_and_chinese_characters_are_words(
    text: str, words: list[str]
) -> None:
    assert [text[start:end] for start, end in split_words(text)] == words
