"""`start: auto` in a run: the stages of the race between a student's starts, and the run with the starts that won.

What the winner then is trained as is the student that a recipe with its start would train.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pkd import progress, ranks
from pkd.distillation.dropping import ROWS, least_missed, rows_to_drop_by
from pkd.distillation.plan import StudentPlan
from pkd.distillation.race import Heat, heats_of, race, tried_starts, winner
from pkd.distillation.student import start_layers
from pkd.errors import DivergedError
from pkd.jobs.plan import RunPlan
from pkd.jobs.sizes import sized
from pkd.jobs.stages import DROPPING
from pkd.jobs.train import Teaching, trial_stage
from pkd.reporting.results import Race, RaceHeat
from pkd.runs.seal import partial_of, write_json
from pkd.runs.stage import library_versions, run_stage, standing
from pkd.training.hardware import computing_on, resolve_device
from pkd.training.schedule import epochs_of

KIND = "dropping"
_ORDER = "order.json"  # the layers that are dropped so far, with their distances


def race_starts(plan: RunPlan, teaching: Teaching, *, overwrite: bool) -> tuple[RunPlan, dict[str, Race]]:
    """Bring the races between starts up to date.

    Returns:
        The plan with the starts that won, and each race by its student's name.
    """
    if not plan.has_races:
        return plan, {}
    dropped = dropping_stage(plan, teaching, overwrite=overwrite)
    students: list[Sequence[StudentPlan]] = []
    races: dict[str, Race] = {}
    for candidates in plan.planned(dropped):
        if candidates[0].wins_as is None:
            students.append(candidates)
            continue
        chosen, held = _race(candidates, plan, dropped, teaching, overwrite=overwrite)
        students.append([chosen.after_race()])
        if held.heats:
            races[students[-1][0].name] = held
    return plan.started(students), races


def _race(
    candidates: Sequence[StudentPlan], plan: RunPlan, dropped: Sequence[int], teaching: Teaching, *, overwrite: bool
) -> tuple[StudentPlan, Race]:
    """The candidate that wins, and its race."""
    starts = {candidate.start: candidate for candidate in candidates}

    def score(start: str, heat: int) -> float:
        candidate, place = starts[start], plan.folder.race(starts[start].name, heat + 1)
        if candidate.sizes is None and candidate.method != "ft":  # whose labels have all of the gradient
            candidate = sized(candidate, plan.folder.sizes(candidate.name), teaching, overwrite=overwrite)
            starts[start] = candidate
        try:
            done = trial_stage(place, candidate.in_heat(heat), teaching, overwrite=overwrite)
        except DivergedError as error:
            progress.warn(f"The training of {candidate.name} diverged, so another start is taken. {error}")
            return math.nan
        return float(done.manifest.facts["selection"]["score"])

    heats = []
    for heat in race(list(starts), score, epochs_of(candidates[0].training)):
        heats.append(heat)
        told = ", ".join(f"{start} {found:.4f}" for start, found in heat.scores.items())
        goes = f"{' and '.join(heat.kept)} go on" if len(heat.kept) > 1 else f"{heat.kept[0]} is kept"
        epochs = f"{heat.epochs:.3g} epoch{'s' * (heat.epochs != 1)}"
        progress.note(f"starts of {_words(candidates[0])} after {epochs}: {told} on the development rows; {goes}")
    chosen = winner(list(starts), heats)
    assert chosen is not None  # every score is known now
    return starts[chosen], Race(
        seed=plan.recipe.seed,
        starts=made_starts(candidates, plan.teacher_layers, dropped),
        heats=[_recorded(heat) for heat in heats],
    )


def _recorded(heat: Heat) -> RaceHeat:
    scores = {start: None if math.isnan(score) else score for start, score in heat.scores.items()}
    return RaceHeat(epochs=heat.epochs, scores=scores, kept=list(heat.kept))


def race_sentences(plan: RunPlan) -> list[str]:
    """What each race will try, for how long, and what it costs; empty without a race."""
    told = []
    for candidates in plan.students:
        if (first := candidates[0]).wins_as is None:
            continue
        made = made_starts(candidates, plan.teacher_layers, ())
        listed = [f"{each.start} ({made[each.start]}: {', '.join(map(str, each.start_layers))})" for each in candidates]
        epochs = [f"{epochs_of(first.in_heat(heat).training):.3g}" for heat in heats_of(len(candidates) + 1)]
        rounds = "".join([f"Each trains {epochs[0]} epochs, ", *(f"the better two {each}, " for each in epochs[1:])])
        told.append(
            f"{_words(first)}: its starts race on the development rows with seed {plan.recipe.seed}: "
            f"{', '.join(listed)}, and the layers that greedy dropping leaves of the teacher. {rounds}the best all "
            f"{epochs_of(first.training):.3g}."
        )
    return told


def _words(plan: StudentPlan) -> str:
    return f"{plan.method} of {plan.layers} layer{'s' * (plan.layers != 1)}"


def made_starts(candidates: Sequence[StudentPlan], teacher_layers: int, dropped: Sequence[int]) -> dict[str, str]:
    """The start of each candidate, with the words that say how it was made."""
    layers = candidates[0].layers
    words = {
        tuple(start_layers(start, teacher_layers, layers)): said
        for said, start in tried_starts(teacher_layers, layers, dropped).items()
    }
    return {candidate.start: words[candidate.start_layers] for candidate in candidates}


def dropping_stage(plan: RunPlan, teaching: Teaching, *, overwrite: bool) -> list[int]:
    """The teacher's layers in the order in which greedy dropping takes them, down to one that is left."""

    def build(partial: Path) -> Mapping[str, Any]:
        return ranks.on_first(lambda: _drop(partial, plan, teaching))

    done = run_stage(plan.folder.dropping, KIND, _dropping_inputs(teaching), build, overwrite=overwrite)
    return list(done.manifest.facts["order"])


def dropping_left(plan: RunPlan, teaching: Teaching) -> float:
    """The share of greedy dropping that is left after an earlier call."""
    folder = plan.folder.dropping
    stands = standing(folder, _dropping_inputs(teaching))
    if stands != "begun":
        return 0.0 if stands == "kept" else 1.0
    order, _ = _begun(partial_of(folder) / _ORDER)
    return _models(plan.teacher_layers - len(order)) / max(1, _models(plan.teacher_layers))


def _dropping_inputs(teaching: Teaching) -> dict[str, Any]:
    """Everything that the order depends on; one order serves students of every depth."""
    return {
        "teacher": teaching.teacher.fingerprints,
        "rows": teaching.rows.fingerprints["train"],
        "answers": teaching.rows.answers["train"]["logits"],
        "rows_used": ROWS,
        "versions": library_versions(),
    }


def _drop(partial: Path, plan: RunPlan, teaching: Teaching) -> dict[str, Any]:
    """Drop one layer after the other; the order so far is written after each."""
    teacher, learnt = teaching.teacher, teaching.rows
    rows = rows_to_drop_by(learnt.read("train", learnt.train, learnt.readers[None]))
    order, distances = _begun(partial / _ORDER)
    kept = [layer for layer in range(1, plan.teacher_layers + 1) if layer not in order]
    whole, left = _models(plan.teacher_layers), _models(len(kept))
    device = resolve_device(plan.recipe.device)
    with computing_on(device, [teacher.model]), progress.stage(DROPPING, whole, "models") as stage:
        stage.reach(whole - left)
        while len(kept) > 1:
            layer, distance = least_missed(teacher.model, kept, rows, teacher.outputs.kind, stage.advance)
            kept.remove(layer)
            order.append(layer)
            distances.append(distance)
            write_json(partial / _ORDER, {"order": order, "distances": distances})
            progress.saved()
    return {"order": order, "distances": distances, "rows": len(rows)}


def _begun(path: Path) -> tuple[list[int], list[float]]:
    """The order of an earlier, unfinished call; what cannot be read is made again."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return [int(layer) for layer in values["order"]], [float(distance) for distance in values["distances"]]
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        progress.warn(f"{path} is damaged ({error}); the layers are dropped again.")
        return [], []


def _models(layers: int) -> int:
    """How many models are compared until one of so many layers is left."""
    return layers * (layers + 1) // 2 - 1
