import datasets
from transformers import PreTrainedTokenizerFast

from conftest import make_tokenizer
from pkd.data.encoding import encode, fingerprint_labels, fingerprint_texts, fingerprint_tokenizer, share_truncated


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
