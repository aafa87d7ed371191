from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import make_teacher, make_tokenizer
from pkd.cli.main import main
from pkd.errors import RecipeError
from pkd.jobs.speed import speed


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed") / "deep"
    make_teacher(layers=12).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_fewer_layers_are_smaller_and_faster_and_the_embeddings_stay(deep: Path) -> None:
    teacher, quarter = speed([str(deep)], layers=[3], rows=128, max_length=32, rounds=3)
    assert (teacher.layers, quarter.layers, quarter.rows) == (12, 3, 128)
    assert teacher.embeddings == quarter.embeddings
    assert teacher.layer_parameters == 4 * quarter.layer_parameters
    assert quarter.smaller == pytest.approx(teacher.parameters / quarter.parameters)
    assert len(quarter.seconds) == len(quarter.faster) == 3
    assert quarter.median_seconds < teacher.median_seconds
    assert teacher.faster == [1.0, 1.0, 1.0]


def test_a_file_is_answered_by_every_model(workspace: Path, deep: Path) -> None:
    records = speed([str(workspace / "teacher"), str(deep)], test=str(workspace / "test.csv"), max_length=32, rounds=1)
    assert [record.name for record in records] == ["teacher", "deep"]
    assert [record.rows for record in records] == [60, 60]
    assert records[0].on.endswith("test.csv")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": [13]}, "13"),
        ({"max_length": 65}, "at most 64"),
        ({"rounds": 0}, "rounds is 0"),
    ],
)
def test_what_cannot_be_timed_is_refused(deep: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        speed([str(deep)], **{"max_length": 32, **settings})


def test_the_command_prints_a_table_and_json(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["speed", str(deep), "--layers", "6,3", "--rows", "16", "--max-length", "16", "--rounds", "2"]
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert "deep[:3]" in printed
    assert "16 rows (random word pieces, 16 a row) on" in printed
    assert main([*given, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["layers"] for record in records] == [12, 6, 3]
    assert main([*given, "--device", "tpu"]) == 2
