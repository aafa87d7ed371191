"""The texts that `pkd predict` classifies: from the command line, standard input, lines or any other file."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkd.errors import DataError
from pkd.recipe.places import local_path
from pkd.recipe.settings import DataSettings

if TYPE_CHECKING:
    from pkd.serving.classifier import Prediction
    from pkd.serving.texts import Text


def texts_of(given: list[str] | None, file: str | None, settings: DataSettings) -> Iterable[Text]:
    """The texts that are `given`, else those of a file, else the lines of standard input, as they come.

    If `problem_type` is multiple_choice, given texts and lines are JSON, one question each; if it is
    token_classification, they are never pairs, and a .txt may hold a word and its columns a line.

    Raises:
        DataError: if a file cannot be read, or an item is not a question.
    """
    from pkd.tasks import asks_for_choices, asks_for_tags  # imports numpy, which other commands do not need

    questions, tags = asks_for_choices(settings.problem_type), asks_for_tags(settings.problem_type)
    if given:
        if tags:
            return list(given)
        return list(_questions(given, "TEXT", settings)) if questions else [_pair(text) for text in given]
    if file in (None, "-") or (is_lines(file) and not (tags and _has_columns(str(file), settings))):
        path = None if file in (None, "-") else local_path(str(file))
        lines = _lines_of_stdin(settings.encoding) if path is None else _lines_of(path, settings.encoding)
        source = "standard input" if path is None else str(path.absolute())
        if questions:
            return _questions(lines, source, settings)
        return lines_as_texts(lines, source, pairs=not tags)
    from pkd.data.sources import read_sentences, read_texts

    return read_sentences(file, settings) if tags else read_texts(file, settings)


def _questions(lines: Iterable[str], source: str, settings: DataSettings) -> Iterator[Text]:
    """One question per line, as JSON; columns are found by their usual names, as in files."""
    from pkd.data.find_columns import find_columns
    from pkd.data.json_lines import read_questions

    try:
        yield from read_questions(
            lines, source, lambda columns: find_columns(columns, settings, source, labelled=False)
        )
    except DataError as error:
        raise DataError(
            f'{error} The model answers questions, each as {{"question": "...", "choices": ["...", "..."]}}, perhaps '
            'with a "context".'
        ) from error


def is_lines(file: str | None) -> bool:
    """Whether a file has one text per line, and no columns."""
    if file is None:
        return False
    path = local_path(file)
    return path.suffix.lower() == ".txt" and path.is_file()


def _has_columns(file: str, settings: DataSettings) -> bool:
    from pkd.data.conll import looks_like_columns

    return looks_like_columns(local_path(file), settings)


def lines_as_texts(lines: Iterable[str], source: str = "the lines", *, pairs: bool = True) -> Iterator[Text]:
    """Yield each line, so that predictions and lines pair up; a tab separates the two texts of a pair.

    A blank line is an empty text, after pairs an empty pair.

    Args:
        lines: of text.
        source: where they are from, for messages.
        pairs: whether there may be pairs; otherwise a tab is a character like any other.
    """
    from pkd.data.decode import text_lines

    after_a_pair = False
    for line in text_lines(lines, source):
        text = _pair(line) if pairs else line
        after_a_pair = after_a_pair or isinstance(text, tuple)
        yield ("", "") if after_a_pair and not line.strip() else text


def _pair(text: str) -> str | tuple[str, str]:
    first, tab, second = text.partition("\t")
    return (first, second) if tab else text


def _lines_of_stdin(encoding: str) -> Iterator[str]:
    """The lines of standard input, which end as a file's do, whatever the locale."""
    from pkd.data.decode import codec

    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=codec(encoding), errors="surrogateescape", newline="\n")
    yield from _decoded(sys.stdin, "standard input", encoding)


def _lines_of(path: Path, encoding: str) -> Iterator[str]:
    from pkd.data.decode import codec

    with path.open(encoding=codec(encoding), errors="surrogateescape", newline="\n") as file:
        yield from _decoded(file, str(path.absolute()), encoding)


def _decoded(lines: Iterable[str], source: str, encoding: str) -> Iterator[str]:
    """Each line, checked to be text: `surrogateescape` leaves lone surrogates where it is not."""
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            try:
                line.encode()
            except UnicodeEncodeError as error:
                byte = ord(line[error.start]) - 0xDC00
                raise DataError(
                    f"{source}, line {number}: the byte 0x{byte:02x} at character {error.start + 1:,} is not "
                    f"{encoding.upper()} text. Give its encoding with --set data.encoding=..., or save it as UTF-8."
                ) from None
            yield line
    except UnicodeError as error:  # of encodings that are no superset of ASCII, such as UTF-16
        raise DataError(
            f"{source} is not {encoding} text behind line {number} ({error}). Give its encoding with --set "
            "data.encoding=..., or save it as UTF-8."
        ) from error


def one_line(text: Text) -> str:
    """A text on one line, without any character that some reader takes for a line end; a question without choices."""
    if isinstance(text, tuple):
        return _on_one_line("\t".join(text))
    return _on_one_line(text if isinstance(text, str) else str(getattr(text, "question", "")))


def marked_line(prediction: Prediction) -> str:
    """A text on one line, with the spans that were found in it marked."""
    from pkd.reporting.marks import marked

    text: Any = prediction.text
    spans = [(span.label, span.start, span.end) for span in prediction.spans or ()]
    return _on_one_line(marked(text if isinstance(text, str) else text.text, spans))


def _on_one_line(text: str) -> str:
    return " ".join(text.splitlines())


def as_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as `pkd predict --json` prints it, with its text."""
    if prediction.spans is not None:
        return _spans_as_json(prediction)
    answer: dict[str, Any] = {"label": prediction.label}
    if prediction.choice is not None:
        answer["choice"] = prediction.choice
    if prediction.labels:
        answer["labels"] = prediction.labels
    asked = prediction.text
    told = {"text": asked} if isinstance(asked, str | tuple) else dataclasses.asdict(asked)
    return {**answer, "probabilities": prediction.probabilities, **told}


def _spans_as_json(prediction: Prediction) -> dict[str, Any]:
    """The spans that were found in a text and, where its words were given, the words with their tags."""
    answer: dict[str, Any] = {"spans": [dataclasses.asdict(span) for span in prediction.spans or ()]}
    text: Any = prediction.text
    if prediction.tags is None:
        return {**answer, "text": text}
    words = [text.text[start:end] for start, end in text.words]
    return {**answer, "words": words, "tags": list(prediction.tags), "text": text.text}
