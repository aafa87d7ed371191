"""Every family that is promised: a tiny one is annotated and distilled patiently for a few steps."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from encoder.families import CONFIGS, make_classifier
from pkd.distillation.annotation import TeacherPass, annotate_rows
from pkd.distillation.layers import LayerMap
from pkd.distillation.student import student_from
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_student_of_each_family_comes_nearer_to_its_teacher(
    kind: str, rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    teacher = make_classifier(kind)
    (tmp_path / "rows").mkdir()
    layer_map = LayerMap.skip(6, 3)
    annotated = annotate_rows(rows, TeacherPass(teacher, tokenizer, layer_map.teacher, 64), tmp_path / "rows")
    args = PatientTrainingArguments(
        str(tmp_path / "out"), num_train_epochs=8, learning_rate=2e-3, alpha=1.0, beta=100.0, logging_steps=1,
        save_strategy="no", use_cpu=True, disable_tqdm=True, seed=1, data_seed=1, per_device_train_batch_size=20,
    )  # fmt: skip
    student = student_from(teacher, 3)
    with torch.no_grad():  # so that there is something to learn: some of these students answer almost as the teacher
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    for module in student.modules():  # sixteen units drown in dropout's noise
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    trainer = PatientTrainer(student, args, layer_map=layer_map, train_dataset=annotated, processing_class=tokenizer)
    trainer.train()
    pt = [entry["loss/pt"] for entry in trainer.state.log_history if "loss/pt" in entry]
    total = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert all(np.isfinite(pt))
    assert pt[-1] < pt[0]
    assert total[-1] < 0.9 * total[0]
