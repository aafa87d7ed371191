"""Every bad input that we know of, by number, through the real command line.

C1 to C76 are the numbers of one list of inputs; each is here once, in the order of the list but for what is shared,
with the exit code (0 where the input is legal) and the words that say what, where and what to do. A number that
cannot occur says why in a comment.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    ModernBertConfig,
    RobertaConfig,
    ViTConfig,
    pipeline,
)

from conftest import make_reviews, make_teacher, make_tokenizer
from damage import flip
from pkd.cli.main import main
from pkd.data.shards import open_shards
from pkd.runs.lock import one_writer

Run = Any
case = pytest.param


@pytest.fixture
def pkd(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process: (exit code, standard output, standard error on one line)."""
    monkeypatch.setenv("COLUMNS", "10000")  # so that no path is broken over two lines

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, " ".join(printed.err.split())

    return run


def has_all(told: str, *words: str) -> None:
    missing = [word for word in words if word not in told]
    assert not missing, f"{missing} not in: {told}"


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(pairs: list[tuple[str, str]]) -> str:
    return "text,label\n" + "".join(f"{text},{label}\n" for text, label in pairs)


# The file of examples: 1 to 39 ------------------------------------------------------------------------------------------

TWO_CLASSES = "a good film,positive\na bad film,negative\n"


def no_model(folder: Path) -> Path:
    """A folder that could hold a model, as far as can be seen without loading it."""
    (folder / "no-model").mkdir()
    put(folder / "no-model", "config.json", "{}")
    return folder / "no-model"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        case("text,topic\na,b\nc,d\n", ["no column 'label'", "'text', 'topic'", "--label-column"], id="C1-no-label"),
        case("text,lable\na,b\n", ["no column 'label'", "Did you mean 'lable'?"], id="C1-near-name"),
        case("body_x,label\na,b\n", ["no column with a usual name for the text ('text', 'sentence'", "'body_x', 'label'",
             "--text-columns"], id="C2-no-text"),
        case("a very good film indeed,1\na bad one,0\n", ["The header looks like data", "add a header row above it"],
             id="C4-sentence-as-header"),
        case("good film,positive\nbad film,negative\n", ["no column 'label'", "first row", "add a header row above it"],
             id="C4-short-text-as-header"),
        case("text;label\na;b\n", ["only one column ('text;label')", "separated by ;", "--set data.sep=';'"],
             id="C5-semicolons"),
        case("text\tlabel\na\tb\n", ["only one column", "separated by a tab", "--set data.sep='\\t'"], id="C5-tabs"),
        case("text,label,text\na,b,c\n", ["the header names 'text' more than once", "its own name"],
             id="C6-duplicate-header"),
        case(b"text,label\ncaf\xe9 na\xefve,x\nb,y\n", ["byte at offset 14", "cp1252", "--set data.encoding="],
             id="C9-latin-1"),
        case("text,label\na,x\nb,y\n".encode("utf-16"), ["byte at offset 0", "--set data.encoding=utf-16"],
             id="C10-utf-16"),
        case("text,label\na,b\na,b,c\n", ["line 3: 3 of 2 fields", "must be in quotes"], id="C11-too-many-fields"),
        case("text,label\na,b\nonly\n", ["line 3: 1 of 2 fields"], id="C12-too-few-fields"),
        case('text,label\n"open,b\nc,d\n', ["line 2: a quote", "never closed", "Close it"], id="C13-unclosed-quote"),
        case("text,label\n,x\na,y\n  ,x\n", ["2 of 3 rows (66.7%) have an empty text (lines 2, 4)", "data.on_empty=drop"],
             id="C16-empty-texts"),
        case("text,label\na,x\nb,\nc,y\nd, \n", ["2 of 4 rows have no label (lines 3, 5)", "data.on_no_label=drop"],
             id="C19-missing-labels"),
        case("text,label\na,-1\nb,-1\n", ["hidden labels (-1) in 2 of 2 rows", "used for prediction"],
             id="C27-hidden-labels"),
        case("text,label\na,-100\nb,1\nc,0\n", ["the label -100 in 1 of 3 rows", "data.on_no_label=drop"], id="C28-ignored-label"),
        case("text,label\na,x\nb,x\n", ["only 1 class: all 2 rows have the label 'x'", "--label-column"],
             id="C31-one-class"),
        case("", ["0 rows", "first row names the columns"], id="C33-empty-file"),
        case("text,label\n", ["0 rows", "give a file with examples"], id="C33-header-only"),
        case("id,text,label\n1,a,x\n1,b,y\n2,c,x\n2,d,y\n", ["ids occur more than once: 1, 2", "Remove the copies"],
             id="C35-duplicate-ids"),
        case("sentence1,label\na,x\nb,y\n", ["'sentence1' but not 'sentence2'", "Add that column"], id="C39-half-a-pair"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_ends_with_3_before_a_model_is_loaded(
    pkd: Run, tmp_path: Path, content: str | bytes, words: list[str]
) -> None:
    train = put(tmp_path, "train.csv", content)
    model = no_model(tmp_path)
    code, out, told = pkd("finetune", "--model", model, "--train", train, "--output", tmp_path / "out")
    assert (code, out) == (3, ""), told
    has_all(told, *words)
    assert "train" in told  # which file, or which split
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        case("trian.csv", None, ["trian.csv does not exist", "Near it: train.csv"], id="C37-missing-file"),
        case("train.xlsx", b"PK", ["train.xlsx ends in '.xlsx'", ".csv", ".parquet"], id="C37-wrong-extension"),
        case("folder", None, ["is a folder that `datasets` did not save", "notes.csv"], id="C37-folder"),
        case(
            "train.txt",
            b"a\nb\n",
            ["is plain text, which has no labels", "can be unlabelled text"],
            id="C37-plain-text",
        ),
        case("train.parquet", b"no parquet", ["cannot be read as Parquet"], id="C37-no-parquet"),
    ],
)
def test_what_is_no_file_of_examples_is_told_with_its_absolute_path(
    pkd: Run, tmp_path: Path, name: str, content: bytes | None, words: list[str]
) -> None:
    put(tmp_path, "train.csv", "text,label\n" + TWO_CLASSES)
    (tmp_path / "folder").mkdir()
    put(tmp_path / "folder", "notes.csv", "text,label\n" + TWO_CLASSES)
    if content is not None:
        put(tmp_path, name, content)
    code, _, told = pkd("finetune", "--model", "m", "--train", tmp_path / name, "--output", tmp_path / "out")
    assert code == 3, told
    has_all(told, str(tmp_path / name), *words)


@pytest.mark.parametrize(
    ("dev", "words"),
    [
        case("text,label\na,x\nb,z\n", ["dev.csv (eval)", "'z' (1 rows)", "Classes of the file: 'x', 'z'",
             "Classes of the training rows: 'x', 'y'"], id="C26-unseen-label"),
        case("text,label\na,-1\nb,-1\n", ["dev.csv has hidden labels (-1)"], id="C27-hidden-in-dev"),
        case("text_a,text_b,label\na,b,x\nc,d,y\n", ["dev.csv has pairs of texts", "train has single texts",
             "--text-columns"], id="C38-other-columns"),
    ],
)  # fmt: skip
def test_development_rows_that_do_not_fit_the_training_rows_end_with_3(
    pkd: Run, tmp_path: Path, dev: str, words: list[str]
) -> None:
    train = put(tmp_path, "train.csv", "text,label\na film,x\na plot,y\n")
    arguments = ["--train", train, "--eval", put(tmp_path, "dev.csv", dev), "--output", tmp_path / "out"]
    code, _, told = pkd("finetune", "--model", no_model(tmp_path), *arguments)
    assert code == 3, told
    has_all(told, *words)


@pytest.fixture
def annotate(pkd: Run, workspace: Path, tmp_path: Path) -> Any:
    """Annotates a file with the workspace's teacher, or another: (exit code, the rows or None, standard error)."""

    def run(content: str | bytes, *more: object, name: str = "train.csv", teacher: Path | None = None) -> Any:
        train = put(tmp_path, name, content)
        command = ["annotate", "--teacher", teacher or workspace / "teacher", "--train", train]
        length = () if "--max-length" in more else ("--max-length", 32)
        layers = () if "--layers" in more else ("--layers", 2)
        code, _, told = pkd(*command, *length, *layers, "--output", tmp_path / "rows", *more)
        return code, open_shards(tmp_path / "rows") if code == 0 else None, told

    return run


@pytest.mark.parametrize(
    ("content", "more", "texts", "labels", "words"),
    [
        case(" text , label \na,positive\nb,negative\n", [], ["a", "b"], [1, 0],
             ["warning", "spaces around column names were removed (text, label)"], id="C3-spaces-in-header"),
        case("text;label\na;positive\nb;negative\n", ["--set", "data.sep=;"], ["a", "b"], [1, 0], [], id="C5-sep-given"),
        case("text\tlabel\na\tpositive\nb\tnegative\n", ["--set", "data.sep=\\t"], ["a", "b"], [1, 0], [],
             id="C5-tab-given"),
        case(",text,label\n0,a,positive\n1,b,negative\n", [], ["a", "b"], [1, 0],
             ["a column without a name (an index?) was ignored"], id="C7-unnamed-index"),
        case(b"\xef\xbb\xbftext,label\na,positive\nb,negative\n", [], ["a", "b"], [1, 0], [], id="C8-byte-order-mark"),
        case("text,label\ncaf\xe9,positive\nb,negative\n".encode("cp1252"), ["--set", "data.encoding=cp1252"],
             ["café", "b"], [1, 0], [], id="C9-encoding-given"),
        case("text,label\na,positive\nb,negative\n".encode("utf-16"), ["--set", "data.encoding=utf-16"],
             ["a", "b"], [1, 0], [], id="C10-encoding-given"),
        case('text,label\r\n"two\nlines",positive\r\nb,negative\r\n', [], ["two\nlines", "b"], [1, 0], [],
             id="C14-newline-in-quotes-and-CRLF"),
        case("text,label\n,positive\na,positive\nb,negative\n", ["--set", "data.on_empty=drop"], ["a", "b"], [1, 0],
             ["1 of 3 rows (33.3%) have an empty text; they were dropped"], id="C16-dropped"),
        case("text,label\n,positive\na,positive\nb,negative\n", ["--set", "data.on_empty=keep"], ["", "a", "b"],
             [1, 1, 0], ["warning", "(line 2); they were kept"], id="C16-kept"),
        case("text,label\n123,positive\n4.50,negative\n", [], ["123", "4.50"], [1, 0], [], id="C17-numeric-texts"),
        case("text,label\na\0b,positive\nc\x07,negative\nd,positive\n", [], ["a\0b", "c\x07", "d"], [1, 0, 1],
             ["warning", "2 texts hold NUL or other control characters"], id="C18-control-characters"),
        case("text,label\na,0.0\nb,1.0\n", ["--set", "data.label_ids_are_teacher_ids=true"], ["a", "b"], [0, 1],
             ["whole numbers written as decimals; they are read as integers"], id="C20-whole-decimals"),
        case("text,label\na,Positive\nb,NEGATIVE\n", [], ["a", "b"], [1, 0], [], id="C22-names-in-other-case"),
        case("text,label\na,1\nb,0\n", ["--set", "data.label_ids_are_teacher_ids=true"], ["a", "b"], [1, 0], [],
             id="C24-ids-said-to-be-the-teachers"),
        case("text,label\na,True\nb,false\n", ["--set", "data.label_ids_are_teacher_ids=true"], ["a", "b"], [1, 0],
             ["the labels are true and false; they are read as 1 and 0"], id="C29-truth-values"),
        case("text,label\na,positive\nb,positive\nc,negative\n", [], ["a", "b", "c"], [1, 1, 0],
             ["warning", "'negative' has only one example"], id="C32-class-of-one-example"),
        case("text,label\na,positive\na ,negative\nb,positive\n", [], ["a", "a ", "b"], [1, 0, 1],
             ["warning", "1 text occurs with different labels (2 rows)"], id="C36-contradiction"),
    ],
)  # fmt: skip
def test_what_is_legal_is_read_as_it_is_meant_and_told(
    annotate: Any, content: str | bytes, more: list[str], texts: list[str], labels: list[int], words: list[str]
) -> None:
    code, rows, told = annotate(content, *more)
    assert code == 0, told
    assert list(rows["text"]) == texts
    assert list(rows["label"]) == labels
    has_all(told, *words)


def test_c15_texts_that_other_readers_take_for_nothing_come_out_as_they_are(
    pkd: Run, workspace: Path, tmp_path: Path
) -> None:
    texts = ["NA", "None", "null", "nan", "", "N/A", "123"]  # the empty line is C16 and C63, the number C17
    path = put(tmp_path, "new.csv", "id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts)))
    lines = put(tmp_path, "new.txt", "".join(f"{text}\n" for text in texts))
    for file in (path, lines):
        code, out, told = pkd("predict", workspace / "teacher", "--json", "--file", file)
        assert code == 0, told
        assert [json.loads(line)["text"] for line in out.splitlines()] == texts


def test_c16_few_empty_texts_are_kept_with_a_warning(annotate: Any) -> None:
    code, rows, told = annotate(rows_of([*make_reviews(150), ("", "positive")]))
    assert (code, len(rows)) == (0, 151)
    has_all(told, "warning", "1 of 151 rows (0.7%) have an empty text (line 152); they were kept")


def test_c17_a_column_of_numbers_is_read_as_text(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": [1, 23]}), tmp_path / "new.parquet")
    code, out, told = pkd("predict", workspace / "teacher", "--json", "--file", tmp_path / "new.parquet")
    assert code == 0, told
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["1", "23"]
    has_all(told, "a text column holds numbers (int64); they are read as text")


def test_c21_names_become_ids_in_sorted_order_which_is_told_and_saved(
    pkd: Run, workspace: Path, tmp_path: Path
) -> None:
    train = put(tmp_path, "train.csv", "text,label\na film,spam\nthe plot,ham\na scene,eggs\n")
    code, _, told = pkd(
        "finetune", "--model", workspace / "teacher", "--train", train, "--output", tmp_path / "out",
        "--max-length", 32, "--num-train-epochs", 1, "--set", "training.device=cpu",
    )  # fmt: skip
    assert code == 0, told
    has_all(told, "0 eggs, 1 ham, 2 spam")
    has_all(told, "warning", "3 training rows are fewer than one batch of 32")  # C34
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "eggs", "1": "ham", "2": "spam"}


def changed_teacher(workspace: Path, tmp_path: Path, **changes: Any) -> Path:
    """The workspace's teacher with another configuration."""
    folder = Path(shutil.copytree(workspace / "teacher", tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def test_c22_labels_are_aligned_with_the_teachers_by_name_and_never_by_position(
    annotate: Any, workspace: Path, tmp_path: Path
) -> None:
    names = {"id2label": {"0": "positive", "1": "negative"}, "label2id": {"positive": 0, "negative": 1}}
    code, rows, told = annotate("text,label\n" + TWO_CLASSES, teacher=changed_teacher(workspace, tmp_path, **names))
    assert code == 0, told
    assert list(rows["label"]) == [0, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        case("text,label\na,good\nb,bad\n", ["'good' (1 rows)", "Classes of the file: 'bad', 'good'",
             "Classes of the classifier: 'negative', 'positive'", "rename them"], id="C23-unknown-names"),
        case("text,label\na,0\nb,1\n", ["Classes of the classifier: 'negative', 'positive'",
             "--set data.label_ids_are_teacher_ids=true"], id="C24-integers-though-the-teacher-has-names"),
        case("text,label\na,00\nb,01\n", ["begin with a zero; they are read as names", "'00', '01'"],
             id="C30-leading-zeros"),
        case("text,label\na,positive\nb,negative\nc,mixed\n", ["Classes of the file: 'mixed', 'negative', 'positive'",
             "Classes of the classifier: 'negative', 'positive'"], id="C49-more-classes-than-the-teacher"),
    ],
)  # fmt: skip
def test_labels_that_are_not_the_teachers_end_with_3_and_both_lists(
    annotate: Any, content: str, words: list[str]
) -> None:
    code, _, told = annotate(content)
    assert code == 3, told
    has_all(told, *words)


def test_c25_ids_are_taken_where_the_teacher_has_no_names(annotate: Any, workspace: Path, tmp_path: Path) -> None:
    names = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    teacher = changed_teacher(workspace, tmp_path, **names)
    code, rows, told = annotate("text,label\na,1\nb,0\n", teacher=teacher)
    assert code == 0, told
    assert list(rows["label"]) == [1, 0]
    has_all(told, "warning", "have no names ('LABEL_0', 'LABEL_1')", "read as its class ids")
    code, _, told = annotate("text,label\na,1\nb,2\n", teacher=teacher)  # C49: more classes than outputs
    assert code == 3
    has_all(told, "'2' (1 rows)", "Classes of the classifier: 'LABEL_0', 'LABEL_1'")


def test_c30_leading_zeros_are_names(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    names = {"id2label": {"0": "00", "1": "01"}, "label2id": {"00": 0, "01": 1}}
    code, out, told = pkd(
        "annotate", "--teacher", changed_teacher(workspace, tmp_path, **names), "--max-length", 32, "--layers", 2,
        "--train", put(tmp_path, "train.csv", "text,label\na,01\nb,00\n"), "--output", tmp_path / "rows", "--json",
    )  # fmt: skip
    assert (code, json.loads(out)["rows"]) == (0, 2), told
    assert list(open_shards(tmp_path / "rows")["label"]) == [1, 0]


def test_c34_c36_what_is_odd_about_the_splits_is_warned_of(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    some = make_reviews(10, seed=1)
    train, dev = put(tmp_path, "train.csv", rows_of(some)), put(tmp_path, "dev.csv", rows_of(some[:1]))
    recipe = put(tmp_path, "recipe.yaml", recipe_text(workspace, train=train, eval=dev))
    code, _, told = pkd("check", recipe)
    assert code == 0, told
    has_all(told, "warning: eval has only 1 row; nothing can be learned or measured from it")  # C34
    has_all(told, "1 of 1 eval rows (100.0%) are in train too, word for word")  # C36


def recipe_text(workspace: Path, more: str = "", students: str = "[{layers: 2}]", **data: Path) -> str:
    files = {"train": workspace / "train.csv", "eval": workspace / "dev.csv", **data}
    named = ", ".join(f"{split}: {path}" for split, path in files.items())
    return (
        f"teacher: {{model: {workspace / 'teacher'}}}\ndata: {{{named}, max_length: 32}}\n"
        f"students: {students}\ncontrols: false\n{more}"
    )


# The teacher and other models: 39 to 55 ---------------------------------------------------------------------------------

# C39, the other half (pairs for a teacher of single texts, or the reverse) cannot be seen: a pretrained encoder has
# trained both rows of its token types, whatever it was fine-tuned on.


def save(model: Any, folder: Path, tokenizer: Any = None) -> Path:
    model.save_pretrained(folder)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    return folder


def tiny(config: type, **more: Any) -> Any:
    sizes = {
        "vocab_size": 31,
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    return AutoModelForSequenceClassification.from_config(config(**{**sizes, "pad_token_id": 0, **more}))


def with_larger_tokenizer(workspace: Path, folder: Path) -> Path:
    shutil.copytree(workspace / "teacher", folder)
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["one", "two", "three"])
    tokenizer.save_pretrained(folder)
    return folder


def with_configuration(**changes: Any) -> Any:
    return lambda workspace, folder: changed_teacher(workspace, folder.parent, **changes)


def with_weight(value: float) -> Any:
    def make(workspace: Path, folder: Path) -> Path:
        shutil.copytree(workspace / "teacher", folder)
        weights = load_file(folder / "model.safetensors")
        weights["bert.pooler.dense.weight"][0, 0] = value
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


def vision_model(workspace: Path, folder: Path) -> Path:
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32)
    return save(AutoModelForImageClassification.from_config(config), folder)


def masked_language_model(workspace: Path, folder: Path) -> Path:
    return save(BertForMaskedLM(make_teacher().config), folder)


def code_of_its_own(workspace: Path, folder: Path) -> Path:
    folder.mkdir()
    put(folder, "config.json", json.dumps({"model_type": "novel", "auto_map": {"AutoConfig": "novel.NovelConfig"}}))
    put(folder, "novel.py", f"open({str(folder / 'ran')!r}, 'w')\n")
    return folder


@pytest.mark.parametrize(
    ("make", "words"),
    [
        case(with_larger_tokenizer, ["the tokenizer has 34 word pieces, but the model embeds 31",
             "save the tokenizer the model was trained with"], id="C40-tokenizer-larger-than-embeddings"),
        case(lambda workspace, folder: save(tiny(AlbertConfig, embedding_size=8), folder),
             ["albert", "share one set of weights", "no smaller"], id="C47-albert"),
        case(lambda workspace, folder: save(tiny(GPT2Config), folder), ["A gpt2 model", "BERT-like encoder", "roberta"],
             id="C48-decoder"),
        case(lambda workspace, folder: save(tiny(BartConfig, d_model=16, encoder_ffn_dim=8, decoder_ffn_dim=8), folder),
             ["A bart model", "BERT-like encoder"], id="C48-encoder-decoder"),
        case(vision_model, ["A vit model", "BERT-like encoder"], id="C48-vision"),
        case(masked_language_model, ["is not fine-tuned: its classification head", "classifier", "`pkd finetune`"],
             id="C48-masked-language-model"),
        case(with_configuration(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2}),
             ["have the shape [2", "asks for [3", "(3 labels)"], id="C49-head-of-other-size"),
        case(with_configuration(problem_type="regression"), ["2 output(s)", "problem_type regression"],
             id="C50-regression-of-two-outputs"),
        case(with_weight(float("nan")), ["bert.pooler.dense.weight hold values that are not finite", "damaged"],
             id="C52-not-a-number"),
        case(lambda workspace, folder: folder, ["does not exist", "folder of a saved teacher or a hub name"],
             id="C53-no-such-folder"),
        case(lambda workspace, folder: "someone/else", ["someone/else", "HF_HUB_OFFLINE is set"], id="C53-offline"),
        case(code_of_its_own, ["needs its own code, which pkd never runs"], id="C55-remote-code"),
    ],
)  # fmt: skip
def test_a_teacher_that_cannot_teach_ends_with_4_before_the_files_are_read(
    pkd: Run, workspace: Path, tmp_path: Path, make: Any, words: list[str]
) -> None:
    teacher = make(workspace, tmp_path / "other")
    of_one_class = put(tmp_path, "train.csv", "text,label\na film,x\na plot,x\n")
    code, _, told = pkd(
        "distill", "--teacher", teacher, "--train", of_one_class, "--eval", of_one_class,
        "--max-length", 32, "--output", tmp_path / "student",
    )  # fmt: skip
    assert code == 4, told
    has_all(told, str(teacher), *words)
    assert not (tmp_path / "student").exists()
    assert not (tmp_path / "other" / "ran").exists()  # C55: the code did not run


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        case(1, ["line 2: the label is 'positive', which is no number", "problem_type"], id="C50-regression-teacher"),
        case(2, ["line 2: the label is 0.5; labels must be classes"], id="C20-scores"),
    ],
)  # fmt: skip
def test_labels_of_another_kind_than_the_teachers_are_refused(
    pkd: Run, tmp_path: Path, labels: int, words: list[str]
) -> None:
    content = TWO_CLASSES if labels == 1 else "text,label\na,0.5\nb,1\n"
    if labels == 1:
        content = "text,label\n" + content
    teacher = save(tiny(BertConfig, num_labels=labels), tmp_path / "teacher")
    train = put(tmp_path, "train.csv", content)
    code, _, told = pkd(
        "annotate", "--teacher", teacher, "--train", train, "--max-length", 32, "--output", tmp_path / "rows"
    )
    assert code == 3, told
    has_all(told, "train.csv", *words)


def without_tokenizer(folder: Path) -> None:
    tiny(BertConfig, max_position_embeddings=64).save_pretrained(folder)


def of_another_language(folder: Path) -> None:
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"中文")
    save(tiny(BertConfig, max_position_embeddings=64), folder, make_tokenizer(words))


def generating(folder: Path) -> None:
    config = GPT2Config(vocab_size=31, n_embd=8, n_layer=1, n_head=1, n_positions=64)
    save(GPT2LMHeadModel(config), folder)


def of_one_layer(folder: Path) -> None:
    save(tiny(BertConfig, num_hidden_layers=1, max_position_embeddings=64), folder)


def that_pools_otherwise(folder: Path) -> None:
    save(tiny(ModernBertConfig, classifier_pooling="mean", cls_token_id=2, sep_token_id=3), folder)


@pytest.mark.parametrize(
    ("make", "more", "code", "words"),
    [
        case(without_tokenizer, "", 4, ["has no tokenizer", "tokenizer.save_pretrained"], id="no-tokenizer"),
        case(of_another_language, "", 4, ["does not know 100% of the word pieces"], id="of-another-language"),
        case(generating, "", 4, ["A gpt2 model generates text", "BERT-like encoder"], id="decoder"),
        case(Path.mkdir, "", 4, ["is not a saved model", "it is empty"], id="no-model"),
        case(of_one_layer, ", layers: 2", 2, ["layers", "is 2, but", "has 1 layers"], id="too-shallow"),
        case(of_one_layer, "", 2, ["has no layer below its last for patience to teach"], id="of-one-layer"),
        case(of_one_layer, ", start: [1, 2]", 2, ["start", "is an encoder of its own"], id="start"),
        case(that_pools_otherwise, "", 4, ["pools over all positions", "method: kd"], id="pools-otherwise"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "run"])
def test_an_encoder_that_cannot_be_a_student_is_refused_before_the_teacher_is_asked(
    pkd: Run, workspace: Path, tmp_path: Path, make: Callable[[Path], None], more: str, code: int, words: list[str],
    command: str,
) -> None:  # fmt: skip
    folder = tmp_path / "encoder"
    make(folder)
    text = recipe_text(workspace, f"output: {tmp_path / 'run'}\n", f"[{{student: {folder}{more}}}]")
    given, _, told = pkd(command, put(tmp_path, "recipe.yaml", text))
    assert given == code, told
    has_all(told, str(folder), *words) if code == 4 else has_all(told, *words)
    assert not (tmp_path / "run" / "annotated").exists()


def test_c51_weights_saved_in_half_precision_are_computed_with_in_float32(
    pkd: Run, workspace: Path, tmp_path: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(workspace / "teacher")
    half, rounded = save(model.half(), tmp_path / "half"), save(model.half().float(), tmp_path / "rounded")
    answers = [pkd("predict", folder, "--json", "a great film")[1] for folder in (half, rounded)]
    first, second = (json.loads(answer)["probabilities"] for answer in answers)
    assert first == pytest.approx(second, abs=1e-6)  # in half precision they would part in the third decimal


def test_c52_a_teacher_worse_than_the_commonest_class_ends_with_4(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    swapped = {"positive": "negative", "negative": "positive"}
    dev = put(tmp_path, "dev.csv", rows_of([(text, swapped[label]) for text, label in make_reviews(60, seed=2)]))
    recipe = put(tmp_path, "recipe.yaml", recipe_text(workspace, eval=dev))
    code, _, told = pkd("check", recipe)
    assert code == 4, told
    has_all(
        told,
        "worse on 60 development rows than always giving the same best answer",
        "the commonest class",
        "in another order",
    )


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does when it refuses: the status is the first word of the model's name."""

    def do_HEAD(self) -> None:  # the server's own name
        self.send_response(int(self.path.split("/")[2].split("-")[0]))
        for name, value in (("X-Error-Code", "GatedRepo"), ("Content-Length", "0")):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None: ...


_ASKING_A_HUB = """
import sys, time
from pkd.cli.main import main
time.sleep = lambda seconds: None  # between the client's six tries, half a minute
for name in sys.stdin:
    print(main(["predict", name.strip(), "x"]), flush=True)
"""


@pytest.mark.slow
def test_c54_a_hub_that_refuses_or_cannot_be_reached_is_told_in_one_line_with_a_hint() -> None:
    online = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    names = ["me/401-private", "me/403-gated", "me/404-none", "me/unreachable"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        process = subprocess.Popen(  # of its own, since the client reads these as it is imported
            [sys.executable, "-c", _ASKING_A_HUB], env={**os.environ, **online, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{name}\n" for name in names[:3]))
        process.stdin.flush()
        codes = [process.stdout.readline() for _ in names[:3]]
        server.shutdown()
    last, told = process.communicate(f"{names[3]}\n", timeout=200)
    assert [*codes, last] == ["4\n"] * 4, told
    for name, line in zip(names, told.splitlines(), strict=True):
        has_all(
            line,
            f"pkd: The classifier {name} cannot be loaded:",
            "check the name, the network, and `hf auth login`",
        )


# Settings: 42 to 72 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        case(["--layers", 9], ["pkd: --layers is 9: a student of 9 layers cannot come from a teacher of 4", "from 1 to 4"],
             id="C42-deeper-than-the-teacher"),
        case(["--layers", 1], ["patience no layer to teach", "method kd or ft"], id="C43-no-patient-layer"),
        case(["--layers", 2, "--layer-map", "1:1,2:2"], ["teaches the student layers 1 to 1"],
             id="C43-more-pairs-than-patient-layers"),
        case(["--layers", 3, "--layer-map", "1:1,2:9"], ["teacher layers [1, 9]; they must be from 1 to 3"],
             id="C43-beyond-the-teacher"),
        case(["--layers", 2, "--layer-map", "1:0"], ["[[1, 0]]; its teacher layers must count from 1"], id="C44-embeddings"),
        case(["--layers", 2, "--layer-map", "1:4"], ["must be from 1 to 3", "the last layer is no patient layer"],
             id="C44-last-layer"),
        case(["--layers", 2, "--layer-map", "1:-1"], ["teacher layers must count from 1"], id="C44-negative"),
        case(["--layers", 3, "--layer-map", "1:2,2:2"], ["increase from pair to pair"], id="C44-repeated"),
        case(["--layers", 3, "--layer-map", "1:3,2:1"], ["increase from pair to pair"], id="C44-unsorted"),
        case(["--start", "1,9"], ["pkd: --start is [1, 9]; it must name 2 different teacher layers from 1 to 4"],
             id="C44-start-beyond-the-teacher"),
        case(["--max-length", 65], ["pkd: --max-length is 65", "reads at most 64", "Give 64 or less"],
             id="C56-longer-than-the-positions"),
        case(["--max-length", 2], ["pkd: --max-length is 2; it must be above 2"], id="C57-shorter-than-a-text"),
        case(["--alpha", 70], ["pkd: --alpha is 70; it must be at most 1, did you mean 0.7?"], id="C58-percent"),
        case(["--alpha", -0.1], ["pkd: --alpha is -0.1; it must be at least 0"], id="C58-negative"),
        case(["--alpha", "nan"], ["pkd: --alpha is nan; it must be"], id="C58-not-a-number"),
        case(["--temperature", 0], ["pkd: --temperature is 0; it must be above 0"], id="C59-temperature-0"),
        case(["--temperature", "inf"], ["pkd: --temperature is inf; it must be a finite number"], id="C59-temperature-inf"),
        case(["--beta", -1], ["pkd: --beta is -1; it must be at least 0"], id="C59-beta"),
        case(["--learning-rate", 0], ["pkd: --learning-rate is 0; it must be above 0"], id="C59-learning-rate"),
        case(["--learning-rate", "nan"], ["pkd: --learning-rate is nan; it must be a finite number"], id="C59-rate-nan"),
        case(["--num-train-epochs", 0], ["pkd: --num-train-epochs is 0; it must be above 0"], id="C59-epochs"),
        case(["--per-device-train-batch-size", 0], ["pkd: --per-device-train-batch-size is 0; it must be above 0"], id="C59-batch"),
        case(["--seed", -1], ["pkd: --seed is -1; it must be at least 0"], id="C59-seed-negative"),
        case(["--seed", 2**32], [f"pkd: --seed is {2**32}; it must be below {2**32}"], id="C59-seed-too-large"),
        case(["--set", "betta=5"], ["pkd: --set betta is no setting of pkd", "did you mean --beta?"], id="C60-unknown-key"),
        case(["--beta", 7, "--patience", 0.3], ["pkd: --patience is 0.3, and --beta is 7: the one is the share of the "
             "gradient that sets the other; give one of the two"], id="C60-share-and-number"),
        case(["--patience", 30], ["pkd: --patience is 30", "it must be below 1, did you mean 0.3?"], id="C60-percent"),
        case(["--set", "normalize=unit"], ["pkd: --set normalize is 'unit'", "did you mean units?"], id="C60-units"),
        case(["--beta", "much"], ["pkd: --beta is 'much'; it must be a number"], id="C60-wrong-type"),
        case(["--set", "training.evaluation_strategy=epoch"], ["every epoch is evaluated when --eval is given"],
             id="C61-evaluation-strategy"),
        case(["--set", "no_cuda=true"], ["write --device cpu"], id="C61-no-cuda"),
        case(["--set", "training.device=cuda"], ["device is cuda, but torch sees no GPU", "auto or cpu"],
             id="C72-no-gpu", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")),
        case(["--set", "training.fp16=true"], ["write --precision bfloat16 or --precision float32; float16 is not used"], id="C72-fp16"),
        case(["--precision", "float16"], ["pkd: --precision is 'float16'; it must be auto, float32 or bfloat16"],
             id="C72-float16"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_ends_with_2_before_anything_is_paid_for(
    pkd: Run, workspace: Path, tmp_path: Path, arguments: list[Any], words: list[str]
) -> None:
    length = [] if "--max-length" in arguments else ["--max-length", 32]
    code, _, told = pkd(
        "distill", "--teacher", workspace / "teacher", "--train", workspace / "train.csv", "--eval", workspace / "dev.csv",
        "--output", tmp_path / "student", *length, *arguments,
    )  # fmt: skip
    assert code == 2, told
    has_all(told, *words)
    assert not (tmp_path / "student").exists()
    assert not list(tmp_path.glob("student.work/annotated"))


def test_rows_to_measure_on_are_asked_for_by_flag_before_a_model_is_loaded(
    pkd: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, told = pkd("evaluate", "model")
    assert code == 2, told
    has_all(told, "there are no rows to measure", "--test is missing", "--task")


def test_training_rows_of_which_none_can_be_held_out_to_choose_by_are_refused(
    pkd: Run, workspace: Path, tmp_path: Path
) -> None:
    train = put(tmp_path, "train.csv", "text,label\na film,positive\na film,negative\n")
    student = ("distill", "--teacher", workspace / "teacher", "--train", train, "--output", tmp_path / "student")
    code, _, told = pkd(*student, "--max-length", 32)
    assert code == 3, told
    has_all(told, "--eval is missing", "too few training rows to hold some of them out to measure on")
    code, _, told = pkd(*student, "--max-length", 32, "--test", workspace / "test.csv", "--start", "spread,first")
    assert code == 2, told
    has_all(told, "names several starts", "--eval")


def test_c45_a_skip_map_that_does_not_divide_is_legal(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    code, out, told = pkd("check", put(tmp_path, "recipe.yaml", recipe_text(workspace, students="[{layers: 3}]")))
    assert code == 0, told
    has_all(out, "student layer 1 ← teacher layer 1, student layer 2 ← teacher layer 2")  # floor(4/3), floor(8/3)


def test_c56_positions_counted_from_behind_the_padding_are_fewer(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    names = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}
    roberta = tiny(RobertaConfig, max_position_embeddings=66, pad_token_id=1, **names)
    teacher = save(roberta, tmp_path / "roberta")
    train = put(tmp_path, "train.csv", "text,label\n" + TWO_CLASSES)
    command = ["annotate", "--teacher", teacher, "--train", train, "--layers", 2, "--output", tmp_path / "rows"]
    code, _, told = pkd(*command, "--max-length", 65)
    assert code == 2, told
    has_all(told, "--max-length is 65, but this roberta model reads at most 64 word pieces")
    code, _, told = pkd(*command, "--max-length", 64)
    assert code == 0, told


def test_c57_many_cut_rows_are_warned_of(annotate: Any) -> None:
    code, _, told = annotate(rows_of(make_reviews(20)), "--max-length", 5)
    assert code == 0
    assert re.search(r"warning: \d+% of the rows are cut at 5 word pieces \(--max-length\)", told), told


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        case("students: [{betta: 3}]\n", ["recipe.yaml:4", "betta is not known", "did you mean beta?"], id="C60-unknown"),
        case("seeds: 2\nseeds: 3\n", ["recipe.yaml:5: seeds is given twice"], id="C60-twice"),
        case("training:\n  num_train_epochs: many\n", ["recipe.yaml:5", "num_train_epochs is 'many'; it must be auto or a number"],
             id="C60-wrong-type"),
        case("training:\n\tseed: 3\n", ["recipe.yaml:5", "a tab stands where YAML wants spaces"], id="C60-tab"),
        case("students: [{alpha: 7, betta: 3}]\nseeds: 0\n", ["5 things are wrong", "recipe.yaml:3: data.train: ", "recipe.yaml:3: data.eval: ",
             "recipe.yaml:4: students.0.alpha is 7", "recipe.yaml:5: seeds is 0"],
             id="C60-all-faults-at-once"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_ends_with_2_and_its_lines(
    pkd: Run, tmp_path: Path, yaml: str, words: list[str]
) -> None:
    text = "teacher: {model: t}\n# a comment\ndata: {train: a.csv, eval: b.csv}\n" + yaml
    code, _, told = pkd("check", put(tmp_path, "recipe.yaml", text))
    assert code == 2, told
    has_all(told, *words)


def test_c63_a_text_of_which_nothing_is_left_still_gets_an_answer(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    code, out, told = pkd("predict", workspace / "teacher", "--json", "\u200b")  # cleaned away by the tokenizer
    assert code == 0, told
    assert sum(json.loads(out)["probabilities"].values()) == pytest.approx(1)


# Runs, their folders and what they need: 62 to 76 -----------------------------------------------------------------------


@pytest.fixture
def distill(pkd: Run, workspace: Path, tmp_path: Path) -> Any:
    """Distils a student of two layers in one epoch, or as told."""

    def run(*more: object, output: Path = tmp_path / "student") -> tuple[int, str, str]:
        return pkd(
            "distill", "--teacher", workspace / "teacher", "--train", workspace / "train.csv", "--eval",
            workspace / "dev.csv", "--layers", 2, "--max-length", 32, "--output", output, "--set", "training.device=cpu",
            "--precision", "float32", "--augment", 1, *(() if "--num-train-epochs" in more else ("--num-train-epochs", 1)), *more,
        )  # fmt: skip

    return run


def test_c62_a_loss_that_is_not_finite_stops_before_the_weights_change(distill: Any, tmp_path: Path) -> None:
    code, _, told = distill(
        "--learning-rate", 1e9, "--set", "training.max_grad_norm=0", "--set", "training.warmup_steps=0"
    )
    assert code == 6, told
    has_all(told, "Step 2: ", "training stopped before the weights changed", "The last good checkpoint is none")
    has_all(told, "Lower the learning rate or β")
    if "the loss is" in told:
        found = list(tmp_path.glob("student.work/students/*.partial/diverged.json"))
        assert json.loads(found[0].read_text())["texts"]


@pytest.mark.parametrize(
    ("number", "code", "damage"),
    [
        case(signal.SIGTERM, 75, "none", id="C73-SIGTERM"),
        case(signal.SIGINT, 130, "none", id="C73-SIGINT"),
        case(signal.SIGTERM, 75, "half-written", id="C67-half-written"),
        case(signal.SIGTERM, 75, "truncated", id="C67-truncated"),
        case(signal.SIGTERM, 75, "changed", id="C68-changed"),
    ],
)
def test_a_signal_saves_and_the_same_command_goes_on(
    distill: Any, tmp_path: Path, number: int, code: int, damage: str
) -> None:
    student = tmp_path / "student.work" / "students"
    long = ["--num-train-epochs", 4, "--set", "training.save_steps=2"]

    def stop_when_two_are_saved() -> None:
        deadline = time.monotonic() + 60
        while len(list(student.glob("*.partial/checkpoint-*/manifest.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop_when_two_are_saved)
    thread.start()
    given, _, told = distill(*long)
    thread.join()
    assert given == code, told
    has_all(told, "is saved. The same command again goes on from there.")
    assert not (tmp_path / "student").exists()
    checkpoints = sorted(student.glob("*.partial/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    newest, older = checkpoints[-1], checkpoints[-2]
    if damage == "changed":
        given, _, told = distill(*long, "--beta", 7)
        assert given == 2, told
        has_all(told, "unfinished and was begun with other inputs", "loss.beta", "→ 7.0", "--overwrite")
        given, _, told = distill("--num-train-epochs", 1, "--overwrite")
        assert given == 0, told
        return
    if damage == "half-written":
        (newest / "manifest.json").unlink()
    if damage == "truncated":
        os.truncate(newest / "optimizer.safetensors", 100)
    given, _, told = distill(*long)
    assert given == 0, told
    if damage == "none":
        has_all(told, f"goes on from {newest}.")
    else:
        has_all(told, f"warning: {newest} cannot be resumed from", f"is now {newest.name}.damaged-1")
        has_all(told, f"goes on from {older}.")
        has_all(told, "it was not finished" if damage == "half-written" else "optimizer.safetensors has 100 bytes")
    assert (tmp_path / "student" / "model.safetensors").is_file()


def test_c64_answers_of_other_inputs_are_made_anew_with_the_reason(
    annotate: Any, workspace: Path, tmp_path: Path
) -> None:
    rows = rows_of(make_reviews(20))
    assert annotate(rows)[0] == 0
    assert "kept" in annotate(rows)[2]
    _, _, told = annotate(rows, "--max-length", 16)
    has_all(told, f"redoing {tmp_path / 'rows'}: max_length 32 → 16", "is now rows.stale-1")
    _, _, told = annotate(rows_of(make_reviews(21)), "--max-length", 16)
    has_all(told, "redoing", "rows.texts", "is now rows.stale-2")
    _, _, told = annotate(
        rows_of(make_reviews(21)), "--max-length", 16, teacher=with_weight(0.5)(workspace, tmp_path / "o")
    )
    has_all(told, "redoing", "teacher.model", "is now rows.stale-3")
    _, table, told = annotate(rows_of(make_reviews(21)), "--max-length", 16, "--layers", 3, teacher=tmp_path / "o")
    has_all(told, "redoing", "the states of teacher layers [1] are wanted too")
    assert set(table[0]["teacher_cls_states"]) == {"1", "2"}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        case(lambda shard: os.truncate(shard, 1000), "has 1,000 bytes instead of", id="C65-truncated"),
        case(lambda shard: flip(shard), "has other contents than when it was written", id="C65-flipped"),
        case(lambda shard: shard.unlink(), "is missing", id="C65-missing"),
    ],
)
def test_a_damaged_shard_is_made_again_and_no_other(annotate: Any, tmp_path: Path, damage: Any, words: str) -> None:
    rows, small = rows_of(make_reviews(20)), ("--set", "annotation.rows_per_shard=8")
    _, table, _ = annotate(rows, *small)
    before = table.to_list()
    shards = sorted((tmp_path / "rows").glob("*.arrow"))
    untouched = shards[0].stat().st_mtime_ns
    damage(shards[1])
    code, table, told = annotate(rows, *small)
    assert code == 0, told
    has_all(told, f"redoing {tmp_path / 'rows'}: damaged: {shards[1].name} {words}")
    assert table.to_list() == before
    assert shards[0].stat().st_mtime_ns == untouched


# C65, a folder that cannot be written, is C74.


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        case({"schema": 0}, ["made by another version of pkd (manifest schema 0, this one has", "move it away"],
             id="C66-older-version"),
        case({"files": 3}, ["manifest.json is damaged or not a manifest of pkd", "Move"], id="C66-no-manifest"),
    ],
)  # fmt: skip
def test_answers_of_another_version_end_with_5(
    annotate: Any, tmp_path: Path, manifest: dict[str, Any], words: list[str]
) -> None:
    rows = rows_of(make_reviews(4))
    annotate(rows)
    path = tmp_path / "rows" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **manifest}))
    code, _, told = annotate(rows)
    assert code == 5, told
    has_all(told, str(tmp_path / "rows"), *words)


def test_c69_a_folder_that_is_not_ours_is_left_alone_unless_overwritten(annotate: Any, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    put(tmp_path / "rows", "thesis.txt", "the only copy")
    code, _, told = annotate("text,label\n" + TWO_CLASSES)
    assert code == 2, told
    has_all(told, f"{tmp_path / 'rows'} exists and was not made by this command", "another output", "--overwrite")
    code, _, told = annotate("text,label\n" + TWO_CLASSES, "--overwrite")
    assert code == 0, told
    assert (tmp_path / "rows.before-1" / "thesis.txt").read_text() == "the only copy"


def test_c70_what_will_not_fit_on_the_disk_is_told_at_the_start(annotate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))  # what the system would say
    code, _, told = annotate("text,label\n" + TWO_CLASSES)
    assert code == 7, told
    has_all(told, "Annotating 2 rows will need about", "only 1.0 kB are free at", "Free some space")


@pytest.fixture
def limit() -> Iterator[Any]:
    """Sets a limit of the operating system for the rest of the test."""
    before: dict[int, tuple[int, int]] = {}

    def set_limit(kind: int, value: int) -> None:
        before.setdefault(kind, resource.getrlimit(kind))
        resource.setrlimit(kind, (value, before[kind][1]))

    yield set_limit
    for kind, value in before.items():
        resource.setrlimit(kind, value)


def test_c70_a_disk_that_is_full_later_keeps_what_was_finished(distill: Any, tmp_path: Path, limit: Any) -> None:
    limit(resource.RLIMIT_FSIZE, 28_000)  # no file may grow beyond: the teacher's answers fit, a checkpoint does not
    code, _, told = distill()
    assert code == 7, told
    has_all(told, "goes on from what was finished")
    limit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    code, _, told = distill()
    assert code == 0, told
    has_all(told, f"kept {tmp_path / 'student.work' / 'annotated' / 'eval'}")


def test_c70_a_device_that_is_full_is_told(pkd: Run) -> None:
    code, _, told = pkd("recipe", "--output", "/dev/full", "--overwrite")
    assert code == 7, told
    has_all(told, "The disk is full")


_SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import torch, transformers, pkd.jobs.distill
from pkd.cli.main import main
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (192 << 20),) * 2)
sys.exit(main(sys.argv[1:]))
"""


def test_c71_memory_that_does_not_suffice_is_told_with_what_helps(workspace: Path, tmp_path: Path) -> None:
    """In a process of its own: what a library could not make for want of memory it may lack from then on."""
    train = put(
        tmp_path, "many.csv", rows_of([(f"{text} {n}", label) for n in range(100) for text, label in make_reviews(40)])
    )
    arguments = ["distill", "--teacher", workspace / "teacher", "--train", train, "--eval", workspace / "dev.csv"]
    arguments += ["--layers", 2, "--max-length", 32, "--precision", "float32", "--output", tmp_path / "student"]
    arguments += ["--per-device-train-batch-size", 4_000]
    done = subprocess.run(
        [sys.executable, "-c", _SHORT_OF_MEMORY, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
    has_all(
        done.stderr, "The memory does not suffice", "--per-device-train-batch-size", "--gradient-accumulation-steps"
    )


def test_c73_a_second_run_in_one_folder_is_told_who_is_there(annotate: Any, tmp_path: Path) -> None:
    with one_writer(tmp_path / "rows"):
        code, _, told = annotate("text,label\n" + TWO_CLASSES)
    assert code == 2, told
    has_all(told, f"rows is being written by another pkd (process {os.getpid()} on", "Wait for it, stop it, or choose")


def test_c74_spaces_and_other_alphabets_in_paths_work(pkd: Run, distill: Any, workspace: Path, tmp_path: Path) -> None:
    odd = tmp_path / "with space é 模型 :x"
    code, _, told = distill(output=odd / "студент")
    assert code == 0, told
    code, out, told = pkd("predict", odd / "студент", "--file", put(odd, "neue Zeilen ü.txt", "a great film\n"))
    assert (code, out.split("\t")[2]) == (0, "a great film\n"), told


def test_c74_an_output_in_a_loop_of_links_or_where_nothing_can_be_written_ends_with_2(
    pkd: Run, workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    put(tmp_path, "file", "")
    command = ["annotate", "--teacher", workspace / "teacher", "--max-length", 32, "--layers", 2]
    for output in (tmp_path / "a" / "rows", tmp_path / "a", Path("/proc/rows"), tmp_path / "file" / "rows"):
        code, _, told = pkd(*command, "--train", workspace / "train.csv", "--output", output)
        assert code == 2, told
        has_all(told, str(output), "hoose another output")
    code, _, told = pkd(*command, "--train", tmp_path / "a" / "train.csv", "--output", tmp_path / "rows")
    assert code == 3, told  # the same of an input
    has_all(told, str(tmp_path / "a" / "train.csv"), "does not exist")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_c74_a_place_without_permission_ends_with_2(annotate: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.partial").mkdir(mode=0o500)
    code, _, told = annotate("text,label\n" + TWO_CLASSES)
    assert code == 2, told
    has_all(told, "Permission denied")


def test_c75_a_text_of_ten_megabytes_goes_through_within_seconds(
    pkd: Run, annotate: Any, workspace: Path, tmp_path: Path
) -> None:
    long = "a great film " * 800_000
    began = time.monotonic()
    code, rows, told = annotate(f"text,label\n{long},positive\nb,negative\n")
    assert (code, len(rows)) == (0, 2), told
    has_all(
        told,
        "1 text of more than 25,600 characters cut to the first and the last 12,800 before tokenising",
    )
    for name, content in (("new.txt", long), ("new.csv", f"text\n{long}\n")):
        code, out, told = pkd("predict", workspace / "teacher", "--json", "--file", put(tmp_path, name, content))
        assert code == 0, told
        assert json.loads(out)["text"] == long  # it is cut for the tokenizer alone
    assert time.monotonic() - began < 60  # minutes, if it were not cut


def test_c76_a_student_reads_texts_longer_than_it_can_where_its_card_says_how(distill: Any, tmp_path: Path) -> None:
    code, _, told = distill()
    assert code == 0, told
    has_all((tmp_path / "student" / "README.md").read_text(), 'classify("a text", truncation=True)')
    classify = pipeline("text-classification", model=str(tmp_path / "student"))
    assert classify.tokenizer.model_max_length == 32
    long = "a great film " * 300
    assert classify(long, truncation=True) == classify("a great film " * 11, truncation=True)
