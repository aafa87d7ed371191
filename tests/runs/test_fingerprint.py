from hypothesis import given
from hypothesis import strategies as st

from pkd.runs.fingerprint import differences, fingerprint, sha256_of_texts

texts = st.lists(st.text() | st.none(), max_size=6)


@given(texts, texts)
def test_different_texts_have_different_hashes_wherever_they_are_cut(
    one: list[str | None], other: list[str | None]
) -> None:
    assert (sha256_of_texts(one) == sha256_of_texts(other)) == (one == other)


def test_a_text_is_not_the_absence_of_one_nor_two_halves() -> None:
    assert sha256_of_texts([""]) != sha256_of_texts([None])
    assert sha256_of_texts(["ab", "c"]) != sha256_of_texts(["a", "bc"])
    assert sha256_of_texts(["1:a"]) != sha256_of_texts(["", "a"])


def test_the_order_of_keys_does_not_count_and_every_value_does() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})


def test_differences_name_the_part_that_changed() -> None:
    before = {"seed": 1, "training": {"learning_rate": 5e-5}, "teacher": "0" * 64}
    now = {"seed": 1, "training": {"learning_rate": 2e-5}, "teacher": "1" * 64, "new": [1]}
    assert differences(before, now) == [
        "new nothing → [1]",
        "teacher 00000000… → 11111111…",
        "training.learning_rate 5e-05 → 2e-05",
    ]
    assert differences(now, now) == []
