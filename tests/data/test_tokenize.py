import datasets
import pytest
from transformers import PreTrainedTokenizerFast

from conftest import make_tokenizer
from pkd.data.tokenize import (
    encode,
    fingerprint_labels,
    fingerprint_rows,
    fingerprint_texts,
    fingerprint_tokenizer,
    share_truncated,
)
from pkd.serving.texts import TextEncoder, backend_of


def test_tokens_are_the_tokenizers_own_and_travel_with_the_text(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    encoded = encode(rows, tokenizer, 10)
    assert len(encoded) == len(rows)
    for row in encoded:
        assert row["input_ids"] == tokenizer(row["text"], truncation=True, max_length=10)["input_ids"]
        assert row["length"] == len(row["input_ids"]) <= 10
    assert 0 < share_truncated(encoded, 10) < 1
    assert encode(encoded, tokenizer, 10) is encoded


def test_pairs_keep_apart_what_is_first_and_second(tokenizer: PreTrainedTokenizerFast) -> None:
    pairs = datasets.Dataset.from_dict({"text_a": ["a film"], "text_b": ["the plot was"]})
    row = encode(pairs, tokenizer, 20)[0]
    assert row["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert tokenizer.decode(row["input_ids"]) == "[CLS] a film [SEP] the plot was [SEP]"


@pytest.mark.parametrize(
    ("mask_token", "read"),
    [("[MASK]", "[CLS] a [MASK] film [SEP]"), ("plot", "[CLS] a plot film [SEP]"), (None, "[CLS] a film [SEP]")],
)
def test_a_masked_word_is_each_readers_own_mask_token_or_is_left_out(mask_token: str | None, read: str) -> None:
    tokenizer = make_tokenizer()
    tokenizer.mask_token = mask_token
    rows = datasets.Dataset.from_dict({"text": ["a [MASK] film", "[MASK] a film [MASK]"]})
    encoded = encode(rows, tokenizer, 20, masks=True)
    assert tokenizer.decode(encoded[0]["input_ids"]) == read
    mask = f"{mask_token} " if mask_token else ""
    assert tokenizer.decode(encoded[1]["input_ids"]) == f"[CLS] {mask}a film {mask}[SEP]"
    assert list(encoded["text"]) == list(rows["text"])  # another reader reads it otherwise


def test_a_text_of_the_users_that_has_a_label_is_read_as_it_stands() -> None:
    tokenizer = make_tokenizer()
    tokenizer.mask_token = None
    texts = {"text_a": ["a [MASK] film"] * 2, "text_b": ["the [MASK]"] * 2}
    for labels, alike in (([1, 0], True), ([1, None], False)):
        rows = datasets.Dataset.from_dict({**texts, "label": labels})
        first, second = (row["input_ids"] for row in encode(rows, tokenizer, 20, masks=True))
        assert (first == second) == alike
        assert list(encode(rows, tokenizer, 20)["input_ids"]) == [first, first]


def test_a_tokenizers_last_call_does_not_change_its_fingerprint() -> None:
    used, fresh = make_tokenizer(), make_tokenizer()
    used(["a film", "the"], padding=True, truncation=True, max_length=3)
    assert fingerprint_tokenizer(used) == fingerprint_tokenizer(fresh)
    used.add_tokens(["new"])
    assert fingerprint_tokenizer(used) != fingerprint_tokenizer(fresh)


def test_texts_and_labels_have_fingerprints_of_their_own(rows: datasets.Dataset) -> None:
    turned = rows.map(lambda row: {"label": 1 - row["label"]}, load_from_cache_file=False)
    assert fingerprint_texts(turned) == fingerprint_texts(rows)
    assert fingerprint_labels(turned) != fingerprint_labels(rows)
    assert fingerprint_texts(rows.shuffle(seed=1)) != fingerprint_texts(rows)


@pytest.mark.parametrize("side", ["left", "right"])
def test_long_texts_are_cut_on_the_tokenizers_side_as_they_are_served(side: str) -> None:
    tokenizer = make_tokenizer()
    tokenizer.truncation_side = side
    text = "dull bad " + "a " * 3000 + "good great moving"
    ids = encode(datasets.Dataset.from_dict({"text": [text]}), tokenizer, 8)[0]["input_ids"]
    assert ids == tokenizer(text, truncation=True, max_length=8)["input_ids"]
    assert ids == TextEncoder(backend_of(tokenizer), 8, truncation_side=side).encode([text])[0].ids


def test_the_side_of_truncation_is_in_the_fingerprint_where_it_is_not_the_usual_one() -> None:
    right, left = make_tokenizer(), make_tokenizer()
    left.truncation_side = "left"
    assert fingerprint_tokenizer(left) != fingerprint_tokenizer(right)
    left.truncation_side = "right"
    assert fingerprint_tokenizer(left) == fingerprint_tokenizer(right)


def test_groups_have_a_fingerprint_where_there_are_any(rows: datasets.Dataset) -> None:
    assert fingerprint_rows(rows).keys() == {"texts", "labels"}
    of_schools = [rows.add_column("group", [school] * len(rows)) for school in ("high", "middle")]
    one, other = map(fingerprint_rows, of_schools)
    assert (one["texts"], one["labels"]) == (other["texts"], other["labels"])
    assert one["groups"] != other["groups"]
