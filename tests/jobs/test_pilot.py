from __future__ import annotations

import datasets
import torch
from transformers import PreTrainedTokenizerFast

from conftest import make_teacher
from pkd.data.tokenize import encode
from pkd.encoder.load import LoadedClassifier
from pkd.jobs.pilot import time_rows


def test_a_pilot_times_teacher_and_students_and_leaves_the_weights_as_they_were(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    loaded = LoadedClassifier(make_teacher(layers=8).eval(), tokenizer, "tiny")
    before = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    pilot = time_rows(loaded, encode(datasets.concatenate_datasets([rows] * 6), tokenizer, 32), [1, 4, 4])
    assert set(pilot.student_step) == {1, 4}
    assert min(pilot.teacher_step, pilot.teacher_pass, *pilot.student_step.values()) > 0
    assert pilot.student_step[1] < pilot.teacher_step
    assert pilot.teacher_pass < pilot.teacher_step
    assert all(torch.equal(weight, before[name]) for name, weight in loaded.model.state_dict().items())
    assert not loaded.model.training


def test_few_rows_can_be_timed_too(rows: datasets.Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
    loaded = LoadedClassifier(make_teacher(layers=2), tokenizer, "tiny")
    assert time_rows(loaded, encode(rows.select(range(4)), tokenizer, 32), [1]).teacher_step > 0
