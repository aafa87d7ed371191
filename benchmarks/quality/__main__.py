"""The study that decides the defaults: what each lever gives a student, on six tasks.

    python -m benchmarks.quality prepare --data DATA --folder quality/data
    python -m benchmarks.quality run --data quality/data --work quality/work --device cuda --workers 12 --minutes 5
    python -m benchmarks.quality page --output docs/quality.md

Resumable: each finished cell is a line of the results, and a cell that has one is not run again. Cells run side by
side, each in a process of its own that serves many.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.quality.cells import (
    DONE,
    Cell,
    Student,
    Study,
    Teacher,
    annotate,
    fit_student,
    fit_teacher,
    fit_words,
    run_cell,
)
from benchmarks.quality.lines import RESULTS, Line, answers_key, key_of, read_lines
from benchmarks.quality.page import quality_page
from benchmarks.quality.plans import PLANS, Plan, teacher_of, teachers_of
from benchmarks.quality.tasks import TASKS, write_tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="write the tasks' files")
    prepare.add_argument("--data", type=Path, required=True, help="a folder with glue/, banking77/ and tweeteval/")
    prepare.add_argument("--folder", type=Path, required=True)
    prepare.add_argument("--tasks", nargs="+", default=list(TASKS))
    run = commands.add_parser("run", help="run the cells that have no line yet")
    run.add_argument("--data", type=Path, required=True, help="what `prepare` wrote")
    run.add_argument("--work", type=Path, required=True, help="for teachers and their answers")
    run.add_argument("--plan", choices=sorted(PLANS), default="screening")
    run.add_argument("--encoder", help="folder of the encoder; by default the demo's")
    run.add_argument("--tasks", nargs="+", help="only these")
    run.add_argument("--device", default="auto")
    run.add_argument("--workers", type=int, default=1)
    run.add_argument("--minutes", type=float, default=10**6, help="begin no cell, and wait for none, after so many")
    run.add_argument("--results", type=Path, default=RESULTS)
    page = commands.add_parser("page", help="make docs/quality.md from the results")
    page.add_argument("--results", type=Path, default=RESULTS)
    page.add_argument("--output", type=Path, help="by default standard output")
    given = parser.parse_args()
    if given.command == "prepare":
        write_tasks(given.data, given.folder, given.tasks)
        return
    if given.command == "page":
        text = quality_page(read_lines(given.results))
        if given.output:
            given.output.write_text(text, encoding="utf-8")
        else:
            print(text, end="")
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1" if given.workers > 1 else str(os.cpu_count()))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    encoder = given.encoder or _demo_encoder()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes of the pool end too
    Runner(given, encoder).run()


def _demo_encoder() -> str:
    from pkd.data.demo import demo_encoder_folder

    return str(demo_encoder_folder())


class Runner:
    """Hands cells to processes as soon as what they need is there, until the time is over."""

    def __init__(self, given: argparse.Namespace, encoder: str) -> None:
        self.given = given
        self.setup = (given.data, given.work, encoder, given.device)
        self.lines = read_lines(given.results)
        self.deadline = time.monotonic() + 60 * given.minutes
        self.plan: Plan = PLANS[given.plan]

    def run(self) -> None:
        waiting: list[tuple[str, Cell]] = []
        self.given.work.mkdir(parents=True, exist_ok=True)
        context = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(self.given.workers, mp_context=context)
        running: dict[concurrent.futures.Future[Line], str] = {}
        begun: set[str] = set()
        try:
            while time.monotonic() < self.deadline:
                waiting = [(key, work) for key, work in self._ready() if key not in begun]
                for key, work in waiting:
                    if key not in begun and len(running) < self.given.workers:
                        begun.add(key)
                        running[pool.submit(run_cell, self.setup, work)] = key
                if not running:
                    break
                done, _ = concurrent.futures.wait(
                    running, timeout=max(0.1, self.deadline - time.monotonic()), return_when="FIRST_COMPLETED"
                )
                for future in done:
                    self._keep(running.pop(future), future.result())
        finally:
            print(f"{len(waiting)} cells wait, {len(running)} are cut off", flush=True)
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)

    def _keep(self, key: str, line: Line) -> None:
        line = {"key": key, **line}
        self.lines[key] = line
        if line["kind"] == "failed":
            print(f"FAILED {key}: {line['why']}", flush=True)
            return
        with self.given.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")
        scores = " ".join(f"{name} {line[name]:.4f}" for name in ("dev", "test", "test_ema") if name in line)
        print(f"{line.get('seconds', 0):6.1f} s  {key}  {scores}", flush=True)

    def _ready(self) -> Iterator[tuple[str, Cell]]:
        """Cells without a line whose needs are met, the most wanted first."""
        tasks = [task for task in self.plan.tasks if self.given.tasks is None or task in self.given.tasks]
        for task in tasks:
            if (key := f"words/{task}") not in self.lines:
                yield key, functools.partial(fit_words, task=task)
        for student in self.plan.students:
            if student.task in tasks and (key := key_of("student", student)) not in self.lines:
                yield from self._student(key, student)
        for teacher in self.plan.teachers:
            if teacher.task in tasks and (key := key_of("teacher", teacher)) not in self.lines:
                yield key, functools.partial(fit_teacher, teacher=teacher)

    def _student(self, key: str, student: Student) -> Iterator[tuple[str, Cell]]:
        """A student, or what it still needs."""
        first = teacher_of(self.lines, student)
        if first is None:
            for teacher in teachers_of(student.task):
                if (needed := key_of("teacher", teacher)) not in self.lines:
                    yield needed, functools.partial(fit_teacher, teacher=teacher)
            return
        teachers = [dataclasses.replace(first, seed=42 + number) for number in range(student.teachers)]
        if missing := [cell for teacher in teachers for cell in self._answers_of(teacher)]:
            yield from missing
        else:
            yield key, functools.partial(fit_student, student=student, teachers=teachers)

    def _answers_of(self, teacher: Teacher) -> Iterator[tuple[str, Cell]]:
        """What is missing until a teacher's answers are there."""
        if (key := key_of("teacher", teacher)) not in self.lines or not self._is_saved(teacher):
            yield key, functools.partial(fit_teacher, teacher=teacher)
        elif (key := answers_key(teacher)) not in self.lines or not self._is_answered(teacher):
            everything = teacher.seed == 42
            yield key, functools.partial(annotate, teacher=teacher, variants=self.plan.variants, everything=everything)

    def _is_saved(self, teacher: Teacher) -> bool:
        return (Study(*self.setup).teacher_folder(teacher) / "config.json").is_file()

    def _is_answered(self, teacher: Teacher) -> bool:
        """Whether all its answers are there: the training rows come first, the last variant or other text last."""
        study = Study(*self.setup)
        return all(
            (study.answers_folder(teacher, part) / DONE).is_file() for part in self.lines[answers_key(teacher)]["rows"]
        )


if __name__ == "__main__":
    main()
