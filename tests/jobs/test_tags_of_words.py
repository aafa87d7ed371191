"""Tags of words by the real command line: from CoNLL files to a student that is measured, resumed and read elsewhere."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, BertConfig, BertModel

import pkd
from conftest import BAD, FILLER, GOOD, WORDS, make_tokenizer, stop_at_step
from pkd import progress
from pkd.cli.main import main
from pkd.errors import Stopped, TeacherError
from pkd.recipe.reading import recipe_from
from pkd.reporting.results import ComparisonRecord, FlipRecord, ModelRecord, read_results
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.seal import read_manifest
from warm import run_ranks


def fast(epochs: int = 6, max_length: int = 32) -> tuple[str, ...]:
    return (
        *("--num-train-epochs", str(epochs), "--learning-rate", "4e-3", "--per-device-train-batch-size", "8"),
        *("--precision", "float32", "--set", "evaluation.resamples=100", "--device", "cpu"),
        *("--max-length", str(max_length)),
    )


DISTILL = (
    *("distill", "--teacher", "teacher", "--train", "train.conll", "--eval", "dev.conll", "--test", "test.conll"),
    *("--layers", "2", "--output", "student", "--set", "patience=0.1", "--augment", "1", *fast(3)),
)
TRAIN = ("--train", "train.conll", "--eval", "dev.conll")


def write_conll(path: Path, sentences: int, seed: int) -> Path:
    """Sentences of words outside, of praise (one or two words) and of blame, some of which a tokenizer splits."""
    chooser, lines = random.Random(seed), []
    for _ in range(sentences):
        for _ in range(chooser.randint(2, 8)):
            kind = chooser.random()
            if kind < 0.6:
                lines.append(f"{chooser.choice(FILLER)} O")
            elif kind < 0.8:
                lines.append(f"{chooser.choice(GOOD[:3])} B-praise")
                lines += [f"{chooser.choice(GOOD[3:])}-{chooser.choice(GOOD[3:])} I-praise"] * (kind < 0.7)
            else:
                lines.append(f"{chooser.choice(BAD)} B-blame")
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    for name, sentences, seed in (("train", 300, 1), ("dev", 80, 2), ("test", 80, 3)):
        write_conll(folder / f"{name}.conll", sentences, seed)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder / "encoder")
    make_tokenizer().save_pretrained(folder / "encoder")
    run(folder, "finetune", "--model", "encoder", "--output", "teacher", *fast(), *TRAIN)
    return folder


def run(folder: Path, *arguments: str) -> None:
    paths = [str(folder / each) if (folder / each).exists() or each in OUTPUTS else each for each in arguments]
    assert main(paths) == 0


OUTPUTS = {"teacher", "student", "other", "foreign"}  # outputs, in the test's folder


def score_of(output: Path, name: str) -> float:
    records = [each for each in read_results(output) if isinstance(each, ModelRecord) and each.name == name]
    return float(records[0].scores["span_f1"].value)


@pytest.fixture(scope="module")
def student(space: Path) -> Path:
    run(space, *DISTILL)
    return space / "student"


def test_a_finetuned_teacher_finds_the_spans(space: Path) -> None:
    manifest = read_manifest(space / "teacher")
    assert manifest is not None
    assert manifest.facts["scores"]["span_f1"] > 0.9
    config = json.loads((space / "teacher" / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"]
    assert config["id2label"]["0"] == "O"


def test_a_student_at_half_depth_learns_the_spans_and_is_judged(space: Path, student: Path) -> None:
    work = space / "student.work"
    assert score_of(work, "teacher") > 0.9
    name = next(each.name for each in read_results(work) if isinstance(each, ModelRecord) and each.role == "student")
    assert score_of(work, name) > 0.8
    (record,) = [each for each in read_results(work) if isinstance(each, ModelRecord) and each.role == "student"]
    shares = {share.name: share.share for share in record.terms}
    assert shares["pt"] == pytest.approx(0.1, abs=0.02)
    assert any(isinstance(each, ComparisonRecord) and each.metric == "rows_right" for each in read_results(work))
    assert all(isinstance(each.text, str) for each in read_results(work) if isinstance(each, FlipRecord))
    model = AutoModelForTokenClassification.from_pretrained(student)
    assert model.config.num_hidden_layers == 2
    assert model.config.id2label[1] == "B-blame"


def test_the_same_command_again_makes_nothing_new(space: Path, student: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (space / "student.work").rglob("*.safetensors")}
    run(space, *DISTILL)
    assert {path: path.stat().st_mtime_ns for path in (space / "student.work").rglob("*.safetensors")} == before


def values(space: Path, name: str, *students: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "output": str(space / name),
        "teacher": {"model": str(space / "teacher")},
        "data": {"train": str(space / "train.conll"), "eval": str(space / "dev.conll"), "max_length": 24},
        "effort": "quick",
        "training": {"num_train_epochs": 2, "learning_rate": 2e-3, "precision": "float32"},
        "evaluation": {"resamples": 20, "measure_speed": False},
        "students": list(students),
        "controls": False,
        "device": "cpu",
        **more,
    }


@pytest.fixture(scope="module")
def several(space: Path, foreign_encoder: Path) -> Path:
    """A narrow student, one of another tokenizer and one whose start was raced for, from one teacher's pass."""
    pkd.run(
        recipe_from(
            values(
                space,
                "several",
                {"layers": 2, "width": 0.5, "patience": 0.1},
                {"student": str(foreign_encoder), "patience": 0.1},
                {"layers": 1, "method": "kd", "start": "auto"},
                annotation={"states_share": 0.5},
            ),
            where="test",
        )
    )
    return space / "several"


def test_students_of_any_kind_learn_tags_from_one_pass(several: Path) -> None:
    scores = {
        each.name: each.scores["span_f1"].value for each in read_results(several) if isinstance(each, ModelRecord)
    }
    assert {"pkd-skip-L2-w0.5-spread", "pkd-skip-L6-little-roberta"} <= set(scores)
    assert any(name.startswith("kd-L1-") for name in scores)  # named after the start that won
    assert scores["pkd-skip-L2-w0.5-spread"] > 0.5
    assert len(list((several / "annotated").iterdir())) == 2
    assert pkd.verify(several)


def test_a_stopped_training_goes_on_to_the_same_bits(
    space: Path, several: Path, foreign_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = {"student": str(foreign_encoder), "patience": 0.1}
    recipe = recipe_from(values(space, "stopped", student, annotation={"states_share": 0.5}), where="test")
    stop_at_step(monkeypatch, 10)
    with pytest.raises(Stopped):
        pkd.run(recipe)
    progress.clear_stop()
    pkd.run(recipe)
    weights = "students/pkd-skip-L6-little-roberta-seed42/model.safetensors"
    assert sha256_of_file(several / weights) == sha256_of_file(space / "stopped" / weights)


def test_two_teachers_are_averaged_part_by_part_and_need_one_tokenizer(space: Path, foreign_encoder: Path) -> None:
    run(space, "finetune", "--model", "encoder", "--output", "other", *fast(2), *TRAIN)
    both = {"model": [str(space / "teacher"), str(space / "other")]}
    pkd.run(recipe_from(values(space, "both", {"layers": 2}, teacher=both), where="test"))
    names = [each.name for each in read_results(space / "both") if isinstance(each, ModelRecord)]
    assert "teachers' mean" in names
    run(space, "finetune", "--model", str(foreign_encoder), "--output", "foreign", *fast(1, 24), *TRAIN)
    mixed = {"model": [str(space / "teacher"), str(space / "foreign")]}
    with pytest.raises(TeacherError, match="different tokenizers"):
        pkd.run(recipe_from(values(space, "mixed", {"layers": 2}, teacher=mixed), where="test"))


@pytest.mark.slow
def test_two_processes_annotate_the_same_bytes_and_judge_alike(space: Path) -> None:
    recipes = []
    for name, batch in (("alone", 32), ("shared", 16)):
        given = values(space, name, {"layers": 2, "patience": 0.1})
        given["training"] = {**given["training"], "per_device_train_batch_size": batch}
        recipes.append(space / f"{name}.yaml")
        recipes[-1].write_text(json.dumps(given), encoding="utf-8")
    assert main(["run", str(recipes[0])]) == 0
    codes, told = run_ranks(2, "run", recipes[1])
    assert codes == [0, 0], told[-3000:]
    alone, shared = (
        {path.relative_to(space / name): path.read_bytes() for path in (space / name / "annotated").rglob("*.arrow")}
        for name in ("alone", "shared")
    )
    assert alone == shared
    scores = [
        [each.scores["word_accuracy"].value for each in read_results(space / name) if isinstance(each, ModelRecord)]
        for name in ("alone", "shared")
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)  # dropout draws other numbers
