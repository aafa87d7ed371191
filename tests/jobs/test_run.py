"""The whole job, on a tiny real teacher."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from conftest import recipe_values
from pkd.distillation import annotation
from pkd.distillation.student import student_from
from pkd.encoder.inference import Answers
from pkd.errors import RecipeError, ResourceError
from pkd.evaluation import judge
from pkd.jobs import train
from pkd.jobs.evaluate import read_logits
from pkd.jobs.run import RunResult, run
from pkd.recipe.reading import recipe_from
from pkd.reporting.results import ComparisonRecord, FlipRecord, ModelRecord, RunRecord, read_results
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.seal import read_manifest

TRAINING = {"num_train_epochs": 2, "learning_rate": 1e-3, "device": "cpu", "precision": "float32"}


def values(workspace: Path, output: Path, **more: Any) -> dict[str, Any]:
    return {
        **recipe_values(workspace, output),
        "training": TRAINING,
        "evaluation": {"resamples": 200, "measure_speed": False},
        **more,
    }


def go(given: dict[str, Any], **options: Any) -> RunResult:
    return run(recipe_from(given, where="test"), **options)


def weights_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of_file(path) for path in sorted(folder.rglob("model.safetensors"))}


def changes(before: dict[Path, int], folder: Path) -> set[str]:
    now = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    return {str(path.relative_to(folder)) for path in now if before.get(path) != now[path]}


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    output = tmp_path_factory.mktemp("runs") / "whole"
    given = values(workspace, output, seeds=2, evaluation={"resamples": 200})
    given["data"]["unlabelled"] = [str(workspace / "unlabelled.txt")]
    given["students"] = [
        {"layers": 2, "unlabelled": False},
        {"layers": 2, "start": "first", "unlabelled": False},
        {"layers": 2, "name": "more"},
    ]
    return go(given)


def test_a_run_records_every_model_comparison_and_where_it_came_from(finished: RunResult) -> None:
    records = read_results(finished.folder)
    assert records == finished.records
    models = [record for record in records if isinstance(record, ModelRecord)]
    names = {(record.role, record.name) for record in models}
    assert names == {
        ("teacher", "teacher"), ("student", "pkd-skip-L2-spread"), ("student", "pkd-skip-L2-first"), ("student", "more"),
        ("control", "kd-L2-spread"), ("control", "ft-L2-spread"), ("control", "kd-L2-first"), ("control", "ft-L2-first"),
        ("control", "kd-of-more"), ("control", "ft-of-more"),
    }  # fmt: skip
    assert sorted(record.seed for record in models if record.name == "more") == [42, 43]
    student = next(record for record in models if record.name == "pkd-skip-L2-first")
    assert (student.start_layers, student.layer_map, student.split, student.rows) == ([1, 2], [(1, 2)], "test", 60)
    assert {"accuracy", "f1", "macro_f1", "mcc", "cross_entropy", "ece", "agreement", "kl"} == set(student.scores)
    assert (student.settings["patience"], student.settings["beta"] > 0) == (0.1, True)
    assert any("loss/pt" in entry for entry in student.history)
    assert student.selection["on"] == "eval"
    more = {record.name: record for record in models if record.seed == 42 and record.name.endswith("more")}
    assert {(each.labelled_rows, each.unlabelled_rows) for each in (more["more"], more["kd-of-more"])} == {(160, 40)}
    control = more["ft-of-more"]
    assert (control.labelled_rows, control.unlabelled_rows) == (160, 0)
    assert control.history[-1]["step"] == more["more"].history[-1]["step"] == 2 * 7  # of 200 rows in batches of 32
    the_run = next(record for record in records if isinstance(record, RunRecord))
    assert the_run.rows == {"train": 160, "eval": 60, "test": 60, "unlabelled": 40}
    assert {"teacher", "data train", "data test"} <= set(the_run.fingerprints)
    assert the_run.versions["torch"]


def test_the_size_of_each_term_is_measured_once_a_student_and_stands_in_the_record_the_page_and_the_stage(
    finished: RunResult,
) -> None:
    students = [record for record in finished.records if isinstance(record, ModelRecord) and record.role != "teacher"]
    measured = {"pkd-skip": ["ce", "kd", "pt"], "kd": ["ce", "kd"], "ft": []}
    for one in students:
        assert [term.name for term in one.terms] == measured[one.method or ""]
        if (one.method or "").startswith("pkd"):
            patience = one.terms[2]
            assert (patience.asked, patience.weight) == (0.1, one.settings["beta"])
            assert patience.share == pytest.approx(0.1, abs=1e-4)
            assert sum(term.share for term in one.terms) == pytest.approx(1)
            sealed = read_manifest(finished.folder / "sizes" / one.name)
            assert sealed is not None
            assert sealed.facts["terms"][2]["weight"] == patience.weight
            trained = read_manifest(finished.folder / one.folder)
            assert trained is not None
            assert trained.inputs["beta"] == patience.weight
    by_name = {(one.name, one.seed): one.settings["beta"] for one in students}
    assert by_name["more", 42] == by_name["more", 43]
    first = next(one for one in students if one.name == "more")
    assert f"pt 10.0 % (β = {first.terms[2].weight:g})" in finished.report.read_text(encoding="utf-8")
    card = (finished.folder / first.folder / "README.md").read_text(encoding="utf-8")
    assert f"pt 10.0 % (β = {first.terms[2].weight:g})" in card
    assert f"loss of a row = 0.5 · ce + 0.5 · kd + {first.terms[2].weight:g} · pt" in card


def test_the_weights_that_the_development_rows_chose_are_named_in_the_record_the_page_and_the_card(
    workspace: Path, tmp_path: Path
) -> None:
    given = values(workspace, tmp_path / "run", students=[{"layers": 2}], controls=False)
    given["training"] = {**TRAINING, "averaging": "ema"}
    done = go(given)
    student = done.student
    kept = student.selection["weights"]
    best = max((entry for entry in student.history if "averaged" in entry), key=lambda entry: entry["eval_accuracy"])
    assert kept == ("ema" if best["averaged"] else "raw")
    assert student.settings["averaging"] == "ema"
    words = "the raw weights" if kept == "raw" else "the averaged weights (ema)"
    assert f"pkd-skip-L2-spread, seed 42: epoch {best['epoch']:g}, {words}" in done.report.read_text(encoding="utf-8")
    assert f"weights {kept}" in (done.folder / student.folder / "README.md").read_text(encoding="utf-8")
    assert not list((done.folder / student.folder).glob("averaged*"))


def test_it_says_of_each_term_and_start_whether_it_helped(finished: RunResult) -> None:
    asked = {
        (record.question, record.a, record.b) for record in finished.records if isinstance(record, ComparisonRecord)
    }
    assert ("patience", "pkd-skip-L2-spread", "kd-L2-spread") in asked
    assert ("kd", "kd-L2-spread", "ft-L2-spread") in asked
    assert ("patience", "pkd-skip-L2-first", "kd-L2-first") in asked
    assert ("patience", "more", "kd-of-more") in asked
    assert ("kd", "kd-of-more", "ft-of-more") in asked
    assert ("unlabelled text", "more", "pkd-skip-L2-spread") in asked
    assert ("start first against spread", "pkd-skip-L2-first", "pkd-skip-L2-spread") in asked
    assert ("against the teacher", "more", "teacher") in asked
    for record in finished.records:
        if isinstance(record, ComparisonRecord):
            assert [test.seed for test in record.tests] == [42, 43]
            assert (record.seeds_a, record.seeds_b) == (2, None if record.b == "teacher" else 2)
            expected = "HELPS" if record.difference.low > 0 else "DOES NOT" if record.difference.high < 0 else "UNCLEAR"
            assert record.verdict == expected


def test_negative_flips_are_rows_that_the_teacher_has_right_and_the_student_wrong(finished: RunResult) -> None:
    flips = [record for record in finished.records if isinstance(record, FlipRecord)]
    for flip in flips:
        assert flip.teacher == flip.label != flip.student
        assert flip.text


def test_students_of_two_seeds_differ(finished: RunResult) -> None:
    weights = weights_of(finished.folder / "students")
    assert weights["more-seed42/model.safetensors"] != weights["more-seed43/model.safetensors"]


def test_the_verdict_is_that_of_all_seeds_answers(finished: RunResult, workspace: Path) -> None:
    labels = np.array([line.endswith("positive") for line in (workspace / "test.csv").read_text().splitlines()[1:]])

    def right(name: str) -> np.ndarray:
        folders = [finished.folder / "predictions" / f"{name}-seed{seed}" for seed in (42, 43)]
        return np.stack([read_logits(folder).argmax(axis=1) == labels for folder in folders])

    for record in finished.records:
        if isinstance(record, ComparisonRecord) and record.b != "teacher":
            judgement = judge(right(record.a), right(record.b), confidence=0.95)
            assert (record.verdict, record.examples) == (judgement.verdict, pytest.approx(judgement.examples))
            assert (record.difference.low, record.difference.high) == pytest.approx((judgement.low, judgement.high))


def test_one_seed_is_two_models_against_the_teacher_and_no_verdict_on_a_method(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", students=[{"layers": 2}, {"layers": 2, "start": "first"}], seeds=1)
    records = [record for record in go(given | {"controls": False}).records if isinstance(record, ComparisonRecord)]
    assert {(one.question, one.seeds_a, one.seeds_b) for one in records} == {
        ("start first against spread", 1, 1), ("against the teacher", None, None),
    }  # fmt: skip
    assert [one.verdict for one in records if one.seeds_a == 1] == ["UNCLEAR"]


def test_the_same_run_again_redoes_nothing(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", students=[{"layers": 2}])
    go(given)
    before = times(tmp_path / "run")
    again = go(given)
    assert changes(before, tmp_path / "run") <= {"recipe.yaml"}
    assert again.records == read_results(tmp_path / "run")


def test_a_changed_student_is_redone_and_nothing_else(workspace: Path, tmp_path: Path) -> None:
    given = values(
        workspace, tmp_path / "run", students=[{"layers": 2, "name": "one"}, {"layers": 2, "name": "two", "beta": 5}]
    )
    go(given)
    before = weights_of(tmp_path / "run")
    given["students"][1]["beta"] = 7
    go(given)
    after = weights_of(tmp_path / "run")
    assert after["students/one-seed42/model.safetensors"] == before["students/one-seed42/model.safetensors"]
    assert after["students/two-seed42/model.safetensors"] != before["students/two-seed42/model.safetensors"]
    assert after["students/two-seed42.stale-1/model.safetensors"] == before["students/two-seed42/model.safetensors"]
    assert not list((tmp_path / "run" / "annotated").glob("*stale*"))


def test_a_student_that_needs_more_layers_makes_one_pass_for_the_union(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", students=[{"layers": 2}], controls=False)
    go(given)
    trained = times(tmp_path / "run" / "students")
    given["students"] = [{"layers": 3}, {"layers": 2, "layer_map": "last"}]  # teacher layers 1, 2 and 3
    go(given)
    manifest = json.loads((tmp_path / "run" / "annotated" / "train" / "manifest.json").read_text())
    assert manifest["facts"]["teacher_layers"] == [1, 2, 3]
    before = times(tmp_path / "run" / "annotated")
    given["students"] = [{"layers": 2}]
    go(given)
    assert changes(before, tmp_path / "run" / "annotated") == set()
    # the answers that the first student learned from are the same bits in the union: it is not trained again
    assert all(path.stat().st_mtime_ns == time for path, time in trained.items() if path.suffix == ".safetensors")


def test_what_was_learnt_from_wrong_answers_is_made_again(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = annotation.answer_rows

    def wrong(*given: Any, layers: Any, **options: Any) -> Answers:
        answers = right(*given, layers=layers, **options)
        return dataclasses.replace(answers, logits=-answers.logits) if layers else answers

    given = values(workspace, tmp_path / "run", students=[{"layers": 2}], controls=False)
    with monkeypatch.context() as patched:
        patched.setattr(annotation, "answer_rows", wrong)
        go(given)
    before, learnt = times(tmp_path / "run"), weights_of(tmp_path / "run")
    go(given)
    name = "students/pkd-skip-L2-spread-seed42"
    assert {f"{name}/model.safetensors", "results.jsonl", "report.html"} <= changes(before, tmp_path / "run")
    assert weights_of(tmp_path / "run")[f"{name}.stale-1/model.safetensors"] == learnt[f"{name}/model.safetensors"]
    assert weights_of(tmp_path / "run")[f"{name}/model.safetensors"] != learnt[f"{name}/model.safetensors"]


def test_results_are_made_again_when_their_student_has_other_weights(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = values(workspace, tmp_path / "run", students=[{"layers": 2}], controls=False)
    go(given)
    shutil.rmtree(tmp_path / "run" / "students")
    other = lambda teacher, layers, _, **narrowing: student_from(teacher, layers, (1, 2), **narrowing)  # noqa: E731
    monkeypatch.setattr(train, "student_from", other)
    again = go(given)  # as on a machine that rounds otherwise
    student = next(record for record in again.records if isinstance(record, ModelRecord) and record.role == "student")
    facts = json.loads((tmp_path / "run" / student.folder / "manifest.json").read_text())["facts"]
    assert student.history == facts["history"]


def test_the_dev_score_chooses_among_several_starts_and_controls_share_it(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", students=[{"layers": 2, "start": ["spread", "first", [2, 4]]}])
    records = go(given).records
    students = [record for record in records if isinstance(record, ModelRecord) and record.role == "student"]
    assert len(students) == 1
    tried = students[0].starts_tried
    assert set(tried) == {"spread", "first", "2.4"}
    assert tried[students[0].start] == max(tried.values())
    controls = [record for record in records if isinstance(record, ModelRecord) and record.role == "control"]
    assert {control.start for control in controls} == {students[0].start}


def test_a_pretrained_encoder_can_be_fine_tuned_first(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", students=[{"layers": 2, "method": "kd"}], controls=False)
    given["teacher"]["finetune"] = {**TRAINING, "num_train_epochs": 3}
    result = go(given)
    assert (tmp_path / "run" / "teacher" / "model.safetensors").is_file()
    teacher = next(record for record in result.records if isinstance(record, ModelRecord) and record.role == "teacher")
    assert teacher.folder == "teacher"


def test_without_test_rows_the_results_say_what_they_were_selected_on(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", students=[{"layers": 2}], controls=False)
    del given["data"]["test"]
    result = go(given)
    the_run = next(record for record in result.records if isinstance(record, RunRecord))
    assert the_run.evaluated_on == "eval"
    assert "development rows (which chose the epoch)" in result.report.read_text()


def test_a_student_may_be_an_encoder_and_is_trained_again_when_that_changes(workspace: Path, tmp_path: Path) -> None:
    shutil.copytree(workspace / "teacher", tmp_path / "encoder")
    students = [{"layers": 2, "student": str(tmp_path / "encoder")}]
    given = values(workspace, tmp_path / "run", students=students, controls=False)
    records = go(given).records
    student = next(record for record in records if isinstance(record, ModelRecord) and record.role == "student")
    assert (student.name, student.start, student.start_layers) == ("pkd-skip-L2-encoder", "encoder", [1, 2])
    before = weights_of(tmp_path / "run")
    go(given)
    assert weights_of(tmp_path / "run") == before
    weights = load_file(tmp_path / "encoder" / "model.safetensors")
    save_file(
        {name: 2 * each for name, each in weights.items()}, tmp_path / "encoder" / "model.safetensors", {"format": "pt"}
    )
    go(given)
    assert weights_of(tmp_path / "run").keys() - before.keys() == {
        "students/pkd-skip-L2-encoder-seed42.stale-1/model.safetensors"
    }


def test_a_run_does_not_mix_with_other_files(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("the only copy")
    recipe = recipe_from(values(workspace, tmp_path), where="test")
    with pytest.raises(RecipeError, match=r"holds other files \(thesis\.txt\) and no run"):
        run(recipe)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_training_whose_checkpoints_will_not_fit_is_told_before_it_begins(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shutil.disk_usage(tmp_path)
    filling = (tmp_path / "run" / "annotated" / "test").exists  # the last stage before the students
    free = (64 << 20) + 20_000  # the reserve and enough for an annotation of this size, not for checkpoints
    monkeypatch.setattr(shutil, "disk_usage", lambda place: whole._replace(free=free) if filling() else whole)
    with pytest.raises(ResourceError, match=r"Training pkd-skip-L2-spread will need about .* are free at"):
        run(recipe_from(values(workspace, tmp_path / "run"), where="test"))
    assert (tmp_path / "run" / "annotated" / "train" / "manifest.json").exists()
