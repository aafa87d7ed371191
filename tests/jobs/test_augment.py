"""Augmented rows from end to end: written to look at, made by a run, answered once, and the same whatever happens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import datasets
import pytest

import pkd
import pkd.data.streaming as streaming
from conftest import make_tokenizer, recipe_values
from pkd import progress
from pkd.cli.main import main
from pkd.data import augmentation
from pkd.data.shards import open_shards
from pkd.data.tokenize import joined
from pkd.errors import DataError, RecipeError, Stopped
from pkd.jobs.plan import plan_run
from pkd.jobs.run import RunResult, run
from pkd.recipe.reading import recipe_from
from pkd.reporting.results import ComparisonRecord, ModelRecord, RunRecord

TRAINING = {"num_train_epochs": 1, "learning_rate": 1e-3, "per_device_train_batch_size": 40, "precision": "float32"}


def values(workspace: Path, output: Path, variants: int, **more: Any) -> dict[str, Any]:
    return {
        **recipe_values(workspace, output),
        "transfer": {"augment": variants},
        "annotation": {"rows_per_shard": 32},
        "students": [{"layers": 2}],
        "controls": False,
        "training": TRAINING,
        "evaluation": {"resamples": 20, "measure_speed": False},
        **more,
    }


def go(given: dict[str, Any]) -> RunResult:
    return run(recipe_from(given, where="test"))


def variants_in(folder: Path) -> list[list[str]]:
    """The texts of each variant that a run has annotated."""
    return [list(open_shards(each)["text"]) for each in sorted((folder / "annotated").glob("augmented-?"))]


def bytes_of(folder: Path) -> dict[str, bytes]:
    places = [folder / "annotated", *(folder / "students").glob("*")]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for place in places
        for path in sorted(place.rglob("*"))
        if path.suffix in (".arrow", ".safetensors")
    }


@pytest.fixture(scope="module")
def finished(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    output = tmp_path_factory.mktemp("runs") / "whole"
    given = values(workspace, output, 2, controls=True)
    given["students"] = [{"layers": 2}, {"layers": 2, "unlabelled": False, "name": "labelled-only"}]
    return go(given)


def test_a_run_counts_labelled_and_augmented_rows_apart_and_asks_what_the_second_gave(finished: RunResult) -> None:
    made = sum(map(len, variants_in(finished.folder)))
    assert 280 < made <= 320
    (of_run,) = [record for record in finished.records if isinstance(record, RunRecord)]
    assert of_run.rows == {"train": 160, "eval": 60, "test": 60, "augmented": made}
    models = {record.name: record for record in finished.records if isinstance(record, ModelRecord)}
    counts = {name: (each.labelled_rows, each.unlabelled_rows, each.augmented_rows) for name, each in models.items()}
    assert counts == {
        "teacher": (0, 0, 0),
        "pkd-skip-L2-spread": (160, 0, made), "kd-L2-spread": (160, 0, made), "ft-L2-spread": (160, 0, 0),
        "labelled-only": (160, 0, 0), "kd-of-labelled-only": (160, 0, 0), "ft-of-labelled-only": (160, 0, 0),
    }  # fmt: skip
    asked = {(each.question, each.a, each.b) for each in finished.records if isinstance(each, ComparisonRecord)}
    assert ("augmented rows", "pkd-skip-L2-spread", "labelled-only") in asked
    assert ("kd", "kd-L2-spread", "ft-L2-spread") in asked
    assert ("kd", "kd-of-labelled-only", "ft-of-labelled-only") in asked


def test_the_fine_tuned_control_takes_its_students_number_of_steps(finished: RunResult) -> None:
    steps = {
        record.name: record.history[-1]["step"]
        for record in finished.records
        if isinstance(record, ModelRecord) and record.role != "teacher"
    }
    made = sum(map(len, variants_in(finished.folder)))
    assert steps["ft-L2-spread"] == steps["kd-L2-spread"] == steps["pkd-skip-L2-spread"] == -(-(160 + made) // 40)
    assert steps["ft-of-labelled-only"] == steps["labelled-only"] == 4


def test_augmented_rows_have_no_label_and_the_answers_that_any_row_has(finished: RunResult) -> None:
    rows = open_shards(finished.folder / "annotated" / "augmented-1")
    assert set(rows.column_names) == {
        "text", "teacher_logits", "teacher_cls_states"
    }  # fmt: skip
    (place,) = (finished.folder / "encodings").glob("augmented-1-*")
    masked = next(row for row in joined(rows, open_shards(place)) if "[MASK]" in row["text"])
    assert make_tokenizer().mask_token_id in masked["input_ids"]


def test_a_student_of_labelled_rows_alone_makes_all_its_passes_over_them(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", 4, effort="normal")
    given["training"] = {name: value for name, value in TRAINING.items() if name != "num_train_epochs"}
    given["students"] = [{"layers": 2}, {"layers": 2, "unlabelled": False, "name": "labelled-only"}]
    records = go(given).records
    epochs = {
        record.name: (record.history[-1]["epoch"], record.history[-1]["step"])
        for record in records
        if isinstance(record, ModelRecord) and record.role == "student"
    }
    assert epochs["pkd-skip-L2-spread"][0] == pytest.approx(2.5, abs=0.05)
    assert epochs["labelled-only"] == (12.5, 50)  # four steps of 40 rows a pass
    assert epochs["pkd-skip-L2-spread"][1] == pytest.approx(50, abs=2)
    questions = {(each.question, each.a, each.b) for each in records if isinstance(each, ComparisonRecord)}
    assert ("augmented rows", "pkd-skip-L2-spread", "labelled-only") in questions


def test_by_default_few_classes_have_augmented_rows_and_many_or_students_that_use_none_have_not(
    workspace: Path, tmp_path: Path
) -> None:
    def augmented(
        data: dict[str, Any], *students: dict[str, Any], teacher: Mapping[str, Any] = MappingProxyType({})
    ) -> int:
        given = values(workspace, tmp_path / "run", 4, effort="normal", data=data, students=list(students))
        given["teacher"] = {**given["teacher"], **teacher}
        given["transfer"] = {"augment": "auto"}
        return plan_run(recipe_from(given, where="test")).counts.augmented

    few = {"train": str(workspace / "train.csv"), "eval": str(workspace / "dev.csv"), "max_length": 32}
    assert augmented(few, {"layers": 2}, {"layers": 2, "method": "ft"}) == 4 * 160
    assert augmented(few, {"layers": 2, "method": "ft"}) == 0
    assert augmented(few, {"layers": 2, "unlabelled": False}) == 0
    for classes, made in ((19, 4), (20, 0)):
        path = tmp_path / f"{classes}.csv"
        path.write_text("text,label\n" + "".join(f"film {row},c{row % classes}\n" for row in range(10 * classes)))
        many = {"train": str(path), "eval": str(path), "max_length": 32}
        assert augmented(many, {"layers": 2}, teacher={"finetune": {}}) == made * 10 * classes


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_command_writes_the_rows_that_a_run_makes(
    finished: RunResult, workspace: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["augment", "--train", workspace / "train.csv", "--variants", 2, "--output", tmp_path / f"more{suffix}"]
    arguments += ["--eval", workspace / "dev.csv", "--test", workspace / "test.csv", "--max-length", 32, "--json"]
    assert main(list(map(str, arguments))) == 0
    expected = variants_in(finished.folder)
    told = json.loads(capsys.readouterr().out)
    assert told["variants"] == [len(each) for each in expected]
    rows = pkd.load_data(unlabelled=tmp_path / f"more{suffix}")["unlabelled"]
    assert list(rows["text"]) == [text for each in expected for text in each]


def test_a_stream_gives_the_bytes_that_the_whole_file_gives(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_ROWS_A_CHUNK", 50)
    monkeypatch.setattr(augmentation, "POOL_ROWS", 30)
    train, held_out = workspace / "train.csv", {"eval": workspace / "dev.csv", "test": workspace / "test.csv"}
    whole = pkd.augment(train, variants=2, output=tmp_path / "whole.csv", **held_out)
    monkeypatch.setattr(augmentation, "_ROWS_AT_A_TIME", 13)
    streamed = pkd.augment(train, variants=2, output=tmp_path / "streamed.csv", streaming=True, **held_out)
    assert (tmp_path / "streamed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert streamed.variants == whole.variants
    assert isinstance(whole.rows, datasets.Dataset)
    assert list(streamed.rows) == list(whole.rows)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["streamed.csv", "whole.csv"]
    stream = datasets.load_dataset("csv", data_files=str(train), split="train", streaming=True)
    pkd.augment(stream, variants=2, output=tmp_path / "stream.csv", **held_out)
    assert (tmp_path / "stream.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_rows_in_python_are_augmented_as_their_file_is(workspace: Path) -> None:
    data = pkd.load_data(train=workspace / "train.csv", eval=workspace / "dev.csv", test=workspace / "test.csv")
    result = pkd.augment(data["train"], variants=2, eval=data["eval"], test=data["test"])
    of_files = pkd.augment(
        workspace / "train.csv", variants=2, eval=workspace / "dev.csv", test=workspace / "test.csv", seed=42
    )
    assert list(result.rows) == list(of_files.rows)
    assert str(result) == f"{len(list(result.rows))} rows in 2 variants of 160 training rows"
    other = pkd.augment(workspace / "train.csv", variants=1, seed=7)
    assert list(other.rows)[:20] != list(result.rows)[:20]


def test_a_text_that_is_named_as_development_or_test_text_is_never_made(workspace: Path, tmp_path: Path) -> None:
    freely = [row["text"] for row in pkd.augment(workspace / "train.csv", variants=2).rows]
    (tmp_path / "dev.txt").write_text("".join(f"{text}\n" for text in freely[:50]))
    (tmp_path / "test.csv").write_text("text\n" + "".join(f"{text.upper()}\n" for text in freely[50:100]))
    held_out = {"eval": tmp_path / "dev.txt", "test": tmp_path / "test.csv"}
    now = {row["text"] for row in pkd.augment(workspace / "train.csv", variants=2, **held_out).rows}
    assert not now & set(freely[:100])
    assert now >= set(freely[100:])


def test_more_variants_keep_the_answers_to_the_first_ones(workspace: Path, tmp_path: Path) -> None:
    go(values(workspace, tmp_path / "run", 2))
    first = variants_in(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "annotated").rglob("*.arrow")}
    result = go(values(workspace, tmp_path / "run", 3))
    now = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "annotated").rglob("*.arrow")}
    assert now.items() >= before.items()
    three = variants_in(tmp_path / "run")
    assert three[:2] == first
    texts = [text for each in three for text in each]
    assert len(set(texts)) == len(texts)
    learnt = next(record for record in result.records if isinstance(record, ModelRecord) and record.role == "student")
    assert learnt.augmented_rows == len(texts)
    fewer = go(values(workspace, tmp_path / "run", 2))  # the third one lies there still, and teaches nobody
    learnt = next(record for record in fewer.records if isinstance(record, ModelRecord) and record.role == "student")
    assert learnt.augmented_rows == sum(map(len, first))


class StopsAt(progress.Watcher):
    """Asks for a stop when a stage has got so far."""

    def __init__(self, stage: str, rows: int) -> None:
        self.stage, self.rows, self.asked = stage, rows, False

    def stage_moved(self, stage: Any) -> None:
        if stage.name == self.stage and stage.done >= self.rows and not self.asked:
            self.asked = True
            progress.request_stop(75)


@pytest.fixture(autouse=True)
def _no_stop_is_left() -> Iterator[None]:
    yield
    progress.clear_stop()


@pytest.mark.parametrize(("stage", "at"), [("annotate augmented-1", 64), ("annotate augmented-2", 32)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    finished: RunResult, workspace: Path, tmp_path: Path, stage: str, at: int
) -> None:
    given = values(workspace, tmp_path / "run", 2)
    watcher = StopsAt(stage, at)
    with pytest.raises(Stopped), progress.watch(watcher):
        go(given)
    progress.clear_stop()
    partial = tmp_path / "run" / "annotated" / f"{stage.removeprefix('annotate ')}.partial"
    shards = {path: path.stat().st_mtime_ns for path in partial.glob("*.arrow")}
    assert shards
    go(given)
    whole, resumed = bytes_of(finished.folder), bytes_of(tmp_path / "run")
    assert resumed == {name: whole[name] for name in resumed}
    kept = partial.with_suffix("")
    assert all((kept / path.name).stat().st_mtime_ns == time for path, time in shards.items())


def test_distill_has_a_flag_for_it(workspace: Path, tmp_path: Path) -> None:
    arguments = ["distill", "--teacher", workspace / "teacher", "--train", workspace / "train.csv", "--eval"]
    arguments += [workspace / "dev.csv", "--output", tmp_path / "student", "--max-length", 32, "--layers", 2]
    arguments += ["--num-train-epochs", 1, "--augment", 1, "--set", "resamples=20", "--quiet"]
    assert main(list(map(str, arguments))) == 0
    (texts,) = variants_in(tmp_path / "student.work")
    card = (tmp_path / "student" / "README.md").read_text()
    assert "- Labelled rows: 160\n" in card
    assert f"- Augmented rows, made of the labelled ones: {len(texts)} (they learn from kd + β · pt)\n" in card
    assert "loss of an unlabelled row = kd + " in card
    assert "transfer:\n  augment: 1\n" in (tmp_path / "student.work" / "recipe.yaml").read_text()


def test_check_says_how_many_there_will_be_and_measures_with_them(workspace: Path, tmp_path: Path) -> None:
    given = values(workspace, tmp_path / "run", 2)
    said = "\n".join(pkd.check(recipe_from(given, where="test")).sentences)
    made = sum(
        pkd.augment(
            workspace / "train.csv", variants=2, eval=workspace / "dev.csv", test=workspace / "test.csv"
        ).variants
    )
    assert f"Rows: train 160, eval 60, test 60, augmented {made}." in said
    assert "loss of an unlabelled row = kd + " in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--output", "more.txt"], "--output is more.txt; rows are written as .csv, .jsonl, .parquet"),
        (["--output", "nowhere/more.csv"], "--output is nowhere/more.csv, but the folder"),
        (["--output", "there.csv"], "--output is there.csv, which exists; name another file, or give --overwrite"),
        (["--output", "train.csv", "--overwrite"], "--output is train.csv, which is read too; name another file"),
        (["--output", "o.csv", "--variants", "0"], "--variants is 0; it must be from 1 to 1,000"),
        (["--output", "o.csv", "--set", "column_names=[text, label]"], "name a .jsonl or .parquet file"),
        (["--output", "o.csv", "--eval", "pairs.csv"], "The training rows have text, but the development or test rows"),
        (["--output", "o.csv", "--test", "missing.csv"], "missing.csv does not exist"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_before_anything_is_written(
    more: list[str], words: str, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    shutil.copy(workspace / "train.csv", "train.csv")
    Path("there.csv").write_text("old")
    Path("pairs.csv").write_text("text_a,text_b\na,b\n")
    before = sorted(tmp_path.iterdir())
    assert main(["augment", "--train", "train.csv", *more]) in (2, 3)
    assert words in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.iterdir()) == before
    assert Path("there.csv").read_text() == "old"


def test_columns_keep_their_names_and_a_file_that_is_there_is_replaced_only_if_asked(tmp_path: Path) -> None:
    rows = "".join(f"{number},a film {number} of many,the end of {number},x\n" for number in range(9))
    (tmp_path / "train.csv").write_text("row,premise,hypothesis,label\n" + rows)
    given = {"train": tmp_path / "train.csv", "variants": 3, "output": tmp_path / "more.csv"}
    pkd.augment(**given)
    assert (tmp_path / "more.csv").read_text().startswith("premise,hypothesis,row,variant\n")
    with pytest.raises(RecipeError, match="overwrite=True"):
        pkd.augment(**given)
    pkd.augment(**given, text_columns="row", overwrite=True)
    assert (tmp_path / "more.csv").read_text().startswith("row,row_,variant\n")


def test_texts_without_labels_can_be_augmented_too(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a quiet film with an end\n\nanother story of the sea\n")
    assert {row["row"] for row in pkd.augment(tmp_path / "texts.txt", variants=4).rows} == {1, 2}
    with pytest.raises(DataError, match="no column text"):
        pkd.augment(datasets.Dataset.from_dict({"body": ["a film"]}))
    with pytest.raises(RecipeError, match="rows of a stream are written to a file"):
        pkd.augment(tmp_path / "texts.txt", streaming=True)
