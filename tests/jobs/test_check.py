import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import make_reviews, make_teacher, make_tokenizer, write_csv
from pkd import progress
from pkd.errors import RecipeError
from pkd.jobs.check import check
from pkd.jobs.finetune import finetune
from pkd.jobs.run import run
from pkd.recipe.reading import recipe_from
from pkd.recipe.settings import TrainingSettings


class Notes(progress.Watcher):
    """Keeps what a job tells."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def noted(self, message: str, level: str) -> None:
        self.notes.append(message)


def recipe(workspace: Path, **more: Any) -> Any:
    given = {
        "teacher": {"model": str(workspace / "teacher")},
        "data": {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv"), "max_length": 32},
        **more,
    }
    return recipe_from(given, where="test")


def test_it_names_pairs_formula_terms_and_what_beta_is_elsewhere(workspace: Path) -> None:
    result = check(recipe(workspace, students=[{"layers": 3, "beta": 50}]))
    told = "\n".join(result.sentences)
    assert "student layer 1 ← teacher layer 1, student layer 2 ← teacher layer 2" in told
    assert "starts as teacher layers 1, 2, 3" in told
    assert "loss of a row = 0.5 · ce + 0.5 · kd + 50 · pt" in told
    student = result.students[0]
    assert {term.name for term in student.terms} == {"ce", "kd", "pt"}
    assert sum(term.share for term in student.terms) == pytest.approx(1)
    assert student.beta is not None
    assert student.beta.paper_sum == pytest.approx(50 / (2 * 16))
    assert result.teacher_score is not None
    assert result.constant_score is not None
    assert result.teacher_score > result.constant_score
    assert result.to_dict()["students"][0]["pairs"] == ((1, 1), (2, 2))


@pytest.mark.parametrize("students", [[{"layers": 2}], [{"layers": 3, "beta": 5}, {"layers": 2, "unlabelled": False}]])
def test_check_and_the_run_itself_tell_one_and_the_same_measurement(
    students: list[dict[str, Any]], workspace: Path, tmp_path: Path
) -> None:
    """On the sixteen batches that training begins with, of more rows than those: by the same words and digits."""
    asked = recipe(
        workspace, output=str(tmp_path / "run"), students=students, controls=False,
        training={"num_train_epochs": 1, "per_device_train_batch_size": 4},
        evaluation={"resamples": 10, "measure_speed": False},
    )  # fmt: skip
    asked.data.unlabelled = [str(workspace / "unlabelled.txt")]
    checked = check(asked)
    told = Notes()
    with progress.watch(told):
        run(asked)
    for student in checked.students:
        assert student.rows == 64
        assert set(student.sentences()) <= set(told.notes)
        for term in student.terms:  # of three layers patience is what they are already: it has no gradient, surely
            has_none = term.name == "pt" and student.name == "pkd-skip-L3-spread"
            assert (term.share, term.share_error) == (0, 0) if has_none else term.value_error > 0 < term.share_error
    mixed = next(each for each in checked.students if each.name == "pkd-skip-L3-spread" or len(students) == 1)
    assert mixed.terms[0].weight == pytest.approx(0.5 * 160 / 200)
    assert re.search(r"  ce: 0\.\d+ ± 0\.\d+, weight 0\.4, \d+(\.\d+)? ± \d+(\.\d+)? % of the", "\n".join(told.notes))
    assert "  on the first 64 rows of training, without dropout, before the first step:" in told.notes


def test_it_measures_unlabelled_rows_as_they_will_be_learnt_from(workspace: Path) -> None:
    given = recipe(workspace)
    given.data.unlabelled = [str(workspace / "unlabelled.txt")]
    assert "loss of an unlabelled row = kd + " in "\n".join(check(given).sentences)


def test_a_teacher_that_is_yet_to_be_made_is_no_fault(workspace: Path, tmp_path: Path) -> None:
    given = recipe(workspace, output=str(tmp_path / "run"))
    given.teacher.finetune = given.training
    result = check(given)
    assert any("of 4 layers, is yet to be fine-tuned" in told for told in result.sentences)
    assert [student.pairs for student in result.students] == [((1, 2),)]
    assert not (tmp_path / "run").exists()
    given.students[0].layers = 9
    with pytest.raises(RecipeError, match="a student of 9 layers cannot come from a teacher of 4"):
        check(given)


def test_a_fine_tuned_teacher_is_compared_with_what_the_recipe_makes_now(workspace: Path, tmp_path: Path) -> None:
    """A run would make a stale one anew, so nothing is measured with it."""
    training = {"num_train_epochs": 1, "learning_rate": 3e-3}
    given = recipe(workspace, output=str(tmp_path / "run"), controls=False)
    given.teacher.finetune = TrainingSettings(**training)
    finetune(
        model=given.teacher.model, output=str(tmp_path / "run" / "teacher"), max_length=32,
        train=given.data.train, eval=given.data.eval, **training,
    )  # fmt: skip
    fresh = check(given)
    assert fresh.students[0].terms
    assert not any("stale" in told for told in fresh.sentences)

    def told_of(change: Callable[[Any], None]) -> str:
        changed = copy.deepcopy(given)
        change(changed)
        result = check(changed)
        assert result.teacher_score is None
        assert [student.terms for student in result.students] == [[]]
        return next(told for told in result.sentences if str(tmp_path / "run" / "teacher") in told)

    def rate(changed: Any) -> None:
        changed.teacher.finetune.learning_rate = 1e-3

    def rows(changed: Any) -> None:
        changed.data.train = str(workspace / "test.csv")

    assert "is stale: training.learning_rate 0.003 → 0.001. A run sets it aside" in told_of(rate)
    assert re.search(r"is stale: data\.train\.\w+ [0-9a-f]{8}… → ", told_of(rows))
    assert "is stale: seed 42 → 7." in told_of(lambda changed: setattr(changed, "seed", 7))
    assert "is stale: encoder.model " in told_of(
        lambda changed: setattr(changed.teacher, "model", str(tmp_path / "run" / "teacher"))
    )
    with (tmp_path / "run" / "teacher" / "model.safetensors").open("ab") as file:
        file.write(b"?")
    assert "is damaged: model.safetensors" in told_of(lambda changed: None)
    (tmp_path / "run" / "teacher" / "manifest.json").unlink()
    with pytest.raises(RecipeError, match="exists and was not made by this command"):
        check(given)  # as the run would say


@pytest.mark.parametrize(
    ("rows", "problem_type", "told"),
    [
        ([{"text": "a b", "label": 0.5}, {"text": "b a", "label": 2.0}], "auto", "0.5 to 2, mean 1.25"),
        (
            [{"text": "a b", "label": ["x", "y"]}, {"text": "b a", "label": ["y"]}, {"text": "b", "label": []}],
            "multi_label_classification",
            "x 1, y 2",
        ),
        (
            [{"question": each, "options": ["a", "b", "c"], "answer": "B"} for each in ("who", "why")],
            "auto",
            "A 0, B 2, C 0",
        ),
    ],
)
def test_labels_are_summed_up_for_each_kind_of_problem(
    rows: list[dict[str, Any]], problem_type: str, told: str, workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = str(tmp_path / "train.jsonl")  # as development rows too, so that none are held out of it
    given = {"train": file, "eval": file, "problem_type": problem_type, "max_length": 32}
    untrained = {"model": str(workspace / "teacher"), "finetune": {}}
    result = check(recipe_from({"output": str(tmp_path / "run"), "data": given, "teacher": untrained}, where="test"))
    assert f"Training labels: {told}." in result.sentences[0]


def test_a_metric_that_so_many_classes_do_not_have_is_refused(workspace: Path, tmp_path: Path) -> None:
    reviews = make_reviews(30)
    write_csv(tmp_path / "three.csv", [(text, "abc"[place % 3]) for place, (text, _) in enumerate(reviews)])
    make_teacher(labels=("a", "b", "c")).save_pretrained(tmp_path / "teacher")
    make_tokenizer().save_pretrained(tmp_path / "teacher")
    told = (
        "metric is f1, which single_label_classification of 3 classes has not. Give one of accuracy, "
        "macro_f1, mcc, or auto."
    )
    for finetuning in (None, TrainingSettings()):
        given = recipe(workspace, output=str(tmp_path / "run"), evaluation={"metric": "f1"})
        given.data.train = given.data.eval = str(tmp_path / "three.csv")
        given.teacher.model, given.teacher.finetune = str(tmp_path / "teacher"), finetuning
        for job in (check, run):
            with pytest.raises(RecipeError, match=re.escape(told)):
                job(given)
    assert not (tmp_path / "run" / "annotated").exists()
    check(recipe(workspace, evaluation={"metric": "f1"}))  # two classes have it


def test_what_does_not_fit_the_teacher_is_refused(workspace: Path) -> None:
    with pytest.raises(RecipeError, match=r"a student of 5 layers cannot come from a teacher of 4"):
        check(recipe(workspace, students=[{"layers": 5}]))
    with pytest.raises(RecipeError, match="max_length is 128, but this bert model reads at most 64"):
        given = recipe(workspace)
        given.data.max_length = 128
        check(given)
    with pytest.raises(RecipeError, match="max_length is 128, but this bert model reads at most 64"):
        given.teacher.finetune = given.training  # of an encoder that is yet to be fine-tuned
        check(given)


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"report_to": ["foo"]}, "report_to names 'foo', which is no tracker that is installed here"),
        ({"report_to": [""]}, "report_to names ''"),
        ({"report_to": ["numpy"]}, "report_to names 'numpy', which is no tracker that is installed here"),  # a module
        pytest.param(
            {"device": "cuda"},
            "torch sees no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU"),
        ),
    ],
)
def test_what_this_machine_lacks_for_any_training_is_told_before_the_first(
    workspace: Path, tmp_path: Path, training: dict[str, Any], words: str
) -> None:
    asked = recipe(workspace, output=str(tmp_path / "run"), students=[{"layers": 2, "training": training}])
    for job in (check, run):
        with pytest.raises(RecipeError, match=words):
            job(asked)
    assert not (tmp_path / "run" / "annotated").exists()
    with pytest.raises(RecipeError, match=words):
        finetune(model=workspace / "teacher", train=workspace / "train.csv", output=tmp_path / "teacher", **training)
    assert not (tmp_path / "teacher.partial").exists()
