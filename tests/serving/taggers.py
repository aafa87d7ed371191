"""A tiny model that tags words, of each family, with a tokenizer of the family's own kind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForTokenClassification,
    CamembertTokenizer,
    DebertaV2Tokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    XLMRobertaTokenizer,
)

from conftest import make_tokenizer
from encoder.families import CONFIGS

TAGS = ("O", "B-person", "I-person", "B-place", "I-place")
TEXTS = (
    "Ada Lovelace saw the old city of London",
    "a film of Rick Morty is on in New York",
    "the plot was weak and the actor of Berlin was great",
    "Ada",
    "",
    "  two   blanks between words ",
)
_LETTERS = tuple("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,#@'-0123456789")
_WORDPIECE = ("bert", "electra", "distilbert", "mpnet")
_BYTE_LEVEL = ("roberta", "modernbert")


def wordpiece() -> PreTrainedTokenizerBase:
    """Words of the tests whole, all others by letters."""
    from conftest import WORDS

    lower = tuple(dict.fromkeys(letter.lower() for letter in _LETTERS))
    tokenizer = make_tokenizer((*WORDS, *lower, *(f"##{letter}" for letter in lower)))
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def byte_level() -> PreTrainedTokenizerBase:
    """A BPE of bytes as RoBERTa's and ModernBERT's: a word's first piece holds the blank before it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", letter) for letter in _LETTERS]
    vocabulary = [*("<s>", "<pad>", "</s>", "<unk>", "<mask>"), *alphabet, *(f"Ġ{letter}" for letter in _LETTERS)]
    backend = Tokenizer(models.BPE({piece: index for index, piece in enumerate(vocabulary)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
        mask_token="<mask>", model_max_length=64,
    )  # fmt: skip


def unigram(kind: str) -> PreTrainedTokenizerBase:
    """A unigram tokenizer of some whole words and letters, in the family's own class."""
    words = {word for text in TEXTS for word in text.split() if len(word) % 2}
    pieces = [("▁", -9.0), *((f"▁{word}", -2.0) for word in sorted(words))]
    pieces += [
        (before + letter, -6.0) for before in ("", "▁") for letter in _LETTERS if before + letter not in dict(pieces)
    ]
    if kind == "deberta-v2":
        special = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", 0.0)]
        return DebertaV2Tokenizer(vocab=[*special, *pieces, ("[MASK]", 0.0)], unk_id=3, model_max_length=64)
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    of_family = XLMRobertaTokenizer if kind == "xlm-roberta" else CamembertTokenizer
    return of_family(vocab=[*special, *pieces, ("<mask>", 0.0)], unk_id=3, model_max_length=64)


def make_tagger(kind: str, folder: Path, tags: tuple[str, ...] = TAGS, layers: int | None = None) -> Path:
    """Save a tagger of a family to a folder; its random answers differ from word to word."""
    tokenizer = wordpiece() if kind in _WORDPIECE else byte_level() if kind in _BYTE_LEVEL else unigram(kind)
    config: Any = copy.deepcopy(CONFIGS[kind])
    config.vocab_size = max(tokenizer.get_vocab().values()) + 1
    config.pad_token_id = tokenizer.pad_token_id
    config.id2label, config.label2id = dict(enumerate(tags)), {tag: index for index, tag in enumerate(tags)}
    config.num_hidden_layers = layers or config.num_hidden_layers
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (1.0 if "embeddings" in name else 0.1))
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
