"""`pkd distill`: all that most users ever need. A teacher and examples in, an evaluated student out."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkd import ranks
from pkd.jobs.run import run
from pkd.jobs.stages import refuse_what_is_in_the_way, run_stage
from pkd.recipe.keywords import place_keywords
from pkd.recipe.reading import recipe_from
from pkd.reporting.card import model_card
from pkd.reporting.results import ModelRecord, Record, folder_in_run
from pkd.storage.lock import one_writer
from pkd.storage.seal import read_manifest, write_text

KIND = "distilled student"


@dataclass(frozen=True)
class DistillResult:
    """A finished student: its folder, the folder of the work behind it (annotated data, report), and its records."""

    folder: Path
    work: Path
    records: list[Record]


def distill(
    *, teacher: str, output: str, train: str | None = None, controls: bool = False, overwrite: bool = False, **keys: Any
) -> DistillResult:
    """Distil a fine-tuned classifier into a shallower one by Patient Knowledge Distillation.

    Annotates the data once, trains by PKD-Skip with the defaults of the recipe, keeps the best epoch and evaluates.
    The annotated data, the report and every seed's student lie beside the output, in OUTPUT.work.

    Args:
        teacher: folder or hub name of the fine-tuned classifier.
        output: folder for the student.
        train: training examples; not needed where `task` names a benchmark's.
        controls: also train plain fine-tuning and KD from the same start, and say whether patience helped.
        overwrite: start unfinished stages with other inputs afresh, and put aside a folder that is in the way.
        keys: any key of the recipe: `eval`, `test`, `layers`, `beta`, `learning_rate`, `seeds`, ...

    Raises:
        PKDError: of the family, with what to do; what was finished is kept.
    """
    student = Path(output)
    work = student.with_name(student.name + ".work")
    values = place_keywords({"teacher": teacher, "train": train, "controls": controls, **keys})
    recipe = dataclasses.replace(recipe_from(values, where="distill"), output=str(work))
    with one_writer(student):
        refuse_what_is_in_the_way(student, overwrite=overwrite)  # not after the training
        result = run(recipe, overwrite=overwrite)
        chosen = _best_seed(result.records)
        trained = folder_in_run(work, chosen)
        manifest = read_manifest(trained)
        assert manifest is not None  # a finished stage has one

        def build(partial: Path) -> Mapping[str, Any]:
            if ranks.is_first():
                shutil.copytree(trained, partial, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
            return manifest.facts

        inputs = {**manifest.inputs, "student": {**manifest.inputs["student"], "name": chosen.name}}
        run_stage(student, KIND, inputs, build, overwrite=overwrite)
        ranks.on_first(lambda: write_text(student / "README.md", model_card(result.records, chosen)))
    return DistillResult(student, work, result.records)


def _best_seed(records: list[Record]) -> ModelRecord:
    """The student's seed with the best development score; the first where there is none."""
    students = [record for record in records if isinstance(record, ModelRecord) and record.role == "student"]
    return max(students, key=lambda record: float(record.selection.get("score", 0.0)))
