"""A recipe file, its overrides and keywords become a checked recipe, or one message with every fault."""

from __future__ import annotations

import contextlib
import importlib.resources
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkd.errors import RecipeError
from pkd.recipe.keywords import place_keywords
from pkd.recipe.reading import read_recipe, recipe_from, validate
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import DataSettings, LossSettings
from pkd.recipe.writing import write_recipe

GOOD = "teacher: {model: t}\ndata: {train: a.csv}\n"


def recipe_file(folder: Path, text: str, name: str = "recipe.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read_recipe(recipe_file(folder, text), overrides)
    return str(caught.value)


def test_what_is_written_is_read_and_the_rest_is_the_default(tmp_path: Path) -> None:
    recipe = read_recipe(
        recipe_file(tmp_path, GOOD + "students: [{beta: 5, layers: 3}]\ntraining: {learning_rate: 5e-5}")
    )
    assert recipe.students[0].beta == 5
    assert recipe.training.learning_rate == 5e-5
    assert recipe.students[0].alpha == Recipe().students[0].alpha
    assert recipe.seeds == Recipe().seeds


def test_all_faults_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    message = complaint(
        tmp_path,
        "trainin: {}\nteacher: {model: t}\ndata:\n  train: 3\n"
        "training:\n  warmup_ratio: 0.1\nstudents:\n  - alpha: 1.5\n",
    )
    lines = message.splitlines()
    assert lines[0] == "4 things are wrong:"
    assert [line.removeprefix(f"{tmp_path}/").split(" ")[:2] for line in lines[1:]] == [
        ["recipe.yaml:1:", "trainin"],
        ["recipe.yaml:4:", "data.train"],
        ["recipe.yaml:6:", "training.warmup_ratio"],
        ["recipe.yaml:8:", "students.0.alpha"],
    ]
    assert "did you mean training?" in lines[1]
    assert "warmup_steps: 0.1" in lines[3]
    assert "is 1.5; it must be at most 1 (α, weight of L_DS" in lines[4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("students: [{alpha: 70}]", "did you mean 0.7?"),
        ("students: [{alpha: 2}]", "it must be at most 1 ("),  # no share was meant
        ("students: [{alpha: true}]", "is true; it must be a number"),
        ("students: [{alpha: .nan}]", "must be"),
        ("students: [{temperature: .inf}]", "finite number"),
        ("students: [{layer_map: skp}]", "it must be skip, last or a list of pairs, did you mean skip?"),
        ("students: [{layer_map: [1, 2]}]", "it must be skip, last or a list of pairs ("),
        ("students: [{start: [[[1, 2]]]}]", "it must be auto, spread, first or a list of layers ("),
        ("evaluation: {metric: foo}", "span_f1 or word_accuracy (chooses"),
        ("students: [{temperature: 1.0e+300}]", "it must be at most 1e+09"),
        ("training: {per_device_train_batch_size: 100000000000000000000}", "it must be at most 1000000000"),
        ("students: [{layers: 2.5}]", "a whole number"),
        ("students: [{kd_reduction: avg}]", "it must be mean or sum"),
        ("students: [7]", "students.0 is 7; it must be a mapping"),
        ("students: []", "name at least one student"),
        ("students: [{training: {epochs: 3}}]", "write num_train_epochs"),
        ("training: {learning_rate: autp}", "learning_rate is 'autp'; it must be auto or a number, did you mean auto?"),
        ("training: {learning_rate: true}", "learning_rate is true; it must be a number"),
        ("training: {num_train_epochs: 0}", "num_train_epochs is 0; it must be above 0"),
        ("training: {early_stopping_patience: 1.5}", "early_stopping_patience is 1.5; it must be a whole number"),
        ("students: [{training: {learning_rate: -1}}]", "students.0.training.learning_rate is -1; it must be above 0"),
        ("students: [{layers: 1}]", "patience no layer to teach"),
        ("students: [{method: kd, alpha: 0}]", "the teacher would teach nothing"),
        ("students: [{start: [1, 3, 3]}]", "increasing order"),
        (
            "students: [{start: [1, 3], layers: 3}]",
            "2 layers, but students.0.layers (recipe.yaml:3) is 3; make them agree",
        ),
        ("students: [{start: []}]", "empty list"),
        ("students: [{layer_map: [[2, 4], [1, 8]]}]", "its student layers must count from 1"),
        ("students: [{layer_map: [[1, 0], [2, 8]]}]", "its teacher layers must count from 1"),
        ("students: [{layer_map: [[3, 4]], layers: 3}]", "student layers 1 to 2"),
        ("students: [{name: ../x}]", "a folder's name"),
        ("students: [{name: Teacher}]", "the teacher's own name"),
        ("students: [{name: a}, {name: A}]", "a name of its own"),
        ("students: [{beta: 1}, {beta: 2}]", "a name of its own"),
        ("seed: 4294967295\nseeds: 2", "the last seed must be below 2^32"),
        ("name: a/b", "letters, digits"),
        ("training: {evaluation_strategy: epoch}", "every epoch is evaluated"),
        ("training: {no_cuda: true}", "write device: cpu"),
        ("data2: {}", "did you mean data?"),
        ("learning_rate: 1", "did you mean training.learning_rate?"),
        ("students: [{seeeds: 3}]", "students.0.seeeds is not known; seeds stands at the recipe's top level"),
        ("students: [{seeds: 3}]", "students.0.seeds is not known; seeds stands at the recipe's top level"),
        ("seed: 1\nseed: 2", "recipe.yaml:4: seed is given twice"),
        ("name:\n\tx: 1", "a tab stands where YAML wants spaces"),
        ("---\nname: x", "one document"),
        ("name: [1", "is not YAML"),
    ],
)
def test_each_fault_says_what_was_expected(tmp_path: Path, text: str, expected: str) -> None:
    message = complaint(tmp_path, GOOD + text)
    assert expected in message
    assert "recipe.yaml" in message


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    layers = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert "far too much" in complaint(tmp_path, "a0: &a0 [1]\n" + layers)


def test_ft_and_kd_work_where_patience_has_no_layer(tmp_path: Path) -> None:
    recipe = read_recipe(recipe_file(tmp_path, GOOD + "students: [{method: ft, layers: 1}, {method: kd, layers: 1}]"))
    assert [(student.method, student.layers) for student in recipe.students] == [("ft", 1), ("kd", 1)]


@pytest.mark.parametrize(("text", "expected"), [("", "is empty"), ("- a", "holds a list"), ("3", "holds 3")])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_a_missing_teacher_and_missing_data_are_told_unless_the_job_needs_none(tmp_path: Path) -> None:
    message = complaint(tmp_path, "seed: 1")
    assert "teacher.model is missing" in message
    assert "data.train is missing" in message
    assert read_recipe(tmp_path / "recipe.yaml", required=()).seed == 1


def test_a_missing_file_names_its_absolute_path_and_near_names(tmp_path: Path) -> None:
    recipe_file(tmp_path, GOOD, "recipe.yml")
    with pytest.raises(RecipeError, match=r"Did you mean recipe.yml\?") as caught:
        read_recipe(tmp_path / "recipe.yaml")
    assert str(tmp_path / "recipe.yaml") in str(caught.value)


def test_a_folder_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is a folder"):
        read_recipe(tmp_path)
    (tmp_path / "weights").write_bytes(b"\xff\xfe\x00\x81" * 9)
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_recipe(tmp_path / "weights")


def test_overrides_reach_items_and_are_named_in_faults(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, GOOD + "students: [{}, {method: kd}]")
    recipe = read_recipe(
        path, ["students.1.alpha=0.2", "data.unlabelled=[x.txt, y.txt]", "training.learning_rate=2e-5"]
    )
    assert recipe.students[1].alpha == 0.2
    assert recipe.data.unlabelled == ["x.txt", "y.txt"]
    assert recipe.training.learning_rate == 2e-5
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, ["students.0.beta=-1", "students.5.beta=1", "beta=3", "traning.seed=1"])
    message = str(caught.value)
    assert "--set students.0.beta is -1; it must be at least 0" in message
    assert "the last is students.1" in message
    assert "did you mean students.0.beta?" in message
    assert "did you mean training?" in message
    with pytest.raises(RecipeError, match="expected key=value"):
        read_recipe(path, ["beta"])


def test_an_override_makes_the_default_student_where_none_is_written() -> None:
    assert recipe_from({}, where="x", set=["students.0.beta=7"], required=()).students[0].beta == 7


def test_faults_in_keywords_name_the_keyword() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from(place_keywords({"alpha": 70, "teacher": "t", "train": "x", "learning_rate": 0}), where="distill")
    assert "\nalpha is 70; it must be at most 1" in str(caught.value)
    assert "\nlearning_rate is 0; it must be above 0" in str(caught.value)


def test_one_settings_class_is_validated_by_the_same_words() -> None:
    assert validate(LossSettings, {"alpha": 0.2}, "args").alpha == 0.2
    with pytest.raises(RecipeError, match=r"args: alpha is 1\.5; it must be at most 1"):
        validate(LossSettings, {"alpha": 1.5}, "args")
    with pytest.raises(RecipeError, match="args: T is not known; write temperature"):
        validate(LossSettings, {"T": 5}, "args")


def test_what_a_student_trains_differently_is_read_as_numbers() -> None:
    values = {"students": [{"training": {"learning_rate": "1e-4"}}]}
    assert recipe_from(values, where="x", required=()).students[0].training == {"learning_rate": 1e-4}


def test_every_recipe_in_the_package_is_sound() -> None:
    places = [importlib.resources.files("pkd.recipes"), importlib.resources.files("pkd.recipes") / "paper"]
    shipped = [one for place in places for one in place.iterdir() if one.name.endswith(".yaml")]
    shipped = [one for one in shipped if one.name != "published.yaml"]  # numbers, no recipe
    assert len(shipped) == 7
    for one in shipped:
        with importlib.resources.as_file(one) as path:
            read_recipe(path, required=())


KEYS = ["students", "data", "training", "teacher", "seed", "alpha", "layer_map", "start", "name", "train", "x"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["spread", "skip"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5))
def test_any_values_make_a_recipe_or_a_recipe_error(values: dict[str, object]) -> None:
    with contextlib.suppress(RecipeError):
        assert isinstance(recipe_from(values, where="values"), Recipe)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60) | st.text(alphabet="ab:- \n\t[]{}&*!<>#'\"%@,?|1.e", max_size=40))
def test_any_text_makes_a_recipe_or_a_recipe_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RecipeError):  # no text so short names a teacher and its data
        read_recipe(path)


@pytest.mark.parametrize("key", ["label_names", "label_columns"])
def test_classes_of_one_name_or_of_none_are_refused(tmp_path: Path, key: str) -> None:
    assert "'a' stands there twice" in complaint(tmp_path, GOOD, f"data.{key}=[a,a,b]")
    assert "one of its names is empty" in complaint(tmp_path, GOOD, f"data.{key}=[a,'']")


@pytest.mark.parametrize("where", ["training", "teacher.finetune", "students.0.training"])
def test_a_device_of_one_training_is_read_as_that_of_the_whole_job(where: str, tmp_path: Path) -> None:
    written = {
        "training": GOOD + "training: {device: cpu, learning_rate: 1e-5}\n",
        "teacher.finetune": "teacher: {model: t, finetune: {device: cpu}}\ndata: {train: a.csv}\n",
        "students.0.training": GOOD + "students: [{training: {device: cpu}}]\n",
    }[where]
    recipe = read_recipe(recipe_file(tmp_path, written))
    assert recipe.device == "cpu"
    keyed = place_keywords({"teacher": "t", "train": "a", f"{where}.device": "cpu"})
    assert recipe_from(keyed, where="test").device == "cpu"
    assert read_recipe(recipe_file(tmp_path, GOOD), [f"{where}.device=cpu"]).device == "cpu"


def test_an_override_of_the_device_wins_over_the_file_wherever_either_stands(tmp_path: Path) -> None:
    for written in ("training: {device: cuda}\n", "device: cuda\n"):
        for override in ("device=cpu", "training.device=cpu", "training={device: cpu}"):
            assert read_recipe(recipe_file(tmp_path, GOOD + written), [override]).device == "cpu"


def test_a_wrong_or_doubted_device_is_told_where_it_stands(tmp_path: Path) -> None:
    told = complaint(tmp_path, GOOD + "training:\n  device: gpu\n")
    assert told.startswith(f"{tmp_path / 'recipe.yaml'}:4: training.device is 'gpu'; it must be auto, cpu or cuda")
    told = complaint(tmp_path, GOOD + "device: cpu\ntraining:\n  device: cuda\n")
    assert "recipe.yaml:5: training.device is 'cuda', but device is 'cpu'; all of a job computes on one" in told
    assert "--set training.device is 'gpu'; it must be" in complaint(tmp_path, GOOD, "training.device=gpu")


def data_set(key: str, text: str) -> DataSettings:
    values = {"teacher": {"model": "t"}, "data": {"train": "a.csv"}}
    return recipe_from(values, where="here", set=[f"data.{key}={text}"]).data


@pytest.mark.parametrize("mark", [*"|;,^·~#>&*!%@`?-:{[=. \\_1n'", "\t"])
def test_a_separator_is_one_character_that_is_taken_as_it_stands(mark: str) -> None:
    assert data_set("sep", mark).sep == mark
    assert data_set("label_sep", mark).label_sep == mark


@pytest.mark.parametrize(
    ("text", "mark"),
    [("'|'", "|"), ('"|"', "|"), ("\\t", "\t"), ("'\\t'", "\t"), ("tab", "\t"), (" ; ", ";"), ("null", None)],
)
def test_quotes_around_a_separator_are_left_out_and_a_tab_has_its_names(text: str, mark: str | None) -> None:
    assert data_set("sep", text).sep == mark
    assert data_set("label_sep", text).label_sep == mark


@pytest.mark.parametrize("key", ["sep", "label_sep"])
@pytest.mark.parametrize("nothing", ["", "''", '""'])
def test_an_empty_separator_is_refused_in_a_sentence(key: str, nothing: str) -> None:
    words = rf"data\.{key} is ''; it must be .*'\|', or \\t for a tab; in YAML it stands in quotes"
    with pytest.raises(RecipeError, match=words):
        data_set(key, nothing)


@pytest.mark.parametrize("text", ["::", '"', "\r", "\n"])
def test_what_can_separate_no_fields_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=r"data\.sep is .*; it must be one character"):
        data_set("sep", text)


def test_a_separator_of_a_recipe_file_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    recipe = read_recipe(recipe_file(tmp_path, GOOD), ["data.sep=|", "data.label_sep=\\t"])
    write_recipe(recipe, tmp_path / "again.yaml")
    again = read_recipe(tmp_path / "again.yaml")
    assert (again.data.sep, again.data.label_sep) == ("|", "\t")
    told = complaint(tmp_path, "teacher: {model: t}\ndata:\n  train: a.csv\n  sep: |\n")
    assert "recipe.yaml:4: data.sep is ''" in told


def test_numbers_in_a_list_of_names_stay_as_they_are_written(tmp_path: Path) -> None:
    names = ["2.1", "2.10", "007", "1e3", "true", "no", "a b"]
    given = "data:\n  train: a.csv\n  label_names:\n" + "".join(f"    - {name} # a class\n" for name in names)
    recipe = read_recipe(recipe_file(tmp_path, "teacher: {model: t}\n" + given))
    assert recipe.data.label_names == names
    write_recipe(recipe, tmp_path / "again.yaml")
    assert read_recipe(tmp_path / "again.yaml").data.label_names == names
    again = read_recipe(recipe_file(tmp_path, GOOD), [f"data.label_names=[{', '.join(names)}]"])
    assert again.data.label_names == names
