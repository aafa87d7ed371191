"""Every bad input that we know of, by number, through the real command line.

C1 to C76 are the numbers of one list of inputs; each is here once, in the order of the list but for what is shared,
with the exit code (0 where the input is legal) and the words that say what, where and what to do. A number that
cannot occur says why in a comment.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import make_reviews
from pkd.cli.main import main
from pkd.distillation.annotation import open_shards

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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        case("text,topic\na,b\nc,d\n", ["no column 'label'", "'text', 'topic'", "--label-column"], id="C1-no-label"),
        case("text,lable\na,b\n", ["no column 'label'", "Did you mean 'lable'?"], id="C1-near-name"),
        case("body_x,label\na,b\n", ["no column of a usual name for the text ('text', 'sentence'", "'body_x', 'label'",
             "--text-columns"], id="C2-no-text"),
        case("a very good film indeed,1\na bad one,0\n", ["The header looks like data", "put a first row of names"],
             id="C4-sentence-as-header"),
        case("good film,positive\nbad film,negative\n", ["no column 'label'", "first row", "row of names above it"],
             id="C4-short-text-as-header"),
        case("text;label\na;b\n", ["one column only ('text;label')", "separated by ;", "--set data.sep=';'"],
             id="C5-semicolons"),
        case("text\tlabel\na\tb\n", ["one column only", "separated by a tab", "--set data.sep='\\t'"], id="C5-tabs"),
        case("text,label,text\na,b,c\n", ["the header names 'text' more than once", "a name of its own"],
             id="C6-duplicate-header"),
        case(b"text,label\ncaf\xe9 na\xefve,x\nb,y\n", ["byte at offset 14", "cp1252", "--set data.encoding="],
             id="C9-latin-1"),
        case("text,label\na,x\nb,y\n".encode("utf-16"), ["byte at offset 0", "--set data.encoding=utf-16"],
             id="C10-utf-16"),
        case("text,label\na,b\na,b,c\n", ["line 3: 3 of 2 fields", "must stand in quotes"], id="C11-too-many-fields"),
        case("text,label\na,b\nonly\n", ["line 3: 1 of 2 fields"], id="C12-too-few-fields"),
        case('text,label\n"open,b\nc,d\n', ["line 2: a quote", "never closed", "Close it"], id="C13-unclosed-quote"),
        case("text,label\n,x\na,y\n  ,x\n", ["2 of 3 rows (66.7%) have an empty text (lines 2, 4)", "data.on_empty=drop"],
             id="C16-empty-texts"),
        case("text,label\na,x\nb,\nc,y\nd, \n", ["2 of 4 rows have no label (lines 3, 5)", "--unlabelled"],
             id="C19-missing-labels"),
        case("text,label\na,0.5\nb,1\n", ["line 2: the label is 0.5", "Regression is not supported"], id="C20-scores"),
        case("text,label\na,-1\nb,-1\n", ["hidden labels (-1) in 2 of 2 rows", "predicted, not trained"],
             id="C27-hidden-labels"),
        case("text,label\na,-100\nb,1\nc,0\n", ["the label -100 in 1 of 3 rows", "--unlabelled"], id="C28-ignored-label"),
        case("text,label\na,x\nb,x\n", ["1 class only: all 2 rows have the label 'x'", "--label-column"],
             id="C31-one-class"),
        case("", ["0 rows", "first row names the columns"], id="C33-empty-file"),
        case("text,label\n", ["0 rows", "give a file with examples"], id="C33-header-only"),
        case("id,text,label\n1,a,x\n1,b,y\n2,c,x\n2,d,y\n", ["ids stand more than once: 1, 2", "Take the copies out"],
             id="C35-duplicate-ids"),
        case("sentence1,label\na,x\nb,y\n", ["'sentence1' but not 'sentence2'", "Add that column"], id="C39-half-a-pair"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_ends_with_3_before_a_model_is_loaded(
    pkd: Run, tmp_path: Path, content: str | bytes, words: list[str]
) -> None:
    train = put(tmp_path, "train.csv", content)
    code, out, told = pkd("finetune", "--model", tmp_path / "no-model", "--train", train, "--output", tmp_path / "out")
    assert (code, out) == (3, ""), told
    has_all(told, *words)
    assert "train" in told  # which file, or which split
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        case("trian.csv", None, ["trian.csv does not exist", "Near it: train.csv"], id="C37-missing-file"),
        case("train.xlsx", b"PK", ["train.xlsx ends in '.xlsx'", ".csv", ".parquet"], id="C37-wrong-extension"),
        case("folder", None, ["is a folder, but none that `datasets` saved", "notes.csv"], id="C37-folder"),
        case("train.txt", b"a\nb\n", ["is plain text, which has no labels", "--unlabelled"], id="C37-plain-text"),
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
        case("text,label\na,-1\nb,-1\n", ["dev.csv (eval)", "-1"], id="C27-hidden-in-dev"),
        case("text_a,text_b,label\na,b,x\nc,d,y\n", ["dev.csv has pairs of texts", "train has single texts",
             "--text-columns"], id="C38-other-columns"),
    ],
)  # fmt: skip
def test_development_rows_that_do_not_fit_the_training_rows_end_with_3(
    pkd: Run, tmp_path: Path, dev: str, words: list[str]
) -> None:
    train = put(tmp_path, "train.csv", "text,label\na film,x\na plot,y\n")
    arguments = ["--train", train, "--eval", put(tmp_path, "dev.csv", dev), "--output", tmp_path / "out"]
    code, _, told = pkd("finetune", "--model", tmp_path / "no-model", *arguments)
    assert code == 3, told
    has_all(told, *words)


@pytest.fixture
def annotate(pkd: Run, workspace: Path, tmp_path: Path) -> Any:
    """Annotates a file with the workspace's teacher, or another: (exit code, the rows or None, standard error)."""

    def run(content: str | bytes, *more: object, name: str = "train.csv", teacher: Path | None = None) -> Any:
        train = put(tmp_path, name, content)
        command = ["annotate", "--teacher", teacher or workspace / "teacher", "--train", train, "--layers", 2]
        length = () if "--max-length" in more else ("--max-length", 32)
        code, _, told = pkd(*command, *length, "--output", tmp_path / "rows", *more)
        return code, open_shards(tmp_path / "rows") if code == 0 else None, told

    return run


@pytest.mark.parametrize(
    ("content", "more", "texts", "labels", "words"),
    [
        case(" text , label \na,positive\nb,negative\n", [], ["a", "b"], [1, 0],
             ["warning", "spaces around column names were taken away (text, label)"], id="C3-spaces-in-header"),
        case("text;label\na;positive\nb;negative\n", ["--set", "data.sep=;"], ["a", "b"], [1, 0], [], id="C5-sep-given"),
        case("text\tlabel\na\tpositive\nb\tnegative\n", ["--set", "data.sep=\\t"], ["a", "b"], [1, 0], [],
             id="C5-tab-given"),
        case(",text,label\n0,a,positive\n1,b,negative\n", [], ["a", "b"], [1, 0],
             ["a column without a name (an index?) was left out"], id="C7-unnamed-index"),
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
             ["warning", "'negative' has one example only"], id="C32-class-of-one-example"),
        case("text,label\na,positive\na ,negative\nb,positive\n", [], ["a", "a ", "b"], [1, 0, 1],
             ["warning", "1 text stands there with different labels (2 rows)"], id="C36-contradiction"),
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
    code, out, told = pkd("predict", workspace / "teacher", "--json", "--file", path)
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
    has_all(told, "warning", "have no names ('LABEL_0', 'LABEL_1')", "taken as its class ids")
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
