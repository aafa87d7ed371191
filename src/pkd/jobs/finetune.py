"""`pkd finetune`: fine-tune a pretrained encoder on labelled examples into a classifier, the future teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from transformers import TrainingArguments, set_seed

from pkd import progress, ranks
from pkd.data.encodings import Reader
from pkd.data.examples import Examples, load_examples
from pkd.data.sources import Source
from pkd.data.tokenize import encode, warn_of_unread
from pkd.distillation.plan import settings_that_count
from pkd.encoder.hub import model_source
from pkd.encoder.load import LoadedClassifier, check_max_length, load_config, load_pretrained
from pkd.encoder.pretrained import hardly_reads
from pkd.evaluation.by_class import BlindSpots
from pkd.jobs import asking
from pkd.jobs.ahead import training_left
from pkd.jobs.evaluate import describe_rows
from pkd.jobs.forecast import announce
from pkd.jobs.plan import settle_metric, settle_teacher, warn_if_few
from pkd.jobs.stages import finetuning, finetuning_name, steps_of
from pkd.jobs.word_counts import measure_word_counts, teacher_level
from pkd.jobs.workload import encoder_job
from pkd.recipe.faults import value_text
from pkd.recipe.keyword_types import FinetuneKeywords
from pkd.recipe.places import AnyPath, output_folder, path_text
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import TrainingSettings
from pkd.recipe.spelling import named
from pkd.reporting.amounts import metric_title, score_words
from pkd.reporting.blind_spots import blind_words
from pkd.reporting.evaluated_rows import overlap_warning, rows_in_words
from pkd.reporting.results import MeasuredOn, TeacherLevel
from pkd.reporting.teacher_level import level_sentence, under_trained
from pkd.reporting.wording import weights_words
from pkd.runs.lock import one_writer
from pkd.runs.seal import partial_of
from pkd.runs.space import require_space
from pkd.runs.stage import Done, is_begun, library_versions, run_stage, standing, why_redo
from pkd.training.arguments import check_training, trainer_arguments
from pkd.training.checkpoints import checkpoint_bytes
from pkd.training.saving import save_trained
from pkd.training.schedule import averaging_of, kept_epoch_of, patience_of
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
        """Its score, on which rows and of which epoch, and what it was trained on."""
        kept = f"epoch {self.selection['epoch']:g}{weights_words(self.selection)}"
        if not self.scores:
            none = f"No development rows were named ({named('data.eval')}), and there are too few training rows"
            told = [f"{none} to hold some out, so nothing is measured, and the last epoch is kept: {kept}."]
        else:
            by = self.selection["metric"]
            scores = ", ".join(score_words(metric, self.scores[metric]) for metric in dict.fromkeys([by, *self.scores]))
            told = [
                f"{scores[:1].upper()}{scores[1:]} on {rows_in_words('eval', self.rows, self.measured_on)}.",
                f"This is {kept}, {self._why_kept()}.",
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

    def _why_kept(self) -> str:
        by, highest = self.selection["metric"], self.selection["highest"]
        if self.selection["score"] >= highest:
            return f"the best by {metric_title(by)}"
        calibrated = self.training["kept_epoch"] == "calibrated"
        rule, near = ("better calibrated", "half a") if calibrated else ("later", "a")
        return f"{rule} than the best and within {near} standard error of its {score_words(by, highest)}"

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
        eval: development examples, which choose the epoch.
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
    folder: Path,
    model: str,
    recipe: Recipe,
    settings: TrainingSettings,
    examples: Examples,
    *,
    number: int = 1,
    overwrite: bool,
) -> Done:
    """The stage that makes a teacher; `number` is its own among several."""
    loaded, inputs = _encoder_and_inputs(model, recipe, settings, examples)

    def build(partial: Path) -> Mapping[str, Any]:
        require_space(partial, checkpoint_bytes(loaded.model.num_parameters(), settings), "Fine-tuning the teacher")
        rows = {
            split: encode(examples.splits[split], loaded.tokenizer, recipe.data.max_length)
            for split in ("train", "eval")
            if split in examples.splits
        }
        warn_of_unread(rows["train"], rows["train"], recipe.data.max_length)
        reader = Reader(loaded.tokenizer, recipe.data.max_length, model)
        if sentence := hardly_reads(reader, examples.splits["train"]):
            progress.warn(sentence)
        progress.note(
            f"fine-tuning {'the teacher' if number == 1 else f'teacher {number}'}: {schedule_words(settings)}"
        )
        metric = recipe.evaluation.metric if "eval" in rows else None
        trainer = RowMeanTrainer(
            loaded.model,
            TrainingArguments(
                **trainer_arguments(settings, partial, seed=recipe.seed, metric=metric, device=recipe.device)
            ),
            train_dataset=rows["train"],
            eval_dataset=rows.get("eval"),
            processing_class=loaded.tokenizer,
            stage_name=finetuning_name(number),
            averaging=averaging_of(settings),
            patience=patience_of(settings),
            kept_epoch=kept_epoch_of(settings),
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
    """The share of the fine-tuning of a recipe's teacher that an earlier call has left."""
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
    """Why a fine-tuned teacher is stale; None if it would be kept."""
    return why_redo(folder, _encoder_and_inputs(model, recipe, settings, examples)[1])


def _encoder_and_inputs(
    model: str, recipe: Recipe, settings: TrainingSettings, examples: Examples
) -> tuple[LoadedClassifier, dict[str, Any]]:
    """The encoder with its new head, and everything that its training depends on."""
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
    """A fine-tuned teacher's score on the development rows; None without such rows."""
    level = teacher.manifest.facts.get("level")
    return level and TeacherLevel(**level)


def schedule_words(settings: TrainingSettings) -> str:
    """A teacher's learning rate and epochs in words."""
    patience = patience_of(settings)
    ends = f", fewer if {patience} in a row bring no better development score" if patience else ""
    return (
        f"learning rate {value_text(settings.learning_rate)}, {value_text(settings.num_train_epochs)} epochs of "
        f"batches of {settings.per_device_train_batch_size * settings.gradient_accumulation_steps:,}{ends}"
    )
