"""The stage of an encoding: what is used again, what is made again, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from conftest import make_tokenizer
from damage import cut, flip
from pkd import progress
from pkd.data.encodings import Reader
from pkd.data.shards import open_shards
from pkd.data.tokenize import fingerprint_rows
from pkd.errors import Stopped
from pkd.jobs.encode import encoding_inputs, encoding_left, encoding_stage
from pkd.runs.seal import partial_of
from pkd.runs.stage import Done


class StopsAtOnce(progress.Watcher):
    """Asks for a stop as soon as a stage has done something."""

    def stage_moved(self, stage: progress.Stage) -> None:
        progress.request_stop(75)


def encode(rows: datasets.Dataset, folder: Path, max_length: int = 32, rows_per_shard: int = 10) -> Done:
    reader = Reader(make_tokenizer(), max_length, "a teacher")
    prints = fingerprint_rows(rows)
    return encoding_stage(folder, "encode", rows, reader, rows_per_shard, rows_prints=prints, overwrite=False)


def shards_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.glob("*.arrow"))}


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_shard_alone_is_made_again_with_the_same_bytes(
    rows: datasets.Dataset, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = encode(rows, tmp_path / "train-key").folder
    before = shards_of(folder)
    damage(folder / "shard-00002.arrow")
    assert encode(rows, folder).status == "resumed"
    after = shards_of(folder)
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    again = [name for name in before if after[name][1] != before[name][1]]
    assert again == ["shard-00002.arrow"]
    assert encode(rows, folder).status == "kept"


def test_an_unfinished_encoding_is_known_by_its_shards_and_gone_on_with(rows: datasets.Dataset, tmp_path: Path) -> None:
    whole = encode(rows, tmp_path / "whole").folder
    folder = tmp_path / "train-key"
    inputs = encoding_inputs(Reader(make_tokenizer(), 32, "a teacher"), fingerprint_rows(rows))
    assert encoding_left(folder, inputs, 40, 10) == 1.0
    try:
        with pytest.raises(Stopped, match="1 of 4 shards are saved"), progress.watch(StopsAtOnce()):
            encode(rows, folder)
    finally:
        progress.clear_stop()
    assert partial_of(folder).is_dir()
    assert encoding_left(folder, inputs, 40, 10) == 0.75
    assert encoding_left(folder, {**inputs, "max_length": 16}, 40, 10) == 1.0
    assert encode(rows, folder).status == "resumed"
    assert encoding_left(folder, inputs, 40, 10) == 0.0
    assert [data for data, _ in shards_of(folder).values()] == [data for data, _ in shards_of(whole).values()]


def test_another_length_makes_it_again_and_another_size_of_shards_does_not(
    rows: datasets.Dataset, tmp_path: Path
) -> None:
    folder = encode(rows, tmp_path / "train-key").folder
    assert encode(rows, folder, rows_per_shard=7).status == "kept"
    assert encode(rows, folder, max_length=5).status == "redone"
    assert max(open_shards(folder)["length"]) == 5
    assert (tmp_path / "train-key.stale-1").is_dir()


def test_a_reader_that_cuts_many_rows_is_told_so(
    rows: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(progress, "warn", told.append)
    done = encode(rows, tmp_path / "train-key", max_length=6)
    share = sum(length == 6 for length in open_shards(done.folder)["length"]) / 40
    assert told == [f"encode: {share:.0%} of the rows are cut at 6 word pieces (max_length)."]
