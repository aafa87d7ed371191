"""What a recipe comes to once its teacher and its examples are known, before anything is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import datasets
from transformers import PretrainedConfig

from pkd import progress
from pkd.data.augmentation import augmented_splits
from pkd.data.encodings import Reader
from pkd.data.examples import Examples, load_examples
from pkd.data.outputs import Outputs
from pkd.distillation.ensemble import StoredAnswers
from pkd.distillation.plan import (
    RowCounts,
    StudentPlan,
    learns_without_labels,
    plan_students,
    planned_rows,
    training_of,
)
from pkd.distillation.terms import settled_loss
from pkd.encoder.families import check_pooling, depth_of
from pkd.encoder.load import (
    LoadedClassifier,
    check_max_length,
    load_config,
    load_pretrained,
    load_teacher,
    load_tokenizer,
)
from pkd.encoder.pretrained import Encoder, check_reads, difference_in_reading, load_encoder
from pkd.errors import RecipeError
from pkd.jobs.ensemble import Teachers, load_teachers
from pkd.recipe.reading import validate
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import AUTO_START, BudgetSettings, StudentSettings, TrainingSettings, TransferSettings
from pkd.recipe.spelling import named
from pkd.recipe.sweeping import points_of, recipe_at, swept_keys
from pkd.runs.folder import RunFolder
from pkd.training.arguments import check_training
from pkd.training.schedule import encoder_schedule, student_schedule, teacher_schedule, variants_of


@dataclass(frozen=True)
class RunPlan:
    """A run, as far as it is known before its first step.

    Attributes:
        recipe: with its metric, and with numbers for the rates and epochs that were `auto`.
        examples: that it reads.
        config: of the teacher whose layers students start from, or of the encoder that becomes it.
        students: each as its candidates, one for each start that it names.
        points: of a sweep, in order, each as a plan of its own.
        encoders: the pretrained ones that students are instead of teacher layers, by name.
        loaded: the teachers; None until they are fine-tuned.
    """

    recipe: Recipe
    examples: Examples
    config: PretrainedConfig
    students: tuple[tuple[StudentPlan, ...], ...]
    points: tuple[RunPlan, ...] = ()
    encoders: Mapping[str, Encoder] = field(default_factory=dict)
    loaded: Teachers | None = None

    @property
    def folder(self) -> RunFolder:
        """Where it runs."""
        return RunFolder(Path(self.recipe.folder))

    @property
    def teachers(self) -> Teachers:
        """The teachers, once they are there."""
        assert self.loaded is not None
        return self.loaded

    @property
    def teacher(self) -> LoadedClassifier:
        """The teacher whose layers students start from and whose states they learn, once it is there."""
        return self.teachers.leading

    @property
    def teacher_numbers(self) -> range:
        """The numbers of the teachers, from 1."""
        return range(1, len(self.recipe.teacher.models) + 1)

    @property
    def budget(self) -> BudgetSettings:
        """The budget of a search; other runs have none."""
        assert self.recipe.budget is not None
        return self.recipe.budget

    @property
    def teacher_name(self) -> str:
        """The folder or hub name that the teacher of `config`, or the encoder that becomes it, is loaded from."""
        return self.recipe.teacher.encoder if self.loaded is None else self.teacher.name

    @property
    def teacher_layers(self) -> int:
        """The teacher's depth."""
        return depth_of(self.config)

    @property
    def candidates(self) -> list[StudentPlan]:
        """Every student from every start; a start in a race may be another student's too."""
        return list({plan.name: plan for candidates in self.students for plan in candidates}.values())

    @cached_property
    def teacher_readers(self) -> tuple[Reader, ...]:
        """How each teacher reads text."""
        longest, encoder = self.recipe.data.max_length, self.recipe.teacher.encoder
        if self.loaded is None:  # all are going to be fine-tuned from one encoder
            return (Reader(load_tokenizer(encoder, self.config), longest, encoder),) * len(self.teacher_numbers)
        return tuple(Reader(teacher.tokenizer, longest, teacher.name) for teacher in self.loaded.each)

    @cached_property
    def readers(self) -> dict[str | None, Reader]:
        """How students, of all points, read: by the encoder that they are, None for layers of the teacher."""
        teacher = self.teacher_readers[self.recipe.teacher.lead]
        return {None: teacher, **{name: student_reader(encoder, teacher) for name, encoder in self.encoders.items()}}

    def readings(self, splits: Iterable[str]) -> list[tuple[Reader, list[str]]]:
        """Each reader of the run once, with the splits that it reads: the test rows are the teachers' alone."""
        of_teachers = {reader.key: reader for reader in self.teacher_readers}
        of_students = {reader.key: reader for reader in self.readers.values() if reader.key not in of_teachers}
        learnt = [split for split in splits if split != "test"]
        return [
            *((each, list(splits)) for each in of_teachers.values()),
            *((each, learnt) for each in of_students.values()),
        ]

    @cached_property
    def stored_layers(self) -> list[int]:
        """The teacher layers that the students, of all points, learn from."""
        plans = [plan for each in (self.points or (self,)) for plan in each.candidates]
        return sorted({layer for plan in plans if plan.layer_map for layer in plan.layer_map.teacher})

    @property
    def narrow(self) -> StudentPlan | None:
        """A student, of any point, that keeps a part of the teacher's neurons; None if there is none."""
        plans = [plan for each in (self.points or (self,)) for plan in each.candidates]
        return next((plan for plan in plans if plan.width < 1), None)

    @property
    def counts(self) -> RowCounts:
        """The numbers of training rows; of augmented ones a few less may be new."""
        return planned_rows(self.recipe, {split: len(rows) for split, rows in self.examples.splits.items()})

    @cached_property
    def augmented(self) -> dict[str, datasets.Dataset]:
        """The augmented rows by variant; made when they are first asked for."""
        return dict(
            augmented_splits(
                self.examples.splits, self.recipe.transfer.variants, self.recipe.seed, self.examples.label_names
            )
        )

    @property
    def has_races(self) -> bool:
        """Whether a student's start is yet to be chosen by a race."""
        return any(plan.wins_as is not None for candidates in self.students for plan in candidates)

    def planned(self, dropped: Sequence[int]) -> list[list[StudentPlan]]:
        """The students, each as its candidates, once greedy dropping has an order of the teacher's layers."""
        return plan_students(self.recipe, self.teacher_layers, dropped, depths_of(self.encoders))

    def started(self, students: Iterable[Sequence[StudentPlan]]) -> RunPlan:
        """The plan with these students, those of one name once: the winner of a race may be another student too."""
        unique = {candidates[0].name: tuple(candidates) for candidates in students}
        return dataclasses.replace(self, students=tuple(unique.values()))

    def of_teacher(self, number: int) -> Recipe:
        """The recipe by which the teacher of a number is fine-tuned: each has a seed of its own."""
        return dataclasses.replace(self.recipe, seed=self.recipe.seed + number - 1)

    def answers(self, split: str) -> Path:
        """The folder of a split's rows with what students learn: the teacher's answers, or the mean of several."""
        return self.folder.annotated(split) if len(self.teacher_numbers) == 1 else self.folder.ensemble(split)

    def answers_of_each(self, split: str) -> list[StoredAnswers]:
        """Each teacher's answers to a split, in the order of the outputs of the one that students start from."""
        orders = zip(self.teacher_numbers, self.teachers.orders, strict=True)
        names = self.examples.label_names
        return [StoredAnswers(self.folder.annotated(split, number), order, names) for number, order in orders]

    def mean_answers(self, split: str) -> StoredAnswers:
        """The mean of several teachers' answers to a split."""
        return StoredAnswers(self.answers(split), names=self.examples.label_names)

    def with_fine_tuned(self) -> RunPlan:
        """The plan with its teachers, which are fine-tuned."""
        each = tuple(load_teacher(str(self.folder.teacher_of(number))) for number in self.teacher_numbers)
        loaded = Teachers(each, self.recipe.teacher.lead, (None,) * len(each))  # their labels are in one order
        points = tuple(dataclasses.replace(each, loaded=loaded) for each in self.points)
        return dataclasses.replace(self, points=points, loaded=loaded)

    def at(self, recipe: Recipe) -> RunPlan:
        """The plan of another recipe for the same teacher and examples, as of a sweep's best point."""
        return plan_of(recipe, self.examples, self.config, self.encoders, self.loaded)


def plan_run(recipe: Recipe) -> RunPlan:
    """Load a recipe's teachers and its examples, and plan its run or its sweep.

    Of a teacher that is yet to be fine-tuned only the configuration is loaded. Whatever does not fit together is found
    here, before the first step.

    Raises:
        RecipeError: if a device, a tracker, a metric, a layer or a start does not fit.
        DataError: if the examples cannot be used, or their labels are not the teacher's.
        TeacherError: if the teacher cannot be used.
    """
    variants = [recipe_at(recipe, point) for point in points_of(recipe)]
    for each in variants or [recipe]:
        check_trainings(each)
    encoders = encoders_of(variants or [recipe])
    teachers = None
    if recipe.teacher.finetune is None:  # find a wrong teacher before long files are read
        teachers = load_teachers(recipe.teacher.models, recipe.teacher.lead, recipe.data.max_length)
        config = teachers.leading.model.config
    else:
        config = load_config(recipe.teacher.encoder)
        check_max_length(config, recipe.data.max_length)
    for each in variants or [recipe]:
        for candidates in plan_students(each, depth_of(config), depths=depths_of(encoders)):
            _check_states(candidates[0], recipe.teacher.encoder, config, encoders)
    outputs = teachers.leading.outputs if teachers else None
    examples = load_examples(recipe.data, teacher=outputs, seed=recipe.seed)
    if teachers is not None:
        teachers = teachers.matched(examples.outputs, recipe.data)
    plan = plan_of(recipe, examples, config, encoders, teachers)
    _check_readers(plan)
    return dataclasses.replace(plan, points=tuple(plan.at(each) for each in variants))


def encoders_of(recipes: Iterable[Recipe]) -> dict[str, Encoder]:
    """The pretrained encoders that students of some recipes are, by name, without their weights.

    Raises:
        TeacherError: if one cannot be a student.
    """
    names = [student.student for recipe in recipes for student in recipe.students]
    return {name: load_encoder(name) for name in dict.fromkeys(names) if name is not None}


def depths_of(encoders: Mapping[str, Encoder]) -> dict[str, int]:
    """The depths of encoders, by name."""
    return {name: encoder.layers for name, encoder in encoders.items()}


def plan_of(
    recipe: Recipe,
    examples: Examples,
    config: PretrainedConfig,
    encoders: Mapping[str, Encoder],
    teachers: Teachers | None = None,
) -> RunPlan:
    """Plan a recipe without a sweep.

    Args:
        recipe: as it was asked for.
        examples: that it reads.
        config: of the teacher whose layers students start from, or of the encoder that becomes it.
        encoders: the pretrained ones that students are, by name.
        teachers: if they are there yet.

    Raises:
        RecipeError: if the metric does not suit the problem, or a student does not fit the teacher.
    """
    recipe = _settled(recipe, examples, config, encoders)
    students = plan_students(recipe, depth_of(config), depths=depths_of(encoders))
    return RunPlan(recipe, examples, config, tuple(map(tuple, students)), encoders=encoders, loaded=teachers)


def _check_states(plan: StudentPlan, teacher: str, config: PretrainedConfig, encoders: Mapping[str, Encoder]) -> None:
    """Check that the heads of a patient student and its teacher read the states that patience compares."""
    if plan.layer_map is not None:
        check_pooling(teacher, config)
        if plan.encoder is not None:
            check_pooling(plan.encoder, encoders[plan.encoder].config)


def _check_readers(plan: RunPlan) -> None:
    """Check that the encoders of students know the words of the training texts; warn if they read less or more."""
    rows = plan.examples.splits["train"]
    for student in plan.recipe.students:
        if student.student is not None and student.start == AUTO_START:
            progress.note(f"{student.student} has one start, its own first layers, so there is no race")
    for name in plan.encoders:
        check_reads(plan.readers[name], rows)
        if told := difference_in_reading(plan.readers[name], plan.readers[None], rows):
            progress.warn(told)


def student_reader(encoder: Encoder, teacher: Reader) -> Reader:
    """How a student reads that is an encoder: with the teacher's tokenizer if its own makes the same word pieces."""
    reader = encoder.reader(teacher.max_length)
    return teacher if reader.key == teacher.key else reader


def check_encoders(plan: RunPlan) -> None:
    """Load the encoders that students are once, to find one whose weights cannot be used before anything is computed.

    Raises:
        TeacherError: if one cannot be loaded.
    """
    for name in plan.encoders:
        load_pretrained(name, plan.examples.outputs)


def require_rows_to_choose_by(plan: RunPlan) -> None:
    """Check that there are development rows, named or held out, if they choose a start.

    Raises:
        RecipeError: if there are none.
    """
    several = [candidates[0] for candidates in plan.students if len(candidates) > 1]
    if several and "eval" not in plan.examples.splits:
        has = "names several starts" if several[0].wins_as is None else "is auto, a race of several starts"
        raise RecipeError(
            f"{named('students.0.start')} {has}, but {named('data.eval')} is missing, and there are too few training "
            "rows to hold some of them out to choose by. Name development rows, or one start."
        )


def check_trainings(recipe: Recipe) -> None:
    """Check that this machine has what every training of a recipe needs, before the first of them.

    Raises:
        RecipeError: if a device or a tracker is missing.
    """
    students = [training_of(recipe, student) for student in recipe.students]
    for settings in (recipe.training, recipe.teacher.finetune, *students):
        if settings is not None:
            check_training(settings, recipe.device)


def settle_metric(recipe: Recipe, outputs: Outputs) -> Recipe:
    """The recipe with a metric in place of `auto`.

    Args:
        recipe: of any job that trains or measures.
        outputs: what is learned, as the examples say it.

    Raises:
        RecipeError: if the metric does not suit the kind of problem, or the number of classes.
    """
    metric, scoring, classes = recipe.evaluation.metric, outputs.kind.scoring, len(outputs.label_names)
    if metric == "auto":
        evaluation = dataclasses.replace(recipe.evaluation, metric=scoring.metric)
        return dataclasses.replace(recipe, evaluation=evaluation)
    if metric not in (known := scoring.metrics_that_choose(classes)):
        of = outputs.problem_type + (f" of {classes} classes" if metric in scoring.metrics_that_choose(2) else "")
        raise RecipeError(
            f"{named('evaluation.metric')} is {metric}, which {of} has not. Give one of {', '.join(known)}, or auto."
        )
    return recipe


def settle_teacher(settings: TrainingSettings, examples: Examples, config: PretrainedConfig) -> TrainingSettings:
    """The settings of a teacher's fine-tuning, with numbers in place of `auto`."""
    return teacher_schedule(
        settings,
        rows=len(examples.splits["train"]),
        outputs=len(examples.label_names),
        width=config.hidden_size,
    )


def warn_if_few(rows: int, settings: TrainingSettings) -> None:
    """Warn if an epoch is a single step of less than a batch."""
    batch = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    if rows < batch:
        progress.warn(
            f"{rows:,} training rows are fewer than one batch of {batch:,}: each epoch is a single step. More rows or "
            f"a smaller {named('training.per_device_train_batch_size')} teach more."
        )


def _settled(recipe: Recipe, examples: Examples, config: PretrainedConfig, encoders: Mapping[str, Encoder]) -> Recipe:
    """The recipe of a run with its metric, and numbers for what is `auto` of training, loss and augmented rows."""
    recipe = settle_metric(recipe, examples.outputs)
    variants = variants_of(recipe.transfer, recipe.effort, len(examples.label_names))
    if recipe.transfer.augment == "auto" and not any(learns_without_labels(student) for student in recipe.students):
        variants = 0
    recipe = dataclasses.replace(recipe, transfer=TransferSettings(augment=variants))
    finetune = recipe.teacher.finetune
    if finetune is not None:
        finetune = settle_teacher(finetune, examples, config)
    counts = planned_rows(recipe, {split: len(rows) for split, rows in examples.splits.items()})
    training = student_schedule(
        recipe.training,
        recipe.effort,
        outputs=len(examples.label_names),
        width=config.hidden_size,
        rows_a_label=counts.rows_a_label,
    )
    students = [
        settled_loss(_settled_student(recipe, student, training, examples, encoders), examples.outputs.kind)
        for student in recipe.students
    ]
    return dataclasses.replace(
        recipe, teacher=dataclasses.replace(recipe.teacher, finetune=finetune), training=training, students=students
    )


def _settled_student(
    recipe: Recipe,
    student: StudentSettings,
    training: TrainingSettings,
    examples: Examples,
    encoders: Mapping[str, Encoder],
) -> StudentSettings:
    """A student whose rate or epochs that are `auto` are not the others', with these numbers.

    An encoder of its own has others of both; one that learns from labelled rows alone makes all its passes over them.

    Args:
        recipe: as it was asked for.
        student: one of its students.
        training: the settled settings of the others.
        examples: of the run.
        encoders: by name.
    """
    counts = planned_rows(recipe, {split: len(rows) for split, rows in examples.splits.items()})
    if not learns_without_labels(student):
        counts = RowCounts(counts.labelled)
    elif student.student is None:
        return student
    asked = validate(TrainingSettings, {**dataclasses.asdict(recipe.training), **student.training}, "students.training")
    if student.student is None:
        own = student_schedule(asked, recipe.effort, rows_a_label=counts.rows_a_label)
    else:
        own = encoder_schedule(
            asked,
            recipe.effort,
            rows=counts.labelled + counts.transfer,
            outputs=len(examples.label_names),
            width=encoders[student.student].config.hidden_size,
            rows_a_label=counts.rows_a_label,
        )
    swept = {key.rpartition(".")[2] for key in (swept_keys(recipe.sweep) if recipe.sweep else ())}
    names = ("num_train_epochs",) if student.student is None else ("learning_rate", "num_train_epochs")
    differing = {name: getattr(own, name) for name in names if getattr(own, name) != getattr(training, name)}
    settled = {name: value for name, value in differing.items() if name not in swept}
    return dataclasses.replace(student, training={**student.training, **settled})
