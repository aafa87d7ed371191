"""What all benchmarks share: the demo's encoder as teacher, and texts of known lengths."""

from __future__ import annotations

import math
import random
from typing import Any

import datasets
import numpy as np
from transformers import AutoModelForSequenceClassification, BertConfig
from transformers.utils import logging

from pkd.data.demo import demo_encoder_folder, demo_reviews
from pkd.data.examples import load_examples
from pkd.data.labels import Outputs
from pkd.distillation.layers import LayerMap
from pkd.encoder.contract import LoadedClassifier, load_pretrained
from pkd.recipe.settings import DataSettings

LAYER_MAP = LayerMap.skip(teacher_layers=6, student_layers=3)
BATCH = 32

# words of SST-2's 67,349 training phrases, from the shortest to the longest in twentieths
_SST2_WORDS = (1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 18, 21, 26, 52)


def load_demo_teacher() -> LoadedClassifier:
    """The demo's encoder, 6 layers of 384 units, with a new head: what it says costs what a trained one's would."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return load_pretrained(str(demo_encoder_folder()), Outputs("single_label_classification", ("negative", "positive")))


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
    """Labelled rows of so many word pieces each."""
    return datasets.Dataset.from_dict(
        {"text": ["moving " * (length - 2)] * count, "label": [row % 2 for row in range(count)]}
    )


def random_teacher(name: str, **config: Any) -> LoadedClassifier:
    """A BERT of any size with random weights, and the demo's tokenizer."""
    model = AutoModelForSequenceClassification.from_config(BertConfig(**config))
    return LoadedClassifier(model, load_demo_teacher().tokenizer, name)
