"""Open text files in a given encoding; an error about a wrong one guesses the right one."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import charset_normalizer

from pkd import progress
from pkd.errors import DataError, RecipeError
from pkd.recipe.spelling import named, set_to

_BYTES_TO_GUESS_FROM = 65_536
_USUAL_ENCODINGS = ["utf_8", "cp1252", "cp1250", "cp1251", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"]


def text_lines(lines: Iterable[str], source: str) -> Iterator[str]:
    """Strip the line ends of lines that end in a line feed; other control characters stay.

    A carriage return before the line feed is stripped too. If a file has no line feed, carriage returns end its lines,
    as in old Macintosh files.

    Args:
        lines: of a file opened with newline="\\n", so that nothing else ends a line.
        source: their file, for messages.
    """
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        if number == 1:
            _warn_of_json(text, source)
            if "\r" in text and not line.endswith("\n"):
                yield from text.split("\r")
                continue
        yield text


def _warn_of_json(line: str, source: str) -> None:
    if not line.startswith(("{", "[")):
        return
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return
    progress.warn(
        f"{source}: the first line is JSON, but is read as plain text. If the file holds JSON lines, its name must end "
        "in .jsonl."
    )


@contextmanager
def open_text(path: Path, encoding: str, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file and skip its byte order mark.

    Raises:
        RecipeError: if Python has no such encoding.
        DataError: if the file has another encoding; gives the offset of the first wrong byte and a guess.
    """
    try:
        with _open(path, encoding, newline) as file:
            yield file
    except UnicodeError as error:
        raise DataError(_encoding_message(path, encoding)) from error
    except OSError as error:
        raise DataError(f"{path.absolute()} cannot be read: {error.strerror or error}.") from error


def codec(encoding: str) -> str:
    """Python's codec for an encoding; for UTF-8 the one that skips a byte order mark.

    Raises:
        RecipeError: if Python has no such encoding.
    """
    try:
        name = codecs.lookup(encoding).name
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # refuses codecs that are not for text, such as hex
    except (LookupError, ValueError) as error:  # ValueError: a NUL in its name
        raise RecipeError(
            f"{named('data.encoding')} is {encoding!r}, which is no text encoding that Python knows; give for instance "
            "utf-8, utf-16 or cp1252."
        ) from error
    return "utf-8-sig" if name == "utf-8" else encoding


def _open(path: Path, encoding: str, newline: str | None) -> TextIO:
    return path.open(encoding=codec(encoding), newline=newline)


def _encoding_message(path: Path, encoding: str) -> str:
    offset = _first_wrong_byte(path, encoding)
    with path.open("rb") as file:
        head = file.read(_BYTES_TO_GUESS_FROM)
        file.seek(max(0, offset - _BYTES_TO_GUESS_FROM // 2))
        around = file.read(_BYTES_TO_GUESS_FROM)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        guess: str | None = "utf-16"
    else:
        guess = _guess(around)
    advice = (
        f"It looks like {guess}: try {set_to('data.encoding', guess)}, or save it as UTF-8."
        if guess is not None and codecs.lookup(guess) != codecs.lookup(encoding)
        else f"Give its encoding with {set_to('data.encoding')}, or save it as UTF-8."
    )
    return f"{path} is not {encoding} text: the byte at offset {offset:,} cannot be read. {advice}"


def _guess(data: bytes) -> str | None:
    """The likeliest encoding; among equally likely ones the most common."""
    beyond_ascii = b"\n".join(line for line in data.splitlines() if not line.isascii())
    found = charset_normalizer.from_bytes(beyond_ascii, cp_isolation=_USUAL_ENCODINGS)
    ranked = sorted(found, key=lambda match: (match.chaos, -match.coherence, _USUAL_ENCODINGS.index(match.encoding)))
    return ranked[0].encoding if ranked else None


def _first_wrong_byte(path: Path, encoding: str) -> int:
    decoder = codecs.getincrementaldecoder(encoding)()
    read = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(_BYTES_TO_GUESS_FROM)
            waiting = len(decoder.getstate()[0])  # bytes of an incomplete character at the end of the last chunk
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeError as error:
                return read - waiting + (error.start if isinstance(error, UnicodeDecodeError) else 0)
            if not chunk:
                return read
            read += len(chunk)
