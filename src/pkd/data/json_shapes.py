"""Recognise JSON that is not one object per line, and brat's folders, and convert their rows to JSON lines.

python -m pkd.data.json_shapes rows.json > rows.jsonl

No command reads such files directly, because the whole file must be in memory.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pkd.data.decode import open_text
from pkd.data.find_columns import is_usual_name
from pkd.data.spans_to_tags import are_spans
from pkd.data.words import word_offsets
from pkd.errors import DataError

_MOST_BYTES = 1 << 26  # larger files are not read for an error message
_PLAIN = "an object that spans several lines"

Rows = list[dict[str, Any]]


def advice_for(path: Path, encoding: str) -> str | None:
    """Advice for a file that is not one object per line: the command that converts it, if there is one."""
    if path.stat().st_size > _MOST_BYTES:
        return None
    try:
        shape, _ = rows_of(path, encoding)
    except DataError:
        with open_text(path, encoding) as file:
            if not file.read(1 << 16).lstrip().startswith(("{", "[")):
                return "Is it CSV or TSV? Then its name must end in .csv or .tsv."
        return None
    return f"The file holds {shape}, but one object per line is expected: `{_command(path, encoding)}` converts it."


def advice_for_format(path: Path, encoding: str = "utf-8") -> str | None:
    """Advice for a file, or folder, that another tool than ours reads; None for one of no known tool."""
    suffix = path.suffix.lower()
    if suffix == ".ann" or (path.is_dir() and any(path.glob("*.ann"))):
        folder = path if path.is_dir() else path.parent
        command = _command(folder, encoding)
        return f"brat's annotations (.ann) and their texts (.txt) become rows with spans by `{command}`."
    if suffix == ".manifest":
        return f"`{_command(path, encoding)}` converts a manifest of SageMaker Ground Truth."
    return {
        ".spacy": "Write spaCy's documents as JSON lines: the text, and as entities start_char, end_char and label_ of "
        "each span in doc.ents.",
        ".xmi": "Export the annotations as CoNLL 2002 instead (INCEpTION, WebAnno), or as JSON lines.",
        ".xml": "Export the annotations as CoNLL columns or JSON lines instead.",
    }.get(suffix)


def _command(path: Path, encoding: str) -> str:
    given = [str(path)] if encoding == "utf-8" else [str(path), encoding]
    return f"python -m pkd.data.json_shapes {shlex.join(given)} > rows.jsonl"


def holds_rows(record: Mapping[str, Any]) -> bool:
    """Whether an object holds rows and is not itself a row."""
    try:
        return bool(_rows_of_tool([record])) or _rows_of_object(record)[0] != _PLAIN
    except (ValueError, TypeError):
        return False


def rows_of(path: Path, encoding: str = "utf-8") -> tuple[str, Rows]:
    """The shape of a JSON file or brat folder, in words, and its rows.

    Raises:
        DataError: if no rows are found in it.
    """
    if path.is_dir():
        return "brat's annotations", _rows_of_brat(path, encoding)
    with open_text(path, encoding) as file:
        text = file.read().strip()
    for find in (_rows_of_json, _rows_of_python):
        try:
            shape, rows = find(text)
        except json.JSONDecodeError:
            continue
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            break  # of JSON that holds no rows Python's syntax would make the same again
        if rows and all(isinstance(row, dict) for row in rows):
            return shape, rows
    raise DataError(
        f"{path} holds no rows of a known shape. Give one object per line, such as "
        '{"text": "a text", "label": "a label"}.'
    )


def _rows_of_json(text: str) -> tuple[str, Rows]:
    values, has_commas = _values(text)
    if of_tool := _rows_of_tool(values):
        return "texts and their spans as a tool exports them", of_tool
    if len(values) > 1 and all(isinstance(value, dict) for value in values):
        if not has_commas and len(values) == sum(map(bool, map(str.strip, text.split("\n")))):
            raise ValueError("one object a line already")
        return f"objects {'with commas after them' if has_commas else 'that share lines or span several'}", values
    if len(values) > 1 and all(isinstance(value, list) for value in values):
        of_objects = all(isinstance(row, dict) for value in values for row in value)
        return "arrays", [row for value in values for row in value] if of_objects else _rows_of_array(values)
    if len(values) > 1:
        raise ValueError("values of several kinds")
    if isinstance(values[0], list):
        return "an array", _rows_of_array(values[0])
    return _rows_of_object(values[0])


def _values(text: str) -> tuple[list[Any], bool]:
    """The consecutive JSON values of a text, and whether commas follow them."""
    decoder, values, has_commas, end = json.JSONDecoder(), [], False, 0
    while end < len(text):
        value, end = decoder.raw_decode(text, end)
        values.append(value)
        rest = end
        while end < len(text) and text[end] in ", \t\r\n":
            end += 1
        has_commas |= "," in text[rest:end]
    return values, has_commas


def _rows_of_array(value: list[Any]) -> Rows:
    """The rows of an array of objects, or of an array of arrays whose first one has the names."""
    if of_tool := _rows_of_tool(value):
        return of_tool
    if all(isinstance(row, dict) and "annotation_id" in row for row in value):
        return _rows_of_annotations(value)
    if not all(isinstance(row, list) for row in value):
        return value
    if not any(is_usual_name(str(name)) for name in value[0]):
        raise ValueError("no names")
    return _named(value[0], value[1:])


def _rows_of_tool(value: list[Any]) -> Rows:
    """Texts with their spans, as spaCy's examples and Label Studio's tasks have them; none if these are others."""
    examples = [row for row in value if row is not None]
    if examples and all(_is_example(row) for row in examples):
        return [{"text": text, "entities": labels["entities"]} for text, labels in examples]
    if examples and all(isinstance(row, dict) and isinstance(row.get("data"), dict) for row in examples):
        return [_row_of_task(row) for row in examples]
    if examples and all(isinstance(row, dict) and isinstance(row.get("tokenized_text"), list) for row in examples):
        return [_row_of_gliner(row) for row in examples if isinstance(row.get("ner"), list)]
    if examples and all(isinstance(row, dict) and isinstance(row.get("source"), str) for row in examples):
        spans = [_spans_in_manifest(row) for row in examples]
        if any(of_row is not None for of_row in spans):
            return [{"text": row["source"], "entities": of_row} for row, of_row in zip(examples, spans, strict=True)]
    return []


def _is_example(row: Any) -> bool:
    is_pair = isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)
    return is_pair and isinstance(row[1], dict) and isinstance(row[1].get("entities"), list)


def _row_of_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task of Label Studio: its first text and the spans of its first annotation; null if nobody annotated it."""
    text = task["data"].get("text") or next((each for each in task["data"].values() if isinstance(each, str)), None)
    given = [each for each in task.get("annotations") or task.get("completions") or () if not each.get("was_cancelled")]
    spans = [each["value"] for each in given[0]["result"] if "start" in each.get("value", {})] if given else None
    return {"text": text, "entities": spans}


def _row_of_gliner(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of GLiNER's data, whose spans are of words, the last one included."""
    offsets = word_offsets(row["tokenized_text"])
    spans = [[offsets[2 * first], offsets[2 * last + 1], label] for first, last, label in row["ner"]]
    return {"text": " ".join(row["tokenized_text"]), "entities": spans}


def _spans_in_manifest(row: Mapping[str, Any]) -> list[Any] | None:
    """The spans in a row of a Ground Truth manifest; null if nobody annotated it."""
    given = (each["annotations"] for each in row.values() if isinstance(each, dict) and "annotations" in each)
    return next((each["entities"] for each in given if isinstance(each, dict) and "entities" in each), None)


def _rows_of_brat(folder: Path, encoding: str) -> Rows:
    """A row for each text of a folder of brat; of a span in several fragments from the first to the last.

    Such a span gives its own text, so that reading the row refuses it if that is another than what lies there.
    """
    rows: Rows = []
    for path in sorted(folder.glob("*.ann")):
        text = path.with_suffix(".txt")
        if not text.is_file():
            raise DataError(f"{path} annotates {text.name}, which is not beside it. Put it there.")
        with open_text(text, encoding, newline="") as file:
            row: dict[str, Any] = {"file": path.stem, "text": file.read(), "entities": []}
        with open_text(path, encoding) as file:
            for number, line in enumerate(file, start=1):
                if line.startswith("T"):  # else relations, events, notes
                    row["entities"].append(_span_of_brat(line.rstrip("\r\n"), f"{path}, line {number}"))
        rows.append(row)
    if not rows:
        raise DataError(f"{folder} has no annotations of brat: no file in it ends in .ann.")
    return rows


def _span_of_brat(line: str, where: str) -> dict[str, Any]:
    fields = re.fullmatch(r"T\S+\t(\S+) (\d+) (?:.* )?(\d+)\t(.*)", line)
    if fields is None:
        raise DataError(f"{where}: {line!r} is no span of brat, as in 'T1<tab>PER 0 3<tab>Ann'.")
    return {"start": int(fields[2]), "end": int(fields[3]), "label": fields[1], "text": fields[4]}


def _rows_of_annotations(annotations: Rows) -> Rows:
    """Label Studio's short export: a row an annotation, whose spans it leaves out where there are none."""
    names = {name for row in annotations for name, value in row.items() if are_spans(value)}
    return [{**{name: [] for name in names}, **row} for row in annotations]


def _rows_of_object(value: Any) -> tuple[str, Rows]:
    """The rows of one object, in the shapes that pandas, `datasets` and web services write."""
    if not isinstance(value, Mapping):
        raise TypeError("no object")
    if isinstance(value.get("annotations"), list) and (of_tool := _rows_of_tool(value["annotations"])):
        return "its rows under the key 'annotations'", of_tool
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return "its columns and its data separately (pandas' split)", _named(value["columns"], value["data"])
    lists = {key: each for key, each in value.items() if isinstance(each, list) and each}
    are_rows = [
        key for key, rows in lists.items() if all(isinstance(row, dict) for row in rows) and not are_spans(rows)
    ]
    of_rows = {key: lists[key] for key in are_rows}
    if of_rows:
        key = max(of_rows, key=lambda key: len(of_rows[key]))
        inside = [row["row"] if isinstance(row.get("row"), dict) else row for row in of_rows[key]]
        return f"its rows under the key '{key}'", inside
    if lists.keys() == value.keys() and len({len(each) for each in lists.values()}) == 1:
        return "one list per column", _named(list(lists), list(zip(*lists.values(), strict=True)))
    if value and all(isinstance(each, dict) for each in value.values()):
        if any(map(is_usual_name, value)):
            numbers = list(dict.fromkeys(number for column in value.values() for number in column))
            columns = [[column.get(number) for number in numbers] for column in value.values()]
            return "one mapping per column (pandas' default)", _named(list(value), list(zip(*columns, strict=True)))
        return "each row under its own key", list(value.values())
    return _PLAIN, [dict(value)]


def _rows_of_python(text: str) -> tuple[str, Rows]:
    """The rows of dictionaries in Python's own syntax, with single quotes."""
    rows = [ast.literal_eval(line.rstrip(",")) for line in map(str.strip, text.split("\n")) if line]
    if len(rows) == 1 and isinstance(rows[0], list):
        rows = rows[0]
    json.dumps(rows)
    return "Python's dictionaries", rows


def _named(names: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Rows:
    return [dict(zip(map(str, names), row, strict=True)) for row in rows]


def _lines(rows: Rows) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _main(path: str, encoding: str = "utf-8") -> None:
    _, rows = rows_of(Path(path), encoding)
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogatepass")  # type: ignore[union-attr]
    sys.stdout.writelines(_lines(rows))


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except DataError as error:
        sys.exit(str(error))
