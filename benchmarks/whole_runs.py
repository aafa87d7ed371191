"""What the benchmarks share that measure a whole run: the teacher on the command line, and the line that is kept."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pkd
from benchmarks.quality.lines import RESULTS, Line
from pkd.reporting.results import ComparisonRecord, ModelRecord, RunRecord


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every such benchmark."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="for the run and what is made of it")
    teacher = parser.add_mutually_exclusive_group(required=True)
    teacher.add_argument("--encoder", help="folder of the encoder that becomes the teacher")
    teacher.add_argument("--teacher", help="folder of a teacher")
    parser.add_argument("--epochs", type=float, help="of the encoder's fine-tuning (default: the package's)")
    parser.add_argument("--name", help="of the teacher's encoder, for the table")
    parser.add_argument("--set", nargs="*", default=[], help="as of `pkd run`")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


def teacher_of(given: argparse.Namespace) -> dict[str, Any]:
    """The recipe's teacher."""
    finetune = {} if given.epochs is None else {"num_train_epochs": given.epochs}
    return {"model": given.teacher} if given.teacher else {"model": given.encoder, "finetune": finetune}


def encoder_of(given: argparse.Namespace) -> str:
    """The name of the teacher's encoder."""
    return Path(given.encoder or given.name or given.teacher).name


def files_of(folder: Path, suffix: str) -> dict[str, Any]:
    """The recipe's files of rows: the training, development and test rows in a folder."""
    return {
        key: str(folder / f"{split}{suffix}") for key, split in (("train", "train"), ("eval", "dev"), ("test", "test"))
    }


def write_recipe(given: argparse.Namespace, recipe: dict[str, Any], name: str) -> Path:
    """Write a recipe into the work folder, and return where."""
    given.work.mkdir(parents=True, exist_ok=True)
    path: Path = given.work / name
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def measure_run(recipe: Path, given: argparse.Namespace, metrics: Sequence[str]) -> Line:
    """Run a recipe: the scores of the teacher and of each student with each seed, and the comparisons."""
    records = pkd.run(recipe, set=given.set, seeds=given.seeds).records
    models = [each for each in records if isinstance(each, ModelRecord)]
    run = next(each for each in records if isinstance(each, RunRecord))
    return {
        "models": [
            {
                "name": each.name,
                "role": each.role,
                "seed": each.seed,
                "layers": each.layers,
                "scores": {name: each.scores[name].model_dump() for name in metrics if name in each.scores},
                "seconds": each.train_seconds,
            }
            for each in models
        ],
        "comparisons": [
            {"a": each.a, "b": each.b, "metric": each.metric, "verdict": each.verdict, **each.difference.model_dump()}
            for each in records
            if isinstance(each, ComparisonRecord)
        ],
        "rows": {"train": models[-1].labelled_rows, "test": models[-1].rows},
        "machine": run.hardware["cpu"],
    }


def keep_line(line: Line, results: Path) -> None:
    """Append a line to the results, and print it."""
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line, indent=2))
