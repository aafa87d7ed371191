"""Teacher and students on tags of words: a run by `normal` with several seeds, and fine-tuning beside it.

Finished parts are kept, so that the same command goes on.

    python -m benchmarks.tags --data wnut17 --work tags/work --encoder all-MiniLM-L6-v2 --layers 3 --seeds 3
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pkd
from benchmarks.quality.lines import Line
from benchmarks.whole_runs import encoder_of, keep_line, parser_of, teacher_of, write_recipe
from pkd.reporting.results import ComparisonRecord, ModelRecord, RunRecord

_METRICS = ("span_f1", "span_precision", "span_recall", "rows_right", "agreement")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.conll, dev.conll and test.conll")
    parser.add_argument("--layers", type=int, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    keep_line(measure(given), given.results)


def measure(given: argparse.Namespace) -> Line:
    """The line of a data set: the scores of the teacher and of each student with each seed, and the comparisons."""
    recipe = write_recipe(given, _recipe(given), "tags.yaml")
    records = pkd.run(recipe, set=given.set, seeds=given.seeds).records
    models = [each for each in records if isinstance(each, ModelRecord)]
    run = next(each for each in records if isinstance(each, RunRecord))
    encoder = encoder_of(given)
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
    return {
        "output": str(given.work / "run"),
        "teacher": teacher_of(given),
        "data": {name: str(given.data / f"{split}.conll") for name, split in _SPLITS.items()},
        "students": [{"layers": layers, **method} for layers in given.layers for method in ({}, {"method": "ft"})],
        "controls": False,
        "evaluation": {"measure_speed": False},
    }


_SPLITS = {"train": "train", "eval": "dev", "test": "test"}

if __name__ == "__main__":
    main()
