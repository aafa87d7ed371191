"""What earlier calls finished of a run, by the inputs of its stages; none of their output files is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkd.data.augmentation import AUGMENTED
from pkd.data.batching import stored_teacher_layers
from pkd.data.encodings import Reader
from pkd.data.tokenize import fingerprint_rows
from pkd.distillation.narrowing import Importance
from pkd.distillation.plan import StudentPlan
from pkd.jobs.ahead import Left, training_left
from pkd.jobs.annotate import annotation_inputs, annotation_left, exactly
from pkd.jobs.encode import encoding_inputs, encoding_left
from pkd.jobs.ensemble import mean_inputs
from pkd.jobs.importance import stored_importance
from pkd.jobs.plan import RunPlan
from pkd.jobs.race import dropping_left
from pkd.jobs.sizes import size_inputs, with_sizes
from pkd.jobs.stages import steps_of
from pkd.jobs.train import Teaching, TrainingRows, training_inputs, training_rows
from pkd.jobs.workload import MEASURING
from pkd.recipe.schema import Recipe
from pkd.recipe.sweeping import Point
from pkd.reporting.trials import leaderboard, read_trials
from pkd.runs.fingerprint import fingerprint
from pkd.runs.folder import RunFolder
from pkd.runs.seal import Manifest, partial_of, read_manifest
from pkd.runs.stage import is_begun, standing


@dataclass(frozen=True)
class _Run:
    """A run and the inputs of its stages.

    Attributes:
        rows: None without the teacher's outputs.
        importance: of the teacher's neurons; None until it is measured.
    """

    plan: RunPlan
    prints: Mapping[str, Mapping[str, str]]  # split -> of the rows that the teacher answers
    counts: Mapping[str, int]  # of rows
    rows: TrainingRows | None
    importance: Importance | None = None

    @property
    def folder(self) -> RunFolder:
        """Where it runs."""
        return self.plan.folder

    def teaching(self, recipe: Recipe) -> Teaching:
        """What students of a recipe, as of a sweep's point, learn from."""
        assert self.rows is not None
        return Teaching(recipe, self.plan.teacher, self.rows, self.importance)


def left_of(plan: RunPlan) -> Left:
    """What is left of a run's stages, given its teacher."""
    run = _begun(plan)
    run = dataclasses.replace(run, rows=_rows_of(run))
    if run.rows is not None:
        run = dataclasses.replace(run, importance=stored_importance(plan, run.teaching(plan.recipe)))
    folder = plan.folder
    return Left(
        finetuning=lambda number: 0.0,
        word_counts=0.0 if is_begun(folder.word_counts) else 1.0,
        encoding=lambda reader, split: _encoding(run, reader, split),
        annotation=lambda number, split, layers: _annotation(run, number, split, layers),
        averaging=lambda split, layers: _averaging(run, split, layers),
        ranking=lambda: 1.0 if run.importance is None else 0.0,
        dropping=lambda: _dropping(run),
        dropped=lambda: _dropped(run),
        heat=lambda plan, heat: _heat(run, plan, heat),
        heat_score=lambda plan, heat: _heat_score(run, plan, heat),
        sizing=lambda recipe, plan: 1.0 if _sized(run, recipe, plan, folder.sizes(plan.name)) is None else 0.0,
        training=lambda recipe, plan, seed: _training(run, recipe, plan, seed),
        measuring=lambda recipe, plan, seed: _measuring(run, recipe, plan, seed),
        point=lambda recipe, plan: _point(run, recipe, plan),
        report=lambda: 0.0 if folder.is_sealed() else 1.0,
        best=lambda: _best_point(folder),
    )


def _encoding(run: _Run, reader: Reader, split: str) -> float:
    if split not in run.prints:
        return 1.0
    place, rows_per_shard = run.folder.encoding(split, reader.key), run.plan.recipe.annotation.rows_per_shard
    return encoding_left(place, encoding_inputs(reader, run.prints[split]), run.counts[split], rows_per_shard)


def _annotation(run: _Run, number: int, split: str, layers: Sequence[int]) -> float:
    if split not in run.prints:
        return 1.0
    inputs = _inputs_of_answers(run, number, split)
    rows, wanted = run.counts[split], () if split in MEASURING else layers
    rows_per_shard = run.plan.recipe.annotation.rows_per_shard
    return annotation_left(run.folder.annotated(split, number), inputs, wanted, rows, rows_per_shard)


def _averaging(run: _Run, split: str, layers: Sequence[int]) -> float:
    manifest = _answers_to(run, split)
    wanted = set() if split in MEASURING else set(layers)
    return 0.0 if manifest and wanted <= set(manifest.facts["teacher_layers"]) else 1.0


def _begun(plan: RunPlan) -> _Run:
    """The run with its annotated inputs; augmented rows are made here if some of them may be encoded or annotated."""
    examples = plan.examples
    prints, counts = dict(examples.fingerprints), {split: len(rows) for split, rows in examples.splits.items()}
    first = AUGMENTED.format(1)
    encodings = [plan.folder.encoding(first, reader.key) for reader, _ in plan.readings([first])]
    if any(map(is_begun, (plan.folder.annotated(first), *encodings))):
        for split, rows in plan.augmented.items():
            prints[split], counts[split] = fingerprint_rows(rows), len(rows)
    return _Run(plan, prints, counts, None)


def _inputs_of_answers(run: _Run, number: int, split: str) -> Mapping[str, Any]:
    recipe, teacher = run.plan.recipe, run.plan.teachers.each[number - 1]
    settings = exactly(recipe.annotation) if split in MEASURING else recipe.annotation
    return annotation_inputs(teacher, run.prints[split], settings, recipe.data.max_length)


def _answers_to(run: _Run, split: str) -> Manifest | None:
    """The manifest of the answers that students learn from, the teacher's or the mean of several; None if not kept."""
    parts: list[Manifest] = []
    for number in run.plan.teacher_numbers:
        folder = run.folder.annotated(split, number)
        if split not in run.prints or not is_begun(folder):
            return None
        if standing(folder, _inputs_of_answers(run, number, split)) != "kept":
            return None
        manifest = read_manifest(folder)
        assert manifest is not None  # it is kept
        parts.append(manifest)
    if len(parts) == 1:
        return parts[0]
    mean, teachers = run.folder.ensemble(split), run.plan.teachers
    inputs = mean_inputs(parts, teachers, run.plan.examples.outputs.kind)
    return read_manifest(mean) if is_begun(mean) and standing(mean, inputs) == "kept" else None


def _rows_of(run: _Run) -> TrainingRows | None:
    """The training rows, if exactly these are annotated, perhaps for fewer layers."""
    manifests: dict[str, Manifest] = {}
    if run.plan.recipe.transfer.variants and AUGMENTED.format(1) not in run.prints:
        return None
    for split in run.prints:
        if split not in MEASURING:
            if (manifest := _answers_to(run, split)) is None:
                return None
            manifests[split] = manifest
    return training_rows(run.plan, manifests)


def _training(run: _Run, recipe: Recipe, plan: StudentPlan, seed: int) -> float:
    folder = run.folder.student(plan.name, seed)
    if run.rows is None or not is_begun(folder) or not _has_answers(run, plan):
        return 1.0
    weighed = _weighed(run, recipe, plan, run.folder.sizes(plan.name))
    if weighed is None:
        return 1.0
    return _share_left(run.rows, folder, plan, training_inputs(weighed, seed, run.teaching(recipe)))


def _dropping(run: _Run) -> float:
    return 1.0 if run.rows is None else dropping_left(run.plan, run.teaching(run.plan.recipe))


def _dropped(run: _Run) -> Sequence[int]:
    if _dropping(run):
        return ()
    manifest = read_manifest(run.folder.dropping)
    return list(manifest.facts["order"]) if manifest is not None else ()


def _heat(run: _Run, plan: StudentPlan, heat: int) -> float:
    folder = run.folder.race(plan.name, heat + 1)
    if run.rows is None or not is_begun(folder) or not _has_answers(run, plan):
        return 1.0
    recipe = run.plan.recipe
    weighed = _weighed(run, recipe, plan, run.folder.sizes(plan.name))
    if weighed is None:
        return 1.0
    entrant = weighed.in_heat(heat)
    return _share_left(run.rows, folder, entrant, training_inputs(entrant, recipe.seed, run.teaching(recipe)))


def _heat_score(run: _Run, plan: StudentPlan, heat: int) -> float | None:
    manifest = None if _heat(run, plan, heat) else read_manifest(run.folder.race(plan.name, heat + 1))
    return None if manifest is None else float(manifest.facts["selection"]["score"])


def _weighed(run: _Run, recipe: Recipe, plan: StudentPlan, folder: Path) -> StudentPlan | None:
    """The plan with the β of its training; None if that is not measured yet."""
    return _sized(run, recipe, plan, folder) if plan.loss.patience_share else plan


def _sized(run: _Run, recipe: Recipe, plan: StudentPlan, folder: Path) -> StudentPlan | None:
    """The plan with the sizes of its terms, if an earlier call measured them."""
    if run.rows is None or not is_begun(folder) or not _has_answers(run, plan):
        return None
    if standing(folder, size_inputs(plan, run.teaching(recipe))) != "kept":
        return None
    manifest = read_manifest(folder)
    return with_sizes(plan, manifest.facts) if manifest is not None else None


def _share_left(rows: TrainingRows, folder: Path, plan: StudentPlan, inputs: Mapping[str, Any]) -> float:
    stands = standing(folder, inputs)
    if stands != "begun":
        return 0.0 if stands == "kept" else 1.0
    return training_left(partial_of(folder), steps_of(plan.learns_from(rows.counts), plan.training))


def _measuring(run: _Run, recipe: Recipe, plan: StudentPlan, seed: int) -> float:
    is_there = is_begun(run.folder.predictions(plan.name, seed))
    return 0.0 if is_there and not _training(run, recipe, plan, seed) else 1.0


def _point(run: _Run, recipe: Recipe, plan: StudentPlan) -> float:
    if run.rows is None or not run.folder.trial("").is_dir() or not _has_answers(run, plan):
        return 1.0
    place = run.folder.sizes(fingerprint(size_inputs(plan, run.teaching(recipe)))[:16])
    if (weighed := _weighed(run, recipe, plan, place)) is None:
        return 1.0
    inputs = training_inputs(weighed, recipe.seed, run.teaching(recipe))
    print_, sweep = fingerprint(inputs), run.plan.recipe.sweep
    ended = ("diverged", "stopped") if sweep and sweep.early_stopping == "asha" else ("diverged",)
    if any(trial.fingerprint == print_ and trial.status in ended for trial in read_trials(run.folder.path)):
        return 0.0
    return _share_left(run.rows, run.folder.trial(print_), plan, inputs)


def _best_point(folder: RunFolder) -> Point | None:
    first = next(iter(leaderboard(read_trials(folder.path))), None)
    return first.point if first is not None and first.status == "done" else None


def _has_answers(run: _Run, plan: StudentPlan) -> bool:
    """Whether the states of all layers that a student learns from are stored, and neurons ranked if it is narrow."""
    if run.rows is None or (plan.width < 1 and run.importance is None):
        return False
    rows = run.rows
    layers = plan.layer_map.teacher if plan.layer_map else ()
    return all(set(layers) <= set(stored_teacher_layers(each)) for each in (rows.train, *rows.transfer.values()))
