"""Faults other than kills, met by the real jobs: damage, a full disk, moved folders, clocks, rights.

What the same command makes after each of them is held, to the bit, to a training that met none.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import make_reviews, make_teacher, make_tokenizer, write_csv
from damage import cut, flip
from pkd import progress
from pkd.cli.main import main
from pkd.errors import CheckpointError, Stopped
from pkd.jobs.annotate import annotate
from pkd.jobs.finetune import finetune
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.seal import read_manifest, seal
from pkd.training.checkpoints import checkpoint_folders, newest_sealed

STOPPED_AT = 9


class StopsAt(progress.Watcher):
    """A watcher that asks for a stop when a training has come to a step, and keeps what it is told."""

    def __init__(self, step: int = 0) -> None:
        self.step = step
        self.told: list[str] = []

    def stage_moved(self, stage: Any) -> None:
        if self.step and stage.unit == "steps" and stage.done == self.step:
            progress.request_stop(75)

    def noted(self, message: str, level: str) -> None:
        self.told.append(message)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder and data; `whole`, fine-tuned without a fault; `stopped.partial`, stopped at step 9 of 12."""
    folder = tmp_path_factory.mktemp("faults")
    make_teacher(4).save_pretrained(folder / "encoder")
    make_tokenizer().save_pretrained(folder / "encoder")
    write_csv(folder / "train.csv", make_reviews(64, seed=1))
    write_csv(folder / "dev.csv", make_reviews(32, seed=2))
    train(folder, folder / "whole")
    with pytest.raises(Stopped), progress.watch(StopsAt(STOPPED_AT)):
        train(folder, folder / "stopped")
    progress.clear_stop()
    assert [path.name for path in checkpoint_folders(folder / "stopped.partial")][:2] == [
        "checkpoint-9",
        "checkpoint-8",
    ]
    return folder


def train(place: Path, output: Path) -> list[str]:
    """Fine-tune, or go on; what was noted."""
    watcher = StopsAt() if progress._watcher.__class__ is progress.Silent else progress._watcher
    with progress.watch(watcher):
        finetune(
            model=str(place / "encoder"), train=str(place / "train.csv"), eval=str(place / "dev.csv"), output=str(output),
            num_train_epochs=3, save_steps=2, per_device_train_batch_size=16, learning_rate=1e-3, max_length=32,
            device="cpu", precision="float32", logging_steps=3,
        )  # fmt: skip
    return getattr(watcher, "told", [])


@pytest.fixture
def stopped(place: Path, tmp_path: Path) -> Path:
    """A copy of the stopped training, as `there.partial`."""
    shutil.copytree(place / "stopped.partial", tmp_path / "there.partial")
    return tmp_path / "there"


def assert_as_if_nothing_had_happened(place: Path, folder: Path) -> None:
    whole = {path.name: sha256_of_file(path) for path in (place / "whole").iterdir() if path.name != "manifest.json"}
    found = {path.name: sha256_of_file(path) for path in folder.iterdir() if path.name != "manifest.json"}
    assert found == whole
    facts = []
    for each in (place / "whole", folder):
        manifest = read_manifest(each)
        assert manifest is not None
        facts.append({key: value for key, value in manifest.facts.items() if key != "train_seconds"})
    assert facts[0] == facts[1]


def zero_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    begin = min(4096, len(data) // 2)
    data[begin : begin + 4096] = bytes(len(data[begin : begin + 4096]))
    path.write_bytes(data)


DAMAGE: tuple[Callable[[Path], None], ...] = (cut, flip, zero_a_page)


def test_damage_to_any_file_of_the_newest_checkpoint_is_found_and_the_one_before_it_taken(
    place: Path, tmp_path: Path
) -> None:
    original = place / "stopped.partial"
    newest, before, *_ = checkpoint_folders(original)
    manifest = read_manifest(newest)
    assert manifest is not None
    names = sorted(path.name for path in newest.iterdir())
    assert len(names) == 8
    for number, (name, damage) in enumerate((name, damage) for name in names for damage in DAMAGE):
        folder = tmp_path / str(number)
        shutil.copytree(original, folder, ignore=shutil.ignore_patterns("model.safetensors.x"))
        damage(folder / newest.name / name)
        watcher = StopsAt()
        with progress.watch(watcher):
            assert newest_sealed(folder, manifest.inputs) == folder / before.name, (name, damage)
        assert f"{newest.name} cannot be resumed from" in watcher.told[0]
        assert f"is now {newest.name}.damaged-1" in watcher.told[0]
        assert (folder / f"{newest.name}.damaged-1" / name).exists()


@pytest.mark.parametrize("name", ["optimizer.safetensors", "manifest.json"])
def test_a_training_with_a_damaged_checkpoint_ends_with_the_same_bits(place: Path, stopped: Path, name: str) -> None:
    flip(stopped.with_name("there.partial") / "checkpoint-9" / name)
    told = train(place, stopped)
    assert any("checkpoint-9 cannot be resumed from" in note for note in told)
    assert_as_if_nothing_had_happened(place, stopped)


def test_a_damaged_best_epoch_is_trained_again_rather_than_kept(place: Path, stopped: Path) -> None:
    partial = stopped.with_name("there.partial")
    manifest = read_manifest(partial / "checkpoint-9")
    assert manifest is not None
    best = manifest.facts["best"]
    assert best in ("checkpoint-4", "checkpoint-8")
    flip(partial / best / "model.safetensors")
    told = train(place, stopped)
    assert any(
        f"checkpoint-9 cannot be resumed from (its best epoch, {best}: model.safetensors" in note for note in told
    )
    assert_as_if_nothing_had_happened(place, stopped)


def test_a_best_epoch_damaged_while_training_is_never_the_result(place: Path, stopped: Path) -> None:
    partial = stopped.with_name("there.partial")
    manifest = read_manifest(partial / "checkpoint-9")
    assert manifest is not None
    best = manifest.facts["best"]

    class Damages(StopsAt):
        def stage_moved(self, stage: Any) -> None:
            if stage.unit == "steps" and stage.done == 11:
                flip(partial / best / "model.safetensors")

    with (
        pytest.raises(CheckpointError, match="is the best epoch, but was damaged since it was saved"),
        progress.watch(Damages()),
    ):
        train(place, stopped)
    train(place, stopped)
    assert_as_if_nothing_had_happened(place, stopped)


def test_a_folder_that_was_moved_between_two_runs_goes_on_where_it_is(place: Path, stopped: Path) -> None:
    elsewhere = stopped.parent / "another disk" / "moved"
    elsewhere.parent.mkdir()
    stopped.with_name("there.partial").rename(elsewhere.with_name("moved.partial"))
    told = train(place, elsewhere)
    assert any("goes on from" in note and "checkpoint-9" in note for note in told)
    assert_as_if_nothing_had_happened(place, elsewhere)


def test_a_clock_that_was_set_back_misleads_nobody(place: Path, stopped: Path) -> None:
    partial = stopped.with_name("there.partial")
    for age, checkpoint in enumerate(checkpoint_folders(partial)):  # the newest is the oldest by its times
        for path in [*checkpoint.iterdir(), checkpoint]:
            os.utime(path, (10_000 * age, 4_000_000_000 if age else 1))
    told = train(place, stopped)
    assert any("goes on from" in note and "checkpoint-9" in note for note in told)
    assert_as_if_nothing_had_happened(place, stopped)


def test_orphans_of_a_killed_process_are_not_sealed_and_a_damaged_seal_costs_nothing(
    place: Path, stopped: Path
) -> None:
    partial = stopped.with_name("there.partial")
    (partial / ".tmpAbC123").write_bytes(b"an orphan of safetensors")
    (partial / "shards-1.json.partial").write_bytes(b"[")
    seal(partial, "teacher", {}, {}, ["checkpoint-*"])
    flip(partial / "manifest.json")
    told = train(place, stopped)
    assert any("cannot be read" in note and "made anew" in note for note in told)
    assert_as_if_nothing_had_happened(place, stopped)


def commands(place: Path, folder: Path) -> list[str]:
    return [
        "distill", "--teacher", str(place / "whole"), "--train", str(place / "train.csv"), "--eval",
        str(place / "dev.csv"), "--layers", "2", "--max-length", "32", "--output", str(folder), "--num-train-epochs", "1",
        "--precision", "float32", "--quiet", "--set", "training.device=cpu", "--set", "evaluation.resamples=20",
        "--set", "evaluation.measure_speed=false", "--set", "annotation.rows_per_shard=32",
    ]  # fmt: skip


@pytest.fixture
def largest_file() -> Iterator[Callable[[int | None], None]]:
    """Sets how large a file may grow before the system says that there is no room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))

    yield limit
    limit(None)


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_file_ends_with_7_and_costs_nothing_that_was_finished(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], largest_file: Callable[[int | None], None]
) -> None:
    assert main(commands(place, tmp_path / "roomy" / "student")) == 0
    narrow, finished = tmp_path / "narrow" / "student", set()
    # less than what the recipe, a shard, the optimiser's state and the report take
    for size in (100, 9_000, 45_000, 400_000):
        largest_file(size)
        code = main(commands(place, narrow))
        largest_file(None)
        told = capsys.readouterr().err
        assert code == 7, (size, told)
        assert "The disk is full" in told
        assert "Traceback" not in told
        now = {path for path in narrow.parent.rglob("manifest.json") if ".partial" not in str(path)}
        assert finished <= now
        finished = now
    assert len(finished) == 16  # six encodings and passes, word counts, sizes of the terms, a student, its predictions
    assert main(commands(place, narrow)) == 0
    files = [
        {
            path.relative_to(folder): sha256_of_file(path)
            for path in folder.rglob("*")
            if path.suffix in (".safetensors", ".arrow", ".npy")
        }
        for folder in (tmp_path / "roomy", tmp_path / "narrow")
    ]
    assert files[0] == files[1]
    assert not list(tmp_path.rglob("*.partial"))


def without_the_rights_of_root() -> None:
    """In a child: the capabilities by which root passes over rights of files."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            os._exit(99)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_ends_with_2_and_is_gone_on_with_when_it_can(
    place: Path, stopped: Path
) -> None:
    asked = [
        "finetune", "--model", str(place / "encoder"), "--train", str(place / "train.csv"), "--eval",
        str(place / "dev.csv"), "--output", str(stopped), "--num-train-epochs", "3", "--per-device-train-batch-size", "16",
        "--learning-rate", "1e-3", "--max-length", "32", "--precision", "float32", "--set", "training.device=cpu",
        "--set", "training.save_steps=2", "--set", "training.logging_steps=3", "--quiet",
    ]  # fmt: skip
    partial = stopped.with_name("there.partial")
    partial.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pkd", *asked], capture_output=True, text=True, timeout=200, check=False,
            preexec_fn=without_the_rights_of_root,
        )  # fmt: skip
    finally:
        partial.chmod(0o755)
    if done.returncode == 99:
        pytest.skip("this process may not give up the rights of root")
    assert done.returncode == 2, done.stderr
    assert "Permission denied. Name a place that can be read, and written where it is an output." in done.stderr
    assert "Traceback" not in done.stderr
    train(place, stopped)
    assert_as_if_nothing_had_happened(place, stopped)


def test_the_step_that_diverged_by_its_gradient_is_written_down_too(place: Path, tmp_path: Path) -> None:
    code = main([
        "finetune", "--model", str(place / "encoder"), "--train", str(place / "train.csv"), "--output", str(tmp_path / "t"),
        "--learning-rate", "1e9", "--max-length", "32", "--num-train-epochs", "3", "--set", "training.device=cpu", "--quiet",
        "--set", "training.max_grad_norm=0", "--set", "training.warmup_steps=0",
    ])  # fmt: skip
    assert code == 6
    told = json.loads((tmp_path / "t.partial" / "diverged.json").read_text())
    assert told["step"] >= 2
    assert len(told["texts"]) == 26, "what is left of 64 rows, of which 6 are held out, after the first step"


def test_damage_to_any_shard_is_found_and_that_shard_alone_made_again(place: Path, tmp_path: Path) -> None:
    def annotate_again() -> list[str]:
        watcher = StopsAt()
        with progress.watch(watcher):
            annotate(
                train=str(place / "train.csv"), teacher=str(place / "whole"), output=str(tmp_path / "rows"), layers=2,
                max_length=32, rows_per_shard=16, **{"annotation.precision": "float32"},
            )  # fmt: skip
        return watcher.told

    annotate_again()
    shards = sorted((tmp_path / "rows").glob("*.arrow"))
    whole = {path.name: (sha256_of_file(path), path.stat().st_mtime_ns) for path in shards}
    assert len(shards) == 4
    for shard, damage in ((shard, damage) for shard in shards for damage in DAMAGE):
        damage(shard)
        assert any(f"damaged: {shard.name} has" in note for note in annotate_again()), (shard.name, damage)
        found = {path.name: (sha256_of_file(path), path.stat().st_mtime_ns) for path in shards}
        assert found[shard.name][0] == whole[shard.name][0]
        assert {name: found[name] for name in whole if name != shard.name} == {
            name: whole[name] for name in whole if name != shard.name
        }
        whole = found
