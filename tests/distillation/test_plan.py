import pytest

from pkd.distillation.plan import RowCounts, is_control_of, plan_controls, plan_students
from pkd.errors import RecipeError
from pkd.recipe.reading import recipe_from
from pkd.recipe.schema import Recipe


def recipe(*students: dict[str, object], **more: object) -> Recipe:
    values = {
        "teacher": {"model": "t"},
        "data": {"train": "a.csv", "eval": "b.csv"},
        "students": list(students),
        **more,
    }
    return recipe_from(values, where="test")


def names(given: Recipe, teacher_layers: int = 6) -> list[list[str]]:
    return [[plan.name for plan in candidates] for candidates in plan_students(given, teacher_layers)]


def test_names_say_method_depth_and_start() -> None:
    given = recipe(
        {}, {"layer_map": "last", "layers": 2}, {"method": "kd", "start": "first"}, {"method": "ft", "start": [1, 2, 6]}
    )
    assert names(given) == [["pkd-skip-L3-spread"], ["pkd-last-L2-spread"], ["kd-L3-first"], ["ft-L3-1.2.6"]]


def test_several_starts_are_candidates_of_one_student() -> None:
    assert names(recipe({"start": ["spread", "first", [1, 2, 6]]})) == [
        ["pkd-skip-L3-spread", "pkd-skip-L3-first", "pkd-skip-L3-1.2.6"]
    ]


def test_auto_has_a_candidate_for_each_start_that_differs() -> None:
    tried = ["pkd-skip-L3-first", "pkd-skip-L3-spread", "pkd-skip-L3-1.3.6", "pkd-skip-L3-1.2.6"]
    assert names(recipe({"start": "auto"})) == [tried]
    [with_greedy] = plan_students(recipe({"start": "auto"}), 6, dropped=[4, 3, 2, 5, 6])
    assert [plan.name for plan in with_greedy] == [*tried, "pkd-skip-L3-1.5.6"]
    assert names(recipe({"start": "auto", "layers": 6})) == [["pkd-skip-L6-first"]]
    assert names(recipe({"start": "auto", "layers": 1, "method": "kd"})) == [["kd-L1-first", "kd-L1-6"]]
    assert names(recipe({"start": "auto", "name": "small", "layers": 6})) == [["small"]]


def test_a_start_in_a_race_may_be_another_students_too_but_another_loss_has_another_name() -> None:
    [raced, [given]] = plan_students(recipe({"start": "auto"}, {"start": "first"}), 6)
    assert raced[0].after_race() == given
    [raced, [given]] = plan_students(recipe({"start": "auto", "beta": 10}, {"start": "first", "beta": 100}), 6)
    assert (raced[0].name, raced[0].after_race().name, given.name) == (
        "pkd-skip-L3-first-auto", "pkd-skip-L3-first-auto", "pkd-skip-L3-first"
    )  # fmt: skip
    with pytest.raises(RecipeError, match="Two students are called pkd-skip-L3-"):
        plan_students(recipe({"start": "auto"}, {"start": "auto", "layers": 3}), 6)


def test_a_start_that_patience_teaches_itself_is_not_tried_with_a_share_of_the_gradient() -> None:
    """Of 4 layers, 3: patience teaches layers 1 and 2 what they are already, from every start."""
    with pytest.raises(RecipeError, match="no distance yet"):
        plan_students(recipe({"start": "auto", "layers": 3, "patience": 0.3}), 4)
    of_the_first = {"start": "auto", "layer_map": [[1, 1], [2, 2]], "patience": 0.3}  # which spread is far from
    assert "pkd-map-L3-first" not in names(recipe(of_the_first))[0]
    assert "pkd-map-L3-spread" in names(recipe(of_the_first))[0]
    [plans] = plan_students(recipe({"start": "auto", "layers": 3}), 4)
    assert [plan.loss.beta for plan in plans] == [100, 100]


def test_controls_share_the_students_start_and_are_not_made_twice() -> None:
    plans = [
        plan for candidates in plan_students(recipe({}, {"start": "first"}, {"method": "kd"}), 6) for plan in candidates
    ]
    controls = plan_controls(plans, RowCounts(100))
    assert [control.name for control in controls] == ["ft-L3-spread", "kd-L3-first", "ft-L3-first"]
    for control in controls:
        assert control.role == "control"
        assert control.start_layers == ((1, 3, 5) if control.start == "spread" else (1, 2, 3))
        assert control.loss.beta == 0


def test_fine_tuning_goes_over_its_labelled_rows_until_it_has_its_students_steps() -> None:
    plans = [c[0] for c in plan_students(recipe({"name": "all"}, {"name": "labelled", "unlabelled": False}), 6)]
    rows = RowCounts(100, unlabelled=30, augmented=390)
    controls = {control.name: control for control in plan_controls(plans, rows)}
    assert {name: control.rows_an_epoch for name, control in controls.items()} == {
        "kd-L3-spread": None, "ft-L3-spread": 520, "kd-of-labelled": None, "ft-of-labelled": None,
    }  # fmt: skip
    assert [control.learns_from(rows) for control in controls.values()] == [520, 520, 100, 100]
    assert is_control_of(controls["ft-L3-spread"], plans[0], "ft", rows)
    assert not is_control_of(controls["ft-of-labelled"], plans[0], "ft", rows)
    assert [control.rows_an_epoch for control in plan_controls(plans, RowCounts(100))] == [None, None]


def test_methods_leave_of_the_loss_what_they_use() -> None:
    plans = {c[0].method: c[0] for c in plan_students(recipe({}, {"method": "kd"}, {"method": "ft"}), 6)}
    assert (plans["pkd-skip"].loss.alpha, plans["pkd-skip"].loss.beta, plans["pkd-skip"].loss.patience) == (
        0.5,
        None,
        0.1,
    )
    assert (plans["kd"].loss.alpha, plans["kd"].loss.beta, plans["kd"].layer_map) == (0.5, 0, None)
    assert (plans["ft"].loss.alpha, plans["ft"].loss.beta, plans["ft"].unlabelled) == (0, 0, False)


def test_patience_is_a_share_or_a_number_and_nothing_of_it_is_kd() -> None:
    def loss(**student: object) -> tuple[float | None, float | None]:
        plan = plan_students(recipe(student), 6)[0][0]
        return plan.loss.patience, plan.loss.beta

    assert (loss(), loss(patience=0.3), loss(beta=7)) == ((0.1, None), (0.3, None), (None, 7))
    assert loss(patience=0) == loss(beta=0) == loss(method="kd", patience=0.3) == (None, 0)
    none = plan_students(recipe({"patience": 0}), 6)[0][0]
    assert [control.name for control in plan_controls([none], RowCounts(100))] == ["kd-L3-spread", "ft-L3-spread"]


def test_a_student_that_starts_as_what_it_is_taught_takes_a_number_for_its_patience() -> None:
    """Its states have no distance to the teacher's yet, so that no weight has a share of the gradient."""
    same = {"layer_map": [[1, 1], [2, 2]], "start": "first"}
    plan = plan_students(recipe(same), 6)[0][0]
    assert (plan.loss.patience, plan.loss.beta) == (None, 100)
    with pytest.raises(RecipeError, match=r"^patience is 0\.3, but the student starts with the very layers"):
        plan_students(recipe({**same, "patience": 0.3}), 6)
    assert plan_students(recipe({**same, "start": "spread", "patience": 0.3}), 6)[0][0].loss.patience == 0.3


def test_training_settings_of_a_student_stand_before_the_recipes() -> None:
    plan = plan_students(recipe({"training": {"learning_rate": 1e-5}}, training={"num_train_epochs": 2}), 6)[0][0]
    assert (plan.training.learning_rate, plan.training.num_train_epochs) == (1e-5, 2)


def test_what_does_not_fit_the_teacher_is_told_with_the_students_place() -> None:
    with pytest.raises(
        RecipeError, match=r"students\.1\.layers is 7: a student of 7 layers cannot come from a teacher of 6"
    ):
        plan_students(recipe({}, {"layers": 7}), 6)
    with pytest.raises(RecipeError, match=r"^layers is 7: a student of 7 layers cannot"):
        plan_students(recipe({"layers": 7}), 6)
    with pytest.raises(RecipeError, match="Two students are called pkd-skip-L3-spread"):
        plan_students(recipe({"layers": 3}, {"beta": 5}), 6)
