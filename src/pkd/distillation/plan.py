"""What a recipe's students are once the teacher's depth is known: layers, starts, maps, losses and controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from pkd.distillation.layers import LayerMap, layer_map_of
from pkd.distillation.ledger import Sizes
from pkd.distillation.race import heat_epochs, tried_starts
from pkd.distillation.student import start_layers
from pkd.distillation.terms import TERMS, objective_of, weighed
from pkd.errors import RecipeError
from pkd.recipe.reading import validate
from pkd.recipe.rules import starts_of
from pkd.recipe.schema import Recipe, depth_label, loss_of, method_label, start_label
from pkd.recipe.settings import AUTO_START, LossSettings, Method, StudentSettings, TrainingSettings
from pkd.recipe.spelling import about_student, named, set_to
from pkd.training.schedule import epochs_of, student_schedule

PUBLISHED_BETA = 100.0  # the weight of patience where a share says nothing, and nobody gives a number


@dataclass(frozen=True)
class RowCounts:
    """How many rows there are to learn from: with a label, the user's without one, and those made of the first."""

    labelled: int
    unlabelled: int = 0
    augmented: int = 0

    @property
    def transfer(self) -> int:
        """Those that teach by the teacher's answers alone."""
        return self.unlabelled + self.augmented

    @property
    def rows_a_label(self) -> float:
        """All training rows over those that have a label, at least 1."""
        return 1 + self.unlabelled / self.labelled + self.augmented / self.labelled


def planned_rows(recipe: Recipe, rows: Mapping[str, int]) -> RowCounts:
    """The numbers of training rows, from those of each split; of augmented ones a few less may be new."""
    train = rows["train"]
    return RowCounts(train, rows.get("unlabelled", 0), recipe.transfer.variants * train)


@dataclass(frozen=True)
class StudentPlan:
    """One student to train, with everything that decides what it becomes but the seed.

    Attributes:
        unlabelled: whether it learns from unlabelled text and augmented rows too.
        rows_an_epoch: of a control that learns from labelled rows alone while its student has others too, as many:
            its rows come again until it has taken its student's number of steps.
        encoder: the folder or hub name of the pretrained encoder that it is; None if it is cut from its teacher.
        wins_as: its name if it wins the race between starts that it is in; None if it is in none.
    """

    name: str
    role: Literal["student", "control"]
    method: str  # "pkd-skip", "pkd-last", "pkd-map", "kd" or "ft"
    layers: int
    start: str  # "spread", "first", "1.3.5", or the encoder's label
    start_layers: tuple[int, ...]  # of the teacher, or of the encoder
    encoder: str | None
    layer_map: LayerMap | None
    loss: LossSettings
    training: TrainingSettings
    unlabelled: bool
    rows_an_epoch: int | None = None
    width: float = 1.0  # share of the teacher's feed-forward neurons that each layer keeps
    sizes: Sizes | None = None  # of its terms, measured as it starts
    wins_as: str | None = None

    @property
    def starts_taught(self) -> bool:
        """Whether patience has nothing to teach yet as the student starts."""
        return self.encoder is None and self.width == 1 and _starts_taught(self.layer_map, self.start_layers)

    @property
    def measured_beta(self) -> float | None:
        """The β that the share of the gradient came to; None where β is a number, or nothing is measured yet."""
        if self.loss.patience_share is None or self.sizes is None:
            return None
        return next((entry.weight for entry in self.sizes.terms if entry.name == "pt"), 0.0)

    @property
    def weighed_loss(self) -> LossSettings:
        """The loss with every weight a number, where it is known."""
        return self.loss if self.measured_beta is None else weighed(self.loss, self.measured_beta)

    def after_race(self) -> StudentPlan:
        """The student that is trained in full if it wins its race: the one that a recipe with its start would train."""
        return dataclasses.replace(self, name=self.wins_as or self.name, wins_as=None, sizes=None)

    def in_heat(self, heat: int) -> StudentPlan:
        """The student as it runs in a heat of the race between its starts: with a part of its epochs."""
        training = dataclasses.replace(self.training, num_train_epochs=heat_epochs(heat, epochs_of(self.training)))
        return dataclasses.replace(self, name=f"{self.name}, round {heat + 1}", training=training)

    def learns_from(self, rows: RowCounts) -> int:
        """How many rows an epoch has."""
        return self.rows_an_epoch or rows.labelled + (rows.transfer if self.unlabelled else 0)

    def inputs(self) -> dict[str, Any]:
        """What the plan adds to the fingerprint of a trained student."""
        return {
            "method": self.method,
            "start_layers": list(self.start_layers),
            "width": self.width,
            "encoder": self.encoder,
            "layer_map": self.layer_map.pairs if self.layer_map else None,
            "loss": dataclasses.asdict(self.loss),
            "training": settings_that_count(self.training),
            "unlabelled": self.unlabelled,
            "rows_an_epoch": self.rows_an_epoch,
        }


def settings_that_count(training: TrainingSettings) -> dict[str, Any]:
    """The training settings that can change the weights; logging and checkpoints of either kind cannot."""
    values = dataclasses.asdict(training)
    for name in ("logging_steps", "save_steps", "report_to", "activation_checkpointing"):
        del values[name]
    return values


def plan_students(
    recipe: Recipe, teacher_layers: int, dropped: Sequence[int] = (), depths: Mapping[str, int] = MappingProxyType({})
) -> list[list[StudentPlan]]:
    """The recipe's students, each as its candidates: one for each start that it names, or that `auto` tries.

    Args:
        recipe: whose students.
        teacher_layers: depth of the teacher.
        dropped: its layers as greedy dropping orders them; without them `auto` lacks that start.
        depths: of the encoders that students are instead of teacher layers, by their names.

    Raises:
        RecipeError: if layers, a start or a map do not fit the teacher, or two students have one name.
    """
    planned: list[list[StudentPlan]] = []
    for index, student in enumerate(recipe.students):
        with about_student(index):
            if student.student is not None:
                planned.append([_of_encoder(recipe, student, teacher_layers, depths.get(student.student))])
                continue
            starts = _starts(student, teacher_layers, dropped)
            several = len(starts) > 1
            candidates = [_cut(recipe, student, start, teacher_layers, several=several) for start in starts]
            if _is_raced(student, teacher_layers):
                candidates = [dataclasses.replace(plan, wins_as=student.name or plan.name) for plan in candidates]
            planned.append(candidates)
    given = {plan.name: plan for candidates in planned for plan in candidates if plan.wins_as is None}
    planned = [[_beside(given, plan) for plan in candidates] for candidates in planned]
    names = [plan.name for candidates in planned for plan in candidates if not _is_the_same(given.get(plan.name), plan)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RecipeError(f"Two students are called {twice[0]}; give each a `name` of its own.")
    return planned


def _beside(given: Mapping[str, StudentPlan], plan: StudentPlan) -> StudentPlan:
    """A candidate of a race with a name of its own, if another student from this start is called so already."""
    other = given.get(plan.name)
    if plan.wins_as is None or other is None or _is_the_same(other, plan):
        return plan
    name = f"{plan.name}-auto"
    return dataclasses.replace(plan, name=name, wins_as=name if plan.wins_as == plan.name else plan.wins_as)


def _is_the_same(given: StudentPlan | None, plan: StudentPlan) -> bool:
    """Whether a candidate of a race is a student that is trained anyway: if it wins, the two are one."""
    return plan.wins_as is not None and given is not None and given.inputs() == plan.inputs()


def plan_controls(students: Sequence[StudentPlan], rows: RowCounts) -> list[StudentPlan]:
    """The controls that are not among the students already: KD and plain fine-tuning from the same start and data.

    Fine-tuning knows labelled rows alone, and takes as many steps as its student.
    """
    known = list(students)
    for student in students:
        for method in ("kd", "ft") if student.layer_map else ("ft",) if student.method == "kd" else ():
            control = _control(student, method, rows)
            if not any(_same_but_name(control, other, rows) for other in known):
                names = {plan.name for plan in known}
                name = control.name if control.name not in names else f"{method}-of-{student.name}"
                known.append(dataclasses.replace(control, name=name))
    return known[len(students) :]


def is_control_of(control: StudentPlan, student: StudentPlan, method: Method, rows: RowCounts) -> bool:
    """Whether `control` is what `method` gives from the student's start, seeds, training and data."""
    return _same_but_name(_control(student, method, rows), control, rows)


def _is_raced(student: StudentSettings, teacher_layers: int) -> bool:
    """Whether the student's start is chosen by a race; at the teacher's depth there is one start."""
    return student.start == AUTO_START and depth_asked(student, teacher_layers) < teacher_layers


def depth_asked(student: StudentSettings, teacher_layers: int) -> int:
    """The student's depth; half the teacher's by default."""
    return student.layers or max(1, teacher_layers // 2)


def _starts(student: StudentSettings, teacher_layers: int, dropped: Sequence[int]) -> list[str | list[int]]:
    if student.start != AUTO_START:
        return starts_of(student)
    layers = depth_asked(student, teacher_layers)
    starts = list(tried_starts(teacher_layers, layers, dropped).values())
    if student.method != "pkd" or student.patience is None or student.width < 1:
        return starts
    taught = layer_map_of(student.layer_map, teacher_layers, layers)  # a start that is taught itself can have no share
    return [
        start for start in starts if not _starts_taught(taught, start_layers(start, teacher_layers, layers))
    ] or starts


def _of_encoder(
    recipe: Recipe, student: StudentSettings, teacher_layers: int, encoder_layers: int | None
) -> StudentPlan:
    """A student that is a pretrained encoder: its first layers, all of them by default, with a new head."""
    layers = student.layers or encoder_layers
    assert layers is not None  # the depth of a recipe's encoders is known before its students are planned
    if layers > (encoder_layers or layers):
        raise RecipeError(
            f"{named('layers')} is {layers}, but {student.student} has {encoder_layers} layers; take up to "
            f"{encoder_layers}, or leave it out for all of them."
        )
    layer_map = None
    if student.method == "pkd":
        layer_map = layer_map_of(student.layer_map, teacher_layers, layers, is_cut=False)
    return _plan(recipe, student, tuple(range(1, layers + 1)), layer_map, loss_of(student))


def _cut(
    recipe: Recipe, student: StudentSettings, start: str | list[int], teacher_layers: int, *, several: bool
) -> StudentPlan:
    """A student that is cut from its teacher."""
    layers = depth_asked(student, teacher_layers)
    one_start = dataclasses.replace(student, start=start)  # type: ignore[arg-type]  # a name or layers
    label = start_label(one_start)
    loss = loss_of(student)
    started = tuple(start_layers(start, teacher_layers, layers))
    layer_map = layer_map_of(student.layer_map, teacher_layers, layers) if student.method == "pkd" else None
    if loss.patience_share and student.width == 1 and _starts_taught(layer_map, started):
        if student.patience is not None:
            raise RecipeError(
                f"{named('patience')} is {student.patience:g}, but the student starts with the very layers "
                "that its teacher layers teach: there is no distance yet that could have a share of the gradient. Give "
                f"its weight as a number ({set_to('beta', 100)}), another layer map or another start."
            )
        loss = dataclasses.replace(loss, beta=PUBLISHED_BETA, patience=None)
    plan = _plan(recipe, one_start, started, layer_map, loss)
    return dataclasses.replace(plan, name=f"{student.name}-{label}" if several and student.name else plan.name)


def _plan(
    recipe: Recipe,
    student: StudentSettings,
    started: tuple[int, ...],
    layer_map: LayerMap | None,
    loss: LossSettings,
) -> StudentPlan:
    """A student with one start, the layers `started` of its teacher or of its encoder."""
    method, start = method_label(student), start_label(student)
    teaches = any(other.method == "pkd" and other.student == student.student for other in recipe.students)
    return StudentPlan(
        name=student.name or f"{method}-{depth_label(len(started), student.width)}-{start}",
        role="control" if student.method != "pkd" and teaches else "student",
        method=method,
        layers=len(started),
        start=start,
        start_layers=started,
        encoder=student.student,
        layer_map=layer_map,
        loss=loss,
        training=training_of(recipe, student),
        unlabelled=learns_without_labels(student),
        width=student.width,
    )


def learns_without_labels(student: StudentSettings) -> bool:
    """Whether a student learns from unlabelled text and augmented rows too."""
    return student.unlabelled and student.method != "ft"


def _starts_taught(layer_map: LayerMap | None, started: Sequence[int]) -> bool:
    """Whether a student computes, as it starts, exactly the states that its teacher's layers would teach it."""
    pairs = layer_map.pairs if layer_map else ()
    return bool(pairs) and all(own == of and tuple(started[:own]) == tuple(range(1, own + 1)) for own, of in pairs)


def training_of(recipe: Recipe, student: StudentSettings) -> TrainingSettings:
    """How a student is trained: as the recipe says, but for what it says of itself, with numbers for `auto`."""
    values = {**dataclasses.asdict(recipe.training), **student.training}
    return student_schedule(validate(TrainingSettings, values, "students.training"))


def _control(student: StudentPlan, method: Method, rows: RowCounts) -> StudentPlan:
    repeats = method == "ft" and student.unlabelled and rows.transfer > 0
    return dataclasses.replace(
        student,
        name=f"{method}-{depth_label(student.layers, student.width)}-{student.start}",
        role="control",
        method=method,
        layer_map=None,
        loss=student.loss.of_method(method),
        sizes=None,
        unlabelled=student.unlabelled and method != "ft",
        rows_an_epoch=student.learns_from(rows) if repeats else student.rows_an_epoch,
    )


def _same_but_name(one: StudentPlan, other: StudentPlan, rows: RowCounts) -> bool:
    return _what_it_learns(one, rows) == _what_it_learns(other, rows)


def _what_it_learns(plan: StudentPlan, rows: RowCounts) -> dict[str, Any]:
    inputs = plan.inputs()
    unlabelled = plan.unlabelled and rows.transfer > 0
    computed = objective_of(plan.loss, unlabelled=unlabelled)
    unread = {name for term in TERMS if term not in computed for name in term.settings}
    loss = {name: value for name, value in inputs["loss"].items() if name not in unread}
    return {**inputs, "loss": loss, "unlabelled": unlabelled}
