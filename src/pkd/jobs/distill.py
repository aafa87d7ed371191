"""`pkd distill`: a teacher and examples in, an evaluated student out; all that most users need."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from pkd import ranks
from pkd.jobs import asking
from pkd.jobs.push import push
from pkd.jobs.run import RunResult, run_asked
from pkd.recipe.keyword_types import DistillKeywords
from pkd.recipe.places import AnyPath, AnyPaths, output_folder
from pkd.recipe.schema import Recipe
from pkd.reporting.card import model_card
from pkd.reporting.printed import run_lines
from pkd.reporting.results import best_student, folder_in_run
from pkd.runs.folder import CARD, RunFolder
from pkd.runs.lock import one_writer
from pkd.runs.seal import MANIFEST, copy_folder, read_manifest, write_text
from pkd.runs.stage import refuse_what_is_in_the_way, run_stage
from pkd.serving.hub import open_repository

KIND = asking.DISTILLED


@dataclass(frozen=True, repr=False)
class DistillResult(RunResult):
    """A finished student: its folder, the records and the report of its run, and that run's folder, `work`."""

    work: Path

    def __str__(self) -> str:
        return run_lines(self.records, student=self.folder, report=self.report)


def distill(
    *,
    teacher: AnyPaths,
    output: AnyPath,
    train: AnyPath | None = None,
    controls: bool = False,
    overwrite: bool = False,
    push_to_hub: bool = False,
    hub_model_id: str | None = None,
    **keys: Unpack[DistillKeywords],
) -> DistillResult:
    """Distil a fine-tuned classifier into a shallower one by Patient Knowledge Distillation.

    Annotates the data once, trains by PKD-Skip with the defaults of the recipe, keeps the best epoch and evaluates.
    The annotated data, the report and every seed's student are beside the output, in OUTPUT.work.

    Args:
        teacher: folder or hub name of the fine-tuned classifier, or of several, whose mean teaches.
        output: folder for the student.
        train: training examples; not needed where `task` names a benchmark's.
        controls: also train plain fine-tuning and KD from the same start, and say whether patience helped.
        overwrite: start unfinished stages with other inputs afresh, and put aside a folder that is in the way.
        push_to_hub: upload the finished student as `pkd.push` does; write access is checked first.
        hub_model_id: OWNER/NAME there; by default the output folder's name, under the user's own.
        keys: any key of the recipe: `eval`, `test`, `layers`, `beta`, `learning_rate`, `seeds`, ...

    Raises:
        PKDError: of the family, with what to do; what was finished is kept.
    """
    given: dict[str, Any] = {"teacher": teacher, "train": train, "controls": controls, **keys}
    with asking.distill(output=output, overwrite=overwrite, **given) as recipe:
        return _distill(
            recipe, output_folder(output), overwrite=overwrite, push_to_hub=push_to_hub, hub_model_id=hub_model_id
        )


def _distill(
    recipe: Recipe, student: Path, *, overwrite: bool, push_to_hub: bool, hub_model_id: str | None
) -> DistillResult:
    work = RunFolder.beside(student).path
    recipe = dataclasses.replace(recipe, output=str(work))
    repo = hub_model_id or student.name
    if push_to_hub and ranks.is_first():
        repo = open_repository(repo)  # not after the training
    with one_writer(student):
        refuse_what_is_in_the_way(student, KIND, overwrite=overwrite)  # not after the training
        with asking.run(recipe, overwrite=overwrite) as asked:
            result = run_asked(asked, copies=0 if (student / MANIFEST).is_file() else 1, overwrite=overwrite)
        chosen = best_student(result.records)
        trained = folder_in_run(work, chosen)
        manifest = read_manifest(trained)
        assert manifest is not None  # a finished stage has one

        def build(partial: Path) -> Mapping[str, Any]:
            if ranks.is_first():
                copy_folder(trained, partial, without=[MANIFEST])
            return manifest.facts

        named = {**manifest.inputs["student"], "name": chosen.name}
        inputs = {**manifest.inputs, "student": named, "content": manifest.content}
        run_stage(student, KIND, inputs, build, overwrite=overwrite, resumes=False)
        ranks.on_first(lambda: write_text(student / CARD, model_card(result.records, chosen, title=student.name)))
    if push_to_hub:
        ranks.on_first(lambda: push(student, repo).where)
    return DistillResult(student, result.records, result.report, work)
