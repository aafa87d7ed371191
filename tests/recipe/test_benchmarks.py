from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest

from pkd.data.examples import load_examples
from pkd.errors import RecipeError
from pkd.recipe.benchmarks import TASKS
from pkd.recipe.reading import recipe_from
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import Metric

GLUE = os.environ.get("PKD_GLUE", "")
HEADERS = {  # the benchmark's published headers
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "qnli": "index\tquestion\tsentence\tlabel",
    "mnli": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
    "rte": "index\tsentence1\tsentence2\tlabel",
    "wnli": "index\tsentence1\tsentence2\tlabel",
    "mrpc": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
    "sst2": "sentence\tlabel",
}


def recipe(task: str, **data: object) -> Recipe:
    return recipe_from({"data": {"task": task, **data}}, where="test", required=("data.train",))


def test_from_the_hub_a_task_is_its_dataset_and_splits() -> None:
    data = recipe("mnli").data
    assert (data.train, data.eval) == ("nyu-mll/glue/mnli:train", "nyu-mll/glue/mnli:validation_matched")
    assert data.test == "nyu-mll/glue/mnli:validation_mismatched"
    assert recipe("race").data.max_length == 512
    assert recipe("CoLA").evaluation.metric == "mcc"
    assert recipe("sst-2").data.label_names == ["negative", "positive"]


def test_what_is_asked_for_wins_over_the_task() -> None:
    asked = recipe("race", train="mine.jsonl", max_length=256)
    assert (asked.data.train, asked.data.max_length) == ("mine.jsonl", 256)


def test_what_is_asked_for_wins_though_it_is_the_default() -> None:
    asked = recipe("race", folder="RACE", max_length=128, on_uneven="error", eval=None, problem_type="auto").data
    assert (asked.max_length, asked.on_uneven) == (128, "error")
    assert (Path(str(asked.eval)).name, asked.problem_type) == ("dev", "multiple_choice")  # left open: the task's
    given = {"data": {"task": "race"}}
    assert recipe_from(given, where="test", set=["data.max_length=128"], required=()).data.max_length == 128


def test_an_unknown_task_and_a_folder_without_one_are_refused() -> None:
    with pytest.raises(RecipeError, match="is snli, which is no task known here"):
        recipe("snli")
    with pytest.raises(RecipeError, match="without data"):
        recipe_from({"data": {"folder": "glue", "train": "x.csv"}}, where="test", required=())


@pytest.mark.parametrize("task", HEADERS)
def test_files_of_the_published_form_are_read(task: str, tmp_path: Path) -> None:
    known = TASKS[task]
    header = HEADERS[task].removeprefix("\ufeff").split("\t")
    place = tmp_path / known.folder
    place.mkdir()
    values = ("0.5", "3.25") if task == "stsb" else ("0", "1") if task in ("qqp", "wnli", "mrpc", "sst2") else None
    for split, file in known.files.items():
        lines = [HEADERS[task]]
        for row in range(4):
            label = (values or known.label_names)[row % 2]
            cells = [f'{split} {name} "{row}' for name in header]
            cells[header.index(str(known.label_column))] = label
            lines.append("\t".join(cells))
        if task == "qqp":
            lines.append("a row\tthat is short")  # as the published file has some
        (place / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    examples = load_examples(recipe(task, folder=str(tmp_path)).data)
    train = examples.splits["train"]
    assert len(train) == 4
    column = train.column_names[0]
    assert train[column][1] == f'train {known.text_columns[0]} "1'
    if task == "stsb":
        assert (examples.problem_type, train["label"][:2]) == ("regression", [0.5, 3.25])
    else:
        assert examples.label_names == known.label_names
        assert train["label"][:2] == [0, 1]
    assert ("test" in examples.splits) == (task == "mnli")


def test_cola_has_no_header_and_its_sentence_in_the_fourth_column(tmp_path: Path) -> None:
    (tmp_path / "CoLA").mkdir()
    for file in ("train.tsv", "dev.tsv"):
        (tmp_path / "CoLA" / file).write_text(f"gj04\t1\t\tFine {file}.\ngj04\t0\t*\tNot fine {file}.\n")
    examples = load_examples(recipe("cola", folder=str(tmp_path)).data)
    assert examples.splits["train"][:] == {"text": ["Fine train.tsv.", "Not fine train.tsv."], "label": [1, 0]}
    assert examples.label_names == ("unacceptable", "acceptable")


def test_the_folder_may_be_the_tasks_own(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "RTE"):
        place.mkdir(exist_ok=True)
        assert recipe("rte", folder=str(tmp_path)).data.train == str(tmp_path / "RTE" / "train.tsv")
    (tmp_path / "RTE" / "train.tsv").touch()
    assert recipe("rte", folder=str(tmp_path / "RTE")).data.train == str(tmp_path / "RTE" / "train.tsv")


def test_every_metric_is_one_that_the_recipe_knows() -> None:
    assert {task.metric for task in TASKS.values()} <= set(get_args(Metric))


@pytest.mark.skipif(not GLUE, reason="PKD_GLUE names no folder of GLUE")
@pytest.mark.parametrize(
    ("task", "train", "dev"),
    [("sst2", 67349, 872), ("rte", 2490, 277), ("mrpc", 3667, 408), ("cola", 8551, 1043), ("stsb", 5749, 1500),
     ("wnli", 635, 71)],
)  # fmt: skip
def test_the_real_tasks_are_read_whole(task: str, train: int, dev: int) -> None:
    examples = load_examples(recipe(task, folder=GLUE).data)
    assert (len(examples.splits["train"]), len(examples.splits["eval"])) == (train, dev)
