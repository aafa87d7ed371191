"""Runs `pkd` in this process, and kills it with SIGKILL at a chosen place: what `benchmarks.endurance` starts.

The product has no hooks for this. A window names a function and one of its calls; the function is replaced by one that
kills the process there, before the call, after it, or in its midst with half of the file written.

    python -m benchmarks.killing --window 'checkpoint: before its seal' --record here/ -- run recipe.yaml
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

STARTED = "started"  # the file that says that the libraries are loaded and the job begins
HIT = "hit"  # the one that says that a window was reached
STEPS = "steps"  # a byte for each training step
CHECKPOINTS = "checkpoints"  # the last checkpoint of each training, which its stage would remove
_TRAINED = ("teacher", "student")


@dataclass(frozen=True)
class Window:
    """A dangerous moment: before, after or in the midst of one call of one function."""

    name: str
    target: str  # "module:attribute" as the caller sees it
    when: Literal["before", "after", "midst"] = "before"
    call: int = 1  # which of the calls that fit, from 1
    fits: Callable[..., bool] = lambda *given, **keywords: True
    job: str = "run"  # in which it opens


def _named(*ends: str) -> Callable[..., bool]:
    """Calls whose first argument is a path with such an end."""
    return lambda path, *given, **keywords: str(path).endswith(ends)


def _in(stage: str) -> Callable[..., bool]:
    """Calls that work in the folder of a stage."""
    return lambda *given, **keywords: any(f"/{stage}" in str(each) for each in given if isinstance(each, str | Path))


_TEACHER, _STUDENT = _in("teacher.partial"), _in("students/")
_ENCODING, _ANSWERS = _in("encodings/"), _in("annotated/")

WINDOWS = [
    Window("stage: its folder made, its inputs not written", "pkd.runs.stage:write_json", fits=_named("stage.json")),
    Window("fine-tuning: the weights saved, the optimiser not", "pkd.training.resuming:save_optimizer", fits=_TEACHER),
    Window("fine-tuning: a checkpoint before its seal", "pkd.training.resuming:seal", call=2, fits=_TEACHER),
    Window("fine-tuning: a checkpoint's seal half written", "pkd.runs.seal:write_text", "midst", 3,
           fits=lambda path, *rest: "checkpoint-" in str(path) and path.name == "manifest.json"),
    Window("fine-tuning: an epoch evaluated and not saved", "pkd.training.trainer:RowMeanTrainer.evaluate", "after"),
    Window("fine-tuning: sealed, before rotation", "pkd.training.resuming:rotate", call=2, fits=_TEACHER),
    Window("fine-tuning: in rotation, half a checkpoint deleted", "pkd.training.checkpoints:shutil.rmtree",
           "midst", fits=_TEACHER),
    Window("export: the teacher's weights saved, its tokenizer not",
           "transformers:PreTrainedTokenizerBase.save_pretrained", fits=_TEACHER),
    Window("stage: complete, before its seal", "pkd.runs.stage:seal"),
    Window("stage: sealed, before its scratch is removed", "pkd.runs.stage:shutil.rmtree"),
    Window("stage: sealed, half of its scratch removed", "pkd.runs.stage:shutil.rmtree", "midst", 2),
    Window("stage: sealed, before it gets its name", "pkd.runs.stage:publish"),
    Window("stage: right after it got its name", "pkd.runs.stage:publish", "after"),
    Window("run: before the recipe is written", "pkd.jobs.run:write_recipe"),
    Window("run: the recipe half written", "pkd.recipe.writing:os.fsync", "midst"),
    Window("encoding: a shard half written", "pkd.data.shards:flush_file", "midst", fits=_ENCODING),
    Window("encoding: a shard named, not yet listed", "pkd.data.shards:list_shards", call=2, fits=_ENCODING),
    Window("encoding: all shards done, their lists not removed", "pkd.jobs.encode:forget_shard_lists"),
    Window("annotation: a shard half written", "pkd.data.shards:flush_file", "midst", 2, fits=_ANSWERS),
    Window("annotation: a shard written, not yet named", "pkd.data.shards:flush_file", call=2, fits=_ANSWERS),
    Window("annotation: a shard named, not yet listed", "pkd.data.shards:list_shards", call=2, fits=_ANSWERS),
    Window("annotation: all shards done, their lists not removed", "pkd.jobs.annotate:forget_shard_lists"),
    Window("distillation: the weights saved, the optimiser not", "pkd.training.resuming:save_optimizer",
           call=2, fits=_STUDENT),
    Window("distillation: the optimiser half written", "pkd.training.checkpoints:save_file", "midst", 3, fits=_STUDENT),
    Window("distillation: the random state not written", "pkd.training.resuming:save_random_state",
           call=2, fits=_STUDENT),
    Window("distillation: a checkpoint before its seal", "pkd.training.resuming:seal", call=2, fits=_STUDENT),
    Window("distillation: in rotation, half a checkpoint deleted", "pkd.training.checkpoints:shutil.rmtree",
           "midst", fits=_STUDENT),
    Window("distillation: the best epoch being loaded", "pkd.training.resuming:require_whole", "after", fits=_STUDENT),
    Window("export: a student's weights saved, its tokenizer not",
           "transformers:PreTrainedTokenizerBase.save_pretrained", fits=_STUDENT),
    Window("evaluation: logits half written", "pkd.jobs.evaluate:np.save", "midst"),
    Window("evaluation: logits written, not sealed", "pkd.jobs.evaluate:np.save", "after"),
    Window("results: half written", "pkd.reporting.results:write_text", "midst"),
    Window("results: written, the report not", "pkd.jobs.judge:write_views"),
    Window("report: half written", "pkd.reporting.html:write_text", "midst"),
    Window("report: written, the run not sealed", "pkd.jobs.report:seal"),
    Window("distill: half of the student copied", "pkd.jobs.distill:copy_folder", "midst", job="distill"),
    Window("distill: the student copied, not sealed", "pkd.jobs.distill:copy_folder", "after", job="distill"),
    Window("distill: the student sealed, not named", "pkd.runs.stage:publish", fits=_named("student.partial"),
           job="distill"),
    Window("distill: the student named, its card not written", "pkd.jobs.distill:write_text", job="distill"),
    Window("distill: its card half written", "pkd.jobs.distill:write_text", "midst", job="distill"),
    Window("export: the float32 graph half written", "pkd.jobs.export:write_graph", "midst", job="export"),
    Window("export: a graph written, not proven", "pkd.jobs.export:prove", job="export"),
    Window("export: proven, the companions not written", "pkd.jobs.export:write_companions", job="export"),
    Window("export: the companions written", "pkd.jobs.export:write_companions", "after", job="export"),
    Window("export: the int8 graph half written", "pkd.jobs.export:write_graph", "midst", 2, job="export"),
    Window("export: the int8 graph written, the float32 one not removed", "pkd.jobs.export:write_graph", "after", 2,
           job="export"),
    Window("export: measured, not sealed", "pkd.runs.stage:seal", job="export"),
    Window("export: sealed, not named", "pkd.runs.stage:publish", job="export"),
    Window("export: named, its card half written", "pkd.jobs.export:write_text", "midst", job="export"),
]  # fmt: skip


def run_here(arguments: Sequence[str], record: Path, window: Window | None = None) -> int:
    """Run `pkd` with these arguments in this process; steps and last checkpoints are recorded in `record`."""
    importlib.import_module(f"pkd.jobs.{arguments[0]}")  # a kill while libraries are loaded would teach nothing
    from pkd import ranks
    from pkd.cli.main import main

    record.mkdir(parents=True, exist_ok=True)
    if ranks.is_first():  # of several processes the first one writes, and dies where something is written
        _record(record)
        if window is not None:
            _arm(window, record)
        (record / STARTED).touch()
    return main(arguments)


def _record(record: Path) -> None:
    """Count training steps, and keep each training's last checkpoint, which its stage is about to remove."""
    import pkd.runs.stage as stages
    from pkd.training.trainer import RowMeanTrainer

    train_step, seal = RowMeanTrainer.training_step, stages.seal

    def counted(self: Any, *given: Any, **keywords: Any) -> Any:
        with (record / STEPS).open("ab") as file:
            file.write(b".")
        return train_step(self, *given, **keywords)

    def keeping(folder: Path, kind: str, *given: Any, **keywords: Any) -> Any:
        if kind in _TRAINED:
            from pkd.training.checkpoints import checkpoint_folders

            kept = record / CHECKPOINTS / folder.name.removesuffix(".partial")
            shutil.copytree(checkpoint_folders(folder)[0], kept, dirs_exist_ok=True)
        return seal(folder, kind, *given, **keywords)

    RowMeanTrainer.training_step = counted  # type: ignore[method-assign]
    stages.seal = keeping


def _arm(window: Window, record: Path) -> None:
    """Replace the window's function, where its callers look for it."""
    module, _, attribute = window.target.partition(":")
    owner: Any = importlib.import_module(module)
    *path, last = attribute.split(".")
    if path in (["shutil"], ["np"], ["os"]):  # a library's function, for this module alone
        owner_of_library = owner
        library = getattr(owner, path[0])
        owner = _Like(library)
        setattr(owner_of_library, path[0], owner)
    else:
        for name in path:
            owner = getattr(owner, name)
    original, calls = getattr(owner, last), 0

    def replaced(*given: Any, **keywords: Any) -> Any:
        nonlocal calls
        if not window.fits(*given, **keywords):
            return original(*given, **keywords)
        calls += 1
        if calls < window.call:
            return original(*given, **keywords)
        if window.when == "midst":
            _half(last, original, given)
        elif window.when == "after":
            original(*given, **keywords)
        _die(record)

    setattr(owner, last, replaced)


class _Like:
    """A module with one function replaced."""

    def __init__(self, module: Any) -> None:
        self.__dict__["_module"] = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _half(name: str, original: Callable[..., Any], given: Sequence[Any]) -> None:
    """Do half of what a function does to the disk."""
    if name == "rmtree":
        files = sorted(path for path in Path(given[0]).rglob("*") if path.is_file())
        for path in files[: len(files) // 2 + 1]:
            path.unlink()
    elif name == "fsync":  # it comes after the writing
        os.ftruncate(given[0], os.fstat(given[0]).st_size // 2)
    elif name == "flush_file":  # so does this
        _cut(Path(given[0]))
    elif name == "write_text":
        path, text = given
        path.with_name(path.name + ".partial").write_text(text[: len(text) // 2], encoding="utf-8")
    elif name == "copy_folder":
        for path in sorted(Path(given[0]).iterdir())[:2]:
            shutil.copy(path, given[1])
    elif name == "write_graph" or name == "save_file":
        original(*given)
        _cut(Path(given[1]))
    elif name == "save":
        original(*given, allow_pickle=False)
        _cut(Path(given[0]))
    else:
        raise ValueError(f"nobody knows what half of {name} is")


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _die(record: Path) -> NoReturn:
    (record / HIT).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def main() -> int:
    """Run what stands behind `--`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", choices=[window.name for window in WINDOWS], metavar="NAME")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("arguments", nargs="+")
    asked = parser.parse_args()
    window = next((each for each in WINDOWS if each.name == asked.window), None)
    return run_here(asked.arguments, asked.record, window)


if __name__ == "__main__":
    sys.exit(main())
