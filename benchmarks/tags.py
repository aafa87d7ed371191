"""Teacher and students on tags of words: a run by `normal` with several seeds, and fine-tuning beside it.

Finished parts are kept, so that the same command goes on.

    python -m benchmarks.tags --data wnut17 --work tags/work --encoder all-MiniLM-L6-v2 --layers 3 --seeds 3
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.quality.lines import Line
from benchmarks.whole_runs import encoder_of, files_of, keep_line, measure_run, parser_of, teacher_of, write_recipe

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
    encoder = encoder_of(given)
    return {
        "key": f"tags/{given.data.name}/{encoder}",
        "kind": "tags",
        "task": given.data.name,
        "encoder": encoder,
        **measure_run(recipe, given, _METRICS),
    }


def _recipe(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "output": str(given.work / "run"),
        "teacher": teacher_of(given),
        "data": files_of(given.data, ".conll"),
        "students": [{"layers": layers, **method} for layers in given.layers for method in ({}, {"method": "ft"})],
        "controls": False,
        "evaluation": {"measure_speed": False},
    }


if __name__ == "__main__":
    main()
