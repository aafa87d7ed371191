"""What SECURITY.md promises, over the whole job."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import make_teacher, make_tokenizer
from pkd.cli.main import main
from pkd.encoder.load import load_teacher
from pkd.errors import CacheError, TeacherError
from pkd.jobs.report import report
from pkd.reporting.results import ModelRecord, write_results
from pkd.runs.seal import SCHEMA, is_inside, read_manifest, write_json

_GUARDED = '''
"""Runs pkd commands, a list a line of JSON, where a pickle that is read, or written anywhere but to memory, ends it.

`datasets` pickles what it hashes into memory, which no file sees and nobody reads: a Pickler may write to a BytesIO.
"""
import io, json, pickle, sys, tempfile
import torch

def refuse(what):
    def refused(*given, **keywords):
        raise SystemExit(f"PICKLE: {what}")
    return refused

def guarded(kind):
    class InMemory(kind):
        def __init__(self, file, *given, **keywords):
            if not isinstance(file, io.BytesIO):
                refuse(f"{kind.__name__} writes to {file!r}")()
            super().__init__(file, *given, **keywords)
    return InMemory

for module in (pickle, torch):
    for name in ("load", "loads", "dump", "save"):
        if hasattr(module, name):
            setattr(module, name, refuse(f"{module.__name__}.{name}"))
def forbidden(kind):
    return type(kind.__name__, (kind,), {"__init__": refuse(kind.__name__)})

pickle.Unpickler, pickle._Unpickler = forbidden(pickle.Unpickler), forbidden(pickle._Unpickler)
pickle.Pickler, pickle._Pickler = guarded(pickle.Pickler), guarded(pickle._Pickler)
sys.addaudithook(lambda event, _: refuse("an unpickler of C looks for a class")() if event == "pickle.find_class" else None)

if sys.argv[1:] == ["--read"]:
    torch.load("anything")
if sys.argv[1:] == ["--write"]:
    with tempfile.TemporaryFile() as file:
        pickle.Pickler(file).dump({})

from pkd.cli.main import main

for line in sys.stdin:
    if code := main(json.loads(line)):
        sys.exit(code)
'''


def run_guarded(commands: list[list[str]], *flags: str) -> subprocess.CompletedProcess[str]:
    lines = "".join(json.dumps(command) + "\n" for command in commands)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", _GUARDED, *flags],
        input=lines,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_no_pickle_is_read_or_written_over_the_whole_job(workspace: Path, tmp_path: Path) -> None:
    quick = ["--max-length", "32", "--num-train-epochs", "2", "--set", "training.device=cpu", "--quiet"]
    rows = ["--train", str(workspace / "train.csv"), "--eval", str(workspace / "dev.csv")]
    teacher, student = str(tmp_path / "teacher"), str(tmp_path / "student")
    distil = ["distill", "--teacher", teacher, *rows, "--layers", "2", "--augment", "1", "--output", student, *quick]
    steps = ["--set", "training.save_steps=2", "--set", "evaluation.resamples=20"]
    done = run_guarded([
        ["finetune", "--model", str(workspace / "teacher"), *rows, "--output", teacher, *quick],
        [*distil, *steps],
        [*distil, *steps, "--beta", "50"],  # again: what is kept is read
        ["predict", student, "a great film"],
        ["report", f"{student}.work"],
        ["verify", student],
    ])  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 30
    for path in written:
        head = path.read_bytes()[:4]
        assert not head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")), path
        assert path.suffix not in (".bin", ".pt", ".pth", ".pkl"), path


@pytest.mark.parametrize("how", ["--read", "--write"])
def test_that_guard_can_fail(how: str) -> None:
    assert "PICKLE" in run_guarded([], how).stderr


class Bomb:
    """A pickle that leaves a mark when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def save_teacher(folder: Path) -> None:
    make_teacher(2).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def test_weights_in_a_pickle_are_refused_and_not_read(tmp_path: Path) -> None:
    save_teacher(tmp_path / "teacher")
    (tmp_path / "teacher" / "model.safetensors").unlink()
    (tmp_path / "teacher" / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
    with pytest.raises(TeacherError, match="its weights are in pytorch_model"):
        load_teacher(str(tmp_path / "teacher"))
    assert not (tmp_path / "mark").exists()


def test_a_pickle_beside_good_weights_is_not_read(tmp_path: Path) -> None:
    save_teacher(tmp_path / "teacher")
    for name in ("training_args.bin", "pytorch_model.bin", "optimizer.pt"):
        (tmp_path / "teacher" / name).write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
    assert load_teacher(str(tmp_path / "teacher")).label_names == ("negative", "positive")
    assert not (tmp_path / "mark").exists()


def test_code_in_a_models_folder_is_refused_and_not_run(tmp_path: Path) -> None:
    save_teacher(tmp_path / "teacher")
    (tmp_path / "teacher" / "evil.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((tmp_path / "teacher" / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"}}
    (tmp_path / "teacher" / "config.json").write_text(json.dumps({**config, "model_type": "evil"}))
    with pytest.raises(TeacherError, match="its own code, which pkd never runs"):
        load_teacher(str(tmp_path / "teacher"))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
@pytest.mark.parametrize(
    "asked", ["evil/kernel", "kernels-community/flash-attn:fn", "flash_attention_2", {"": "evil/kernel"}]
)
def test_attention_from_elsewhere_is_refused_or_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, asked: Any
) -> None:
    save_teacher(tmp_path / "teacher")
    config = json.loads((tmp_path / "teacher" / "config.json").read_text())
    (tmp_path / "teacher" / "config.json").write_text(json.dumps({**config, key: asked}))
    if key == "_attn_implementation_internal":
        assert load_teacher(str(tmp_path / "teacher")).model.config._attn_implementation == "sdpa"
    else:
        with pytest.raises(TeacherError, match=r"sets the attention .* pkd does not run a model's own code"):
            load_teacher(str(tmp_path / "teacher"))


def test_every_loading_of_a_model_says_that_it_trusts_no_code() -> None:
    """`trust_remote_code` left out would ask on the terminal, and wait."""
    sources = Path(__file__).parents[1] / "src" / "pkd"
    calls = 0
    for path in sources.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for at in range(len(text)):
            if text.startswith(".from_pretrained(", at) and not text.startswith(".from_pretrained({", at):  # a message
                calls += 1
                assert "trust_remote_code=False" in text[at : at + 400], path
        assert "trust_remote_code=True" not in text
        assert "torch.load" not in text
        assert "import pickle" not in text
    assert calls == 3


@pytest.mark.parametrize(
    "name",
    ["../../other", "/etc/passwd", "a/../../b", "..", "C:\\windows", "\\\\host\\share", "a\\..\\..\\b", "a\0b", ""],
)
def test_a_manifest_that_names_a_file_outside_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    assert not is_inside(name)
    file = {"name": name, "bytes": 1, "sha256": "0" * 64}
    write_json(
        tmp_path / "manifest.json", {"kind": "teacher", "inputs": {}, "facts": {}, "files": [file], "schema": SCHEMA}
    )
    with pytest.raises(CacheError, match="names a file outside its folder"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("folder", ["../other", "students/../../other", "link", "/"])
def test_results_that_point_outside_the_run_are_not_followed(tmp_path: Path, folder: str) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    (run / "link").symlink_to(other)
    record = ModelRecord(
        role="student", name="x", folder=folder, layers=1, split="test", rows=1, scores={}, parameters=1, bytes=4
    )
    write_results([record], run)
    with pytest.raises(CacheError, match="outside the run"):
        report(run)
    assert not list(other.iterdir())


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/x", ".hidden", "a\\b", "con\0"])
@pytest.mark.parametrize("key", ["name", "students.0.name"])
def test_names_in_a_recipe_cannot_lead_out_of_the_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, name: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("teacher: {model: t}\ndata: {train: a.csv, eval: b.csv}\nstudents: [{layers: 2}]\n")
    assert main(["check", str(path), "--set", f"{key}={json.dumps(name)}"]) == 2
    assert "name" in capsys.readouterr().err


def test_a_checkpoint_holds_tensors_and_json_alone(tmp_path: Path) -> None:
    """The optimiser's state goes through safetensors, not through a pickle that `weights_only` fences."""
    import pkd.training.checkpoints as checkpoints

    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    checkpoints.save_optimizer(tmp_path, optimizer, scheduler, {"steps": 1})
    checkpoints.save_random_state(tmp_path / "random_state_0.safetensors", torch.device("cpu"))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors", ".safetensors"]
