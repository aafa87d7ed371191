"""The average of weights as a checkpoint has it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pkd.training.averaging import AVERAGED, AveragedWeights


def test_an_average_is_the_same_file_each_time_and_goes_on_where_it_was(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    average = AveragedWeights("ema", model, steps=40, words=None)
    for step in range(1, 4):
        with torch.no_grad():
            model.weight.add_(1.0)
        average.update(step)
    files = set()
    for number in range(10):
        (folder := tmp_path / str(number)).mkdir()
        average.save(folder)
        files.add((folder / AVERAGED).read_bytes())
    assert len(files) == 1
    resumed = AveragedWeights("ema", model, steps=40, words=None)
    resumed.load(tmp_path / "0")
    for each in (average, resumed):
        each.update(4)
        each.save(tmp_path)
        files.add((tmp_path / AVERAGED).read_bytes())
    assert len(files) == 2
