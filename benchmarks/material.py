"""What all benchmarks share: teachers, texts of known lengths, and on what a figure is measured."""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig
from transformers.utils import logging

from pkd.data.demo import demo_encoder_folder, demo_reviews
from pkd.data.examples import load_examples
from pkd.data.outputs import Outputs
from pkd.distillation.layers import LayerMap
from pkd.encoder.families import depth_of
from pkd.encoder.load import LoadedClassifier, load_pretrained
from pkd.recipe.settings import DataSettings

BATCH = 32
ENCODER = "PKD_BENCHMARK_ENCODER"  # a folder with the demo's encoder, for a machine without its package
SIZES = {"tiny": (4, 64, 2), "base": (12, 768, 12), "large": (24, 1024, 16)}  # layers, units, heads

# words of SST-2's 67,349 training phrases, from the shortest to the longest in twentieths
_SST2_WORDS = (1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 18, 21, 26, 52)


@dataclass(frozen=True)
class Setup:
    """On what a figure is measured; each contender's process is given it.

    Attributes:
        teacher: "demo", or a BERT of one of the `SIZES` with random weights.
        device: "auto", "cpu" or "cuda".
        alone: one thread, and processor time instead of wall time.
    """

    teacher: str = "demo"
    device: str = "auto"
    alone: bool = False


def load_teacher(name: str) -> LoadedClassifier:
    """The demo's encoder with a new head, or a BERT of one of the `SIZES`: they cost what trained ones would."""
    if name == "demo":
        return load_demo_teacher()
    layers, units, heads = SIZES[name]
    return random_teacher(
        name, num_hidden_layers=layers, hidden_size=units, num_attention_heads=heads, intermediate_size=4 * units
    )


def load_demo_teacher() -> LoadedClassifier:
    """The demo's encoder, 6 layers of 384 units, with a new head: what it says costs what a trained one's would."""
    _be_quiet()
    return load_pretrained(_encoder_folder(), Outputs("single_label_classification", ("negative", "positive")))


def half_map(teacher: LoadedClassifier) -> LayerMap:
    """PKD-Skip for a student of half the teacher's layers."""
    depth = depth_of(teacher.model.config)
    return LayerMap.skip(teacher_layers=depth, student_layers=depth // 2)


def student_depth(layer_map: LayerMap) -> int:
    """A student has one layer more than it has patient ones."""
    return len(layer_map.pairs) + 1


def read_texts(train: str | None, rows: int, *, phrases: bool = True) -> datasets.Dataset:
    """Labelled rows: of a file, or phrases of SST-2's lengths cut from the demo's reviews, or those whole.

    Args:
        train: labelled examples; None takes the demo's.
        rows: at most so many.
        phrases: cut the demo's reviews to phrases as long as SST-2's, which were cut from such reviews too.
    """
    if train is not None:
        read = load_examples(DataSettings(train=train), splits=("train",)).splits["train"].shuffle(seed=0)
        return read.select(range(min(rows, len(read))))
    reviews = demo_reviews(eval_rows=0, test_rows=0)["train"]
    labels = [int(label == "positive") for label in reviews["label"][:]]
    texts = reviews["text"][:]
    if phrases:
        texts = _cut_phrases(texts, rows)
        labels = [labels[row % len(labels)] for row in range(rows)]
    return datasets.Dataset.from_dict({"text": texts[:rows], "label": labels[:rows]})


def _cut_phrases(texts: list[str], rows: int) -> list[str]:
    chooser = random.Random(0)
    phrases: list[str] = []
    while len(phrases) < rows:
        words = texts[len(phrases) % len(texts)].split()
        wanted = math.ceil(np.interp(chooser.random() * 20, range(21), _SST2_WORDS))
        begin = chooser.randint(0, max(0, len(words) - wanted))
        phrases.append(" ".join(words[begin : begin + wanted]))
    return phrases


def rows_of_length(length: int, count: int) -> datasets.Dataset:
    """Labelled rows of so many word pieces each, drawn at random from the vocabulary's whole words."""
    words = np.array(sorted(word for word in _tokenizer().get_vocab() if word.isascii() and word.isalpha()))
    drawn = np.random.default_rng(0).choice(words, size=(count, length - 2))
    return datasets.Dataset.from_dict(
        {"text": [" ".join(row) for row in drawn], "label": [row % 2 for row in range(count)]}
    )


def random_teacher(name: str, **config: Any) -> LoadedClassifier:
    """A BERT of any size with random weights, and the demo's tokenizer."""
    _be_quiet()
    model = AutoModelForSequenceClassification.from_config(BertConfig(**config))
    return LoadedClassifier(model, _tokenizer(), name)


def _tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(_encoder_folder())


def _encoder_folder() -> str:
    return os.environ.get(ENCODER) or str(demo_encoder_folder())


def _be_quiet() -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
