"""What a message advises is done, through the real command line, and then the command goes through."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import make_reviews
from pkd.cli.main import main

REVIEWS = make_reviews(40, seed=21)
Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def pkd(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: (exit code, lines of standard output, standard error on one line)."""

    def run(*arguments: object) -> tuple[int, list[str], str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out.splitlines(), " ".join(printed.err.split())

    return run


def advised(told: str) -> list[str]:
    """The flag that a message advises, as a shell would give it."""
    flag = re.findall(r"--set [\w.]+=(?:'[^']*'|[^\s;,']+)", told)[-1]
    return shlex.split(flag.rstrip("."))


def table(separator: str, quote: str = "") -> str:
    rows = [("text", "label"), *REVIEWS]
    return "".join(separator.join(f"{quote}{field}{quote}" for field in row) + "\n" for row in rows)


FILES = {
    **{f"{mark}.csv": table(mark) for mark in "|;\t^·~:"},
    "all quoted.tsv": table("\t", '"'),
    "tabs in quotes.tsv": table("\t").replace(REVIEWS[0][0], '"a\tgood film"'),
    "utf-16.csv": table(",").encode("utf-16"),
    "quotes.csv": table(",").replace(REVIEWS[0][0], '"a good film'),
    "empty.csv": table(",") + ",positive\n" * 4,
}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *(("annotate", name) for name in FILES),
        *(("predict", name) for name in ("|.csv", "all quoted.tsv", "tabs in quotes.tsv", "utf-16.csv", "quotes.csv")),
        ("speed", "|.csv"),
    ],
)
def test_the_advice_about_a_file_leads_to_success(
    pkd: Run, workspace: Path, tmp_path: Path, command: str, name: str
) -> None:
    path = tmp_path / f"file{Path(name).suffix}"
    content = FILES[name]
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    teacher = workspace / "teacher"
    asked: list[object] = {
        "annotate": ["annotate", "--teacher", teacher, "--train", path, "--layers", 2, "--max-length", 32,
                     "--output", tmp_path / "out"],
        "predict": ["predict", teacher, "--file", path],
        "speed": ["speed", teacher, "--test", path, "--rounds", 1, "--rows", 4, "--no-memory", "--batch-sizes", 2],
    }[command]  # fmt: skip
    code, out, told = pkd(*asked)
    assert code == 3
    code, out, told = pkd(*asked, *advised(told))
    assert code == 0, told
    if command == "predict":
        assert len(out) == len(REVIEWS)


def test_an_empty_separator_ends_with_2(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text(table("|"))
    for given in ("data.sep=", "data.label_sep="):
        code, _, told = pkd("predict", workspace / "teacher", "--file", path, "--set", given)
        assert (code, "it must be" in told) == (2, True), told


def test_quotes_like_csvs_are_answered_as_text_with_a_note_and_as_csv_if_asked(
    pkd: Run, workspace: Path, tmp_path: Path
) -> None:
    path = tmp_path / "minimal.tsv"
    path.write_text('text\tlabel\n"he said ""a great film"" and left"\tpositive\nan awful plot\tnegative\n')
    code, out, told = pkd("predict", workspace / "teacher", "--file", path)
    assert (code, out[0].split("\t")[2]) == (0, '"he said ""a great film"" and left"')
    code, out, told = pkd("predict", workspace / "teacher", "--file", path, *advised(told))
    assert (code, out[0].split("\t")[2]) == (0, 'he said "a great film" and left')
    assert "CSV" not in told


def test_ids_may_repeat_where_rows_are_only_answered(pkd: Run, workspace: Path, tmp_path: Path) -> None:
    path = tmp_path / "threads.csv"
    path.write_text("ID,text\n" + "".join(f"{number // 4},{text}\n" for number, (text, _) in enumerate(REVIEWS)))
    code, out, told = pkd("predict", workspace / "teacher", "--file", path)
    assert (code, len(out)) == (0, len(REVIEWS)), told
    asked = [
        "annotate",
        "--teacher",
        workspace / "teacher",
        "--train",
        path,
        "--layers",
        2,
        "--streaming",
        "--max-length",
        32,
    ]
    code, _, told = pkd(*asked, "--output", tmp_path / "out")
    assert code == 0, told


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_and_standard_input_have_the_same_lines(
    pkd: Run, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    inside = "" if end == "\r" else "\r"
    lines = [f"a great{inside} film", "", "an\fawful\x85plot\u2028", "the\x1cend", "a moving film"]
    path = tmp_path / "texts.txt"
    path.write_bytes(end.join(lines).encode() + end.encode())
    code, of_file, told = pkd("predict", workspace / "teacher", "--file", path)
    assert (code, len(of_file)) == (0, len(lines)), told
    with path.open(encoding="utf-8") as file:
        monkeypatch.setattr("sys.stdin", file)
        code, of_stdin, told = pkd("predict", workspace / "teacher")
    assert (code, of_stdin) == (0, of_file), told


def test_lines_in_another_encoding_are_answered_if_it_is_given(
    pkd: Run, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "texts.txt"
    for encoding in ("cp1252", "utf-16"):
        path.write_bytes("a fin\xe9 film\na great film\n".encode(encoding))
        code, _, told = pkd("predict", workspace / "teacher", "--file", path)
        assert (code, "--set data.encoding=" in told) == (3, True), told
        code, out, told = pkd("predict", workspace / "teacher", "--file", path, "--set", f"data.encoding={encoding}")
        assert (code, [line.split("\t")[2] for line in out]) == (0, ["a fin\xe9 film", "a great film"]), told
        with path.open(encoding="ascii") as file:
            monkeypatch.setattr("sys.stdin", file)
            code, again, told = pkd("predict", workspace / "teacher", "--set", f"data.encoding={encoding}")
        assert (code, again) == (0, out), told
