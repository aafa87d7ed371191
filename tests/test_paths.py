"""Every path that a public function or a command takes may be text or an `os.PathLike`, with `~` in it.

The functions and their parameters are found by their types, so that a new one cannot be left out.
"""

from __future__ import annotations

import builtins
import inspect
import os
import shutil
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import pkd
from pkd.cli.main import main
from pkd.recipe.places import path_text, path_texts
from pkd.reporting.results import ModelRecord

# parameters of text that name no file: what else is text must be a path, and typed as one
NO_PATHS = {
    "device", "format", "host", "hub_model_id", "message", "repo", "set", "table", "task", "tasks", "text_columns",
    "required", "start", "texts", "effort", "words",
}  # fmt: skip
OUTPUTS = {"output", "dry_run"}


def public_functions() -> dict[str, Callable[..., Any]]:
    named = {name: getattr(pkd, name) for name in pkd.__all__}
    functions = {name: each for name, each in named.items() if inspect.isfunction(each)}
    for name, each in named.items():
        if inspect.isclass(each) and each.__module__.startswith("pkd."):
            methods = inspect.getmembers(each, lambda member: inspect.isfunction(member) or inspect.ismethod(member))
            own = {key: method for key, method in methods if not key.startswith("_") and key in vars(each)}
            functions |= {f"{name}.{key}": method for key, method in own.items()}
    return functions


def kinds_within(hint: Any) -> Iterator[Any]:
    """The types that a hint is made of."""
    yield typing.get_origin(hint) or hint
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType) or (inspect.isclass(origin) and issubclass(origin, Sequence)):
        for part in typing.get_args(hint):
            yield from kinds_within(part)


class _Names(dict[str, Any]):
    """The names that a function's annotations use; a type that is imported for type checkers alone is just a type."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name) if hasattr(builtins, name) else type(name, (), {})


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters; of `**keys` the TypedDict that they are unpacked from."""
    names = _Names(function.__globals__)
    annotations = {key: value for key, value in function.__annotations__.items() if key != "return"}
    return {key: eval(value, {}, names) if isinstance(value, str) else value for key, value in annotations.items()}


def text_parameters() -> dict[tuple[str, str], set[Any]]:
    """(function, parameter) -> the types in its hint, of every parameter that may be text or a path."""
    found = {}
    for name, function in public_functions().items():
        for parameter, hint in hints_of(function).items():
            kinds = set(kinds_within(hint))
            if kinds & {str, Path, os.PathLike}:
                found[name, parameter] = kinds
    return found


def path_keywords() -> list[str]:
    """The keys of the recipe that name files, of those that `pkd.distill` takes as keywords."""
    (unpacked,) = typing.get_args(hints_of(pkd.distill)["keys"])
    hints = typing.get_type_hints(unpacked)
    return [key for key, hint in hints.items() if os.PathLike in set(kinds_within(hint))]


PATHS = [names for names, kinds in text_parameters().items() if os.PathLike in kinds]


class Named(os.PathLike[str]):
    """A path that is neither text nor a `pathlib.Path`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __fspath__(self) -> str:
        return self.name


def test_the_keys_of_the_recipe_that_name_files_are_typed_as_paths() -> None:
    assert set(path_keywords()) >= {"eval", "test", "unlabelled", "folder", "student"}


def test_what_is_text_and_names_a_file_is_typed_as_a_path() -> None:
    untyped = {names for names, kinds in text_parameters().items() if os.PathLike not in kinds}
    assert {f"{name}({parameter})" for name, parameter in untyped if parameter not in NO_PATHS} == set()
    assert {name for name, _ in PATHS} >= {
        "evaluate", "annotate", "augment", "load_teacher", "Classifier.load", "distill", "finetune", "run", "sweep", "check", "export",
        "serve", "speed", "predict", "push", "submit", "verify", "report", "paper", "demo", "load_data", "read_recipe",
    }  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def others(workspace: Path, home: Path, name: str, parameter: str) -> dict[str, Any]:
    """What a function needs besides the parameter that is looked at, all of it usable."""
    teacher, train = workspace / "teacher", workspace / "train.csv"
    searched = {"teacher": teacher, "train": train, "eval": train, "max_length": 32}
    given: dict[str, dict[str, Any]] = {
        "compress": {"output": home / "out", **({"pick": 1} if parameter == "search" else searched)},
        "augment": {"train": train, "output": home / "out.csv", "max_length": 32},
        "annotate": {"train": train, "teacher": teacher, "output": home / "out", "max_length": 32},
        "Classifier.load": {},
        "demo": {},
        "distill": {"teacher": teacher, "train": train, "output": home / "out", "max_length": 32, "eval": train},
        "evaluate": {"models": teacher, "test": train, "max_length": 32},
        "export": {"model": teacher, "output": home / "out", "int8": True, "eval": train},
        "finetune": {"model": teacher, "train": train, "output": home / "out", "max_length": 32},
        "load_data": {"train": train},
        "paper": {
            "table": {"race": "table3", "base": "table5"}.get(parameter, "table1"),
            "tasks": "RACE" if parameter == "race" else "RTE",
            "teacher": teacher,
        },
        "predict": {"model": teacher, "texts": []},
        "push": {"model": teacher, "repo": "me/mine", "dry_run": home / "out"},
        "serve": {"port": 0},
        "speed": {"models": teacher, "max_length": 32, "memory": False},
        "submit": {"model": teacher, "task": "SST-2", "output": home / "out", "folder": workspace},
    }
    return {key: value for key, value in given.get(name, {}).items() if key != parameter}


@pytest.mark.parametrize(("name", "parameter"), PATHS)
def test_every_path_may_be_given_as_a_path_with_the_home_folder_in_it(
    workspace: Path, home: Path, name: str, parameter: str
) -> None:
    """A missing one is told by its whole path; an output that is a URL, as that."""
    glue = workspace / "SST-2"
    if name == "submit" and parameter == "model" and not glue.exists():
        glue.mkdir()
        (glue / "test.tsv").write_text("index\tsentence\n0\ta film\n")
    function, rest = public_functions()[name], others(workspace, home, name, parameter)
    wrong, words = ("s3://bucket/x", "a URL") if parameter in OUTPUTS else ("~/missing", str(home / "missing"))
    with pytest.raises(pkd.PKDError) as refused:
        function(**rest, **{parameter: Named(wrong)})
    assert words in str(refused.value)
    with pytest.raises(pkd.RecipeError) as refused:
        function(**rest, **{parameter: 3.5})
    assert "3.5" in str(refused.value)
    assert not (home / "out").exists()


@pytest.mark.parametrize("key", [*path_keywords(), "data.eval", "teacher.model"])
def test_every_path_of_a_recipe_may_be_given_as_a_path_by_its_keyword(workspace: Path, home: Path, key: str) -> None:
    rest = others(workspace, home, "distill", key)
    if key == "data.eval":
        del rest["eval"]
    if key == "teacher.model":
        rest["teacher"] = {"model": Named("~/missing")}
    elif key == "folder":
        rest |= {"task": "sst2", key: Named("~/missing"), "train": None, "eval": None}
    else:
        rest[key] = [Named("~/missing")] if key == "unlabelled" else Named("~/missing")
    with pytest.raises(pkd.PKDError, match=str(home / "missing")):
        pkd.distill(**rest)


def test_one_model_or_several_in_any_form_of_a_path(workspace: Path) -> None:
    teacher = workspace / "teacher"
    test = workspace / "test.csv"
    few = {"max_length": 32, "resamples": 20, "measure_speed": False}
    for models in (f"{teacher}/", Named(str(teacher)), [teacher, str(teacher)]):
        records = pkd.evaluate(models, test=test, **few)
        assert [record.name for record in records if isinstance(record, ModelRecord)] == ["teacher"]
    assert pkd.load_teacher(teacher).fingerprints == pkd.load_teacher(str(teacher)).fingerprints
    assert next(iter(pkd.predict(teacher, ["a great film"]))).label == "positive"
    assert pkd.Classifier.load(Named(str(teacher)))("a great film")[0].label == "positive"
    text = workspace / "unlabelled.txt"
    rows = pkd.load_data(train=workspace / "train.csv", unlabelled=(text, Named(str(text))))["unlabelled"]
    assert len(rows) == 80


def test_paths_become_text_one_by_one() -> None:
    assert path_text("owner/name", "model") == "owner/name"
    assert path_text("student/", "model") == "student/"
    assert path_text(None, "model") is None
    assert path_text(Path("~") / "x", "model") == str(Path.home() / "x")
    assert path_text(Named("~nobody-of-that-name/x"), "model") == "~nobody-of-that-name/x"
    assert (
        path_texts("student", "models") == path_texts(("student",), "models") == path_texts([Path("student")], "models")
    )
    assert path_texts([], "models") == []
    with pytest.raises(pkd.RecipeError, match="models is None; it must be the name of a file or folder"):
        path_texts([None], "models")  # type: ignore[list-item]


COMMANDS = {
    "augment --eval": "augment --train=TRAIN --eval=~/missing.csv --output=OUT.csv",
    "augment --output": "augment --train=TRAIN --output=~/missing/more.csv",
    "augment --train": "augment --train=~/missing.csv --output=OUT.csv",
    "annotate --teacher": "annotate --teacher=~/missing --train=TRAIN --output=OUT",
    "annotate --train": "annotate --teacher=TEACHER --train=~/missing.csv --output=OUT --max-length=32",
    "check": "check ~/missing.yaml",
    "distill --eval": "distill --teacher=TEACHER --train=TRAIN --eval=~/missing.csv --output=OUT --max-length=32",
    "evaluate": "evaluate ~/missing --test=TRAIN",
    "evaluate --teacher": "evaluate TEACHER --teacher=~/missing --test=TRAIN",
    "evaluate --test": "evaluate TEACHER --test=~/missing.csv",
    "export": "export ~/missing --output=OUT",
    "finetune --model": "finetune --model=~/missing --train=TRAIN --output=OUT --max-length=32",
    "predict": "predict ~/missing text",
    "predict --file": "predict TEACHER --file=~/missing.csv",
    "push": "push ~/missing me/mine --dry-run=OUT",
    "recipe --output": "recipe --output=~/missing/recipe.yaml",
    "report": "report ~/missing",
    "run": "run ~/missing.yaml",
    "serve": "serve ~/missing --port=0",
    "speed": "speed ~/missing",
    "speed --chart": "speed TEACHER --chart=~/missing/speed.png",
    "speed --test": "speed TEACHER --test=~/missing.csv --max-length=32",
    "submit": "submit ~/missing --task=SST-2 --folder=GLUE --output=OUT",
    "sweep": "sweep ~/missing.yaml",
    "verify": "verify ~/missing",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_the_command_line_knows_the_home_folder_where_the_shell_does_not(
    workspace: Path, home: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    glue = home / "glue"
    (glue / "SST-2").mkdir(parents=True)
    (glue / "SST-2" / "test.tsv").write_text("index\tsentence\n0\ta film\n")
    places = {"TEACHER": workspace / "teacher", "TRAIN": workspace / "train.csv", "OUT": home / "out", "GLUE": glue}
    for name, place in places.items():
        command = command.replace(name, str(place))
    assert main(command.split()) in (2, 3, 4, 5)
    assert str(home / "missing") in capsys.readouterr().err.replace("\n", " ")


def test_lines_of_a_file_in_the_home_folder_are_answered(
    workspace: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "texts.txt").write_text("a great film\n\nan awful plot\n")
    shutil.copytree(workspace / "teacher", home / "teacher")
    assert main(["predict", "~/teacher", "--file=~/texts.txt"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
