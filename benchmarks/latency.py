"""One text at a time: `Classifier`, from the text to its label, beside the bare `model(**tokens)` of the same student.

Both load the same saved folder. The bare call gets its tokens made, so that whatever `pkd` does besides counts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.material import Setup, half_map, load_teacher, read_texts, student_depth
from benchmarks.workers import stopwatch
from pkd import Classifier
from pkd.distillation.student import student_from
from pkd.training.hardware import resolve_device

_TEXTS = 300


def save_student(folder: str, setup: Setup) -> None:
    """The student of half the teacher's layers, as `pkd distill` would save it."""
    teacher = load_teacher(setup.teacher)
    student_from(teacher.model, student_depth(half_map(teacher))).save_pretrained(folder)
    teacher.tokenizer.save_pretrained(folder)


def predict(folder: str, setup: Setup) -> Callable[[], float]:
    """Texts a second, one by one."""
    texts = read_texts(None, _TEXTS)["text"][:]
    now = stopwatch(setup.alone)
    classifier = Classifier.load(folder, device=setup.device)

    def measure() -> float:
        began = now()
        for text in texts:
            classifier(text)
        return len(texts) / (now() - began)

    return measure


def bare_model(folder: str, setup: Setup) -> Callable[[], float]:
    """Texts a second of transformers' model alone, one by one, in inference mode, tokenised before."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    texts = read_texts(None, _TEXTS)["text"][:]
    now = stopwatch(setup.alone)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    device = resolve_device(setup.device)
    model = AutoModelForSequenceClassification.from_pretrained(folder).to(device).eval()
    tokens = [tokenizer(text, return_tensors="pt").to(device) for text in texts]

    def measure() -> float:
        began = now()
        with torch.inference_mode():
            for each in tokens:
                model(**each).logits.cpu()
        return len(texts) / (now() - began)

    return measure


LATENCIES = {"predict, one text": predict, "bare model(**tokens)": bare_model}
