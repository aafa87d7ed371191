"""Whatever bytes a file holds, a reader gives its rows or an error of the family; what a fuzzer found is kept here.

The fuzzer is `python -m benchmarks.fuzz`.
"""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkd.data.examples import load_examples
from pkd.data.sources import read_split
from pkd.errors import DataError, PKDError
from pkd.recipe.settings import DataSettings

PIECES = st.sampled_from(
    [b"text", b"label", b"sentence1", b"sentence2", b"choices", b"question", b"answer", b",", b";", b"\t", b"\n", b"\r\n",
     b"\r", b'"', b'""', b"\\", b"{", b"}", b"[", b"]", b":", b'{"text": "a", "label": 1}\n', b'{"text": "b", "label": "x"}\n',
     b"null", b"NaN", b"1e999", b"-1", b"-100", b"0.5", b"01", b"true", b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\\ud800",
     "\u202eright to left\u202c".encode(), "e\u0301".encode(), "👩‍🚀".encode(), b"x" * 3000, b" "]
)  # fmt: skip
ANY_FILE = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join))
ANY_SETTINGS = st.sampled_from(
    [{}, {"on_empty": "drop", "on_uneven": "drop"}, {"on_empty": "keep", "encoding": "utf-16"}, {"encoding": "cp1252"},
     {"text_columns": ["text"], "label_column": "label", "on_uneven": "drop"}, {"problem_type": "regression"},
     {"column_names": ["text", "label"], "on_empty": "keep"}, {"problem_type": "multi_label_classification"},
     {"label_names": ["no", "yes"]}, {"sep": "|"}]
)  # fmt: skip
EXAMPLES = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@given(data=ANY_FILE, chosen=ANY_SETTINGS)
@EXAMPLES
def test_any_bytes_are_rows_or_an_error_of_the_family(
    tmp_path: Path, suffix: str, data: bytes, chosen: dict[str, Any]
) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data)
    asked = DataSettings(train=str(path), **chosen)
    with contextlib.suppress(PKDError):
        assert len(load_examples(asked, splits=("train",)).splits["train"]) >= 2
    with contextlib.suppress(PKDError):
        assert len(read_split(str(path), "predict", asked)) >= 1


TEXTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=40).filter(str.strip),
    min_size=2, max_size=8,
)  # fmt: skip


@given(texts=TEXTS)
@EXAMPLES
def test_texts_come_out_of_a_file_as_they_went_in(tmp_path: Path, texts: list[str]) -> None:
    with (tmp_path / "any.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, str(n % 2)) for n, text in enumerate(texts))])
    lines = [json.dumps({"text": text, "label": n % 2}) for n, text in enumerate(texts)]
    (tmp_path / "any.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for name in ("any.csv", "any.jsonl"):
        assert list(read_split(str(tmp_path / name), "train", DataSettings())["text"]) == texts


QUESTIONS = (
    b'{"article": "a", "question": "b _ ?", "choices": ["c", "d"], "answer": "A"}\n'
    b'{"article": "a", "question": "b ?", "choices": ["c", "d"], "answer": "B"}\n'
)
FOUND = [
    (QUESTIONS, {"label_columns": ["x", "y"]}, "label_columns .* is for classes"),
    (QUESTIONS, {"label_names": ["no", "yes"]}, "label_names .* is for classes"),
    (b'{"text": "a", "label": "p\\ud800q"}\n{"text": "b", "label": "x"}\n', {}, r"line 1: 'label' holds \\ud800, half"),
    (
        b'{"text": "a", "label": ["p", "\\ud800"]}\n{"text": "b", "label": ["x"]}\n',
        {},
        r"line 1: 'label' holds \\ud800, half of a character",
    ),
]


@pytest.mark.parametrize(("data", "chosen", "told"), FOUND)
def test_what_the_fuzzer_found_is_told(tmp_path: Path, data: bytes, chosen: dict[str, Any], told: str) -> None:
    path = tmp_path / "found.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=told):
        load_examples(DataSettings(train=str(path), **chosen), splits=("train",))
