"""Which small student is best at one latency: another encoder, or the teacher's own layers, whole or narrow?

One run trains all of them by `normal` from one teacher pass; each is exported in int8, timed for one text on the task's
own texts, in turns, on one core, and measured as exported. Finished parts are kept, so that the same command goes on.

    python -m benchmarks.equal_latency --data quality/data --work latency/work --task emotion \
        --encoder all-mpnet-base-v2 --epochs 4 --students all-MiniLM-L6-v2 1 2:0.25 3:0.25
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pkd
from benchmarks.quality.lines import Line
from benchmarks.whole_runs import encoder_of, files_of, keep_line, parser_of, teacher_of, write_recipe
from pkd.reporting.results import ModelRecord, RunRecord
from pkd.runs.folder import RunFolder

_ROWS, _ROUNDS = 200, 5


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="what `benchmarks.quality prepare` wrote")
    parser.add_argument("--task", required=True)
    parser.add_argument("--students", nargs="+", required=True, help="folders of encoders, LAYERS or LAYERS:WIDTH")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    keep_line(measure(given), given.results)


def measure(given: argparse.Namespace) -> Line:
    """The line of a task: the teacher's score, and each student's latency and score as exported."""
    files = files_of(given.data / given.task, ".jsonl")
    recipe = write_recipe(given, _recipe(given, files), "equal-latency.yaml")
    records = pkd.run(recipe, set=given.set, seeds=given.seeds).records
    models = [each for each in records if isinstance(each, ModelRecord)]
    run = next(each for each in records if isinstance(each, RunRecord))
    students = [each for each in models if each.role != "teacher"]
    exports = {
        each.name: str(given.work / "exports" / each.name) for each in students if each.seed == run.recipe["seed"]
    }
    for each in students:
        if each.name in exports and each.seed == run.recipe["seed"]:
            pkd.export(
                RunFolder(given.work / "run").path / each.folder, output=exports[each.name], int8=True,
                eval=files["eval"], max_drop=1.0, min_agreement=0.0,
            )  # fmt: skip
    scores = [
        each for each in pkd.evaluate(list(exports.values()), test=files["test"]) if isinstance(each, ModelRecord)
    ]
    speeds = pkd.speed(list(exports.values()), test=files["test"], rows=_ROWS, rounds=_ROUNDS, threads=1, memory=False)
    teacher = next(each for each in models if each.role == "teacher")
    encoder = encoder_of(given)
    return {
        "key": f"latency/{given.task}/{encoder}",
        "kind": "latency",
        "task": given.task,
        "teacher": {"encoder": encoder, "layers": teacher.layers, "test": _accuracy(teacher)},
        "students": [
            {
                "name": name,
                "int8": _accuracy(score),
                "float32": [_accuracy(each)["value"] for each in students if each.name == name],
                "milliseconds": speed.latency.median,
                "bytes": speed.bytes,
            }
            for name, score, speed in zip(exports, scores, speeds, strict=True)
        ],
        "cpu_shares": speeds[0].cpu_shares,
        "machine": run.hardware["cpu"],
    }


def _recipe(given: argparse.Namespace, files: dict[str, Any]) -> dict[str, Any]:
    return {
        "output": str(given.work / "run"),
        "teacher": teacher_of(given),
        "data": files,
        "students": [_student(text) for text in given.students],
        "controls": False,
        "evaluation": {"measure_speed": False},
    }


def _student(text: str) -> dict[str, Any]:
    """A student from its text: a folder, LAYERS or LAYERS:WIDTH; one layer has no layer for patience.

    >>> _student("1"), _student("3:0.25")
    ({'layers': 1, 'method': 'kd'}, {'layers': 3, 'width': 0.25})
    """
    layers, _, width = text.partition(":")
    if not layers.isdecimal():
        return {"student": text}
    own: dict[str, Any] = {"layers": int(layers), **({"width": float(width)} if width else {})}
    return {**own, "method": "kd"} if own["layers"] == 1 else own


def _accuracy(model: ModelRecord) -> dict[str, Any]:
    return model.scores["accuracy"].model_dump()


if __name__ == "__main__":
    main()
