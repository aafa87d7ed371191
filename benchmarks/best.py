"""Students of effort `best` on a task of the study, with three seeds and at several depths, from one teacher pass.

Finished parts are kept, so that the same command goes on.

    python -m benchmarks.best --data quality/data --work best/reviews --task reviews --layers 3 2 \\
        --teacher teacher/ --name all-MiniLM-L6-v2 --unlabelled
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.quality.lines import Line
from benchmarks.whole_runs import encoder_of, files_of, keep_line, measure_run, parser_of, teacher_of, write_recipe


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="what `benchmarks.quality prepare` wrote")
    parser.add_argument("--task", required=True)
    parser.add_argument("--layers", type=int, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--unlabelled", action="store_true", help="learn from the task's other text too")
    given = parser.parse_args()
    keep_line(measure(given), given.results)


def measure(given: argparse.Namespace) -> Line:
    """The line of a task: the scores of the teacher and of each student with each seed, and the comparisons."""
    recipe = write_recipe(given, _recipe(given), "best.yaml")
    depths = "-".join(map(str, given.layers))
    return {
        "key": f"best/{given.task}/{depths}/unlabelled={given.unlabelled}",
        "kind": "best",
        "task": given.task,
        "encoder": encoder_of(given),
        "unlabelled": given.unlabelled,
        **measure_run(recipe, given, ("accuracy", "agreement")),
    }


def _recipe(given: argparse.Namespace) -> dict[str, Any]:
    place = given.data / given.task
    data = files_of(place, ".jsonl")
    if given.unlabelled:
        data["unlabelled"] = [str(place / "unlabelled.jsonl")]
    return {
        "output": str(given.work / "run"),
        "effort": "best",
        "teacher": teacher_of(given),
        "data": data,
        "students": [{"layers": layers} for layers in given.layers],
        "controls": False,
        "evaluation": {"measure_speed": False},
    }


if __name__ == "__main__":
    main()
