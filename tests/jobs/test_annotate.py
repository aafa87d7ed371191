"""Stored answers through the verb: what is used again, what is made again, and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from conftest import make_reviews, make_teacher, make_tokenizer, write_csv
from pkd import progress
from pkd.data.examples import load_data
from pkd.data.shards import list_shards
from pkd.distillation.annotation import cut_of
from pkd.distillation.layers import LayerMap
from pkd.distillation.student import student_from
from pkd.distillation.trainer import PatientTrainer, PatientTrainingArguments
from pkd.errors import DataError, RecipeError
from pkd.jobs.annotate import annotate
from pkd.runs.seal import Manifest, partial_of, read_manifest, seal
from pkd.serving.classifier import Classifier


class Notes(progress.Watcher):
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def noted(self, message: str, level: str) -> None:
        self.told.append(message)


@pytest.fixture
def notes() -> Iterator[list[str]]:
    watcher = Notes()
    with progress.watch(watcher):
        yield watcher.told


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    make_teacher(4).save_pretrained(tmp_path / "teacher")
    make_tokenizer().save_pretrained(tmp_path / "teacher")
    write_csv(tmp_path / "train.csv", make_reviews(100, seed=1))
    return {
        "train": str(tmp_path / "train.csv"), "teacher": str(tmp_path / "teacher"), "output": str(tmp_path / "annotated"),
        "layers": 2, "max_length": 32, "annotation.precision": "float32", "rows_per_shard": 32,
    }  # fmt: skip


def shards_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.arrow")}


def unfinished(folder: Path) -> tuple[Path, Manifest]:
    """Make a finished stage what a kill leaves of it, without lists of its shards; its manifest as it was."""
    manifest = read_manifest(folder)
    assert manifest is not None
    partial = partial_of(folder)
    shutil.move(folder, partial)
    (partial / "manifest.json").unlink()
    (partial / "stage.json").write_text(json.dumps(manifest.inputs))
    return partial, manifest


def table_of(shard: Path) -> pa.Table:
    with pa.OSFile(str(shard), "rb") as file:
        return pa.ipc.open_stream(file).read_all()


def test_answers_that_the_teacher_does_not_give_are_made_again_and_the_old_ones_kept_aside(
    given: dict[str, Any], tmp_path: Path, notes: list[str]
) -> None:
    """A fault that no checksum sees: the answers were wrong when they were sealed, as a bad memory makes them."""
    annotate(**given)
    folder = tmp_path / "annotated"
    right, manifest = shards_of(folder), read_manifest(folder)
    assert manifest is not None
    shard = folder / "shard-00001.arrow"
    table = table_of(shard)
    place = table.column_names.index("teacher_logits")
    turned = pa.FixedSizeListArray.from_arrays(pa.array([3.0, -3.0] * len(table), pa.float32()), 2)
    table = table.set_column(place, "teacher_logits", turned)
    with pa.OSFile(str(shard), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    seal(folder, manifest.kind, manifest.inputs, manifest.facts)
    annotate(**given)
    told = next(note for note in notes if note.startswith("redoing"))
    assert "asked again, the teacher answers row" in told
    assert "its logits is off by" in told
    assert shards_of(folder) == right
    assert (tmp_path / "annotated.stale-1" / "shard-00001.arrow").is_file()


@pytest.mark.parametrize("size", [48, 16, 8])
def test_an_unfinished_pass_goes_on_with_shards_of_another_size_without_losing_a_row(
    size: int, given: dict[str, Any], tmp_path: Path
) -> None:
    annotate(**given)
    folder = tmp_path / "annotated"
    partial, manifest = unfinished(folder)
    facts = manifest.facts
    cut = cut_of(facts["settings"]["rows_per_shard"], facts["teacher_layers"])
    list_shards(partial, [file for file in manifest.files if file.name != "shard-00003.arrow"], cut)
    rows = annotate(**{**given, "rows_per_shard": size})
    assert [text for text, _ in make_reviews(100, seed=1)] == list(rows["text"])
    assert {len(table_of(path)) for path in sorted(folder.glob("*.arrow"))[:-1]} == {size}


def test_a_damaged_shard_is_repaired_though_shards_are_cut_otherwise_now(given: dict[str, Any], tmp_path: Path) -> None:
    annotate(**given)
    shard = tmp_path / "annotated" / "shard-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-50])
    rows = annotate(**{**given, "rows_per_shard": 16})
    assert [text for text, _ in make_reviews(100, seed=1)] == list(rows["text"])


def test_an_unfinished_pass_goes_on_for_other_layers_with_every_state_of_theirs(
    given: dict[str, Any], tmp_path: Path
) -> None:
    annotate(**given, layer_map="skip")
    partial, manifest = unfinished(tmp_path / "annotated")
    list_shards(partial, manifest.files[:2], cut_of(32, manifest.facts["teacher_layers"]))
    rows = annotate(**given, layer_map="last")
    assert manifest.facts["teacher_layers"] == [2]
    assert set(rows[0]["teacher_cls_states"]) == {"3"}
    assert all(row["3"] is not None for row in rows["teacher_cls_states"])


def test_a_list_of_finished_shards_that_cannot_be_read_costs_their_work_and_no_more(
    given: dict[str, Any], tmp_path: Path, notes: list[str]
) -> None:
    annotate(**given)
    folder = tmp_path / "annotated"
    right = shards_of(folder)
    partial, _ = unfinished(folder)
    (partial / "shards-0.json").write_bytes(bytes(4096))
    annotate(**given)
    assert any("shards-0.json is damaged" in note for note in notes)
    assert shards_of(folder) == right


def test_a_shard_that_no_manifest_names_is_not_read(given: dict[str, Any], tmp_path: Path) -> None:
    annotate(**given)
    shutil.copy(tmp_path / "annotated" / "shard-00000.arrow", tmp_path / "annotated" / "shard-00009.arrow")
    assert len(annotate(**given)) == 100


def test_a_trainer_cuts_other_rows_as_the_annotated_ones_were_cut_and_saves_that_length(
    given: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer, layer_map = make_tokenizer(), LayerMap.skip(4, 2)
    rows = load_data(train=given["train"])["train"]
    annotated = annotate(rows, make_teacher(4), tokenizer, output=str(tmp_path / "cut"), layers=2, max_length=7)
    args = PatientTrainingArguments(str(tmp_path / "out"), use_cpu=True, report_to="none")
    student = student_from(make_teacher(4), 2)
    for chosen in (annotated, annotated.shuffle(seed=1).select(range(8))):
        trainer = PatientTrainer(
            student, args, layer_map=layer_map, train_dataset=chosen, eval_dataset=rows, processing_class=tokenizer
        )
        assert max(trainer.eval_dataset["length"]) == max(trainer.train_dataset["length"]) == 7
    trainer.save_model(str(tmp_path / "student"))
    assert Classifier.load(str(tmp_path / "student")).max_length == 7
    assert tokenizer.model_max_length == 64


@pytest.mark.parametrize("layers", ["2", 2, [2.5]])
def test_layers_that_are_no_list_of_numbers_are_refused(given: dict[str, Any], layers: Any) -> None:
    with pytest.raises(RecipeError, match=r"teacher_layers is .* it must be a list of layers"):
        annotate(**given, teacher_layers=layers)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"text": ["a", None]}, "no text in 1 places, first in row 2"),
        ({"text": [3, 4]}, "column text holds int64"),
        ({"text": [["a"], ["b"]]}, "column text holds list"),
        ({"sentence": ["a", "b"]}, "no column text .*only sentence"),
        ({"text": ["a", "b"], "label": ["negative", "positive"]}, "labels are names, as 'negative'"),
    ],
)
def test_rows_that_load_data_would_not_make_are_refused(
    given: dict[str, Any], columns: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        annotate(**{**given, "train": datasets.Dataset.from_dict(columns)})
