"""Several devices give exactly the large batch's gradient: two real processes (gloo) beside one."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
import torch
from safetensors.torch import load_file

from conftest import make_reviews, make_teacher, make_tokenizer
from pkd.distillation.annotation import TeacherPass, annotate_rows
from training.two_processes import train
from warm import run_ranks

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.mark.slow
def test_two_processes_follow_one_process_with_the_same_global_batch(tmp_path: Path) -> None:
    reviews = make_reviews(50)
    rows = datasets.Dataset.from_dict(
        {"text": [text for text, _ in reviews], "label": [int(label == "positive") for _, label in reviews]}
    )
    (tmp_path / "rows").mkdir()
    annotate_rows(rows, TeacherPass(make_teacher().eval(), make_tokenizer(), [2], 64), tmp_path / "rows")
    outputs = [tmp_path / "12-1.safetensors", tmp_path / "6-2.safetensors"]
    codes, told = run_ranks(2, tmp_path / "rows", *outputs, code=SCRIPT.read_text(encoding="utf-8"))
    assert codes == [0, 0], told[-3000:]
    train(tmp_path / "rows", tmp_path / "24-1.safetensors", 24, 1)
    one = load_file(tmp_path / "24-1.safetensors")
    for output in outputs:
        several = load_file(output)
        assert several.keys() == one.keys()
        for name, expected in one.items():
            torch.testing.assert_close(several[name], expected, rtol=1e-4, atol=1e-6, msg=name)
