"""One tiny run, held to its recorded losses: a change that moves them says why, and records them again.

`PYTHONPATH=tests python tests/golden/test_loss_curve.py` records. Float32 on the CPU; other processors and builds of
torch add in another order, so that the last digits differ.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from transformers import TrainingArguments

from conftest import make_reviews, make_teacher, make_tokenizer
from pkd.data.examples import with_unlabelled
from pkd.data.tokenize import encode
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.layers import LayerMap
from pkd.distillation.student import student_from
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments
from pkd.training.trainer import RowMeanTrainer

RECORDED = Path(__file__).with_name("loss_curve.json")
_TERMS = ("loss", "loss/ce", "loss/kd", "loss/pt", "grad_norm", "eval_accuracy", "eval_cross_entropy")
_TRAINING: dict[str, Any] = {
    "num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 3e-3, "logging_steps": 1,
    "eval_strategy": "epoch", "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "seed": 3, "data_seed": 3,
    "report_to": "none", "bf16": False,
}  # fmt: skip


def rows_of(reviews: list[tuple[str, str]], *, labelled: bool = True) -> datasets.Dataset:
    labels = [int(label == "positive") if labelled else None for _, label in reviews]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict({"text": [text for text, _ in reviews], "label": labels}, features)


def curves(folder: Path) -> dict[str, list[dict[str, float]]]:
    """The losses of a teacher's fine-tuning, and of its student of half the depth with patience and unlabelled rows."""
    tokenizer = make_tokenizer()
    train, dev = make_reviews(48, seed=1), rows_of(make_reviews(24, seed=2))
    teacher = RowMeanTrainer(
        make_teacher(),
        TrainingArguments(str(folder / "teacher"), **{**_TRAINING, "num_train_epochs": 8, "learning_rate": 1e-2}),
        train_dataset=encode(rows_of(train), tokenizer, 64),
        eval_dataset=encode(dev, tokenizer, 64),
        processing_class=tokenizer,
    )
    teacher.train()
    (folder / "train").mkdir()
    (folder / "unlabelled").mkdir()
    annotated = {
        split: annotate_rows(
            rows, TeacherPass(teacher.model.eval(), tokenizer, [2], 64, states_dtype="float32"), folder / split
        )
        for split, rows in (
            ("train", rows_of(train)),
            ("unlabelled", rows_of(make_reviews(24, seed=4), labelled=False)),
        )
    }  # fmt: skip
    student = PatientTrainer(
        student_from(teacher.model, 2),
        PatientTrainingArguments(
            str(folder / "student"), **_TRAINING, temperature=4, alpha=0.7, beta=50, kd_reduction="mean"
        ),
        layer_map=LayerMap.skip(4, 2),
        train_dataset=with_unlabelled(annotated["train"], annotated["unlabelled"]),
        eval_dataset=encode(dev, tokenizer, 64),
        processing_class=tokenizer,
    )
    student.train()
    return {
        name: [{term: entry[term] for term in _TERMS if term in entry} for entry in trainer.state.log_history[:-1]]
        for name, trainer in (("teacher", teacher), ("student", student))
    }


def test_the_losses_of_a_tiny_run_are_the_recorded_ones(tmp_path: Path) -> None:
    measured, recorded = curves(tmp_path), json.loads(RECORDED.read_text(encoding="utf-8"))
    for name, expected in recorded.items():
        assert [sorted(entry) for entry in measured[name]] == [sorted(entry) for entry in expected]
        for step, (now, then) in enumerate(zip(measured[name], expected, strict=True)):
            assert now == pytest.approx(then, rel=1e-3, abs=1e-5), f"{name}, entry {step}"
    # a change that shifts every step a little to one side stays within the tolerance, but not its mean
    ratios = [
        now["loss"] / then["loss"]
        for name in recorded
        for now, then in zip(measured[name], recorded[name], strict=True)
        if "loss" in then
    ]
    assert abs(float(np.mean(ratios)) - 1) < 1e-4


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        RECORDED.write_text(json.dumps(curves(Path(scratch)), indent=1) + "\n", encoding="utf-8")
