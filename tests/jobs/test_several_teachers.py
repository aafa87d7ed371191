"""Several teachers: one pass each, and students of their mean."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pkd
from conftest import SPECIAL, WORDS, make_teacher, make_tokenizer, teach
from pkd.data.arrays import column_array
from pkd.data.shards import open_shards
from pkd.encoder.load import load_teacher
from pkd.errors import RecipeError, TeacherError
from pkd.reporting.results import ModelRecord, RunRecord
from pkd.runs.folder import RunFolder
from pkd.runs.seal import read_manifest

SETTINGS: dict[str, Any] = {
    "num_train_epochs": 1, "learning_rate": 1e-3, "device": "cpu", "max_length": 32, "resamples": 50, "layers": 2,
    "effort": "quick",
}  # fmt: skip


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shallower teacher with another tokenizer, that has its classes the other way round, and in another case."""
    folder = tmp_path_factory.mktemp("teachers") / "other"
    model, tokenizer = make_teacher(3, seed=7), make_tokenizer((*SPECIAL, *WORDS[: len(SPECIAL) - 1 : -1]))
    teach(model, tokenizer)
    with_classes_swapped(model)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def with_classes_swapped(model: Any) -> None:
    model.classifier.weight.data = model.classifier.weight.data.flip(0)
    model.classifier.bias.data = model.classifier.bias.data.flip(0)
    model.config.id2label, model.config.label2id = {0: "Positive", 1: "Negative"}, {"Positive": 0, "Negative": 1}


def distil(workspace: Path, output: Path, teachers: Any, **changes: Any) -> pkd.jobs.distill.DistillResult:
    data = {
        "train": str(workspace / "train.csv"),
        "eval": str(workspace / "dev.csv"),
        "test": str(workspace / "test.csv"),
    }
    return pkd.distill(teacher=teachers, output=str(output), **data, **{**SETTINGS, **changes})


@pytest.fixture(scope="module")
def result(workspace: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> pkd.jobs.distill.DistillResult:
    output = tmp_path_factory.mktemp("distilled") / "student"
    return distil(workspace, output, [workspace / "teacher", other], unlabelled=str(workspace / "unlabelled.txt"))


def models_of(result: Any) -> dict[str, ModelRecord]:
    return {record.name: record for record in result.records if isinstance(record, ModelRecord)}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_students_learn_the_mean_with_labels_matched_by_name(result) -> None:
    run = RunFolder(result.work)
    for split in ("train", "unlabelled", "eval", "test"):
        one, two, mean = (
            column_array(open_shards(place), "teacher_logits")
            for place in (run.annotated(split), run.annotated(split, 2), run.ensemble(split))
        )
        np.testing.assert_allclose(np.exp(mean), (softmax(one) + softmax(two[:, ::-1])) / 2, rtol=1e-4)
        # two taught teachers mostly agree: had their classes been mixed up, they would not
        assert (one.argmax(1) == 1 - two.argmax(1)).mean() > 0.9
    trained = read_manifest(result.work / result.student.folder)
    stored = read_manifest(run.ensemble("train"))
    assert trained is not None
    assert stored is not None
    assert trained.inputs["answers"]["train"]["logits"] == stored.facts["answers"]["logits"]
    assert set(open_shards(run.annotated("train", 2)).column_names) == set(
        open_shards(run.annotated("eval")).column_names
    )


def test_each_teacher_reads_its_own_word_pieces_and_the_students_those_of_the_lead(
    result, workspace: Path, other: Path
) -> None:
    run, first = RunFolder(result.work), workspace / "teacher"
    for split in ("train", "unlabelled", "eval", "test"):
        text = open_shards(run.annotated(split))[4]["text"]
        read = {tuple(open_shards(place)[4]["input_ids"]) for place in run.path.glob(f"encodings/{split}-*")}
        assert read == {tuple(load_teacher(teacher).tokenizer(text)["input_ids"]) for teacher in (first, other)}
        assert len(read) == 2
    trained = read_manifest(result.work / result.student.folder)
    assert trained is not None
    tokenizer = load_teacher(first).fingerprints["tokenizer"]
    assert trained.inputs["tokenizer"] == load_teacher(result.folder).fingerprints["tokenizer"] == tokenizer


def test_each_teacher_and_their_mean_have_a_row_and_the_first_is_the_teacher(result) -> None:
    models = models_of(result)
    assert list(models)[:3] == ["teacher", "teacher 2", "teachers' mean"]
    assert {models[name].role for name in list(models)[:3]} == {"teacher"}
    assert (models["teacher"].layers, models["teacher 2"].layers) == (4, 3)
    mean = models["teachers' mean"]
    assert mean.parameters == models["teacher"].parameters + models["teacher 2"].parameters
    paces = [models[name].rows_per_second for name in ("teacher", "teacher 2")]
    assert mean.rows_per_second == pytest.approx(1 / sum(1 / pace for pace in paces if pace))
    compared = {(each.a, each.b) for each in result.records if each.record == "comparison"}
    assert compared == {(result.student.name, "teacher")}


def test_record_page_and_card_name_them_all(result, other: Path) -> None:
    run = next(record for record in result.records if isinstance(record, RunRecord))
    assert [source.name for source in run.teachers] == ["teacher", "other"]
    assert run.lead == 0
    assert {"teacher", "teacher 2"} <= set(run.fingerprints)
    card = (result.folder / "README.md").read_text()
    assert "distilled from the mean of 2 teachers" in card
    assert "- Teachers: `teacher`, `other`; z_teacher below is the log of the teachers' mean softmax(z)" in card
    assert str(other.parent) not in card
    page = result.report.read_text()
    assert "teachers' mean" in page
    assert "the dashed line is the first teacher" in page


def test_the_same_call_again_keeps_everything_and_what_it_made_is_whole(result, workspace: Path, other: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in result.work.rglob("manifest.json")}
    again = distil(
        workspace, result.folder, [str(workspace / "teacher"), str(other)], unlabelled=str(workspace / "unlabelled.txt")
    )
    assert {path: path.stat().st_mtime_ns for path in result.work.rglob("manifest.json")} == before
    assert again.records == result.records
    verified = pkd.verify(result.folder)
    assert verified.damage == []
    assert not [note for note in verified.notes if "out of date" in note]


def test_another_teacher_costs_its_own_pass_alone(workspace: Path, other: Path, tmp_path: Path) -> None:
    untimed = {"measure_speed": False}
    first = distil(workspace, tmp_path / "student", str(workspace / "teacher"), **untimed)
    run = RunFolder(first.work)
    stored = {split: (run.annotated(split) / "manifest.json").stat().st_mtime_ns for split in ("train", "eval", "test")}
    both = distil(workspace, tmp_path / "student", [workspace / "teacher", other], overwrite=True, **untimed)
    assert stored == {split: (run.annotated(split) / "manifest.json").stat().st_mtime_ns for split in stored}
    assert "teachers' mean" in models_of(both)
    alone = distil(workspace, tmp_path / "student", workspace / "teacher", overwrite=True, **untimed)
    assert "teachers' mean" not in models_of(alone)
    assert models_of(alone)[alone.student.name].scores == models_of(first)[first.student.name].scores


def test_patience_from_names_the_teacher_that_gives_layers_and_states(
    workspace: Path, other: Path, tmp_path: Path
) -> None:
    result = distil(
        workspace, tmp_path / "student", [workspace / "teacher", other], patience_from=str(other), layers=2,
        measure_speed=False,
    )  # fmt: skip
    config = json.loads((result.folder / "config.json").read_text())
    assert config["id2label"] == {"0": "Positive", "1": "Negative"}  # the head is that teacher's
    run = RunFolder(result.work)
    assert "teacher_cls_states" in open_shards(run.annotated("train", 2)).column_names
    assert "teacher_cls_states" not in open_shards(run.annotated("train")).column_names
    models = models_of(result)
    assert models["teacher"].layers == 4  # of comparisons it stays the first
    assert models["teacher"].scores["accuracy"].value > 0.9
    assert "layers and [CLS] states are those of `other`" in (result.folder / "README.md").read_text()


def test_an_encoder_fine_tuned_several_times_is_several_teachers(workspace: Path, tmp_path: Path) -> None:
    settings = {"num_train_epochs": 1, "learning_rate": 1e-3}
    recipe = {
        "output": str(tmp_path / "run"),
        "device": "cpu",
        "effort": "quick",
        "teacher": {"model": str(workspace / "teacher"), "finetune": settings, "count": 2, "patience_from": 2},
        "data": {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv"), "max_length": 32},
        "training": {"num_train_epochs": 1, "learning_rate": 1e-3},
        "students": [{"layers": 2}],
        "controls": False,
        "evaluation": {"resamples": 50, "measure_speed": False},
    }
    file = tmp_path / "recipe.yaml"
    file.write_text(json.dumps(recipe))
    before = pkd.check(file)
    assert "The teacher, of 4 layers, is yet to be fine-tuned" in str(before)
    assert before.forecast is not None
    assert before.forecast.trainings == 3
    result = pkd.run(file)
    run = RunFolder(tmp_path / "run")
    seeds = [manifest.inputs["seed"] for number in (1, 2) if (manifest := read_manifest(run.teacher_of(number)))]
    assert seeds == [42, 43]
    assert list(models_of(result))[:3] == ["teacher", "teacher 2", "teachers' mean"]
    after = pkd.check(file)
    assert "Teacher 2," in str(after)
    assert "Students learn from their mean, whose accuracy on these rows is" in str(after)
    assert after.forecast is not None
    assert after.forecast.trainings == 0
    shutil.rmtree(run.teacher_of(2))
    assert "The teacher 2, of 4 layers, is yet to be fine-tuned" in str(pkd.check(file))


def test_teachers_that_do_not_go_together_are_refused_before_any_pass(workspace: Path, tmp_path: Path) -> None:
    teacher, learned = workspace / "teacher", tmp_path / "classes"
    make_teacher(labels=("no", "yes")).save_pretrained(learned)
    make_tokenizer().save_pretrained(learned)
    with pytest.raises(TeacherError, match=r"has the classes \['no', 'yes'\], but .* do not go together"):
        distil(workspace, tmp_path / "student", [teacher, learned])
    with pytest.raises(RecipeError, match=r"names .*teacher twice"):
        distil(workspace, tmp_path / "student", [teacher, f"{teacher}/"])
    with pytest.raises(RecipeError, match="names 2 teachers, but annotated rows hold the answers of one"):
        pkd.annotate(str(workspace / "train.csv"), [teacher, teacher], output=tmp_path / "rows")  # type: ignore[arg-type]
    assert not (tmp_path / "student.work" / "annotated").exists()
