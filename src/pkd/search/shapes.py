"""Latency first: every shape that a student may have is built with random weights, exported and timed, the smallest
first, before anything is trained. How fast a graph is depends on its shape alone.

The figures are a sealed stage of the run. Unfinished, it keeps each graph that is built and each round that is timed.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pkd import progress
from pkd.encoder.load import shape_of
from pkd.errors import RecipeError
from pkd.jobs.forecast import roughly
from pkd.jobs.plan import RunPlan
from pkd.recipe.settings import BudgetSettings
from pkd.recipe.spelling import named
from pkd.reporting.front import Candidate, Figures, Precision, Shape
from pkd.reporting.results import Score
from pkd.reporting.shape_fits import fit_sentences
from pkd.runs.seal import MANIFEST, partial_of, write_json
from pkd.runs.space import require_space
from pkd.runs.stage import library_versions, run_stage, standing
from pkd.search.budget import constraints_of, nearest, over_budget, refusal
from pkd.search.random_graphs import (
    PRECISIONS,
    Body,
    bodies_of,
    bytes_in,
    export_bytes,
    smallest_of_each_encoder,
)
from pkd.search.time_left import TimeLeft
from pkd.search.timed_words import TimedWords, timed_words_stage
from pkd.search.timing import (
    ROUNDS,
    TEACHER,
    Round,
    Timed,
    figures_of,
    latency_of,
    lengths_of,
    machine,
    teacher_encoders,
    teacher_work,
    time_in_rounds,
    timed_on,
    warn_of_load,
    whole_calls,
)
from pkd.serving.export import require_exporter
from pkd.serving.exported_model import load_exported
from pkd.serving.speed import Cell, Times
from pkd.serving.texts import Text

KIND = "shapes"
BUILD, TIME, LOOK = "build the shapes", "time the shapes in turns", "time the smallest shapes"
_GRAPHS, _MEASURED = "graphs", "rounds.json"
_MOST_BYTES = 2_000_000_000  # of the graphs that take turns, which all lie on the disk and in memory meanwhile
_ROUNDS_OF_LOOK, _CALLS_OF_LOOK = 3, 24  # a slow teacher would take a minute of more


@dataclass(frozen=True)
class Shapes:
    """Every shape with its predicted figures.

    Attributes:
        candidates: the fastest first.
        teacher: milliseconds of one text, the bare forward pass in PyTorch.
        build_seconds: that the slowest shape took to build.
        cpu_share: of the cores, that the process got as they were timed; None if it is not known.
        baseline: word counts, with their answers to the development rows; None if such problems have none.
    """

    candidates: list[Candidate]
    teacher: Score
    build_seconds: float
    cpu_share: float | None = None
    baseline: TimedWords | None = None


@dataclass
class _Measured:
    """What an unfinished stage knows: sizes by graph, for each group of shapes its rounds so far, the slowest build."""

    path: Path
    sizes: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    build_seconds: float = 0.0

    def write(self) -> None:
        rounds = {group: [_plain(each) for each in of_group] for group, of_group in self.rounds.items()}
        write_json(self.path, {"sizes": self.sizes, "rounds": rounds, "build_seconds": self.build_seconds})
        progress.saved()


def shapes_stage(plan: RunPlan, clock: TimeLeft | None = None, *, overwrite: bool) -> Shapes:
    """Bring the figures of every shape of the run's students, in both precisions, up to date.

    Args:
        plan: of the run, with its teachers and a budget; its students are the shapes that may be trained.
        clock: of a search whose time is limited.
        overwrite: put aside what is in the way.

    Raises:
        RecipeError: if no shape keeps to the budget: of an impossible size at once, of an impossible latency once the
            smallest shapes are timed. Or if the time does not suffice to build the shapes, once that is known.
    """
    require_exporter()
    budget, bodies, timed = plan.budget, bodies_of(plan), timed_on(plan)
    _check_lengths(timed, bodies)
    _refuse_size(budget, bodies)
    inputs = _inputs(plan, bodies, timed)
    place, partial = plan.folder.shapes, partial_of(plan.folder.shapes)
    if partial.is_dir() and not (partial / MANIFEST).is_file() and standing(place, inputs) == "new":
        shutil.rmtree(partial)  # of other shapes, or another machine

    done = run_stage(
        place, KIND, inputs, lambda folder: _measure(folder, plan, bodies, timed, clock), overwrite=overwrite
    )
    facts = done.manifest.facts
    predicted = {
        body.of(precision): Figures(**of_body[precision])
        for body, of_body in zip(bodies, facts["figures"], strict=True)
        for precision in PRECISIONS
    }
    candidates = [
        Candidate(shape=shape, predicted=figures, over=over_budget(figures, budget))
        for shape, figures in sorted(predicted.items(), key=lambda pair: pair[1].latency.value)
    ]
    _tell(candidates)
    _refuse([(each.shape, each.predicted) for each in candidates if each.over], len(candidates), budget)
    return Shapes(
        candidates=candidates,
        teacher=Score(**facts["teacher"]),
        build_seconds=facts.get("build_seconds", 0.0),  # which earlier versions did not keep
        cpu_share=facts.get("cpu_share"),
        baseline=timed_words_stage(plan, timed, overwrite=overwrite),
    )


def measure_exports(folders: Sequence[Path], plan: RunPlan, texts: Sequence[Text] | None = None) -> list[Figures]:
    """Measure real exports as the shapes were, in turns with each other and the teacher; whole calls too.

    Args:
        folders: of exports.
        plan: of the run.
        texts: to time on, of which typical ones are taken; by default the development rows.
    """
    timed, confidence = timed_on(plan, throughput=True, texts=texts), plan.recipe.evaluation.confidence
    with ExitStack() as stack:
        works = {TEACHER: stack.enter_context(teacher_work(plan, timed))}
        for number, folder in enumerate(folders):
            model = load_exported(folder, "cpu", timed.threads)
            works[f"graph {number}"] = timed.work(model.forward, model.encoder)
            works[f"call {number}"] = whole_calls(model.forward, model.encoder, timed)
        rounds = time_in_rounds(works, "time the exports in turns")
    teacher = [times[TEACHER] for times in rounds]
    return [
        figures_of(
            [times[f"graph {number}"] for times in rounds],
            teacher,
            bytes_in(folder),
            confidence,
            [times[f"call {number}"] for times in rounds],
        )
        for number, folder in enumerate(folders)
    ]


def _inputs(plan: RunPlan, bodies: Sequence[Body], timed: Timed) -> dict[str, Any]:
    """Everything that the figures depend on; what the budget allows does not count."""
    return {
        "shapes": {body.shape.name: body.fingerprint for body in bodies},
        "teachers": [shape_of(teacher) for teacher in plan.teachers.each],
        "label_names": list(plan.examples.label_names),
        "problem_type": plan.examples.problem_type,
        "lengths": list(timed.lengths) or lengths_of(timed, teacher_encoders(plan)[0]),
        "batch_sizes": list(timed.batch_sizes),
        "threads": timed.threads,
        "machine": machine(),
        "rounds": ROUNDS,
        "confidence": plan.recipe.evaluation.confidence,
        "versions": library_versions(),
    }


def _check_lengths(timed: Timed, bodies: Sequence[Body]) -> None:
    longest = min(body.reader.max_length for body in bodies)
    if too_long := [length for length in timed.lengths if length > longest]:
        raise RecipeError(
            f"{named('budget.lengths')} is {too_long[0]}, but students read at most {longest} word pieces here "
            f"({named('data.max_length')}). Give a smaller length, or let them read more."
        )


def _refuse_size(budget: BudgetSettings, bodies: Sequence[Body]) -> None:
    """Refuse a size that no shape can have, before anything is built."""
    smallest = min(bodies, key=Body.least_bytes)
    if budget.bytes is not None and budget.bytes < smallest.least_bytes():
        figures = Figures(latency=Score(value=0.0), p95=Score(value=0.0), bytes=smallest.least_bytes())  # not timed
        raise RecipeError(refusal(smallest.of("int8").name, figures, budget))


def _refuse(over: Sequence[tuple[Shape, Figures]], of: int, budget: BudgetSettings) -> None:
    """Refuse the budget if all of so many shapes are over it, and name the nearest."""
    if len(over) == of:
        shape, figures = over[nearest([figures for _, figures in over], budget)]
        raise RecipeError(refusal(shape.name, figures, budget, [figures for _, figures in over]))


def _measure(
    folder: Path, plan: RunPlan, bodies: Sequence[Body], timed: Timed, clock: TimeLeft | None
) -> dict[str, Any]:
    """Build and time the shapes, those of a group in turns; the facts are their figures and the teacher's time."""
    measured, confidence = _begun(folder / _MEASURED), plan.recipe.evaluation.confidence
    graphs, groups = folder / _GRAPHS, list(_groups(bodies))
    figures: dict[str, dict[str, Any]] = {}
    teacher: list[Times] = []
    if not measured.rounds:
        try:
            _look(graphs, plan, bodies, timed, measured)
        except RecipeError:
            shutil.rmtree(folder)  # refused: the next budget may be of other shapes
            raise
    if clock is not None:
        untimed = [
            body
            for number, group in enumerate(groups)
            if len(measured.rounds.get(str(number), [])) < ROUNDS
            for body in group
        ]
        _require_time(plan.budget, clock, graphs, untimed, measured)
    for number, group in enumerate(groups):
        rounds = measured.rounds.get(str(number), [])
        if len(rounds) < ROUNDS:
            rounds = _time_group(graphs, plan, group, timed, measured, str(number))
        shutil.rmtree(graphs, ignore_errors=True)
        of_teacher = [times[TEACHER] for times in rounds]
        teacher += of_teacher
        for body in group:
            figures[body.shape.name] = {
                precision: figures_of(
                    [times[key] for times in rounds], of_teacher, measured.sizes[key], confidence
                ).model_dump()
                for precision in PRECISIONS
                if (key := _key(body, precision))
            }
    return {
        "cpu_share": warn_of_load(timed.threads),
        "figures": [figures[body.shape.name] for body in bodies],
        "teacher": latency_of(teacher, confidence).model_dump(),
        "build_seconds": measured.build_seconds,
    }


def _groups(bodies: Sequence[Body]) -> Iterator[list[Body]]:
    """Groups of shapes that fit into memory beside each other, the smallest first."""
    group: list[Body] = []
    for body in bodies:
        if group and sum(each.bytes_built for each in group) + body.bytes_built > _MOST_BYTES:
            yield group
            group = []
        group.append(body)
    yield group


def _look(graphs: Path, plan: RunPlan, bodies: Sequence[Body], timed: Timed, measured: _Measured) -> None:
    """Refuse a budget that the smallest shape of every encoder breaks already, before the others are built."""
    budget, smallest = plan.budget, smallest_of_each_encoder(bodies)
    limits = constraints_of(budget)
    if not limits or len(smallest) == len(bodies):
        return
    _build(graphs, smallest, measured)
    timed = replace(timed, calls=_CALLS_OF_LOOK)
    with ExitStack() as stack:
        works = {TEACHER: stack.enter_context(teacher_work(plan, timed))}
        works |= _works(graphs, smallest, timed)
        rounds = time_in_rounds(works, LOOK, rounds=_ROUNDS_OF_LOOK)
    found = [
        (
            body.of(precision),
            figures_of(
                [times[_key(body, precision)] for times in rounds],
                [times[TEACHER] for times in rounds],
                export_bytes(_place(graphs, body) / precision),
                plan.recipe.evaluation.confidence,
            ),
        )
        for body in smallest
        for precision in PRECISIONS
    ]
    for limit in limits:
        if all(limit.is_hopeless(figures) for _, figures in found):
            _refuse(found, len(found), budget)


def _require_time(
    budget: BudgetSettings, clock: TimeLeft, graphs: Path, bodies: Sequence[Body], measured: _Measured
) -> None:
    """Refuse a time in which the shapes could not even be built, as the slowest one so far took; keep what is built."""
    missing = [body for body in bodies if not _place(graphs, body).is_dir()]
    if not measured.build_seconds and missing:
        _build(graphs, missing[:1], measured)
        missing = missing[1:]
    needed = len(missing) * measured.build_seconds
    if missing and needed > clock.left - clock.of_ending():
        raise RecipeError(
            f"{named('budget.time')} is {budget.time}, but building the {len(missing)} shapes that are left takes "
            f"about {roughly(needed)} here, before any is timed and trained. Give it more time, or fewer "
            f"{named('budget.widths')}; what is built is kept."
        )


def _time_group(
    graphs: Path, plan: RunPlan, group: Sequence[Body], timed: Timed, measured: _Measured, number: str
) -> list[Round]:
    """Build and time the shapes of a group; sizes and rounds are kept as they come."""
    require_space(graphs, sum(body.bytes_built for body in group), "Timing the shapes")
    _build(graphs, group, measured)
    for body in group:
        for precision in PRECISIONS:
            measured.sizes[_key(body, precision)] = export_bytes(_place(graphs, body) / precision)

    def keep(rounds: list[Round]) -> None:
        measured.rounds[number] = rounds
        measured.write()

    with ExitStack() as stack:
        works = {TEACHER: stack.enter_context(teacher_work(plan, timed))}
        works |= _works(graphs, group, timed)
        return time_in_rounds(works, TIME, before=measured.rounds.get(number, []), on_round=keep)


def _build(graphs: Path, bodies: Sequence[Body], measured: _Measured) -> None:
    with progress.stage(BUILD, len(bodies), "shapes") as stage:
        for body in bodies:
            began = time.monotonic()
            body.build(_place(graphs, body))
            measured.build_seconds = max(measured.build_seconds, time.monotonic() - began)
            progress.saved()
            stage.advance(1, body.shape.name)


def _works(graphs: Path, bodies: Sequence[Body], timed: Timed) -> dict[str, Any]:
    works = {}
    for body in bodies:
        for precision in PRECISIONS:
            model = load_exported(_place(graphs, body) / precision, "cpu", timed.threads)
            works[_key(body, precision)] = timed.work(model.forward, model.encoder)
    return works


def _place(graphs: Path, body: Body) -> Path:
    return graphs / body.fingerprint[:16]


def _key(body: Body, precision: Precision) -> str:
    return f"{body.fingerprint[:16]} {precision}"


def _plain(times: Round) -> dict[str, Any]:
    return {
        name: {
            "singles": each.singles,
            "cells": [[cell.batch, cell.length, rates] for cell, rates in each.cells.items()],
        }
        for name, each in times.items()
    }


def _begun(path: Path) -> _Measured:
    """What an earlier, unfinished call has measured; what cannot be read is measured again."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        rounds = {group: [_round_of(each) for each in of_group] for group, of_group in values["rounds"].items()}
        sizes = {key: int(size) for key, size in values["sizes"].items()}
        return _Measured(path, sizes, rounds, float(values.get("build_seconds", 0.0)))
    except FileNotFoundError:
        return _Measured(path)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        progress.warn(f"{path} is damaged ({error}); the shapes are timed again.")
        return _Measured(path)


def _round_of(plain: Mapping[str, Any]) -> Round:
    return {
        name: Times(
            singles=[float(each) for each in times["singles"]],
            cells={Cell(batch, length): list(rates) for batch, length, rates in times["cells"]},
        )
        for name, times in plain.items()
    }


def _tell(candidates: Sequence[Candidate]) -> None:
    """Note how many shapes are within the budget, and how latency follows from depth and width."""
    within = [candidate for candidate in candidates if not candidate.over]
    progress.note(f"{len(within)} of {len(candidates)} shapes are within the budget, as random weights predict")
    for sentence in fit_sentences(candidates):
        progress.note(sentence)
