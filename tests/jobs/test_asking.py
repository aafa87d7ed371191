"""What is wrong with a job before a model is loaded is told at once, by the names that its caller gave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import datasets
import pytest

import pkd
from pkd.cli.main import main
from pkd.data.check_source import head_fault
from pkd.errors import DataError, RecipeError, TeacherError
from pkd.jobs import asking
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import DataSettings, SweepSettings
from pkd.recipe.spelling import named
from pkd.recipe.writing import write_recipe


@pytest.fixture
def place(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are right and files that are not."""
    (tmp_path / "ok.csv").write_text("text,label\na film,x\nanother,y\n")
    (tmp_path / "other.csv").write_text("body,topic\na film,x\nanother,y\n")
    (tmp_path / "teacher").symlink_to(workspace / "teacher")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = main(list(arguments))
    return code, capsys.readouterr().err.removeprefix("pkd: ").splitlines()


@pytest.mark.usefixtures("place")
def test_unknown_keys_wrong_values_files_and_models_are_told_together_by_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lines = told(
        capsys, "distill", "--teacher", "nowhere/", "--train", "mising.csv", "--eval", "other.csv", "--output", "s3://x/y",
        "--alpha", "seventy", "--layers", "0", "--set", "bta=3", "--set", "data.sep=;;",
    )  # fmt: skip
    assert code == 2
    assert lines[0] == "7 things are wrong:"
    assert [line.split(" is ")[0].split(": ")[0] for line in lines[1:]] == [
        "--set bta", "--alpha", "--layers", "--set data.sep", "--train", "--teacher", "--output",
    ]  # fmt: skip
    code, lines = told(
        capsys, "finetune", "--model", "teacher", "--train", "other.csv", "--eval", "no.csv", "--output", "o"
    )
    assert (code, lines[0]) == (3, "2 things are wrong:")
    assert lines[1].startswith("--train: other.csv has no column 'label'; its columns: 'body', 'topic'.")
    assert "does not exist" in lines[2]
    assert told(capsys, "finetune", "--model", "teacher", "--output", "o")[1] == [
        "--train is missing; name the training examples: a file, a saved dataset or a hub name"
    ]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("arguments", "begins", "code"),
    [
        (["annotate", "--teacher", "no/", "--train", "no.csv", "--output", "o"], ["--train", "--teacher"], 3),
        (["annotate", "--teacher", "no/", "--train", "ok.csv", "--output", "teacher"], ["--teacher", "--output"], 2),
        (["evaluate", "no/", "teacher", "--test", "no.csv", "--teacher", "nix/"], ["--test", "MODEL", "--teacher"], 3),
        (["evaluate", "teacher"], ["--test"], 2),
        (["predict", "no/", "--file", "no.csv"], ["--file", "MODEL"], 3),
        (["predict", "no/", "--file", "other.csv", "--text-columns", "txt"], ["--file", "MODEL"], 3),
        (["speed", "no/", "--rounds", "0", "--test", "no.csv", "--chart", "x.gif", "--threads", "999"],
         ["--rounds", "--threads", "--test", "--chart", "MODEL"], 2),
        (["export", "no/", "--output", "o", "--eval", "no.csv", "--max-drop", "3", "--format", "tar", "--int8"],
         ["--format", "--max-drop", "--eval", "MODEL"], 2),
        (["export", "teacher", "--output", "o", "--int8", "--text-columns", "a"], ["--eval", "--eval"], 2),
    ],
)  # fmt: skip
def test_each_command_names_what_is_wrong_by_its_own_flags(
    arguments: list[str], begins: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found, lines = told(capsys, *arguments)
    names = [line.split(" is ")[0].split(": ")[0] for line in (lines[1:] if len(lines) > 1 else lines)]
    assert (found, names) == (code, begins), lines


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("command", ["run", "check", "sweep"])
def test_of_a_recipe_each_fault_has_its_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.yaml").write_text(
        "teacher: {model: no/}\ndata:\n  train: mising.csv\n  eval: other.csv\nstudents:\n  - alpha: 70\n    bta: 3\n"
        + "sweep: {keys: {beta: [1, 2]}}\n" * (command == "sweep")
    )
    code, lines = told(capsys, command, "r.yaml", "--set", "training.learning_rate=0")
    assert code == 2
    assert [line.split(" ")[0].rstrip(":") for line in lines[1:]] == [
        "--set", "r.yaml:1", "r.yaml:3", "r.yaml:4", "r.yaml:6", "r.yaml:7",
    ]  # fmt: skip
    assert "Name the column of the label with data.label_column." in lines[4]


@pytest.mark.usefixtures("place")
def test_a_key_that_a_command_does_not_read_is_told_and_never_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ("--train", "ok.csv", "--output", "o")
    code, lines = told(
        capsys, "finetune", "--model", "teacher", *rows,
        "--set", "teacher.finetune.num_train_epochs=3", "--set", "alpha=0.3",
    )  # fmt: skip
    assert (code, lines[0]) == (2, "2 things are wrong:")
    of_finetune = "is nothing that `pkd finetune` reads; of a recipe it reads data, training, evaluation"
    assert sorted(lines[1:]) == [
        f"--set alpha {of_finetune}",
        f"--set teacher.finetune.num_train_epochs {of_finetune}; did you mean --num-train-epochs?",
    ]
    code, lines = told(capsys, "evaluate", "teacher", "--test", "ok.csv", "--set", "seed=3")
    assert (code, lines) == (
        2,
        ["--set seed is nothing that `pkd evaluate` reads; of a recipe it reads data, evaluation"],
    )
    code, lines = told(capsys, "compress", "--pick", "2", "--output", "o", "--latency", "3ms")
    assert (code, lines) == (
        2,
        ["--latency is given, but --pick takes a point of a finished search as it is; leave it out"],
    )


@pytest.mark.usefixtures("place")
def test_in_python_keywords_are_named_and_the_error_is_of_the_first_kind() -> None:
    with pytest.raises(RecipeError) as caught:
        pkd.distill(teacher="no/", train="mising.csv", eval="ok.csv", output="o", alpha=70)
    assert [line.split(" ")[0].rstrip(":") for line in str(caught.value).splitlines()[1:]] == [
        "alpha",
        "train",
        "teacher",
    ]
    with pytest.raises(DataError, match=r"^train: .*mising\.csv does not exist"):
        pkd.finetune(model="teacher", train="mising.csv", output="o")
    with pytest.raises(TeacherError, match=r"^model: .* does not exist"):
        pkd.finetune(model="no/", train="ok.csv", output="o")
    with pytest.raises(RecipeError, match=r"models is empty(.|\n)*test: .*mising\.csv does not exist"):
        pkd.evaluate([], test="mising.csv")
    with pytest.raises(RecipeError, match="sweep is what `pkd sweep` runs"):
        pkd.run(Recipe(sweep=SweepSettings(grid="published")))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["distill", "--teacher", "no/", "--train", "no.csv", "--output", "o"], 3),
        (["finetune", "--model", "teacher", "--train", "other.csv", "--output", "o"], 3),
        (["evaluate", "teacher", "--test", "no.csv"], 3),
        (["predict", "teacher", "--file", "no.csv"], 3),
        (["speed", "no/"], 4),
        (["export", "teacher", "--output", "o", "--int8"], 2),
        (["run", "r.yaml"], 2),
    ],
)
def test_bad_input_is_told_before_anything_heavy_is_loaded(arguments: list[str], code: int, place: Path) -> None:
    (place / "r.yaml").write_text("teacher: {model: no/}\ndata: {train: ok.csv, eval: no.csv}\nseeds: 0\n")
    program = (
        "import sys\nfrom pkd.cli.main import main\n"
        f"code = main({arguments!r})\n"
        "heavy = {'torch', 'transformers', 'datasets', 'altair', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr


@pytest.mark.usefixtures("place")
def test_what_is_in_order_enters_the_job_with_its_recipe() -> None:
    with asking.finetune(model="teacher", train=Path("ok.csv"), output="o", learning_rate=1e-5) as recipe:
        assert (recipe.data.train, recipe.training.learning_rate) == ("ok.csv", 1e-5)
        assert named("data.train") == "train"


def test_an_export_reads_its_rows_as_the_run_did_that_made_the_model(place: Path) -> None:
    (place / "student").symlink_to(place / "teacher")
    (place / "student.work").mkdir()
    recipe = Recipe()
    recipe.teacher.model, recipe.data.train = "teacher", "other.csv"
    recipe.data.text_columns, recipe.data.label_column, recipe.data.eval = ["body"], "topic", "other.csv"
    write_recipe(recipe, place / "student.work" / "recipe.yaml")
    with asking.export("student", output="o", int8=True, eval="other.csv") as asked:
        assert (asked.data.text_columns, asked.data.label_column) == (["body"], "topic")
    with asking.export("student", output="o", int8=True, eval="ok.csv") as asked:  # which has the usual names
        assert (asked.data.text_columns, asked.data.label_column) == ([], None)
    (place / "mixed.csv").write_text("body,kind\na film,x\nanother,y\n")
    with asking.export("student", output="o", int8=True, eval="mixed.csv", label_column="kind") as asked:
        assert (asked.data.text_columns, asked.data.label_column) == (["body"], "kind")
    with asking.export("student", output="o", int8=True) as asked:
        assert asked.data.eval == "other.csv"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_the_head_of_a_file_of_each_kind_is_looked_at(suffix: str, place: Path) -> None:
    path = place / f"rows{suffix}"
    if suffix == ".parquet":
        datasets.Dataset.from_dict({"body": ["a"], "topic": ["x"]}).to_parquet(path)
    else:
        sep = "," if suffix == ".csv" else "\t"
        path.write_text('{"body": "a", "topic": "x"}\n' if suffix == ".jsonl" else f"body{sep}topic\na{sep}x\n")
    assert "no column 'label'" in str(head_fault(str(path), "train", DataSettings()))
    assert head_fault(str(path), "train", DataSettings(), columns=False) is None
    named_columns = DataSettings(text_columns=["body"], label_column="topic")
    assert head_fault(str(path), "train", named_columns) is None


def test_columns_that_one_kind_of_classifier_reads_are_no_fault_before_it_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "which?", "choices": ["a", "b"], "label": "x"}\n')
    assert head_fault(str(path), "train", DataSettings()) is None
    path.write_text('{"stem": "a film", "label": "x"}\n')
    assert "no column with a usual name for the text" in str(head_fault(str(path), "train", DataSettings()))
