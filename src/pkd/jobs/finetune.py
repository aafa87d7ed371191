"""`pkd finetune`: a pretrained encoder and labelled examples become a classifier, the teacher to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from transformers import PretrainedConfig, TrainingArguments, set_seed

from pkd import progress, ranks
from pkd.data.examples import Examples, load_examples
from pkd.data.outputs import Outputs
from pkd.data.sources import Source
from pkd.data.tokenize import encode, share_truncated
from pkd.distillation.plan import planned_rows, settings_that_count
from pkd.encoder.hub import model_source
from pkd.encoder.load import LoadedClassifier, check_max_length, load_config, load_pretrained
from pkd.errors import RecipeError
from pkd.evaluation.by_class import BlindSpots
from pkd.jobs import asking
from pkd.jobs.ahead import FINETUNING, finetuning, steps_of, training_left
from pkd.jobs.evaluate import describe_rows
from pkd.jobs.forecast import announce
from pkd.jobs.word_counts import measure_word_counts, teacher_level
from pkd.jobs.workload import encoder_job
from pkd.recipe.faults import value_text
from pkd.recipe.keyword_types import FinetuneKeywords
from pkd.recipe.places import AnyPath, output_folder, path_text
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import TrainingSettings
from pkd.recipe.spelling import named
from pkd.reporting.blind_spots import blind_words
from pkd.reporting.evaluated_rows import overlap_warning, rows_in_words
from pkd.reporting.results import MeasuredOn, TeacherLevel
from pkd.reporting.teacher_level import level_sentence, under_trained
from pkd.reporting.wording import metric_title, score_words, weights_words
from pkd.runs.lock import one_writer
from pkd.runs.seal import partial_of
from pkd.runs.space import require_space
from pkd.runs.stage import Done, is_begun, library_versions, run_stage, standing, why_redo
from pkd.training.arguments import check_training, trainer_arguments
from pkd.training.checkpoints import checkpoint_bytes
from pkd.training.hardware import device_text
from pkd.training.schedule import patience_of, student_schedule, teacher_schedule
from pkd.training.trainer import RowMeanTrainer

KIND = asking.TEACHER
_SPLITS = {"train": "trained", "eval": "measured"}


@dataclass(frozen=True, repr=False)
class FinetuneResult:
    """A fine-tuned classifier; printed, it is a few sentences.

    Attributes:
        folder: of the classifier.
        scores: on the development rows; empty if there are none.
        selection: which epoch was kept, and why.
        device: that computed it.
        rows: development rows.
        measured_on: what the classifier may have seen of them.
        blind_spots: classes that it never predicts on them.
        sources: split -> where its rows came from, and the columns that were read.
        training: the settings it was trained with, with numbers for what was `auto`.
        level: its score beside the word-count baseline's; None without development rows.
    """

    folder: Path
    scores: dict[str, float]
    selection: dict[str, Any]
    device: str
    rows: int
    measured_on: MeasuredOn
    blind_spots: BlindSpots
    sources: dict[str, list[Source]]
    training: dict[str, Any]
    level: TeacherLevel | None = None

    def sentences(self) -> list[str]:
        """How good it is, on which rows, of which epoch, and what it was trained on."""
        kept = f"epoch {self.selection['epoch']:g}{weights_words(self.selection)}"
        if not self.scores:
            none = f"No development rows were named ({named('data.eval')}), and there are too few training rows"
            told = [f"{none} to hold some out, so nothing is measured and {kept}, the last, is kept."]
        else:
            by = self.selection["metric"]
            scores = ", ".join(score_words(metric, self.scores[metric]) for metric in dict.fromkeys([by, *self.scores]))
            told = [
                f"{scores[:1].upper()}{scores[1:]} on {rows_in_words('eval', self.rows, self.measured_on)}.",
                f"This is {kept}, the best by {metric_title(by)}.",
            ]
        if self.level is not None and self.level.word_counts is not None:
            told.append(level_sentence(self.level))
        if self.level is not None and (doubt := under_trained(self.level)):
            told.append(doubt)
        if blind := blind_words(self.blind_spots, self.rows):
            told.append(f"It {blind}.")
        if warning := overlap_warning("eval", self.rows, self.measured_on):
            told.append(warning)
        read = "; ".join(f"{_SPLITS[split]} on {', '.join(map(str, of))}" for split, of in self.sources.items())
        return [*told, f"{read[:1].upper()}{read[1:]}."]

    def __str__(self) -> str:
        return "\n".join([*self.sentences(), f"classifier: {self.folder}"])

    __repr__ = __str__


def finetune(
    *,
    model: AnyPath,
    output: AnyPath,
    train: AnyPath | None = None,
    eval: AnyPath | None = None,
    overwrite: bool = False,
    **keys: Unpack[FinetuneKeywords],
) -> FinetuneResult:
    """Fine-tune a pretrained encoder on labelled examples: classes, scores, sets of labels or multiple choices.

    Args:
        model: folder or hub name of the encoder.
        output: folder for the classifier.
        train: training examples (CSV, TSV, JSONL, Parquet, a saved dataset or a hub name); not needed where `task`
            names a benchmark's.
        eval: development examples; the epoch with the best score on them is kept.
        overwrite: start an unfinished fine-tuning with other settings afresh.
        keys: any other key of the recipe, e.g. `learning_rate=2e-5`.

    Raises:
        DataError: if the examples cannot be used.
        TeacherError: if the encoder cannot be loaded or distilled later.
        RecipeError: if a setting is out of its range.
    """
    given: dict[str, Any] = {"train": train, "eval": eval, **keys}
    with asking.finetune(model=model, output=output, overwrite=overwrite, **given) as recipe:
        model, folder = path_text(model, "model"), output_folder(output)
        check_training(recipe.training, recipe.device)
        examples = load_examples(recipe.data, splits=("train", "eval"), seed=recipe.seed)
        recipe = settle_metric(recipe, examples.outputs)
        training = settle_teacher(recipe.training, examples, load_config(model))
        warn_if_few(len(examples.splits["train"]), training)
        with one_writer(folder):
            left = finetuning_left(folder, model, recipe, training, examples)
            job = encoder_job(model, recipe, examples.splits, examples.outputs)
            announce(job, finetuning(job, training, left=left), folder)
            done = finetune_stage(folder, model, recipe, training, examples, overwrite=overwrite)
    facts = done.manifest.facts
    measured_on = MeasuredOn()
    if "eval" in examples.splits:
        measured_on = describe_rows(examples, "eval", trained_here=True, chose=["epoch"])
    return FinetuneResult(
        folder=done.folder,
        scores=facts["scores"],
        selection=facts["selection"],
        device=facts["device"],
        rows=len(examples.splits.get("eval", ())),
        measured_on=measured_on,
        blind_spots=BlindSpots(**facts["blind_spots"]),
        sources=examples.sources,
        training=done.manifest.inputs["training"],
        level=level_of(done),
    )


def finetune_stage(
    folder: Path, model: str, recipe: Recipe, settings: TrainingSettings, examples: Examples, *, overwrite: bool
) -> Done:
    """The stage that makes a teacher."""
    loaded, inputs = _encoder_and_inputs(model, recipe, settings, examples)

    def build(partial: Path) -> Mapping[str, Any]:
        require_space(partial, checkpoint_bytes(loaded.model.num_parameters(), settings), "Fine-tuning the teacher")
        rows = {
            split: encode(examples.splits[split], loaded.tokenizer, recipe.data.max_length)
            for split in ("train", "eval")
            if split in examples.splits
        }
        warn_if_truncated(rows["train"], recipe.data.max_length)
        progress.note(f"fine-tuning the teacher: {schedule_words(settings)}")
        metric = recipe.evaluation.metric if "eval" in rows else None
        trainer = RowMeanTrainer(
            loaded.model,
            TrainingArguments(
                **trainer_arguments(settings, partial, seed=recipe.seed, metric=metric, device=recipe.device)
            ),
            train_dataset=rows["train"],
            eval_dataset=rows.get("eval"),
            processing_class=loaded.tokenizer,
            stage_name=FINETUNING,
            averaging=settings.averaging,
            patience=patience_of(settings),
            resumed_with=inputs,
            checkpoint_steps=settings.save_steps,
            deterministic=settings.deterministic,
            afresh=overwrite,
        )
        trainer.train(resume_from_checkpoint=True)
        facts = save_trained(trainer, partial, recipe.data.max_length, recipe.evaluation.metric)
        if metric is not None:
            baseline = ranks.on_first(lambda: measure_word_counts(examples, metric))
            level = teacher_level(metric, facts["scores"][metric], len(rows["eval"]), baseline, facts["history"])
            facts["level"] = level.model_dump()
        texts = {split: prints["texts"] for split, prints in inputs["data"].items()}
        return {**facts, "encoder": vars(model_source(model)), "texts": texts}

    return run_stage(folder, KIND, inputs, build, overwrite=overwrite)


def finetuning_left(folder: Path, model: str, recipe: Recipe, settings: TrainingSettings, examples: Examples) -> float:
    """The share of the fine-tuning of a recipe's teacher that is left after an earlier call."""
    if not is_begun(folder):
        return 1.0
    stands = standing(folder, _encoder_and_inputs(model, recipe, settings, examples)[1])
    steps = steps_of(len(examples.splits["train"]), settings)
    if stands == "begun":
        return training_left(partial_of(folder), steps)
    return 0.0 if stands == "kept" else 1.0


def why_finetune_again(
    folder: Path, model: str, recipe: Recipe, settings: TrainingSettings, examples: Examples
) -> str | None:
    """Why a fine-tuned teacher differs from what the recipe makes now; None if it would be kept."""
    return why_redo(folder, _encoder_and_inputs(model, recipe, settings, examples)[1])


def _encoder_and_inputs(
    model: str, recipe: Recipe, settings: TrainingSettings, examples: Examples
) -> tuple[LoadedClassifier, dict[str, Any]]:
    """The encoder with its new head, and everything that can change its training."""
    set_seed(recipe.seed)  # the new head is drawn here
    loaded = load_pretrained(model, examples.outputs)
    check_max_length(loaded.model.config, recipe.data.max_length)
    inputs = {
        "encoder": loaded.fingerprints,
        "data": {split: prints for split, prints in examples.fingerprints.items() if split in ("train", "eval")},
        "label_names": list(examples.label_names),
        "problem_type": examples.problem_type,
        "max_length": recipe.data.max_length,
        "training": settings_that_count(settings),
        "metric": recipe.evaluation.metric,
        "seed": recipe.seed,
        "versions": library_versions(),
    }
    return loaded, inputs


def level_of(teacher: Done) -> TeacherLevel | None:
    """How good a fine-tuned teacher is; None without development rows."""
    level = teacher.manifest.facts.get("level")
    return level and TeacherLevel(**level)


def settle_teacher(settings: TrainingSettings, examples: Examples, config: PretrainedConfig) -> TrainingSettings:
    """The settings of a teacher's fine-tuning, with numbers in place of `auto`."""
    return teacher_schedule(
        settings,
        rows=len(examples.splits["train"]),
        outputs=len(examples.label_names),
        width=config.hidden_size,
    )


def settle(recipe: Recipe, examples: Examples, config: PretrainedConfig) -> Recipe:
    """The recipe of a run with its metric, and with numbers for the rates and epochs that are `auto`.

    Args:
        recipe: of the run.
        examples: that it reads.
        config: of the teacher, or of the encoder that becomes it.

    Raises:
        RecipeError: as `settle_metric` does.
    """
    recipe = settle_metric(recipe, examples.outputs)
    finetune = recipe.teacher.finetune
    if finetune is not None:
        finetune = settle_teacher(finetune, examples, config)
    teacher = replace(recipe.teacher, finetune=finetune)
    counts = planned_rows(recipe, {split: len(rows) for split, rows in examples.splits.items()})
    training = student_schedule(
        recipe.training,
        recipe.effort,
        outputs=len(examples.label_names),
        width=config.hidden_size,
        rows_a_label=counts.rows_a_label,
    )
    return replace(recipe, teacher=teacher, training=training)


def schedule_words(settings: TrainingSettings) -> str:
    """A teacher's learning rate and epochs, in words."""
    patience = patience_of(settings)
    ends = f", fewer if {patience} in a row bring no better development score" if patience else ""
    return (
        f"learning rate {value_text(settings.learning_rate)}, {value_text(settings.num_train_epochs)} epochs of "
        f"batches of {settings.per_device_train_batch_size * settings.gradient_accumulation_steps:,}{ends}"
    )


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
        return replace(recipe, evaluation=replace(recipe.evaluation, metric=scoring.metric))
    if metric not in (known := scoring.metrics_that_choose(classes)):
        of = outputs.problem_type + (f" of {classes} classes" if metric in scoring.metrics_that_choose(2) else "")
        raise RecipeError(
            f"{named('evaluation.metric')} is {metric}, which {of} has not. Give one of {', '.join(known)}, or auto."
        )
    return recipe


def save_trained(trainer: RowMeanTrainer, folder: Path, max_length: int, metric: str) -> dict[str, Any]:
    """Save a trained model as an ordinary folder and return the facts of its training; rank 0 writes."""
    tokenizer = trainer.processing_class
    tokenizer.model_max_length = max_length  # so that users of the folder truncate as in training
    if trainer.is_fsdp_enabled:  # the Trainer saves no model where each rank is to save its part
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(folder), _internal_call=True)  # all ranks take part: weights may be sharded
    ranks.on_first(lambda: tokenizer.save_pretrained(folder) and None)  # a failed write is raised on all ranks
    return training_facts(trainer, metric)


def training_facts(trainer: RowMeanTrainer, metric: str) -> dict[str, Any]:
    """What a finished training measured: the kept epoch and its scores, every logged step, the time it took."""
    # a resumed training has read its first entries from a file, in which keys are sorted
    history = [{key: float(entry[key]) for key in sorted(entry)} for entry in trainer.state.log_history]
    history = [entry for entry in history if "train_runtime" not in entry]
    evaluated = [entry for entry in history if f"eval_{metric}" in entry]
    if evaluated:
        best = max(evaluated, key=lambda entry: entry[f"eval_{metric}"])  # the first of equals, as the Trainer keeps
        selection = {"on": "eval", "metric": metric, "score": best[f"eval_{metric}"], "epoch": best["epoch"]}
        scores = {name.removeprefix("eval_"): value for name, value in best.items() if name.startswith("eval_")}
    else:
        selection = {"on": "nothing: the last epoch is kept", "epoch": float(trainer.state.epoch or 0)}
        scores = {}
    if trainer.averaging != "none":
        selection["weights"] = trainer.averaging if not evaluated or best.get("averaged") else "raw"
    blind = trainer.blind_spots_at(best["step"]) if evaluated else BlindSpots()
    return {
        "scores": scores,
        "selection": selection,
        "blind_spots": asdict(blind),
        "history": history,
        "train_seconds": trainer.train_seconds,
        "device": device_text(trainer.args.device),
        "processes": trainer.args.world_size,
    }


def warn_if_truncated(rows: Any, max_length: int) -> None:
    """Warn if many rows are truncated."""
    if (share := share_truncated(rows, max_length)) > 0.1:
        progress.warn(f"{share:.0%} of the rows are cut at {max_length} word pieces ({named('data.max_length')}).")


def warn_if_few(rows: int, settings: TrainingSettings) -> None:
    """Warn if an epoch is a single step of less than a batch."""
    batch = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    if rows < batch:
        progress.warn(
            f"{rows:,} training rows are fewer than one batch of {batch:,}: each epoch is a single step. More rows or "
            f"a smaller {named('training.per_device_train_batch_size')} teach more."
        )
