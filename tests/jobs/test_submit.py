"""Answers to test rows in the leaderboard's files, through the real command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from conftest import make_reviews, make_teacher, make_tokenizer
from pkd.cli.main import main
from pkd.errors import DataError, RecipeError, TeacherError
from pkd.jobs.predict import predict
from pkd.jobs.submit import submit
from pkd.recipe.benchmarks import TASKS, leaderboard_sources

GLUE = os.environ.get("PKD_GLUE", "")


def save(folder: Path, names: tuple[str, ...], problem_type: str | None = None) -> str:
    model = make_teacher(layers=2, labels=names)
    model.config.problem_type = problem_type
    torch.nn.init.normal_(model.classifier.weight)  # so that scores differ
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    texts = [text for text, _ in make_reviews(30, seed=6)]
    for folder, file, header, row in (
        ("SST-2", "test.tsv", "index\tsentence", "{n}\t{text}"),
        ("MNLI", "test_matched.tsv", "index\tgenre\tsentence1\tsentence2", "{n}\tfiction\t{text}\tthe end"),
        ("MNLI", "test_mismatched.tsv", "index\tgenre\tsentence1\tsentence2", '{n}\tletters\t"{text}\tthe end'),
        ("STS-B", "test.tsv", "index\tgenre\tsentence1\tsentence2", "{n}\tnews\t{text}\tthe end"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        lines = [header, *(row.format(n=n, text=text) for n, text in enumerate(texts))]
        (tmp_path / folder / file).write_text("\n".join(lines) + "\n")
    return tmp_path


def lines_of(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_classes_are_written_as_the_tasks_ids_whatever_order_the_classifier_has(
    workspace: Path, glue: Path, tmp_path: Path
) -> None:
    trained = AutoModelForSequenceClassification.from_pretrained(workspace / "teacher")
    trained.config.id2label, trained.config.label2id = {0: "positive", 1: "negative"}, {"positive": 0, "negative": 1}
    trained.classifier.weight.data = trained.classifier.weight.data.flip(0)
    trained.classifier.bias.data = trained.classifier.bias.data.flip(0)
    trained.save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    model = str(tmp_path / "model")
    out = tmp_path / "submission"
    assert main(["submit", model, "--task", "SST-2", "--folder", str(glue), "--output", str(out), "--quiet"]) == 0
    header, *rows = lines_of(out / "SST-2.tsv")
    assert header == ["index", "prediction"]
    assert [row[0] for row in rows] == [str(number) for number in range(30)]
    texts = [text for text, _ in make_reviews(30, seed=6)]
    named = [{"negative": "0", "positive": "1"}[one.label] for one in predict(model, texts)]
    assert [row[1] for row in rows] == named
    assert set(named) == {"0", "1"}
    right = [str(int(label == "positive")) for _, label in make_reviews(30, seed=6)]
    assert sum(a == b for a, b in zip(named, right, strict=True)) > 25


def test_mnli_has_two_files_of_names_in_which_a_quote_is_text(glue: Path, tmp_path: Path) -> None:
    model = save(tmp_path / "model", TASKS["mnli"].label_names)
    written = submit(model, task="mnli", folder=str(glue), output=str(tmp_path / "out"))
    assert [path.name for path in written] == ["MNLI-m.tsv", "MNLI-mm.tsv"]
    for path in written:
        assert len(lines_of(path)) == 31
        assert {row[1] for row in lines_of(path)[1:]} <= set(TASKS["mnli"].label_names)


def test_scores_stay_on_the_scale(glue: Path, tmp_path: Path) -> None:
    model = save(tmp_path / "model", ("score",), "regression")
    (path,) = submit(model, task="sts-b", folder=str(glue), output=str(tmp_path / "out"))
    scores = [float(row[1]) for row in lines_of(path)[1:]]
    assert all(0 <= score <= 5 for score in scores)
    assert len(set(scores)) > 2


def test_the_hub_has_the_same_rows_under_names_of_its_own() -> None:
    assert leaderboard_sources(TASKS["mnli"], None) == {
        "MNLI-m.tsv": "nyu-mll/glue/mnli:test_matched",
        "MNLI-mm.tsv": "nyu-mll/glue/mnli:test_mismatched",
    }
    assert leaderboard_sources(TASKS["ax"], None) == {"AX.tsv": "nyu-mll/glue/ax:test"}


def test_what_does_not_fit_is_refused_before_anything_is_written(glue: Path, tmp_path: Path) -> None:
    model = save(tmp_path / "model", ("cats", "dogs"))
    given = {"folder": str(glue), "output": str(tmp_path / "out")}
    with pytest.raises(TeacherError, match=r"has the classes cats, dogs, but SST-2 has negative, positive"):
        submit(model, task="SST-2", **given)
    with pytest.raises(TeacherError, match="has learned single_label_classification, but STS-B is regression"):
        submit(model, task="STS-B", **given)
    with pytest.raises(RecipeError, match="race is no task whose leaderboard takes files; choose from cola"):
        submit(model, task="race", **given)
    with pytest.raises(DataError, match=r"RTE.*test\.tsv does not exist"):
        submit(model, task="rte", **given)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not GLUE, reason="PKD_GLUE names no folder of GLUE")
@pytest.mark.parametrize(
    ("task", "rows"), [("CoLA", 1063), ("SST-2", 1821), ("MRPC", 1725), ("STS-B", 1379), ("RTE", 3000), ("WNLI", 146)]
)
def test_every_row_of_the_real_files_is_answered(task: str, rows: int, tmp_path: Path) -> None:
    known = TASKS[task.lower().replace("-", "")]
    scores = known.problem_type == "regression"
    model = save(tmp_path / "model", known.label_names or ("score",), "regression" if scores else None)
    (path,) = submit(model, task=task, folder=GLUE, output=str(tmp_path / "out"))
    assert len(lines_of(path)) == rows + 1
