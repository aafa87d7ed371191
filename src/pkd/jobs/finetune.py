"""`pkd finetune`: a pretrained encoder and labelled examples become a classifier, the teacher to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainingArguments, set_seed

from pkd import progress
from pkd.data.encoding import encode, share_truncated
from pkd.data.examples import Examples, load_examples
from pkd.distillation.plan import settings_that_count
from pkd.encoder.contract import check_max_length, load_pretrained
from pkd.jobs.stages import Done, library_versions, run_stage
from pkd.recipe.keywords import place_keywords
from pkd.recipe.reading import recipe_from
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import TrainingSettings
from pkd.storage.lock import one_writer
from pkd.storage.space import require_space
from pkd.training.arguments import trainer_arguments
from pkd.training.trainer import RowMeanTrainer

KIND = "teacher"


@dataclass(frozen=True)
class FinetuneResult:
    """A fine-tuned classifier: its folder, its scores on the development rows, and which epoch was kept."""

    folder: Path
    scores: dict[str, float]
    selection: dict[str, Any]


def finetune(
    *, model: str, train: str, output: str, eval: str | None = None, overwrite: bool = False, **keys: Any
) -> FinetuneResult:
    """Fine-tune a pretrained encoder into a single-label classifier.

    Args:
        model: folder or hub name of the encoder.
        train: training examples (CSV, TSV, JSONL, Parquet, a saved dataset or a hub name).
        output: folder for the classifier.
        eval: development examples; the epoch with the best score on them is kept.
        overwrite: start an unfinished fine-tuning with other settings afresh.
        keys: any other key of the recipe, e.g. `learning_rate=2e-5`.

    Raises:
        DataError: if the examples cannot be used.
        TeacherError: if the encoder cannot be loaded or distilled later.
        RecipeError: if a setting is out of its range.
    """
    values = place_keywords({"train": train, "eval": eval, "output": output, **keys})
    recipe = recipe_from(values, where="finetune", required=("data.train",))
    examples = load_examples(recipe.data, splits=("train", "eval"))
    with one_writer(Path(output)):
        done = finetune_stage(Path(output), model, recipe, recipe.training, examples, overwrite=overwrite)
    return FinetuneResult(done.folder, done.manifest.facts["scores"], done.manifest.facts["selection"])


def finetune_stage(
    folder: Path, model: str, recipe: Recipe, settings: TrainingSettings, examples: Examples, *, overwrite: bool
) -> Done:
    """The stage that makes a teacher."""
    set_seed(recipe.seed)  # the new head is drawn here
    loaded = load_pretrained(model, examples.label_names)
    check_max_length(loaded.model.config, recipe.data.max_length)
    inputs = {
        "encoder": loaded.fingerprints,
        "data": {split: prints for split, prints in examples.fingerprints.items() if split in ("train", "eval")},
        "label_names": list(examples.label_names),
        "max_length": recipe.data.max_length,
        "training": settings_that_count(settings),
        "metric": recipe.evaluation.metric,
        "seed": recipe.seed,
        "versions": library_versions(),
    }

    def build(partial: Path) -> Mapping[str, Any]:
        require_space(partial, _checkpoint_bytes(loaded.model.num_parameters()), "Fine-tuning the teacher")
        rows = {
            split: encode(examples.splits[split], loaded.tokenizer, recipe.data.max_length)
            for split in ("train", "eval")
            if split in examples.splits
        }
        warn_if_truncated(rows["train"], recipe.data.max_length)
        metric = recipe.evaluation.metric if "eval" in rows else None
        trainer = RowMeanTrainer(
            loaded.model,
            TrainingArguments(**trainer_arguments(settings, partial, seed=recipe.seed, metric=metric)),
            train_dataset=rows["train"],
            eval_dataset=rows.get("eval"),
            processing_class=loaded.tokenizer,
            stage_name="fine-tune the teacher",
            resumed_with=inputs,
            checkpoint_steps=settings.save_steps,
        )
        trainer.train(resume_from_checkpoint=True)
        return save_trained(trainer, partial, recipe.data.max_length, recipe.evaluation.metric)

    return run_stage(folder, KIND, inputs, build, overwrite=overwrite)


def save_trained(trainer: RowMeanTrainer, folder: Path, max_length: int, metric: str) -> dict[str, Any]:
    """Save a trained model as an ordinary folder and return the facts of its training."""
    tokenizer = trainer.processing_class
    tokenizer.model_max_length = max_length  # so that whoever loads the folder cuts as it was trained
    trainer.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return training_facts(trainer, metric)


def training_facts(trainer: RowMeanTrainer, metric: str) -> dict[str, Any]:
    """What a finished training measured: the kept epoch and its scores, every logged step, the time it took."""
    history = [{key: float(value) for key, value in entry.items()} for entry in trainer.state.log_history]
    history = [entry for entry in history if "train_runtime" not in entry]
    evaluated = [entry for entry in history if f"eval_{metric}" in entry]
    if evaluated:
        best = max(evaluated, key=lambda entry: entry[f"eval_{metric}"])  # the first of equals, as the Trainer keeps
        selection = {"on": "eval", "metric": metric, "score": best[f"eval_{metric}"], "epoch": best["epoch"]}
        scores = {name.removeprefix("eval_"): value for name, value in best.items() if name.startswith("eval_")}
    else:
        selection = {"on": "nothing: the last epoch is kept", "epoch": float(trainer.state.epoch or 0)}
        scores = {}
    return {"scores": scores, "selection": selection, "history": history, "train_seconds": trainer.train_seconds}


def warn_if_truncated(rows: Any, max_length: int) -> None:
    """Tell when many rows are cut."""
    if (share := share_truncated(rows, max_length)) > 0.1:
        progress.warn(f"{share:.0%} of the training rows are cut at max_length = {max_length} word pieces.")


def _checkpoint_bytes(parameters: int) -> int:
    return parameters * 4 * 3 * 4  # weights and two moments in float32, best, last two and the one being written
