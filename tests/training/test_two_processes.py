"""Several devices give exactly the large batch's gradient: two real processes (gloo) beside one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
from safetensors.torch import load_file

from conftest import make_reviews, make_teacher, make_tokenizer
from pkd.distillation.annotation import TeacherPass, annotate_rows
from training.two_processes import train

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.mark.slow
def test_two_processes_follow_one_process_with_the_same_global_batch(tmp_path: Path) -> None:
    reviews = make_reviews(50)
    rows = datasets.Dataset.from_dict(
        {"text": [text for text, _ in reviews], "label": [int(label == "positive") for _, label in reviews]}
    )
    (tmp_path / "rows").mkdir()
    annotate_rows(rows, TeacherPass(make_teacher().eval(), make_tokenizer(), [2], 64), tmp_path / "rows")
    python_path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}
    outputs = [tmp_path / "12-1.safetensors", tmp_path / "6-2.safetensors"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    command += [str(tmp_path / "rows"), *map(str, outputs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    train(tmp_path / "rows", tmp_path / "24-1.safetensors", 24, 1)
    one = load_file(tmp_path / "24-1.safetensors")
    for output in outputs:
        several = load_file(output)
        assert several.keys() == one.keys()
        for name, expected in one.items():
            torch.testing.assert_close(several[name], expected, rtol=1e-4, atol=1e-6, msg=name)
