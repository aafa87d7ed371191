"""Teacher and students on tags of words: a run by `normal` with several seeds, and fine-tuning beside it.

Finished parts are kept, so that the same command goes on.

    python -m benchmarks.tags --data wnut17 --work tags/work --encoder all-MiniLM-L6-v2 --layers 3 --seeds 3
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pkd
from benchmarks.quality.lines import RESULTS, Line
from pkd.reporting.results import ComparisonRecord, ModelRecord, RunRecord

_METRICS = ("span_f1", "span_precision", "span_recall", "rows_right", "agreement")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.conll, dev.conll and test.conll")
    parser.add_argument("--work", type=Path, required=True, help="for the run")
    teacher = parser.add_mutually_exclusive_group(required=True)
    teacher.add_argument("--encoder", help="folder of the encoder that becomes the teacher")
    teacher.add_argument("--teacher", help="folder of a teacher")
    parser.add_argument("--epochs", type=float, help="of the encoder's fine-tuning (default: the package's)")
    parser.add_argument("--name", help="of the teacher's encoder, for the table")
    parser.add_argument("--layers", type=int, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], help="as of `pkd run`")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    line = measure(given)
    with given.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line, indent=2))


def measure(given: argparse.Namespace) -> Line:
    """The line of a data set: the scores of the teacher and of each student with each seed, and the comparisons."""
    recipe = given.work / "tags.yaml"
    recipe.write_text(json.dumps(_recipe(given)), encoding="utf-8")
    records = pkd.run(recipe, set=given.set, seeds=given.seeds).records
    models = [each for each in records if isinstance(each, ModelRecord)]
    run = next(each for each in records if isinstance(each, RunRecord))
    encoder = Path(given.encoder or given.name or given.teacher).name
    return {
        "key": f"tags/{given.data.name}/{encoder}",
        "kind": "tags",
        "task": given.data.name,
        "encoder": encoder,
        "models": [
            {
                "name": each.name,
                "role": each.role,
                "seed": each.seed,
                "layers": each.layers,
                "scores": {name: each.scores[name].model_dump() for name in _METRICS if name in each.scores},
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


def _recipe(given: argparse.Namespace) -> dict[str, Any]:
    finetune = {} if given.epochs is None else {"num_train_epochs": given.epochs}
    teacher = {"model": given.teacher} if given.teacher else {"model": given.encoder, "finetune": finetune}
    return {
        "output": str(given.work / "run"),
        "teacher": teacher,
        "data": {name: str(given.data / f"{split}.conll") for name, split in _SPLITS.items()},
        "students": [{"layers": layers, **method} for layers in given.layers for method in ({}, {"method": "ft"})],
        "controls": False,
        "evaluation": {"measure_speed": False},
    }


_SPLITS = {"train": "train", "eval": "dev", "test": "test"}

if __name__ == "__main__":
    main()
