"""`pkd annotate`: run the frozen teacher once on every example; store its logits and states in the row of the text."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import datasets
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pkd import progress, ranks
from pkd.data.examples import check_texts, load_examples
from pkd.data.shards import forget_shard_lists, list_shards, open_shards, shards_left
from pkd.data.streaming import spooled
from pkd.data.taught import words_a_row
from pkd.data.tokenize import count_choices, fingerprint_rows, warn_of_unread
from pkd.data.windows import has_words
from pkd.distillation.annotation import (
    TeacherPass,
    annotate_rows,
    bytes_per_row,
    cut_of,
    fingerprint_answers,
)
from pkd.distillation.canary import doubt_answers
from pkd.distillation.layers import layer_map_of
from pkd.encoder.families import check_pooling, depth_of
from pkd.encoder.inference import tokenizer_for
from pkd.encoder.load import LoadedClassifier, check_max_length, load_teacher
from pkd.errors import DataError, RecipeError
from pkd.jobs import asking
from pkd.jobs.forecast import announce
from pkd.jobs.stages import annotating
from pkd.jobs.workload import classifier_job
from pkd.recipe.keyword_types import AnnotateKeywords
from pkd.recipe.places import AnyPath, output_folder
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import AnnotationSettings
from pkd.runs.lock import one_writer
from pkd.runs.seal import Manifest, partial_of, read_manifest
from pkd.runs.space import require_space
from pkd.runs.stage import Done, Upkeep, is_begun, library_versions, run_stage, standing
from pkd.training.hardware import autocast_dtype, computing_on, device_text, resolve_device

KIND = asking.ANNOTATED
STAGE = "annotate"


@dataclasses.dataclass(frozen=True)
class Annotator:
    """A teacher, and how its answers are computed and stored.

    Attributes:
        teacher: the fine-tuned classifier.
        settings: of the stored answers.
        max_length: word pieces that a row is truncated to.
        device: that computes, as in a recipe.
    """

    teacher: LoadedClassifier
    settings: AnnotationSettings
    max_length: int
    device: str

    @classmethod
    def of(cls, teacher: LoadedClassifier, recipe: Recipe) -> Annotator:
        """The annotator of a recipe's training rows."""
        return cls(teacher, recipe.annotation, recipe.data.max_length, recipe.device)

    def exactly(self) -> Annotator:
        """The annotator of rows that only measure, whose logits are computed in float32."""
        return dataclasses.replace(self, settings=exactly(self.settings))

    def teacher_pass(self, layers: Sequence[int]) -> TeacherPass:
        """The teacher's pass over rows, storing the states of `layers`."""
        return TeacherPass(
            model=self.teacher.model,
            tokenizer=self.teacher.tokenizer,
            teacher_layers=layers,
            max_length=self.max_length,
            states_dtype=self.settings.states_dtype,
            states_share=self.settings.states_share,
            rows_per_shard=self.settings.rows_per_shard,
            autocast_dtype=autocast_dtype(self.settings.precision, resolve_device(self.device)),
        )


def annotate(
    train: AnyPath | datasets.Dataset | datasets.IterableDataset | None,
    teacher: AnyPath | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    output: AnyPath,
    teacher_layers: Sequence[int] | None = None,
    layers: int | None = None,
    streaming: bool = False,
    overwrite: bool = False,
    **keys: Unpack[AnnotateKeywords],
) -> datasets.Dataset:
    """Run the teacher once on every row, and store its logits and [CLS] states beside the text.

    The same call again reads what is stored; a call that needs more layers makes one more pass and stores the union.
    Under `torchrun` every rank must call it: each computes a share of the rows, and all return all rows.

    Args:
        train: examples as a file, folder or hub name, rows of `pkd.load_data`, or a stream
            (`datasets.load_dataset(..., streaming=True)`); None if `task` names a benchmark.
        teacher: a fine-tuned classifier, or its folder or hub name.
        tokenizer: the teacher's; needed if `teacher` is a model.
        output: folder for the annotated rows.
        teacher_layers: the layers whose [CLS] states to store, counted from 1.
        layers: instead of `teacher_layers`, the depth of the student, whose `layer_map` names them.
        streaming: read the source in chunks, for files larger than the memory; a source without labels is then
            unlabelled text.
        overwrite: start an unfinished pass with other inputs afresh.
        keys: any other key of the recipe, e.g. `max_length=256` or `states_dtype="float32"`.

    Returns:
        The rows with `teacher_logits` and, if layers are given, `teacher_cls_states`; memory-mapped.

    Raises:
        DataError: if the examples cannot be used.
        TeacherError: if the teacher cannot be used, or computes a value that is not finite.
        RecipeError: if a layer does not exist, or `teacher_layers` is not a list of numbers.
    """
    given: dict[str, Any] = {"teacher_layers": teacher_layers, "layers": layers, "streaming": streaming, **keys}
    with asking.annotate(train, teacher, tokenizer, output=output, overwrite=overwrite, **given) as recipe:
        folder = output_folder(output)
        if isinstance(train, datasets.Dataset):
            _check_columns(train)
        resolve_device(recipe.device)  # report a missing device before anything is loaded
        loaded = _loaded(teacher[0] if isinstance(teacher, list | tuple) else teacher, tokenizer)
        check_max_length(loaded.model.config, recipe.data.max_length)
        depth = depth_of(loaded.model.config)
        if teacher_layers is None:
            student_layers = layers or max(1, depth // 2)
            teacher_layers = layer_map_of(recipe.students[0].layer_map, depth, student_layers).teacher
        if teacher_layers:
            check_pooling(loaded.name, loaded.model.config)
        stream: Any = train if isinstance(train, datasets.IterableDataset) else recipe.data.train if streaming else None
        with one_writer(folder), contextlib.ExitStack() as until_annotated:
            if isinstance(train, datasets.Dataset):
                rows = train
            elif stream is not None:
                rows = until_annotated.enter_context(spooled(stream, recipe.data, loaded.outputs, folder))
            else:
                rows = load_examples(recipe.data, splits=("train",), teacher=loaded.outputs).splits["train"]
            done = _announced(folder, rows, Annotator.of(loaded, recipe), recipe, teacher_layers, overwrite=overwrite)
        return open_shards(done.folder)


def _loaded(teacher: AnyPath | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> LoadedClassifier:
    if not isinstance(teacher, torch.nn.Module):
        return load_teacher(teacher)
    assert tokenizer is not None  # checked before
    return LoadedClassifier(teacher, tokenizer_for(teacher.config, tokenizer), str(teacher.config.name_or_path))


def _announced(
    folder: Path,
    rows: datasets.Dataset,
    annotator: Annotator,
    recipe: Recipe,
    layers: Sequence[int],
    *,
    overwrite: bool,
) -> Done:
    """Forecast and run the teacher's pass."""
    prints, teacher = fingerprint_rows(rows), annotator.teacher
    inputs = annotation_inputs(teacher, prints, annotator.settings, annotator.max_length)
    left = annotation_left(folder, inputs, layers, len(rows), annotator.settings.rows_per_shard)
    job = classifier_job(teacher, recipe, {"train": rows}, teacher.outputs)
    announce(job, [annotating(job, STAGE, "train", layers, left=left)], folder)
    if left:
        warn_of_unread(job.sample, job.sample, annotator.max_length)
    return annotate_stage(folder, STAGE, rows, annotator, layers, overwrite=overwrite, rows_prints=prints)


def _check_columns(rows: datasets.Dataset) -> None:
    """Refuse rows whose labels are not class ids, as `pkd.load_data` makes them."""
    check_texts(rows)
    if "label" in rows.column_names and str(getattr(rows.features["label"], "dtype", "")) in ("string", "large_string"):
        raise DataError(
            f"The rows' labels are names, as {rows['label'][0]!r}; the teacher's class ids are needed. "
            "`pkd.load_data(train=..., teacher=model)` makes them so."
        )


def exactly(settings: AnnotationSettings) -> AnnotationSettings:
    """The settings for rows that only measure, whose logits are computed in float32."""
    return dataclasses.replace(settings, precision="float32")


def annotation_inputs(
    teacher: LoadedClassifier, rows_prints: Mapping[str, str], settings: AnnotationSettings, max_length: int
) -> dict[str, Any]:
    """Everything that a teacher's stored outputs depend on, except which layers are stored."""
    return {
        "teacher": teacher.fingerprints,
        "rows": dict(rows_prints),
        "max_length": max_length,
        "states_dtype": settings.states_dtype,
        "states_share": settings.states_share,
        "precision": settings.precision,
        "versions": library_versions(),
    }


def annotation_left(
    folder: Path, inputs: Mapping[str, Any], layers: Sequence[int], rows: int, rows_per_shard: int
) -> float:
    """The share of a teacher's pass over `rows` rows that an earlier call has left."""
    if not is_begun(folder):
        return 1.0
    stands = standing(folder, inputs)
    if stands == "kept":
        manifest = read_manifest(folder)
        return 0.0 if manifest and set(layers) <= set(manifest.facts["teacher_layers"]) else 1.0
    return shards_left(partial_of(folder), rows, rows_per_shard) if stands == "begun" else 1.0


def _parts_per_row(rows: datasets.Dataset, choices: int) -> float:
    """How many answers a row has, about: one, one a choice, or one a word."""
    if not has_words(rows.column_names) or not len(rows):
        return max(1, choices)
    return sum(words_a_row(rows)) / len(rows)


def annotate_stage(
    folder: Path,
    name: str,
    rows: datasets.Dataset,
    annotator: Annotator,
    teacher_layers: Sequence[int],
    *,
    overwrite: bool,
    rows_prints: Mapping[str, str] | None = None,
    encoding: datasets.Dataset | None = None,
) -> Done:
    """The stage that annotates rows; stored layers that are not needed now are kept.

    `encoding` has the rows' word pieces as the teacher reads them, if they are stored.
    """
    teacher, settings, max_length = annotator.teacher, annotator.settings, annotator.max_length
    depth = depth_of(teacher.model.config)
    if wrong := [layer for layer in teacher_layers if not 1 <= layer <= depth]:
        raise RecipeError(f"The teacher has layers 1 to {depth}; {wrong} cannot be stored.")
    inputs = annotation_inputs(teacher, rows_prints or fingerprint_rows(rows), settings, max_length)
    wanted = set(teacher_layers)

    def lacks(manifest: Manifest) -> str | None:
        stored = set(manifest.facts["teacher_layers"])
        missing = sorted(wanted - stored)
        wanted.update(stored)
        return f"the states of teacher layers {missing} are wanted too" if missing else None

    where = resolve_device(annotator.device)

    def doubts(manifest: Manifest) -> str | None:
        with computing_on(where, [teacher.model]):
            return doubt_answers(
                folder,
                rows,
                annotator.teacher_pass(manifest.facts["teacher_layers"]),
                stored_dtype=torch.bfloat16 if manifest.facts["computed_in"] == "bfloat16" else None,
                seed=int(manifest.fingerprint[:8], 16),
            )

    def build(partial: Path) -> Mapping[str, Any]:
        stored = sorted(wanted)
        hidden = teacher.model.config.hidden_size
        row = bytes_per_row(
            len(teacher.label_names),
            hidden,
            len(stored),
            settings,
            parts=_parts_per_row(rows, count_choices(rows.column_names)),
        )
        require_space(partial, row * len(rows), f"Annotating {len(rows):,} rows")
        answering = annotator.teacher_pass(stored)
        with computing_on(where, [teacher.model]), progress.stage(name, len(rows), "rows") as stage:
            annotated = annotate_rows(rows, answering, partial, encoding=encoding, stage=stage)
        answers = ranks.on_first(lambda: fingerprint_answers(annotated))
        ranks.on_first(lambda: forget_shard_lists(partial))
        return {
            "rows": len(annotated),
            "teacher_layers": stored,
            "answers": answers,
            "settings": dataclasses.asdict(settings),
            "device": device_text(where),
            "computed_in": "bfloat16" if answering.autocast_dtype is torch.bfloat16 else "float32",
        }

    def repair(damaged: Path, manifest: Manifest) -> None:
        cut = cut_of(manifest.facts["settings"]["rows_per_shard"], manifest.facts["teacher_layers"])
        list_shards(damaged, manifest.files, cut)

    return run_stage(folder, KIND, inputs, build, overwrite=overwrite, upkeep=Upkeep(lacks, doubts, repair))
