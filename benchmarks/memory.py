"""Whether memory grows: the teacher pass and training at 10,000 and at 200,000 rows, judging at 2 and at 20 students.

On Linux, each in a process of its own: rows with a tiny model, so that nothing but the rows weighs, and students of 2
layers of 256 units, of which each is 38 MB. What is told is the peak of the memory that belongs to the process alone
(RssAnon); pages of mapped files, which the system takes back when it needs them, are not counted.

    python -m benchmarks.memory                          # some ten minutes
    python -m benchmarks.memory --rows 1000 20000        # coarser
    python -m benchmarks.memory --only judge_a_run       # one job
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.material import BATCH, random_teacher, read_texts

_LAYERS = 4
_JUDGED_ROWS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[10_000, 200_000], help="few and many")
    parser.add_argument("--students", type=int, nargs=2, default=[2, 20], help="few and many, for judging")
    parser.add_argument("--only", nargs="*", help="the jobs to measure, by their names (default: all)")
    parser.add_argument("--steps", type=int, default=200, help="optimiser steps of the training")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    jobs = [job for job in (*JOBS, judge_a_run) if not given.only or job.__name__ in given.only]
    sizes = {job: given.students if job is judge_a_run else given.rows for job in jobs}
    figures: dict[str, list[float]] = {job.__name__: [] for job in jobs}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _save_teacher(folder / "teacher", hidden_size=32, intermediate_size=64)
        for large in (0, 1):
            if any(job in jobs for job in JOBS):
                _write_rows(folder, given.rows[large])
            for job in jobs:
                size, unit = sizes[job][large], "students" if job is judge_a_run else "rows"
                if job is judge_a_run:
                    _in_a_process(make_a_run, str(folder), size)
                megabytes = _peak_megabytes(job, str(folder), size, given.steps)
                figures[job.__name__].append(megabytes)
                print(f"{job.__name__:<32} {size:>9,} {unit:<8} {megabytes:8.1f} MB at the peak", flush=True)
    for job in jobs:
        few, many = figures[job.__name__]
        print(
            f"{job.__name__:<32} {many / few:.2f} times as much with {sizes[job][1] / sizes[job][0]:.0f} times as many"
        )
    if given.json:
        told = {"rows": given.rows, "students": given.students, "megabytes": figures}
        given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def annotate_a_csv_file(folder: str, rows: int, steps: int) -> None:
    """`pkd.annotate` of a file."""
    import pkd

    place = Path(folder)
    pkd.annotate(
        str(place / f"{rows}.csv"), str(place / "teacher"), output=str(place / f"annotated-{rows}"), teacher_layers=[2]
    )


def annotate_a_stream(folder: str, rows: int, steps: int) -> None:
    """`pkd.annotate` of a file that is read a chunk at a time."""
    import pkd

    place = Path(folder)
    pkd.annotate(
        str(place / f"{rows}.csv"), str(place / "teacher"), output=str(place / f"annotated-stream-{rows}"),
        teacher_layers=[2], streaming=True,
    )  # fmt: skip


def annotate_a_saved_dataset(folder: str, rows: int, steps: int) -> None:
    """`pkd.annotate` of rows that are memory-mapped Arrow already, with class ids."""
    import datasets

    import pkd

    place = Path(folder)
    teacher = pkd.load_teacher(str(place / "teacher"))
    pkd.annotate(
        datasets.load_from_disk(str(place / f"{rows}.arrow")), teacher.model, teacher.tokenizer,
        output=str(place / f"annotated-arrow-{rows}"), teacher_layers=[2],
    )  # fmt: skip


def train_a_student(folder: str, rows: int, steps: int) -> None:
    """`PatientTrainer` on the annotated rows."""
    import pkd
    from pkd.data.shards import open_shards

    place = Path(folder)
    loaded = pkd.load_teacher(str(place / "teacher"))
    teacher = loaded.model
    arguments = pkd.PatientTrainingArguments(
        str(place / "out"), max_steps=steps, per_device_train_batch_size=BATCH, save_strategy="no", disable_tqdm=True
    )
    annotated = open_shards(place / f"annotated-{rows}")
    layer_map = pkd.LayerMap.skip(teacher_layers=_LAYERS, student_layers=2)
    student = pkd.student_from(teacher, layers=2)
    pkd.PatientTrainer(
        student, arguments, layer_map=layer_map, train_dataset=annotated, processing_class=loaded.tokenizer
    ).train()


def make_a_run(folder: str, students: int) -> None:
    """A run of so many students, that are trained for two steps; its results are removed again."""
    place = Path(folder)
    if not (place / "wide").exists():
        _save_teacher(place / "wide", hidden_size=256, intermediate_size=1024)
        _write_rows(place, _JUDGED_ROWS)
    run_folder = _run(folder, students).folder
    (run_folder / "results.jsonl").unlink()
    shutil.rmtree(run_folder / "predictions")


def judge_a_run(folder: str, students: int, steps: int) -> None:
    """`pkd.run` where all is trained: every student answers, one is timed, results and report are written."""
    _run(folder, students)


def _run(folder: str, students: int) -> Any:
    import pkd
    from pkd.recipe.reading import recipe_from

    place, rows = Path(folder), f"{_JUDGED_ROWS}.csv"
    given = {
        "output": str(place / f"run-{students}"),
        "teacher": {"model": str(place / "wide")},
        "data": {"train": str(place / rows), "test": str(place / rows), "max_length": 64},
        "training": {"num_train_epochs": 1, "per_device_train_batch_size": _JUDGED_ROWS // 2},
        "students": [{"layers": 2}],
        "seeds": students,
        "controls": False,
    }
    return pkd.run(recipe_from(given, where="benchmark"))


JOBS = (annotate_a_csv_file, annotate_a_stream, annotate_a_saved_dataset, train_a_student)


def _in_a_process(job: Callable[[str, int], None], *arguments: object) -> None:
    process = multiprocessing.get_context("spawn").Process(target=job, args=arguments)
    process.start()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"{job.__name__} failed.")


def _peak_megabytes(job: Callable[[str, int, int], None], folder: str, rows: int, steps: int) -> float:
    context = multiprocessing.get_context("spawn")
    peak = context.Queue()
    process = context.Process(target=_watched, args=(peak, job, folder, rows, steps))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"{job.__name__} of {rows:,} failed.")
    return float(peak.get())


def _watched(peak: multiprocessing.Queue[float], job: Callable[[str, int, int], None], *arguments: object) -> None:
    highest, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            highest[0] = max(highest[0], _own_megabytes())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        job(*arguments)  # type: ignore[arg-type]
    finally:
        done.set()
        watcher.join()
    peak.put(highest[0])


def _own_megabytes() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def _save_teacher(folder: Path, **config: int) -> None:
    names = {0: "negative", 1: "positive"}
    teacher = random_teacher(
        "tiny", vocab_size=30522, num_hidden_layers=_LAYERS, num_attention_heads=2, max_position_embeddings=128,
        id2label=names, label2id={name: index for index, name in names.items()}, **config,
    )  # fmt: skip
    teacher.model.save_pretrained(folder)
    teacher.tokenizer.save_pretrained(folder)


def _write_rows(folder: Path, rows: int) -> None:
    """Rows of which no two are the same."""
    read = read_texts(None, rows)
    texts = [f"{text} {number}" for number, text in enumerate(read["text"][:])]
    read.remove_columns("text").add_column("text", texts).save_to_disk(str(folder / f"{rows}.arrow"))
    with (folder / f"{rows}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(
            (text, ("negative", "positive")[label]) for text, label in zip(texts, read["label"], strict=True)
        )


if __name__ == "__main__":
    main()
