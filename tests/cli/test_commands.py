"""The verbs through the real command line: what they print and leave behind; bad input is in test_bad_input."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    pipeline,
)

from conftest import WORDS, make_reviews, make_tokenizer
from pkd.cli.main import main
from pkd.cli.texts import lines_as_texts

Run = Any


@pytest.fixture
def pkd(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: (exit code, standard output, standard error on one line)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, " ".join(printed.err.split())

    return run


def test_a_whole_life_from_fine_tuning_to_prediction(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    quick = ["--max-length", 32, "--num-train-epochs", 1, "--set", "training.device=cpu", "--quiet"]
    rows = ["--train", workspace / "train.csv", "--eval", workspace / "dev.csv"]
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    code, out, told = pkd("finetune", "--model", workspace / "teacher", *rows, "--output", teacher, *quick)
    assert code == 0, told
    assert "on 60 development rows (which chose the epoch)." in out
    name, *distil = shlex.split(out.splitlines()[-1].removeprefix("next: "))
    assert name == "pkd"
    more = ["--layers", 2, "--controls", "--augment", 1, *quick[2:], "--set", "evaluation.resamples=50"]
    code, out, told = pkd(*distil, *more)
    assert code == 0, told
    assert "pkd-skip-L2-spread" in out
    assert "Did it help?" in out
    assert f"report: {tmp_path / 'student.work' / 'report.html'}" in out.splitlines()
    assert "Patience UNCLEAR" in out
    assert "--seeds 3 would give a verdict." in " ".join(out.split())
    code, out, _ = pkd(
        "evaluate",
        student,
        "--teacher",
        teacher,
        "--test",
        workspace / "test.csv",
        "--json",
        "--max-length",
        32,
    )
    assert code == 0
    assert "against the teacher" in out
    code, out, _ = pkd("predict", student, "a great film", "an awful plot")
    assert code == 0
    assert [line.split("\t")[2] for line in out.splitlines()] == ["a great film", "an awful plot"]
    code, out, _ = pkd("predict", student, "--json", "a great film")
    assert set(json.loads(out)["probabilities"]) == {"negative", "positive"}
    code, out, _ = pkd("report", tmp_path / "student.work")
    assert code == 0
    assert (tmp_path / "student.work" / "report.html").is_file()


@pytest.mark.parametrize("source", ["standard input", "texts.txt"])
@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (b"a great film\na fin\xe9 film\n", "line 2: the byte 0xe9 at character 6 is not UTF-8 text"),
        (b"a great film\na film\tan awful plot\n", "Text 2 is a pair"),
    ],
)
def test_lines_that_cannot_be_answered_are_told_after_the_answers_before_them(
    pkd: Run, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, lines: bytes, words: str
) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(lines)
    with path.open(encoding="ascii") as file:  # whatever the locale says
        monkeypatch.setattr("sys.stdin", file)
        code, out, told = pkd(
            "predict", workspace / "teacher", *(() if source == "standard input" else ("--file", path))
        )
    assert (code, [line.split("\t")[2] for line in out.splitlines()]) == (3, ["a great film"]), told
    assert words in told


def test_a_recipe_is_checked_and_run_and_kept(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"output: {tmp_path / 'run'}\nteacher: {{model: {workspace / 'teacher'}}}\n"
        f"data: {{train: {workspace / 'train.csv'}, eval: {workspace / 'dev.csv'}, max_length: 32}}\n"
        "training: {num_train_epochs: 1, device: cpu}\ncontrols: false\nstudents: [{layers: 2}]\n"
        "transfer: {augment: 1}\n"
    )
    code, out, _ = pkd("check", recipe)
    assert code == 0
    assert "student layer 1 ← teacher layer 2" in out
    code, out, told = pkd("run", recipe)
    assert code == 0, told
    code, out, told = pkd("run", recipe)
    assert code == 0
    assert "kept" in told
    assert "train pkd-skip" not in told
    code, _, told = pkd("run", recipe, "--set", "students.0.beta=7")
    assert code == 0
    assert "students" in told
    assert "loss.beta" in told
    assert "→ 7" in told


def test_every_line_is_a_text_or_a_pair() -> None:
    assert list(lines_as_texts(["a\r\n", "\n", " \n", "b"])) == ["a", "", " ", "b"]
    assert list(lines_as_texts(["a\tb\n", "\n", "c\td"])) == [("a", "b"), ("", ""), ("c", "d")]


@pytest.fixture(scope="module")
def of_one_type(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a RoBERTa that has one token type, a tokenizer that gives two, and pairs."""
    folder = tmp_path_factory.mktemp("one-type")
    config = RobertaConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=40, pad_token_id=0, type_vocab_size=1, id2label={0: "other", 1: "same"},
        label2id={"other": 0, "same": 1},
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / "teacher")
    make_tokenizer().save_pretrained(folder / "teacher")
    reviews = make_reviews(48)
    lines = [
        f"{one},{other},{'same' if a == b else 'other'}"
        for (one, a), (other, b) in zip(reviews[::2], reviews[1::2], strict=True)
    ]
    (folder / "pairs.csv").write_text("\n".join(["sentence1,sentence2,label", *lines]) + "\n")
    (folder / "recipe.yaml").write_text(
        f"teacher: {{model: {folder / 'teacher'}}}\ndata: {{train: {folder / 'pairs.csv'}, max_length: 32}}\n"
    )
    return folder


def test_pairs_go_through_every_command_with_a_model_of_one_token_type(
    pkd: Run, of_one_type: Path, tmp_path: Path
) -> None:
    teacher, pairs, student, served = of_one_type / "teacher", of_one_type / "pairs.csv", tmp_path / "s", tmp_path / "e"
    of = ["--teacher", teacher, "--train", pairs, "--test", pairs]
    short = ["--num-train-epochs", 1, "--max-length", 32, "--set", "evaluation.resamples=20", "-q"]
    commands: list[list[object]] = [
        ["check", of_one_type / "recipe.yaml"],
        ["distill", *of, "--layers", 2, "--augment", 1, "--output", student, *short],
        ["evaluate", student, "--teacher", teacher, "--test", pairs, "-q"],
        ["export", student, "--output", served, "-q"],  # of half the layers: tracing takes seconds a layer
        ["speed", student, served, "--test", pairs, "--rounds", 1, "--batch-sizes", 2, "--no-memory", "-q"],
    ]
    for command in commands:
        code, _, told = pkd(*command)
        assert code == 0, (command, told)
    answers = [pkd("predict", model, "--file", pairs)[1] for model in (student, served)]
    assert answers[0] == answers[1] != ""
    theirs = pipeline("text-classification", model=str(student))({"text": "a film", "text_pair": "the plot"})
    assert f"{theirs['label']}\t{theirs['score']:.4f}" in pkd("predict", student, "a film\tthe plot")[1]


def test_a_student_of_another_family_may_have_no_token_types_though_its_teacher_has(
    pkd: Run, of_one_type: Path, workspace: Path, tmp_path: Path
) -> None:
    encoder, student = tmp_path / "encoder", tmp_path / "student"
    DistilBertModel(
        DistilBertConfig(
            vocab_size=len(WORDS), dim=16, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=40
        )
    ).save_pretrained(encoder)
    make_tokenizer().save_pretrained(encoder)
    pairs = (of_one_type / "pairs.csv").read_text().replace("same", "positive").replace("other", "negative")
    (tmp_path / "pairs.csv").write_text(pairs)
    code, _, told = pkd(
        "distill", "--teacher", workspace / "teacher", "--train", tmp_path / "pairs.csv", "--test", tmp_path / "pairs.csv",
        "--layers", 1, "--method", "kd", "--augment", 1, "--student", encoder, "--output", student,
        "--num-train-epochs", 1, "--max-length", 32, "--set", "evaluation.resamples=20", "-q",
    )  # fmt: skip
    assert code == 0, told
    assert pipeline("text-classification", model=str(student))({"text": "a film", "text_pair": "the plot"})
