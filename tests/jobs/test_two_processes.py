"""`torchrun -m pkd`: a run shared by two processes is the run of one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from conftest import free_port, make_reviews, make_teacher, make_tokenizer, write_csv
from pkd.cli.main import main
from pkd.data.shards import list_shards
from pkd.distillation.annotation import cut_of
from pkd.jobs.run import run
from pkd.jobs.verify import verify
from pkd.reporting.results import ModelRecord, read_results
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.seal import read_manifest
from warm import run_ranks, start_ranks

pytestmark = pytest.mark.slow

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pkd")


def call(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def shards_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.arrow")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a teacher without dropout: two processes draw other random numbers than one."""
    folder = tmp_path_factory.mktemp("place")
    write_csv(folder / "train.csv", make_reviews(161, seed=1))  # a last batch of one row: one rank has none of it
    write_csv(folder / "dev.csv", make_reviews(61, seed=2))
    write_csv(folder / "test.csv", make_reviews(60, seed=3))
    teacher = make_teacher(4)
    teacher.config.update({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(5)  # answers that differ from row to row
    teacher.save_pretrained(folder / "teacher")
    make_tokenizer().save_pretrained(folder / "teacher")
    return folder


def recipe(place: Path, name: str, batch: int) -> str:
    path = place / f"{name}.yaml"
    path.write_text(
        f"""
output: {place / name}
teacher: {{model: {place / "teacher"}}}
data: {{train: {place / "train.csv"}, eval: {place / "dev.csv"}, test: {place / "test.csv"}, max_length: 32}}
students: [{{layers: 2}}]
transfer: {{augment: 1}}
training: {{num_train_epochs: 2, learning_rate: 1.0e-3, device: cpu, precision: float32, logging_steps: 1,
           per_device_train_batch_size: {batch}}}
annotation: {{rows_per_shard: 32}}
evaluation: {{resamples: 100, measure_speed: false}}
""",
        encoding="utf-8",
    )
    return str(path)


@pytest.fixture(scope="module")
def runs(place: Path) -> tuple[Path, Path]:
    """The same recipe by one process with batches of 32, and by two with 16 each."""
    run(recipe(place, "alone", 32))
    done = call(*TORCHRUN, "run", recipe(place, "shared", 16))
    assert done.returncode == 0, done.stderr[-3000:]
    return place / "alone", place / "shared"


def test_two_processes_annotate_the_same_bytes(runs: tuple[Path, Path]) -> None:
    alone, shared = (shards_of(folder / "annotated") for folder in runs)
    assert len(alone) == 16  # five of them of augmented rows
    assert alone == shared


def test_two_processes_follow_the_losses_of_one_and_end_with_its_weights(runs: tuple[Path, Path]) -> None:
    def history(folder: Path) -> list[dict[str, Any]]:
        manifest = read_manifest(folder)
        assert manifest is not None
        return manifest.facts["history"]

    for name in ("pkd-skip-L2-spread-seed42", "kd-L2-spread-seed42", "ft-L2-spread-seed42"):
        alone, shared = (folder / "students" / name for folder in runs)
        for one, two in zip(history(alone), history(shared), strict=True):
            assert one.keys() == two.keys()
            for key in one.keys() - {"eval_runtime", "epoch"}:
                assert two[key] == pytest.approx(one[key], rel=1e-4, abs=1e-6), key
        weights, others = load_file(alone / "model.safetensors"), load_file(shared / "model.safetensors")
        for key, expected in weights.items():
            if key.endswith("key.bias"):  # softmax takes no notice of it: Adam makes whole steps out of rounding errors
                continue
            torch.testing.assert_close(others[key], expected, rtol=1e-3, atol=1e-5, msg=key)


def test_two_processes_write_each_thing_once_and_judge_alike(runs: tuple[Path, Path]) -> None:
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in runs]
    assert names[0] == names[1]
    scores = [
        {(each.name, name): score.value for each in read_results(folder) if isinstance(each, ModelRecord)
         for name, score in each.scores.items()}
        for folder in runs
    ]  # fmt: skip
    assert scores[0] == pytest.approx(scores[1], rel=1e-4, abs=1e-5)


def test_a_pass_that_two_processes_left_is_finished_by_one_with_the_same_bytes(place: Path, tmp_path: Path) -> None:
    asked = ["annotate", "--teacher", str(place / "teacher"), "--train", str(place / "train.csv"), "--layers", "2"]
    asked += ["--max-length", "32", "--set", "annotation.rows_per_shard=32"]
    shared, left = tmp_path / "shared", tmp_path / "left"
    codes, told = run_ranks(2, *asked, "--output", shared)
    assert codes == [0, 0], told[-3000:]
    manifest = read_manifest(shared)
    assert manifest is not None
    expected = shards_of(shared)
    partial = left.with_name("left.partial")  # as a kill leaves it: each rank's list, and shards that nobody listed
    shutil.copytree(shared, partial)
    (partial / "manifest.json").unlink()
    (partial / "stage.json").write_text(json.dumps(manifest.inputs), encoding="utf-8")
    files = {file.name: file for file in manifest.files}
    cut = cut_of(32, manifest.facts["teacher_layers"])
    list_shards(partial, [files["shard-00000.arrow"], files["shard-00002.arrow"]], cut)
    (partial / "shards-0.json").rename(partial / "shards-1.json")
    list_shards(partial, [files["shard-00001.arrow"]], cut)
    (partial / "shard-00004.arrow").unlink()
    before = {name: (partial / f"shard-0000{name}.arrow").stat().st_mtime_ns for name in range(4)}
    assert main([*asked, "--output", str(left)]) == 0
    assert shards_of(left) == expected
    after = {name: (left / f"shard-0000{name}.arrow").stat().st_mtime_ns for name in range(4)}
    assert [name for name in before if before[name] != after[name]] == [3]
    assert not list(left.glob("shards-*.json"))


def test_a_run_of_which_one_process_was_killed_goes_on_to_the_same_bits(place: Path, runs: tuple[Path, Path]) -> None:
    folder = place / "killed"
    asked = ["run", recipe(place, "killed", 16), "--set", "training.save_steps=2", "--set", "controls=false"]
    started = start_ranks(2, *asked)
    until = time.monotonic() + 200
    while not list(folder.glob("students/pkd-*.partial/checkpoint-4/manifest.json")) and time.monotonic() < until:
        time.sleep(0.01)
    started[1].kill()
    started[0].send_signal(signal.SIGTERM)  # as a launcher does then
    assert 0 not in [process.wait(timeout=100) for process in started]
    assert not (folder / "results.jsonl").exists()
    codes, told = run_ranks(2, *asked)
    assert codes == [0, 0], told[-3000:]
    assert "goes on from" in told
    student = Path("students") / "pkd-skip-L2-spread-seed42"
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        assert sha256_of_file(folder / student / file) == sha256_of_file(runs[1] / student / file)
    assert shards_of(folder) == shards_of(runs[1])
    scores = [
        [each.scores for each in read_results(of_run) if isinstance(each, ModelRecord) and each.role == "student"]
        for of_run in (folder, runs[1])
    ]
    assert scores[0] == scores[1]
    assert verify(folder).damage == []


def test_what_is_wrong_is_said_once_and_both_processes_end_with_its_code(place: Path) -> None:
    path = Path(recipe(place, "wrong", 16))
    path.write_text(path.read_text().replace("dev.csv", "nope.csv"))
    done = call(*TORCHRUN, "run", str(path))
    assert done.stderr.count("nope.csv does not exist") == 1
    assert "exitcode: 3" in done.stderr or "exitcode  : 3" in done.stderr


def test_accelerate_launch_runs_a_recipe_too(place: Path) -> None:
    launch = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
    plain = ("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")
    plain += ("--main_process_port", str(free_port()))
    less = ("--set", "controls=false", "--set", "training.num_train_epochs=1", "--set", "transfer.augment=0")
    done = call(*launch, *plain, "-m", "pkd", "run", recipe(place, "accelerated", 16), *less)
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = read_manifest(place / "accelerated" / "students" / "pkd-skip-L2-spread-seed42")
    assert manifest is not None
    assert manifest.facts["processes"] == 2


def test_two_processes_drop_the_same_layers_and_race_the_same_starts(place: Path) -> None:
    """Each process trains half of a batch, and the one that drops layers tells the other which."""
    folders = []
    for name, batch in (("raced-alone", 32), ("raced-shared", 16)):
        path = Path(recipe(place, name, batch))
        text = (
            path.read_text()
            .replace("{layers: 2}", "{layers: 2, start: auto, method: kd}")
            .replace("augment: 1", "augment: 0")
        )
        path.write_text(text + "controls: false\n")
        folders.append(place / name)
    run(place / "raced-alone.yaml")
    codes, told = run_ranks(2, "run", place / "raced-shared.yaml")
    assert codes == [0, 0], told[-3000:]
    alone, shared = (json.loads((folder / "dropping" / "order.json").read_text()) for folder in folders)
    assert alone == shared
    one, other = (next(record for record in read_results(folder) if isinstance(record, ModelRecord) and record.seed)
                  for folder in folders)  # fmt: skip
    assert one.race is not None
    assert other.race is not None
    assert one.race.starts == other.race.starts
    assert [heat.epochs for heat in one.race.heats] == [heat.epochs for heat in other.race.heats]
    assert one.race.heats[0].scores == pytest.approx(other.race.heats[0].scores, abs=0.05)
    assert other.start == other.race.heats[-1].kept[0]
