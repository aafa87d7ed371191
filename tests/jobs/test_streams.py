"""`pkd annotate` on streams: the same answers as from a file that is read whole."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest

import pkd.data.streaming as streaming
from pkd.cli.main import main
from pkd.jobs.annotate import annotate


def test_a_streamed_file_is_annotated_as_one_that_is_read_whole(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streaming, "_ROWS_A_CHUNK", 50)
    common = ["annotate", "--teacher", str(workspace / "teacher"), "--train", str(workspace / "train.csv")]
    common += ["--max-length", "32", "--layers", "2", "--json", "--quiet"]
    assert main([*common, "--output", str(tmp_path / "whole")]) == 0
    assert main([*common, "--output", str(tmp_path / "streamed"), "--streaming"]) == 0
    whole, streamed = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert whole["rows"] == streamed["rows"] == 160
    assert not (tmp_path / "streamed.rows").exists()
    one, other = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("whole", "streamed"))
    assert one["inputs"] == other["inputs"]
    assert [file["sha256"] for file in one["files"]] == [file["sha256"] for file in other["files"]]


def test_a_stream_of_the_ecosystem_is_annotated_and_kept_when_it_comes_again(workspace: Path, tmp_path: Path) -> None:
    stream = datasets.load_dataset("csv", data_files=str(workspace / "train.csv"), split="train", streaming=True)
    given = {"output": str(tmp_path / "out"), "teacher_layers": [2], "max_length": 32}
    rows = annotate(stream, str(workspace / "teacher"), **given)  # type: ignore[arg-type]
    assert np.asarray(rows.with_format("numpy")["teacher_logits"]).shape == (160, 2)
    before = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    annotate(stream, str(workspace / "teacher"), **given)  # type: ignore[arg-type]
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == before
