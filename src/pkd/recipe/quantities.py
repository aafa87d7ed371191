"""Times and sizes as people write them: "3ms", "2h", "20MB". A bare number is none, as nobody can tell its unit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

_SECONDS = {"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1024.0, "mib": 1024.0**2, "gib": 1024.0**3,
}  # fmt: skip
_MOST = 1_000_000
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµμ]+)\s*")


def seconds_of(text: str) -> float:
    """The seconds of a time with its unit: us, ms, s, min (or m), h or d; of several the largest is first.

    Raises:
        ValueError: if it is none, or not above 0.

    >>> seconds_of("3ms"), seconds_of("1.5 h"), seconds_of("1h30m")
    (0.003, 5400.0, 5400.0)
    """
    return _amount(text, _SECONDS, parts=3)


def bytes_of(text: str) -> int:
    """The bytes of a size with its unit; 1 MB is 10⁶ of them, 1 MiB 2²⁰.

    Raises:
        ValueError: if it is none, or less than a byte.

    >>> bytes_of("20MB"), bytes_of("1 KiB")
    (20000000, 1024)
    """
    if (amount := int(_amount(text, _BYTES))) < 1:
        raise ValueError(text)
    return amount


def _amount(text: str, units: Mapping[str, float], parts: int = 1) -> float:
    read = list(_QUANTITY.finditer(text))
    sizes = [units.get(part[2].lower(), math.nan) for part in read]
    amount = sum(float(part[1]) * size for part, size in zip(read, sizes, strict=True))
    is_all = "".join(part[0] for part in read) == text and len(read) <= parts
    if not is_all or not all(large > small for large, small in pairwise(sizes)) or not 0 < amount < math.inf:
        raise ValueError(text)
    return amount


def _time(given: Any) -> str:
    return _checked(given, seconds_of, "a time above 0 with its unit (us, ms, s, min, h or d), as 3ms or 1h30m")


def _size(given: Any) -> str:
    return _checked(given, bytes_of, "a size above 0 with its unit (kB, MB, GB; 1 MB is 10⁶ bytes), as 20MB")


def _checked(given: Any, read: Any, wanted: str) -> str:
    try:
        text = str(given).strip()
        read(text)
    except ValueError:
        raise PydanticCustomError("quantity", "Input should be {wanted}", {"wanted": wanted}) from None
    return text


def _counts(given: Any, least: int = 1) -> list[int]:
    numbers = _numbers(given)
    if not numbers or not all(isinstance(each, int) and least <= each <= _MOST for each in numbers):
        raise _no_list(f"whole numbers from {least} to {_MOST:,}, as 8,32")
    return [int(each) for each in numbers]


def _lengths(given: Any) -> list[int]:
    """Word pieces, of which two are special; an empty list stands for the user's own texts."""
    return [] if given == [] else _counts(given, least=3)


def _shares(given: Any) -> list[float]:
    numbers = _numbers(given)
    if not numbers or not all(0 < each <= 1 for each in numbers):
        raise _no_list("shares above 0 and at most 1, as 1,0.5,0.25")
    return sorted({float(each) for each in numbers}, reverse=True)


def _no_list(wanted: str) -> PydanticCustomError:
    return PydanticCustomError("quantity", "Input should be {wanted}", {"wanted": wanted})


def _numbers(given: Any) -> list[int | float] | None:
    """The numbers of a list, or of a text as "1,8,32"; None if one of them is no number."""
    if isinstance(given, str):
        given = given.split(",")
    numbers: list[int | float] = []
    for each in given if isinstance(given, list | tuple) else [given]:
        if isinstance(each, bool) or not isinstance(each, int | float | str):
            return None
        try:
            numbers.append(int(each) if float(each).is_integer() else float(each))
        except (ValueError, OverflowError):
            return None
    return numbers


TimeText = Annotated[str, BeforeValidator(_time)]
SizeText = Annotated[str, BeforeValidator(_size)]
Counts = Annotated[list[int], BeforeValidator(_counts)]
Lengths = Annotated[list[int], BeforeValidator(_lengths)]
Shares = Annotated[list[float], BeforeValidator(_shares)]
