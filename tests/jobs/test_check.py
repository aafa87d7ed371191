from pathlib import Path
from typing import Any

import pytest

from pkd.errors import RecipeError
from pkd.jobs.check import check
from pkd.recipe.reading import recipe_from


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
    assert "0.5·CE + 0.5·T²·KL" in told
    student = result.students[0]
    assert {term.name for term in student.terms} == {"ce", "kd", "pt"}
    assert sum(term.share for term in student.terms) == pytest.approx(1)
    assert student.beta is not None
    assert student.beta.paper_sum == pytest.approx(50 / (2 * 16))
    assert result.teacher_score is not None
    assert result.constant_score is not None
    assert result.teacher_score > result.constant_score
    assert result.to_dict()["students"][0]["pairs"] == ((1, 1), (2, 2))


def test_it_measures_unlabelled_rows_as_they_will_be_learnt_from(workspace: Path) -> None:
    given = recipe(workspace)
    given.data.unlabelled = [str(workspace / "unlabelled.txt")]
    assert "of an unlabelled row = T²·KL" in "\n".join(check(given).sentences)


def test_a_teacher_that_is_yet_to_be_made_is_no_fault(workspace: Path, tmp_path: Path) -> None:
    given = recipe(workspace, output=str(tmp_path / "run"))
    given.teacher.finetune = given.training
    assert "yet to be fine-tuned" in check(given).sentences[-1]
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_the_teacher_is_refused(workspace: Path) -> None:
    with pytest.raises(RecipeError, match=r"^A student of 5 layers cannot come from a teacher of 4"):
        check(recipe(workspace, students=[{"layers": 5}]))
    with pytest.raises(RecipeError, match="max_length is 128, but this bert model reads at most 64"):
        given = recipe(workspace)
        given.data.max_length = 128
        check(given)
