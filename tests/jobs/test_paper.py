"""The paper's tables on a tiny encoder and a tiny RTE, through the job and the real command line."""

from __future__ import annotations

import json
import os
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from transformers import BertConfig, BertModel

from conftest import make_reviews, make_teacher, make_tokenizer
from pkd.cli.main import main
from pkd.encoder.hub import is_reachable
from pkd.encoder.load import load_config
from pkd.errors import DataError, RecipeError, TeacherError
from pkd.jobs.paper import dry_run, paper
from pkd.jobs.paper_recipe import Encoder, PaperRun, TableSettings, paper_run, scaled_depth, table_recipe
from pkd.reporting.published import ModelKey

GLUE = os.environ.get("PKD_GLUE", "")
TINY = ["data.max_length=32", "evaluation.resamples=50", "evaluation.measure_speed=false"]
TINY += [
    "teacher.finetune.num_train_epochs=4",
    "teacher.finetune.learning_rate=3e-3",
    "teacher.finetune.per_device_train_batch_size=8",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder") / "tiny"
    make_teacher(layers=6).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of GLUE's shape: RTE and MRPC with some pairs of the tests' reviews."""
    folder = tmp_path_factory.mktemp("glue")
    reviews = make_reviews(240, seed=9)
    for task, header in (("RTE", "index\tsentence1\tsentence2\tlabel"), ("MRPC", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String")):  # fmt: skip
        (folder / task).mkdir()
        for split, rows in (("train", reviews[:160]), ("dev", reviews[160:])):
            lines = [header]
            for index, (text, label) in enumerate(rows):
                good = label == "positive"
                if task == "RTE":
                    lines.append(f"{index}\t{text}\tthe film was the end\t{'entailment' if good else 'not_entailment'}")
                else:
                    lines.append(f"{int(good)}\t{index}\t{index + 1000}\t{text}\tthe film was the end")
            (folder / task / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return str(folder)


def test_depths_are_those_of_the_paper_for_twelve_layers_and_the_same_share_below() -> None:
    assert [scaled_depth(layers, 12) for layers in (6, 3)] == [6, 3]
    assert [scaled_depth(layers, 24) for layers in (6, 3)] == [6, 3]
    assert [scaled_depth(layers, 6) for layers in (6, 3)] == [3, 2]
    assert [scaled_depth(layers, 2) for layers in (6, 3)] == [1, 1]


@pytest.mark.parametrize("table", ["table1", "table2", "table3", "table5"])
def test_how_teachers_and_students_of_a_table_are_trained_stands_in_its_recipe_whatever_the_defaults(
    table: str,
) -> None:
    with as_file(files("pkd.recipes") / "paper" / f"{table}.yaml") as path:
        written = YAML(typ="safe").load(path)
    recipe = table_recipe(table)
    assert recipe.teacher.finetune is not None
    for key, training in (("teacher", recipe.teacher.finetune), ("students", recipe.training)):
        given = written["teacher"]["finetune"] if key == "teacher" else written["training"]
        assert {"learning_rate", "num_train_epochs"} <= given.keys()
        assert (training.learning_rate, training.num_train_epochs) == (5e-5, 4)


def one_task(folder: Path, task: str, **settings: Any) -> PaperRun:
    return paper_run(TableSettings(**settings), task, folder)


def test_a_run_has_the_published_settings_the_papers_start_and_its_depths(
    encoder: str, glue: str, tmp_path: Path
) -> None:
    config = load_config(encoder)
    one = one_task(tmp_path, "RTE", table="table1", glue=glue, teacher=Encoder(encoder, config), seeds=2)
    assert one.recipe.training.learning_rate == 1e-5
    assert one.recipe.training.num_train_epochs == 4
    assert one.recipe.seeds == 2
    assert {(s.temperature, s.alpha, s.beta, s.normalize) for s in one.recipe.students} == {(10, 0.7, 500, "length")}
    assert {student.start for student in one.recipe.students} == {"first"}
    assert [(s.method, s.layers) for s in one.recipe.students] == [(m, k) for k in (3, 2) for m in ("ft", "kd", "pkd")]
    assert one.keys["pkd-skip-L2-first"] == ModelKey(method="pkd-skip", layers=3)
    assert "6 layers and 16 hidden units, the paper's is BERT of 12 and 768" in one.incomparable


def test_only_berts_own_shape_on_all_rows_with_the_published_settings_is_comparable(glue: str, encoder: str, tmp_path: Path) -> None:  # fmt: skip
    config = load_config(encoder)
    config.num_hidden_layers, config.hidden_size = 12, 768

    def incomparable(**more: Any) -> str:
        return one_task(tmp_path, "RTE", table="table1", glue=glue, teacher=Encoder("x", config), **more).incomparable

    assert incomparable() == ""
    assert "quick look" in incomparable(quick=True)
    assert "students.0.beta=1" in incomparable(set=["students.0.beta=1"])


def test_tasks_with_test_rows_are_measured_on_development_rows_as_the_published_scores_are(tmp_path: Path) -> None:
    (tmp_path / "MNLI").mkdir()
    for name in ("train.tsv", "dev_matched.tsv"):
        (tmp_path / "MNLI" / name).write_text("sentence1\tsentence2\tgold_label\na\tb\tneutral\n")
    for split in ("train", "dev", "test"):
        (tmp_path / "RACE" / split / "high").mkdir(parents=True)
    folders: dict[str, Any] = {
        "glue": str(tmp_path), "race": str(tmp_path), "teacher": Encoder("x", BertConfig())
    }  # fmt: skip
    for table, task, name in (("table1", "MNLI", "dev_matched.tsv"), ("table3", "RACE", "dev")):
        one = one_task(tmp_path / "out", task, table=table, **folders)
        assert (Path(one.recipe.data.eval or "").name, one.recipe.data.test) == (name, None)
        assert (one.recipe.evaluation.metric, one.incomparable) == ("accuracy", "")
    cut = one_task(tmp_path / "out", "RACE", table="table3", set=["data.max_length=128"], **folders)
    assert cut.recipe.data.max_length == 128  # which is also the default that a task's own length takes the place of


def test_a_student_for_whom_nothing_is_left_to_learn_from_is_left_out(glue: str, encoder: str, tmp_path: Path) -> None:
    config = load_config(encoder)
    config.num_hidden_layers = 4
    shallow = one_task(tmp_path, "MRPC", table="table1", glue=glue, teacher=Encoder("x", config))
    assert [student.name for student in shallow.recipe.students] == [
        "ft-L2-first", "kd-L2-first", "pkd-skip-L2-first", "ft-L1-first", "kd-L1-first",
    ]  # fmt: skip
    larger = one_task(tmp_path, "MRPC", table="table5", glue=glue, teacher=Encoder("x", config))
    assert [student.name for student in larger.recipe.students] == ["kd-L2-first", "pkd-skip-L2-first"]
    with_base = one_task(
        tmp_path, "MRPC", table="table5", glue=glue, teacher=Encoder("x", config), base=Encoder(encoder, config)
    )
    students = {student.name: student for student in with_base.recipe.students}
    assert students["pkd-skip-L2-pretrained"].student == encoder
    assert (students["kd-L2-pretrained"].student, students["kd-L2-first"].student) == (encoder, None)
    assert with_base.keys["kd-L2-pretrained"] == ModelKey(method="kd", layers=6, teacher=24, start=12)
    assert larger.keys["kd-L2-first"] == ModelKey(method="kd", layers=6, teacher=24, start=24)


def test_a_table_runs_into_rows_a_page_and_a_run_a_task(encoder: str, glue: str, tmp_path: Path) -> None:
    done = paper(
        "table2", tasks=["rte", "MRPC"], glue=glue, teacher=encoder, quick=True, output=str(tmp_path), set=TINY
    )
    assert [(row.task, row.model, row.layers) for row in done.rows] == [
        (task, model, layers)
        for task in ("RTE", "MRPC")
        for model, layers in (("teacher", 6), ("FT", 3), ("KD", 3), ("PKD-Last", 3), ("PKD-Skip", 3))
    ]
    skip = done.rows[4]
    assert (skip.published, skip.published_of, skip.comparable, skip.difference) == (68.2, "12 → 6", False, None)
    assert skip.published_text == "[68.2] 12 → 6"
    assert 0 <= skip.value <= 100
    page = done.report.read_text()
    assert 'href="RTE/report.html"' in page
    assert "Not to be compared with the published numbers" in page
    assert "Learning curves" in page
    assert (tmp_path / "MRPC" / "report.html").is_file()
    lines = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    assert [line["value"] for line in lines] == [row.value for row in done.rows]
    again = paper("table2", tasks=["RTE"], glue=glue, teacher=encoder, quick=True, output=str(tmp_path), set=TINY)
    assert [row.value for row in again.rows] == [row.value for row in done.rows[:5]]


def test_the_command_prints_table_or_json_and_a_dry_run_trains_nothing(
    encoder: str, glue: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["paper", "table2", "--glue", glue, "--tasks", "RTE", "--teacher", encoder, "--output", str(tmp_path)]
    given += [part for setting in TINY for part in ("--set", setting)]
    assert main([*given, "--dry-run", "--seeds", "2"]) == 0
    told = capsys.readouterr().out
    assert "160 training and 80 development rows; fine-tune the teacher (80 steps), 1 teacher pass" in told
    assert "8 trainings of 4 students (160 steps)" in told
    assert "In all: 1 teachers fine-tuned" in told
    assert not tmp_path.exists() or not list(tmp_path.iterdir())
    assert main([*given, "--quick"]) == 0
    told = capsys.readouterr().out
    assert "RTE: accuracy, %, 80 development rows" in told
    assert "[66.8] 12 → 6" in told
    assert main([*given, "--quick", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["model"] for row in rows] == ["teacher", "FT", "KD", "PKD-Last", "PKD-Skip"]


def test_table_4_times_the_encoder_and_its_first_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = BertConfig(vocab_size=31, hidden_size=16, num_hidden_layers=12, num_attention_heads=2, intermediate_size=32,
                        max_position_embeddings=128)  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "bert")
    make_tokenizer().save_pretrained(tmp_path / "bert")
    out = str(tmp_path / "out")
    assert main(["paper", "table4", "--teacher", str(tmp_path / "bert"), "--quick", "--output", out]) == 0
    told = capsys.readouterr().out
    assert "bert[:6]" in told
    assert "[1.64×]" in told
    assert "[3.73×]" in told
    assert "[…] stands for BERT-base of 12, 6, 3 layers; the models here have 12, 6, 3" in " ".join(told.split())
    records = [json.loads(line) for line in (tmp_path / "out" / "table.jsonl").read_text().splitlines()]
    assert [record["layers"] for record in records] == [12, 6, 3]
    assert "Parameters and time" in (tmp_path / "out" / "report.html").read_text()


def test_what_cannot_be_run_is_told_before_anything_runs(encoder: str, glue: str, tmp_path: Path) -> None:
    common = {"teacher": encoder, "output": str(tmp_path / "out")}
    with pytest.raises(RecipeError, match="table9 is no table"):
        paper("table9")
    with pytest.raises(RecipeError, match="table1 has no task RACE; choose from RTE"):
        paper("table1", tasks=["RACE"], glue=glue, **common)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="SST-2"):
        paper("table1", tasks=["RTE", "SST-2"], glue=glue, **common)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="table4 trains nothing"):
        dry_run("table4", teacher=encoder)
    assert not (tmp_path / "out").exists()


def test_without_hub_and_demo_the_teacher_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not is_reachable("no-such-owner/no-such-encoder")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TeacherError, match="Name a pretrained encoder with teacher"):
        paper("table4")


@pytest.mark.slow
@pytest.mark.skipif(not GLUE, reason="PKD_GLUE names no folder of GLUE")
def test_the_real_tasks_run_through(encoder: str, tmp_path: Path) -> None:
    done = paper(
        "table1", tasks=["RTE", "MRPC"], glue=GLUE, teacher=encoder, quick=True, output=str(tmp_path), set=TINY
    )
    assert [(row.task, row.rows) for row in done.rows] == [("RTE", 277)] * 7 + [("MRPC", 300)] * 7
