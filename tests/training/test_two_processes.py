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

    def train(processes: int, batch: int, accumulation: int) -> dict[str, torch.Tensor]:
        output = tmp_path / f"{processes}-{batch}-{accumulation}.safetensors"
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [*(start if processes > 1 else [sys.executable]), str(SCRIPT), str(tmp_path / "rows"), str(output)]
        done = subprocess.run(
            [*command, str(batch), str(accumulation)], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return load_file(output)

    one = train(1, 24, 1)
    for processes, batch, accumulation in ((2, 12, 1), (2, 6, 2)):
        several = train(processes, batch, accumulation)
        assert several.keys() == one.keys()
        for name, expected in one.items():
            torch.testing.assert_close(several[name], expected, rtol=1e-4, atol=1e-6, msg=name)
