"""Several teachers of one run: loaded and matched, and the stage that averages their stored answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkd import progress, ranks
from pkd.data.outputs import Outputs, order_among
from pkd.distillation.annotation import fingerprint_answers
from pkd.distillation.ensemble import StoredAnswers, average_answers
from pkd.encoder.load import LoadedClassifier, check_max_length, load_teacher, with_outputs
from pkd.errors import TeacherError
from pkd.recipe.settings import DataSettings
from pkd.runs.seal import Manifest
from pkd.runs.space import require_space
from pkd.runs.stage import Done, Upkeep, run_stage
from pkd.tasks import TaskKind

KIND = "mean answers"


@dataclass(frozen=True)
class Teachers:
    """The teachers of a run.

    Attributes:
        each: in the order of the recipe; the first is the one of comparisons.
        lead: the index of the one whose layers students start from and whose states they learn.
        orders: the index in each one's outputs of each of the lead's; None if they are the same.
    """

    each: tuple[LoadedClassifier, ...]
    lead: int = 0
    orders: tuple[Sequence[int] | None, ...] = ()

    @property
    def are_several(self) -> bool:
        """Whether students learn from a mean."""
        return len(self.each) > 1

    @property
    def leading(self) -> LoadedClassifier:
        """The teacher whose layers students start from."""
        return self.each[self.lead]

    @property
    def first(self) -> LoadedClassifier:
        """The teacher of comparisons."""
        return self.each[0]

    def matched(self, outputs: Outputs, settings: DataSettings) -> Teachers:
        """The teachers with the lead's outputs as the examples settled them, and the others' matched to them by name.

        Raises:
            TeacherError: if one has learned another kind of problem or other classes than the lead.
        """
        lead = self.leading.name
        orders = [
            None
            if index == self.lead or (outputs.kind.has_choices and teacher.outputs.kind is outputs.kind)
            else order_among(teacher.name, teacher.outputs, (lead, outputs), settings)
            for index, teacher in enumerate(self.each)
        ]
        others = [one for one in self.each if one.fingerprints["tokenizer"] != self.leading.fingerprints["tokenizer"]]
        if outputs.kind.has_tokens and others:
            raise TeacherError(
                f"{others[0].name} and {lead} have different tokenizers, so they answer for different parts of words. "
                "Give teachers of one tokenizer; a student may have another."
            )
        each = [with_outputs(one, outputs) if index == self.lead else one for index, one in enumerate(self.each)]
        return Teachers(tuple(each), self.lead, tuple(orders))


def load_teachers(names: Sequence[str], lead: int, max_length: int) -> Teachers:
    """Load the teachers of a run.

    Raises:
        TeacherError: if one cannot be loaded.
        RecipeError: if the positions of one do not reach `max_length`.
    """
    loaded = []
    for name in names:
        teacher = load_teacher(name)
        check_max_length(teacher.model.config, max_length)
        loaded.append(teacher)
    return Teachers(tuple(loaded), lead)


def mean_stage(
    folder: Path,
    name: str,
    parts: Sequence[Done],
    teachers: Teachers,
    kind: TaskKind,
    *,
    overwrite: bool,
) -> Done:
    """The stage that stores rows with the mean of the teachers' answers, and the states of the lead.

    Args:
        folder: of the stage.
        name: in the progress.
        parts: each teacher's annotated rows.
        teachers: that answered.
        kind: of problem.
        overwrite: start an unfinished stage afresh.
    """
    lead = parts[teachers.lead].manifest
    answers = [StoredAnswers(part.folder, order) for part, order in zip(parts, teachers.orders, strict=True)]

    def lacks(manifest: Manifest) -> str | None:
        stored = manifest.facts["answers"]
        prints = lead.facts["answers"].items()
        missing = [part for part, print_ in prints if part != "logits" and stored.get(part) != print_]
        return f"the lead's {', '.join(missing)} are wanted too" if missing else None

    def build(partial: Path) -> Mapping[str, Any]:
        return ranks.on_first(lambda: averaged(partial))

    def averaged(partial: Path) -> dict[str, Any]:
        rows = int(lead.facts["rows"])
        require_space(partial, sum(file.bytes for file in lead.files), f"Averaging the answers to {rows:,} rows")
        with progress.stage(name, rows, "rows") as stage:
            mean = average_answers(
                answers,
                teachers.lead,
                kind,
                partial,
                rows_per_shard=lead.facts["settings"]["rows_per_shard"],
                stage=stage,
            )
        return {
            "rows": rows,
            "teachers": len(parts),
            "teacher_layers": lead.facts["teacher_layers"],
            "answers": fingerprint_answers(mean),
            "device": lead.facts["device"],
        }

    inputs = mean_inputs([part.manifest for part in parts], teachers, kind)
    return run_stage(folder, KIND, inputs, build, overwrite=overwrite, upkeep=Upkeep(lacks), resumes=False)


def mean_inputs(parts: Sequence[Manifest], teachers: Teachers, kind: TaskKind) -> dict[str, Any]:
    """Everything that can change the mean, except which layers of the lead are stored."""
    return {
        "teachers": [
            {
                "annotated": part.fingerprint,
                "logits": part.facts["answers"]["logits"],
                "order": None if order is None else list(order),
            }
            for part, order in zip(parts, teachers.orders, strict=True)
        ],
        "lead": teachers.lead,
        "problem_type": kind.name,
        "max_length": parts[teachers.lead].inputs["max_length"],
    }
