"""Every job computes where it is told to: one function moves models, and whatever computes has come through it.

On a machine without a GPU a model that was forgotten computes all the same. So the one function stands in here for
itself and counts, and every forward pass of a classifier is watched.
"""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import PreTrainedModel

import pkd
from conftest import make_teacher, make_tokenizer
from pkd.cli.main import main
from pkd.encoder.load import load_teacher
from pkd.errors import RecipeError
from pkd.jobs.pilot import Shape, Work, measure_prices
from pkd.jobs.workload import classifier_job
from pkd.recipe.reading import recipe_from
from pkd.reporting.results import ModelRecord, RunRecord
from pkd.training import hardware

for module in pkgutil.walk_packages(pkd.__path__, "pkd."):  # what is imported later would keep the stand-in
    if module.name != "pkd.__main__":
        importlib.import_module(module.name)

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
TRAINING = {"num_train_epochs": 1, "learning_rate": 1e-3, "max_length": 32, "precision": "float32", "device": "cpu"}


class Watched:
    """The models that were moved, each once for each call, and those that computed."""

    def __init__(self) -> None:
        self.moved: list[tuple[torch.nn.Module, torch.device]] = []
        self.computed: list[torch.nn.Module] = []

    def move(self, model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        self.moved.append((model, device))
        model.to(device)
        return model

    def see(self, module: torch.nn.Module, given: Any) -> None:
        if isinstance(module, PreTrainedModel) and hasattr(module, "classifier"):
            assert any(module is model for model, _ in self.moved), f"{type(module).__name__} computes where it lay"
            if not any(module is model for model in self.computed):
                self.computed.append(module)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    seen = Watched()
    for name, module in list(sys.modules.items()):
        if name.startswith("pkd.") and hasattr(module, "move_model"):
            monkeypatch.setattr(module, "move_model", seen.move)
    hook = register_module_forward_pre_hook(seen.see)
    yield seen
    hook.remove()


def rows_of(workspace: Path) -> dict[str, str]:
    return {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv")}


def recipe(workspace: Path, folder: Path, **more: Any) -> Any:
    given = {
        "output": str(folder / "run"),
        "device": "cpu",
        "teacher": {"model": str(workspace / "teacher")},
        "data": {**rows_of(workspace), "test": str(workspace / "test.csv"), "max_length": 32},
        "training": {"num_train_epochs": 1, "learning_rate": 1e-3, "precision": "float32"},
        "controls": False,
        "evaluation": {"resamples": 20},
        **more,
    }
    return recipe_from(given, where="test")


def finetune(workspace: Path, folder: Path) -> None:
    result = pkd.finetune(
        model=str(workspace / "teacher"), output=str(folder / "tuned"), **rows_of(workspace), **TRAINING
    )
    assert result.device == "cpu"


def annotate(workspace: Path, folder: Path) -> None:
    rows = pkd.load_data(train=str(workspace / "train.csv"), max_length=32)["train"]
    teacher = load_teacher(str(workspace / "teacher"))
    for _ in range(2):  # the second time some of the rows are asked again
        pkd.annotate(
            rows, teacher.model, teacher.tokenizer, output=str(folder / "annotated"), max_length=32, device="cpu"
        )


def check(workspace: Path, folder: Path) -> None:
    assert pkd.check(recipe(workspace, folder)).device == "cpu"


def run(workspace: Path, folder: Path) -> None:
    records = pkd.run(recipe(workspace, folder)).records
    models = {record.role: record for record in records if isinstance(record, ModelRecord)}
    assert models["teacher"].devices == {"scores": "cpu", "rows_per_second": "cpu"}
    assert models["student"].devices == {"scores": "cpu", "rows_per_second": "cpu", "train_seconds": "cpu"}
    assert next(record for record in records if isinstance(record, RunRecord)).hardware["device"] == "cpu"


def evaluate(workspace: Path, folder: Path) -> None:
    shutil.copytree(workspace / "teacher", folder / "other")
    records = pkd.evaluate(
        [str(workspace / "teacher"), str(folder / "other")],
        test=str(workspace / "test.csv"), max_length=32, resamples=20, device="cpu",
    )  # fmt: skip
    models = [record for record in records if isinstance(record, ModelRecord)]
    assert [model.devices for model in models] == [{"scores": "cpu", "rows_per_second": "cpu"}] * 2


def predict(workspace: Path, folder: Path) -> None:
    assert len(list(pkd.predict(str(workspace / "teacher"), ["a fine film"], device="cpu"))) == 1


def speed(workspace: Path, folder: Path) -> None:
    records = pkd.speed(
        [str(workspace / "teacher")], layers=[1], rows=4, max_length=8, batch_sizes=[2], rounds=1, memory=False,
        device="cpu",
    )  # fmt: skip
    assert {record.device for record in records} == {"cpu"}


def submit(workspace: Path, folder: Path) -> None:
    make_teacher(layers=1, labels=("not_entailment", "entailment")).save_pretrained(folder / "rte")
    make_tokenizer().save_pretrained(folder / "rte")
    (folder / "RTE").mkdir()
    (folder / "RTE" / "test.tsv").write_text("index\tsentence1\tsentence2\n0\ta film\tthe end\n")
    pkd.submit(str(folder / "rte"), task="RTE", folder=str(folder), output=str(folder / "out"), device="cpu")


def export(workspace: Path, folder: Path) -> None:
    make_teacher(layers=1).save_pretrained(folder / "shallow")
    make_tokenizer().save_pretrained(folder / "shallow")
    pkd.export(str(folder / "shallow"), output=str(folder / "served"))


def pilot(workspace: Path, folder: Path) -> None:
    loaded = load_teacher(str(workspace / "teacher"))
    rows = pkd.load_data(train=str(workspace / "train.csv"), max_length=32)
    job = classifier_job(loaded, recipe(workspace, folder), rows, loaded.outputs)
    works = [Work(job.shape, "pass", 1), Work(Shape(job.shape.encoder, 1, job.shape.config), "train", 1, 1)]
    measure_prices(works, job.sample, job.outputs, device=job.device, seconds=0.0)


# How many models each job computes with, and how often it moves one. A student is one model as it is checked, one as it
# is trained, one as it is judged and one as it is timed; for a pass over rows a model is moved there and back.
JOBS: dict[Callable[[Path, Path], None], tuple[int, int]] = {
    finetune: (1, 1), annotate: (1, 4), check: (2, 5), run: (5, 14), evaluate: (3, 6), predict: (1, 1), speed: (2, 2),
    submit: (1, 1), export: (1, 1), pilot: (1, 1),
}  # fmt: skip


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_every_model_that_computes_was_moved_there_first(
    job: Callable[[Path, Path], None], watched: Watched, workspace: Path, tmp_path: Path
) -> None:
    job(workspace, tmp_path)
    models, moves = JOBS[job]
    assert len(watched.computed) == models
    assert len({id(model) for model, _ in watched.moved}) == models
    assert len(watched.moved) == moves
    assert {device for _, device in watched.moved} == {torch.device("cpu")}


@without_gpu
def test_every_command_that_runs_a_model_takes_the_device_and_refuses_one_that_is_not_there(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is made: so the flag has reached the place that decides."""
    teacher, train, test = str(workspace / "teacher"), str(workspace / "train.csv"), str(workspace / "test.csv")
    out = ["--output", str(tmp_path / "out")]
    lines = "teacher: {{model: {}}}\ndata: {{train: {}, eval: {}}}\nsweep: {{grid: published}}\n"
    (tmp_path / "sweep.yaml").write_text(lines.format(teacher, train, train))
    (tmp_path / "run.yaml").write_text(lines.format(teacher, train, train).rpartition("sweep")[0])
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "test.tsv").write_text("index\tsentence1\tsentence2\n0\ta film\tthe end\n")
    commands = [
        ["finetune", "--model", teacher, "--train", train, *out],
        ["annotate", "--teacher", teacher, "--train", train, *out],
        ["distill", "--teacher", teacher, "--train", train, "--eval", test, *out],
        ["run", str(tmp_path / "run.yaml"), "--set", f"output={tmp_path / 'out'}"],
        ["sweep", str(tmp_path / "sweep.yaml"), "--set", f"output={tmp_path / 'out'}"],
        ["check", str(tmp_path / "run.yaml")],
        ["evaluate", teacher, "--test", test],
        ["predict", teacher, "a film"],
        ["speed", teacher],
        ["serve", teacher, "--port", "0"],
        ["submit", teacher, "--task", "RTE", "--folder", str(tmp_path), *out],
        ["demo", *out],
        ["paper", "table4", "--teacher", teacher, *out],
        ["paper", "table1", "--teacher", teacher, "--glue", str(tmp_path), "--dry-run"],
    ]
    for command in commands:
        assert main([*command, "--device", "cuda", "--quiet"]) == 2, command
        told = capsys.readouterr().err
        assert "device is cuda, but torch sees no GPU here. Use " in told, (command, told)
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir()), command
        assert main([*command, "--device", "tpu"]) == 2, command
        assert "must be auto, cpu or cuda" in capsys.readouterr().err, command


@without_gpu
def test_what_has_no_recipe_checks_the_device_too(workspace: Path) -> None:
    for device, words in (("gpu", "device is gpu; it must be auto, cpu or cuda"), ("cuda", "torch sees no GPU")):
        with pytest.raises(RecipeError, match=words):
            pkd.Classifier.load(workspace / "teacher", device)


def test_a_model_is_back_where_it_was_after_a_pass_that_failed(watched: Watched) -> None:
    model = torch.nn.Linear(2, 2)
    with pytest.raises(KeyboardInterrupt), hardware.computing_on(torch.device("meta"), [model]):
        assert model.weight.device.type == "meta"
        model.to_empty(device="cpu")
        raise KeyboardInterrupt
    assert [device.type for _, device in watched.moved] == ["meta", "cpu"]
