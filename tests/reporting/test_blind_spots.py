from __future__ import annotations

import pytest

from pkd.evaluation.by_class import BlindSpots
from pkd.reporting.blind_spots import blind_sentences, blind_words
from pkd.reporting.results import ModelRecord, Record
from pkd.reporting.wording import headline


@pytest.mark.parametrize(
    ("spots", "words"),
    [
        (BlindSpots(), ""),
        (BlindSpots("fine", {"unsafe": 7}), "answers 'fine' for all 1,200 rows and finds none of 7 'unsafe'"),
        (BlindSpots("2.5"), "answers '2.5' for all 1,200 rows"),
        (BlindSpots("none", {"a": 2, "b": 1}), "answers 'none' for all 1,200 rows and finds none of 2 'a' and 1 'b'"),
        (BlindSpots(None, {"a": 5, "b": 4, "c": 3, "d": 2}), "finds none of 5 'a', 4 'b', 3 'c' and 2 'd'"),
        (
            BlindSpots(None, {"a": 5, "b": 4, "c": 3, "d": 2, "e": 1000}),
            "finds none of 5 'a', 4 'b', 3 'c' and 2 other classes (1,002 rows)",
        ),
        (BlindSpots(None, {"two\nlines": 1}), "finds none of 1 'two lines'"),
        (BlindSpots(None, {"x" * 100: 1}), f"finds none of 1 '{'x' * 59}…'"),
    ],
)
def test_what_a_model_never_does_is_one_phrase(spots: BlindSpots, words: str) -> None:
    assert blind_words(spots, 1200) == words


def test_seeds_are_named_where_not_all_are_blind_in_one_way(records: list[Record]) -> None:
    def blind(spots: dict[int | None, BlindSpots]) -> list[Record]:
        return [
            each.model_copy(update={"blind_spots": spots.get(each.seed, BlindSpots())})
            if isinstance(each, ModelRecord) and each.name in ("teacher", "pkd-skip-L3-spread")
            else each
            for each in records
        ]

    one = BlindSpots("negative", {"positive": 9})
    assert blind_sentences(records) == {}
    assert blind_sentences(blind({42: one, 43: one, 44: one})) == {
        "pkd-skip-L3-spread": (
            "pkd-skip-L3-spread answers 'negative' for all 1,066 rows and finds none of 9 'positive'."
        )
    }
    told = blind_sentences(blind({None: one, 43: one, 44: BlindSpots(None, {"positive": 9})}))
    assert told == {
        "teacher": "teacher answers 'negative' for all 1,066 rows and finds none of 9 'positive'.",
        "pkd-skip-L3-spread": (
            "pkd-skip-L3-spread answers 'negative' for all 1,066 rows and finds none of 9 'positive' (seed 43); "
            "finds none of 9 'positive' (seed 44)."
        ),
    }


def test_the_headline_names_what_its_score_hides(collapsed_records: list[Record]) -> None:
    assert headline(collapsed_records).endswith(" It answers 'fine' for all 10 rows and finds none of 3 'unsafe'.")
