"""Words that a tokenizer does not read are named, not dropped in silence."""

from __future__ import annotations

import datasets
import pytest

from conftest import make_tokenizer
from data.conftest import Listener
from pkd.data.tokenize import encode, warn_of_unread


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ([1, 2, 0], ["25% of the words have no word piece of their own in this tokenizer ('\\u200b'), so nothing is "]),
        (None, []),  # of a row without tags nothing is learned anyway
    ],
)
def test_words_without_a_word_piece_are_named_if_they_have_tags(
    label: list[int] | None, told: list[str], heard: Listener
) -> None:
    rows = datasets.Dataset.from_dict(
        {
            "text": ["good \u200b bad", "bad"],
            "word_offsets": [[0, 4, 5, 6, 7, 10], [0, 3]],
            "label": [label, None if label is None else [0]],
        }
    )
    encoded = encode(rows, make_tokenizer(), 64)
    warn_of_unread(encoded, encoded, 64)
    assert [message[: len(start)] for message, start in zip(heard.warnings, told, strict=True)] == told
