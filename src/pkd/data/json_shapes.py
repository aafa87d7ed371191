"""Recognise JSON that is not one object per line, and convert its rows to JSON lines.

python -m pkd.data.json_shapes rows.json > rows.jsonl

No command reads such files directly, because the whole file must be in memory.
"""

from __future__ import annotations

import ast
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pkd.data.decode import open_text
from pkd.data.find_columns import is_usual_name
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
    given = [str(path)] if encoding == "utf-8" else [str(path), encoding]
    command = f"python -m pkd.data.json_shapes {shlex.join(given)} > rows.jsonl"
    return f"The file holds {shape}, but one object per line is expected: `{command}` converts it."


def holds_rows(record: Mapping[str, Any]) -> bool:
    """Whether an object holds rows and is not itself a row."""
    try:
        return _rows_of_object(record)[0] != _PLAIN
    except (ValueError, TypeError):
        return False


def rows_of(path: Path, encoding: str = "utf-8") -> tuple[str, Rows]:
    """The shape of a JSON file, in words, and its rows.

    Raises:
        DataError: if no rows are found in it.
    """
    with open_text(path, encoding) as file:
        text = file.read().strip()
    for find in (_rows_of_json, _rows_of_python):
        try:
            shape, rows = find(text)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
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


def _rows_of_annotations(annotations: Rows) -> Rows:
    """Label Studio's short export: a row an annotation, whose spans it leaves out where there are none."""
    names = {name for row in annotations for name, value in row.items() if _are_regions(value)}
    return [{**{name: [] for name in names}, **row} for row in annotations]


def _are_regions(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) and "start" in each for each in value)


def _rows_of_object(value: Any) -> tuple[str, Rows]:
    """The rows of one object, in the shapes that pandas, `datasets` and web services write."""
    if not isinstance(value, Mapping):
        raise TypeError("no object")
    if isinstance(value.get("annotations"), list) and (of_tool := _rows_of_tool(value["annotations"])):
        return "its rows under the key 'annotations'", of_tool
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return "its columns and its data separately (pandas' split)", _named(value["columns"], value["data"])
    lists = {key: each for key, each in value.items() if isinstance(each, list) and each}
    of_rows = {key: rows for key, rows in lists.items() if all(isinstance(row, dict) for row in rows)}
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
