"""The stage that trains one student with one seed on annotated rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from transformers import PreTrainedModel, TrainerCallback, set_seed

from pkd.data.encodings import Reader
from pkd.data.examples import repeated, with_unlabelled
from pkd.data.shards import open_shards
from pkd.data.tokenize import joined
from pkd.distillation.annotation import parts_read
from pkd.distillation.narrowing import Importance, fingerprint_importance
from pkd.distillation.plan import RowCounts, StudentPlan
from pkd.distillation.projection import add_projection, drop_projection
from pkd.distillation.student import student_from
from pkd.distillation.terms import columns_read, objective_of
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments
from pkd.encoder.load import LoadedClassifier, load_pretrained
from pkd.jobs.plan import RunPlan
from pkd.jobs.stages import stage_name
from pkd.recipe.schema import Recipe
from pkd.runs.folder import RunFolder
from pkd.runs.seal import Manifest, partial_of
from pkd.runs.space import require_space
from pkd.runs.stage import Done, library_versions, run_stage
from pkd.training.arguments import trainer_arguments
from pkd.training.checkpoints import checkpoint_bytes, last_with_best
from pkd.training.saving import save_trained, training_facts
from pkd.training.schedule import averaging_of, epochs_of, kept_epoch_of, patience_of

KIND = "student"
TRIAL = "trial"


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """What students learn from: annotated rows, and the word pieces that each of them reads.

    Attributes:
        train: annotated rows, without word pieces.
        transfer: split -> the same without a label: the user's, and the augmented ones.
        eval: rows with class ids; not annotated.
        fingerprints: split -> of the inputs of its rows.
        answers: split -> part of the teacher's outputs, as "logits" or "cls_states.2" -> sha256.
        readers: how students read, by the encoder that they are; None for layers of the teacher.
        folder: of the run, which holds the encodings.
        texts: split -> sha256, to recognise the rows.
    """

    train: datasets.Dataset
    transfer: Mapping[str, datasets.Dataset]
    eval: datasets.Dataset | None
    fingerprints: Mapping[str, Any]
    answers: Mapping[str, Mapping[str, str]]
    readers: Mapping[str | None, Reader]
    folder: RunFolder
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def counts(self) -> RowCounts:
        """The number of rows of each kind."""
        unlabelled = len(self.transfer.get("unlabelled", ()))
        return RowCounts(len(self.train), unlabelled, sum(map(len, self.transfer.values())) - unlabelled)

    def reader(self, plan: StudentPlan) -> Reader:
        """How a student reads."""
        return self.readers[plan.encoder]

    def of(self, plan: StudentPlan, seed: int) -> datasets.Dataset:
        """What a student learns from in an epoch, encoded as it reads."""
        reader = self.reader(plan)
        train = self.read("train", self.train, reader)
        if plan.rows_an_epoch is not None:
            return repeated(train, plan.rows_an_epoch, seed)
        learnt = self.transfer.items() if plan.unlabelled else ()
        return with_unlabelled(train, *(self.read(split, rows, reader) for split, rows in learnt))

    def development(self, plan: StudentPlan) -> datasets.Dataset | None:
        """The development rows, encoded as a student reads; None if there are none."""
        return self.read("eval", self.eval, self.reader(plan)) if self.eval else None

    def read(self, split: str, rows: datasets.Dataset, reader: Reader) -> datasets.Dataset:
        """Rows of a split with their stored word pieces."""
        return joined(rows, open_shards(self.folder.encoding(split, reader.key)))


def training_rows(plan: RunPlan, annotated: Mapping[str, Manifest]) -> TrainingRows:
    """The training rows of a run, by the manifests of its annotated training splits."""
    examples = plan.examples
    prints: dict[str, Any] = {split: manifest.fingerprint for split, manifest in annotated.items()}
    if "eval" in examples.splits:
        prints["eval"] = examples.fingerprints["eval"]
    return TrainingRows(
        train=open_shards(plan.answers("train")),
        transfer={split: open_shards(plan.answers(split)) for split in annotated if split != "train"},
        eval=examples.splits.get("eval"),
        fingerprints=prints,
        answers={split: manifest.facts["answers"] for split, manifest in annotated.items()},
        readers=plan.readers,
        folder=plan.folder,
        texts={split: prints["texts"] for split, prints in examples.fingerprints.items() if split != "test"},
    )


@dataclasses.dataclass(frozen=True)
class Teaching:
    """What every student of a run learns from, and by: the teacher, its annotated rows, the recipe's settings."""

    recipe: Recipe
    teacher: LoadedClassifier
    rows: TrainingRows
    importance: Importance | None = None  # of the teacher's neurons, if a student is narrow


def train_stage(folder: Path, plan: StudentPlan, seed: int, teaching: Teaching, *, overwrite: bool) -> Done:
    """Train one student with one seed, keep its best epoch, and save it as an ordinary folder."""
    inputs = training_inputs(plan, seed, teaching)

    def build(partial: Path) -> Mapping[str, Any]:
        trainer = _trainer(partial, plan, seed, teaching, inputs, overwrite=overwrite)
        return _saved(_trained(trainer, partial, plan), partial, plan, seed, teaching)

    return run_stage(folder, KIND, inputs, build, overwrite=overwrite)


def has_best_so_far(folder: Path) -> bool:
    """Whether an unfinished training has an epoch to make a student of."""
    return last_with_best(partial_of(folder)) is not None


def so_far_stage(folder: Path, training: Path, plan: StudentPlan, seed: int, teaching: Teaching) -> Done:
    """Make a student of the best epoch so far of a training that was stopped, which can still go on.

    Args:
        folder: of the student; it is an ordinary one, like those of whole trainings.
        training: folder of the stage that is unfinished, for which `has_best_so_far`.
        plan: of the student.
        seed: of the training.
        teaching: what it learns from.

    Raises:
        CheckpointError: if that epoch's checkpoint is damaged.
    """
    checkpoint = last_with_best(partial_of(training))
    assert checkpoint is not None  # the caller has asked
    inputs = training_inputs(plan, seed, teaching)

    def build(partial: Path) -> Mapping[str, Any]:
        trainer = _trainer(checkpoint.parent, plan, seed, teaching, inputs)
        trainer.take_best(checkpoint)
        drop_projection(trainer.model)
        done = {"epochs_done": float(trainer.state.epoch or 0), "epochs": epochs_of(plan.training)}
        return {**_saved(trainer, partial, plan, seed, teaching), **done}

    return run_stage(folder, KIND, {**inputs, "until": checkpoint.name}, build, overwrite=True, resumes=False)


def _saved(trainer: PatientTrainer, folder: Path, plan: StudentPlan, seed: int, teaching: Teaching) -> dict[str, Any]:
    """Save a student as an ordinary folder; return the facts of its stage."""
    recipe, rows = teaching.recipe, teaching.rows
    facts = save_trained(trainer, folder, rows.reader(plan).max_length, recipe.evaluation.metric)
    counts = rows.counts if plan.unlabelled else RowCounts(rows.counts.labelled)
    learnt = {f"{kind}_rows": count for kind, count in vars(counts).items()}
    texts = {split: print_ for split, print_ in rows.texts.items() if split != "unlabelled" or plan.unlabelled}
    return {**facts, "name": plan.name, "seed": seed, **learnt, "texts": texts}


def trial_stage(
    folder: Path,
    plan: StudentPlan,
    teaching: Teaching,
    callbacks: Sequence[TrainerCallback] = (),
    *,
    overwrite: bool = True,
) -> Done:
    """Train with the first seed as `train_stage` does, but keep the scores and not the weights.

    A sweep has hundreds of these, and a race of starts a few.
    """
    seed = teaching.recipe.seed
    inputs = training_inputs(plan, seed, teaching)

    def build(partial: Path) -> Mapping[str, Any]:
        trainer = _trainer(partial, plan, seed, teaching, inputs, callbacks, overwrite=overwrite)
        return training_facts(_trained(trainer, partial, plan), teaching.recipe.evaluation.metric)

    return run_stage(folder, TRIAL, inputs, build, overwrite=overwrite)


def training_inputs(plan: StudentPlan, seed: int, teaching: Teaching) -> dict[str, Any]:
    """Everything that a trained student depends on; of the teacher's outputs those in its loss."""
    recipe, teacher, rows = teaching.recipe, teaching.teacher, teaching.rows
    learnt = [split for split in rows.answers if split == "train" or plan.unlabelled]
    columns = columns_read(objective_of(plan.loss, unlabelled=len(learnt) > 1))
    layers = plan.layer_map.teacher if plan.layer_map else ()
    inputs = {
        "teacher": teacher.fingerprints,
        "rows": {split: value for split, value in rows.fingerprints.items() if split in (*learnt, "eval")},
        "answers": {
            split: {part: rows.answers[split][part] for part in parts_read(columns, layers, rows.answers[split])}
            for split in learnt
        },
        **rows.reader(plan).inputs,
        # an encoder's path does not matter: its content has a fingerprint of its own
        "student": {**plan.inputs(), "encoder": plan.encoder is not None},
        "metric": recipe.evaluation.metric,
        "seed": seed,
        "versions": library_versions(),
    }
    if plan.width < 1 and teaching.importance is not None:
        inputs["importance"] = fingerprint_importance(teaching.importance)
    if plan.measured_beta is not None:
        inputs["beta"] = plan.measured_beta
    if plan.encoder is not None:
        set_seed(seed)  # draw the same new head as for the student
        inputs["encoder"] = load_pretrained(plan.encoder, teacher.outputs).fingerprints["model"]
    return inputs


def _trained(trainer: PatientTrainer, folder: Path, plan: StudentPlan) -> PatientTrainer:
    """Train, resuming from the checkpoints in `folder`; return the trainer with the best epoch's weights."""
    require_space(folder, checkpoint_bytes(trainer.model.num_parameters(), plan.training), f"Training {plan.name}")
    trainer.train(resume_from_checkpoint=True)
    drop_projection(trainer.model)
    return trainer


def _trainer(
    folder: Path,
    plan: StudentPlan,
    seed: int,
    teaching: Teaching,
    inputs: dict[str, Any],
    callbacks: Sequence[TrainerCallback] = (),
    *,
    overwrite: bool = False,
) -> PatientTrainer:
    """The trainer of a student as it starts, whose checkpoints are in `folder`."""
    recipe, teacher, rows = teaching.recipe, teaching.teacher, teaching.rows
    student = build_student(plan, seed, teacher, teaching.importance)
    metric = recipe.evaluation.metric if rows.eval is not None else None
    arguments = PatientTrainingArguments(
        **trainer_arguments(plan.training, folder, seed=seed, metric=metric, device=recipe.device),
        **dataclasses.asdict(plan.weighed_loss),
    )
    return PatientTrainer(
        student,
        arguments,
        layer_map=plan.layer_map,
        train_dataset=rows.of(plan, seed),
        eval_dataset=rows.development(plan),
        processing_class=rows.reader(plan).tokenizer,
        averaging=averaging_of(plan.training),
        patience=patience_of(plan.training),
        kept_epoch=kept_epoch_of(plan.training),
        stage_name=stage_name(plan, seed),
        resumed_with=inputs,
        checkpoint_steps=plan.training.save_steps,
        deterministic=plan.training.deterministic,
        afresh=overwrite,
        callbacks=list(callbacks),
    )


def build_student(
    plan: StudentPlan, seed: int, teacher: LoadedClassifier, importance: Importance | None = None
) -> PreTrainedModel:
    """The student as it starts; with a map for patience if its hidden size is another than its teacher's.

    A narrow one needs the importance of the teacher's neurons.

    Raises:
        TeacherError: if the encoder that it is cannot be loaded.
    """
    if plan.encoder is None:
        return student_from(teacher.model, plan.layers, plan.start_layers, width=plan.width, importance=importance)
    set_seed(seed)  # the new head is drawn here
    student = student_from(load_pretrained(plan.encoder, teacher.outputs).model, plan.layers, plan.start_layers)
    width = teacher.model.config.hidden_size
    if plan.layer_map is not None and student.config.hidden_size != width:
        add_projection(student, width, seed)
    return student
