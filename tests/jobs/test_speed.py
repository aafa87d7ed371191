from __future__ import annotations

import io
import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from rich.console import Console

from conftest import make_teacher, make_tokenizer
from pkd.cli.main import main
from pkd.errors import RecipeError
from pkd.jobs.speed import speed
from pkd.reporting.speeds import SpeedRecord
from pkd.reporting.terminal import print_speeds
from pkd.serving.limits import usable_cores
from serving.exported import Exported
from serving.test_speed import neighbours


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed") / "deep"
    make_teacher(layers=12).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_fewer_layers_are_smaller_and_faster_and_the_embeddings_stay(deep: Path) -> None:
    teacher, quarter = speed([str(deep)], layers=[3], rows=64, max_length=32, rounds=3, batch_sizes=[8], memory=False)
    assert (teacher.layers, quarter.layers, quarter.rows) == (12, 3, 64)
    assert teacher.embeddings == quarter.embeddings
    assert teacher.layer_parameters == 4 * quarter.layer_parameters
    assert quarter.smaller == pytest.approx(teacher.parameters / quarter.parameters)
    assert len(quarter.seconds) == len(quarter.faster) == 3
    assert median(quarter.faster) > 1
    assert teacher.faster == [1.0, 1.0, 1.0]


def test_a_file_is_answered_by_every_model(workspace: Path, deep: Path) -> None:
    teacher = str(workspace / "teacher")
    records = speed(
        [teacher, str(deep)], test=str(workspace / "test.csv"), max_length=32, rounds=1, batch_sizes=[8], memory=False
    )
    assert [record.name for record in records] == ["teacher", "deep"]
    assert [record.rows for record in records] == [60, 60]
    assert records[0].on.endswith("test.csv")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": [13]}, "13"),
        ({"max_length": 65}, "at most 64"),
        ({"rounds": 0}, "rounds is 0"),
        ({"lengths": [16, 128]}, "lengths is 128, but deep reads at most 64"),
        ({"batch_sizes": [0]}, "batch_sizes is 0"),
        ({"batch_sizes": [10**22]}, "from 1 to 1,000,000"),
        ({"batch_sizes": []}, "batch_sizes is empty"),
        ({"threads": 100_000}, "threads is 100000, but this process may use 1 to"),
    ],
)
def test_what_cannot_be_timed_is_refused(deep: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        speed([str(deep)], **{"max_length": 32, **settings})


def test_the_command_prints_a_table_and_json(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["speed", str(deep), "--layers", "6,3", "--rows", "16", "--max-length", "16", "--rounds", "1"]
    given += ["--batch-sizes", "2", "--no-memory"]
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert "deep[:3]" in printed
    assert "16 rows (random word pieces, 16 a row) on" in printed
    assert main([*given, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["layers"] for record in records] == [12, 6, 3]
    assert main([*given, "--device", "tpu"]) == 2


def test_exported_folders_stand_beside_the_classifier_they_came_from(
    exported: Exported, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(exported.torch), str(exported.int8)]
    given = ["speed", *folders, "--test", str(workspace / "test.csv"), "--rounds", "2", "--batch-sizes", "1,8"]
    given += ["--threads", "1"]  # of several, each waits for the others where the machine is busy
    assert main([*given, "--json", "--chart", str(tmp_path / "speed.png")]) == 0
    printed = capsys.readouterr()
    torch, int8 = (SpeedRecord.model_validate_json(line) for line in printed.out.splitlines())
    assert [torch.runtime, int8.runtime] == ["torch", "onnx"]
    assert torch.parameters == int8.parameters
    assert torch.layers == int8.layers == 1
    assert [cell.title for cell in int8.throughput] == ["1 texts", "8 texts"]
    assert int8.latency.calls == 100
    assert 0 < int8.latency.median <= int8.latency.p95 <= int8.latency.p99
    assert (torch.peak_memory_bytes or 0) > 2 * (int8.peak_memory_bytes or 0) > 10_000_000  # no torch in that process
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    print_speeds([torch, int8], Console(file=(told := io.StringIO())))
    assert "on disk" in told.getvalue()
    assert "served-int8" in told.getvalue()


def test_a_chart_of_an_unknown_kind_is_refused_before_anything_is_timed(
    deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["speed", str(deep), "--chart", "speed.gif"]) == 2
    assert "a chart is written as .png, .html, .json" in capsys.readouterr().err
    (tmp_path / "speed.png").mkdir()
    assert main(["speed", str(deep), "--chart", str(tmp_path / "speed.png")]) == 2
    assert ", a folder; name a file" in capsys.readouterr().err


def test_beside_another_job_the_figures_are_told_not_to_hold(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["speed", str(deep), "--layers", "3", "--rows", "8", "--max-length", "16", "--rounds", "2"]
    given += ["--batch-sizes", "2", "--threads", "1", "--no-memory"]
    with neighbours(2 * usable_cores()):
        assert main(given) == 0
        printed = capsys.readouterr()
        assert main([*given, "--json"]) == 0
    assert "warning: Something else uses this machine: this process got" in printed.err
    assert "Seconds and ratios do not hold beside another job" in " ".join(printed.out.split())
    printed = capsys.readouterr()
    records = [SpeedRecord.model_validate_json(line) for line in printed.out.splitlines()]
    assert all(len(record.cpu_shares) == 2 and max(record.cpu_shares) < 0.9 for record in records)
    assert "Seconds and ratios do not hold beside another job" in printed.err
