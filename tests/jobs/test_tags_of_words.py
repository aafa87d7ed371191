"""Tags of words by the real command line: from CoNLL files to a student that is measured, resumed and read elsewhere."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification, BertConfig, BertModel

import pkd
from conftest import BAD, FILLER, GOOD, WORDS, make_tokenizer
from pkd.cli.main import main
from pkd.reporting.results import ComparisonRecord, FlipRecord, ModelRecord, read_results
from pkd.runs.fingerprint import sha256_of_file
from pkd.runs.seal import read_manifest

FAST = [
    *("--set", "training.num_train_epochs=6", "--set", "training.learning_rate=5e-3"),
    *("--set", "training.precision=float32", "--set", "evaluation.resamples=100", "--device", "cpu", "--max-length", "32"),
]


def write_conll(path: Path, sentences: int, seed: int) -> Path:
    """Sentences of words outside, of praise (one or two words) and of blame, some of which a tokenizer splits."""
    chooser, lines = random.Random(seed), []
    for _ in range(sentences):
        for _ in range(chooser.randint(2, 8)):
            kind = chooser.random()
            if kind < 0.6:
                lines.append(f"{chooser.choice(FILLER)} O")
            elif kind < 0.8:
                lines.append(f"{chooser.choice(GOOD)} B-praise")
                lines += [f"{chooser.choice(GOOD)}-{chooser.choice(GOOD)} I-praise"] * (kind < 0.7)
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
    cli = ["finetune", "--model", "encoder", "--output", "teacher", *FAST]
    run(folder, *cli, "--train", "train.conll", "--eval", "dev.conll")
    return folder


def run(folder: Path, *arguments: str) -> None:
    paths = [str(folder / each) if (folder / each).exists() or each in OUTPUTS else each for each in arguments]
    assert main(paths) == 0


OUTPUTS = {"teacher", "student", "killed", "narrow", "foreign"}  # outputs, in the test's folder


def score_of(output: Path, name: str) -> float:
    records = [each for each in read_results(output) if isinstance(each, ModelRecord) and each.name == name]
    return float(records[0].scores["span_f1"].value)


@pytest.fixture(scope="module")
def student(space: Path) -> Path:
    run(
        space,
        *("distill", "--teacher", "teacher", "--train", "train.conll", "--eval", "dev.conll", "--test", "test.conll"),
        *("--layers", "2", "--output", "student", "--set", "patience=0.1", *FAST),
    )
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
    shares = {share.term: share.share for share in record.terms}
    assert shares["pt"] == pytest.approx(0.1, abs=0.02)
    assert any(isinstance(each, ComparisonRecord) and each.metric == "rows_right" for each in read_results(work))
    assert all(isinstance(each.text, str) for each in read_results(work) if isinstance(each, FlipRecord))
    model = AutoModelForTokenClassification.from_pretrained(student)
    assert model.config.num_hidden_layers == 2
    assert model.config.id2label[1] == "B-blame"


def test_the_same_command_again_makes_nothing_new(space: Path, student: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (space / "student.work").rglob("*.safetensors")}
    run(
        space,
        *("distill", "--teacher", "teacher", "--train", "train.conll", "--eval", "dev.conll", "--test", "test.conll"),
        *("--layers", "2", "--output", "student", "--set", "patience=0.1", *FAST),
    )
    assert {path: path.stat().st_mtime_ns for path in (space / "student.work").rglob("*.safetensors")} == before
    assert pkd.verify(student.with_name("student.work")).damage == []
    assert sha256_of_file(student / "model.safetensors")
