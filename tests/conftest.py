"""Tiny real models, tokenizers and data that every room's tests share."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, and tiny models gain nothing from threads

import gc
import random
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from pkd import progress

pytest_plugins = ["serving.exported"]  # a fixture that two rooms share, made once

settings.register_profile("shared", deadline=None)  # the machine may be busy with other things
settings.load_profile("shared")

GOOD = ("good", "great", "moving", "lovely", "fine", "bright")
BAD = ("bad", "dull", "awful", "weak", "flat", "poor")
FILLER = ("the", "a", "film", "plot", "actor", "scene", "story", "was", "is", "and", "very", "quite", "with", "end")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (*SPECIAL, *GOOD, *BAD, *FILLER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules with most slow tests first: then no worker ends long after the other."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="module", autouse=True)
def _collections_pass_over_what_is_there() -> None:
    """Each training asks for a collection of garbage, which would go through all that was ever imported."""
    gc.collect()
    gc.freeze()


def free_port() -> int:
    """A port at which processes of this machine can meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def make_tokenizer(words: tuple[str, ...] = WORDS) -> PreTrainedTokenizerFast:
    """A real WordPiece tokenizer over the words of the tests."""
    vocabulary = {word: index for index, word in enumerate(words)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=64,
    )


def make_foreign_tokenizer() -> PreTrainedTokenizerFast:
    """A RoBERTa-like tokenizer, cased, whose word pieces are the words' first three letters and the rest."""
    words = (*GOOD, *BAD, *FILLER)
    pieces = sorted({word[:3] for word in words} | {f"##{word[3:]}" for word in words if word[3:]})
    vocabulary = {piece: index for index, piece in enumerate(("<s>", "<pad>", "</s>", "<unk>", "<mask>", *pieces))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=512,
    )


def make_reviews(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Sentences of different lengths whose label a tiny model can learn."""
    chooser = random.Random(seed)
    made: dict[str, str] = {}
    while len(made) < rows:
        label = chooser.choice(("negative", "positive"))
        words = [chooser.choice(FILLER) for _ in range(chooser.randint(2, 14))]
        for _ in range(chooser.randint(1, 2)):
            words.insert(chooser.randrange(len(words) + 1), chooser.choice(GOOD if label == "positive" else BAD))
        made[" ".join(words)] = label
    return list(made.items())


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    return path


def make_teacher(layers: int = 4, seed: int = 0, labels: tuple[str, ...] = ("negative", "positive")) -> torch.nn.Module:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    return AutoModelForSequenceClassification.from_config(config)


def teach(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> None:
    """Train a tiny classifier on reviews until it tells them apart."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    reviews = make_reviews(400, seed=5)
    for begin in range(0, 4 * len(reviews), 40):
        some = [reviews[index % len(reviews)] for index in range(begin, begin + 40)]
        batch = tokenizer([text for text, _ in some], padding=True, return_tensors="pt")
        labels = torch.tensor([int(label == "positive") for _, label in some])
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture
def teacher() -> torch.nn.Module:
    return make_teacher().eval()


@pytest.fixture
def rows() -> datasets.Dataset:
    """Forty labelled rows with class ids."""
    reviews = make_reviews(40)
    return datasets.Dataset.from_dict(
        {"text": [text for text, _ in reviews], "label": [int(label == "positive") for _, label in reviews]}
    )


@pytest.fixture(scope="session")
def foreign_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained encoder of another family than the teacher of `workspace`: deeper, wider, with its own tokenizer."""
    folder = tmp_path_factory.mktemp("foreign") / "little-roberta"
    tokenizer = make_foreign_tokenizer()
    torch.manual_seed(3)
    config = RobertaConfig(
        vocab_size=len(tokenizer) + 3,
        hidden_size=24,
        num_hidden_layers=6,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=26,  # 24 word pieces
        type_vocab_size=1,
        pad_token_id=1,
    )
    RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A little encoder\n")
    return folder


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved tiny teacher that was trained on the reviews, and CSV files; read-only by agreement."""
    folder = tmp_path_factory.mktemp("workspace")
    write_csv(folder / "train.csv", make_reviews(160, seed=1))
    write_csv(folder / "dev.csv", make_reviews(60, seed=2))
    write_csv(folder / "test.csv", make_reviews(60, seed=3))
    (folder / "unlabelled.txt").write_text("".join(f"{text}\n" for text, _ in make_reviews(40, seed=4)))
    model, tokenizer = make_teacher(layers=4), make_tokenizer()
    teach(model, tokenizer)
    model.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    return folder


def stop_at_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a stop be requested in the given step of the next student's training."""
    from pkd.distillation.trainer import PatientTrainer

    steps, before = 0, PatientTrainer.training_step

    def counted(self: Any, *args: Any, **keywords: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == step:
            progress.request_stop(75)
        return before(self, *args, **keywords)

    monkeypatch.setattr(PatientTrainer, "training_step", counted)


def recipe_values(workspace: Path, output: Path) -> dict[str, Any]:
    """A recipe's values for the teacher and the rows of `workspace`."""
    return {
        "output": str(output),
        "teacher": {"model": str(workspace / "teacher")},
        "data": {
            "train": str(workspace / "train.csv"),
            "eval": str(workspace / "dev.csv"),
            "test": str(workspace / "test.csv"),
            "max_length": 32,
        },
    }
