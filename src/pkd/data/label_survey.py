"""Count the values of a label column, chunk by chunk: the facts from which `label_kinds` decides what they mean."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pkd.data.match_names import plain

TRUTH = {"true": 1, "false": 0}
MOST_LABELS = 10_000  # different labels to remember; beyond that only their forms are counted

_WHOLE = re.compile(r"[-+]?\d+", re.ASCII)
_LEADING_ZERO = re.compile(r"[-+]?0\d", re.ASCII)
_ROUND = re.compile(r"[-+]?\d+(\.0*)?", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_GROUPED = r"\d{1,3}([. '\u2019]\d{3})+"
_COMMA = re.compile(rf"[-+]?(\d+|{_GROUPED}),\d+", re.ASCII)
_THOUSANDS = re.compile(rf"[-+]?({_GROUPED}(,\d+)?|\d{{1,3}}(,\d{{3}})+(\.\d+)?)", re.ASCII)
_PLAIN_COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)
_COMMA_OF_THREE = re.compile(r"[-+]?\d{1,3},\d{3}", re.ASCII)

# markers of an unlabelled row, besides an empty field; a known class may have such a name
NO_LABEL = ("-", "--", "–", "—", "?", "n/a", "#n/a", "<na>")


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, also written as +1 or 1.0, without a leading zero."""
    return bool(_ROUND.fullmatch(text)) and not _LEADING_ZERO.match(text)


def is_decimal(text: str) -> bool:
    """Whether a text is a number as programming languages write it."""
    return bool(_DECIMAL.fullmatch(text))


def begins_with_zero(text: str) -> bool:
    """Whether a number has a leading zero, which makes it a name.

    >>> begins_with_zero("007"), begins_with_zero("0.5"), begins_with_zero("0")
    (True, False, False)
    """
    return is_decimal(text) and bool(_LEADING_ZERO.match(text))


def digits_of(text: str) -> str:
    """The digits of a whole number, without + and decimals.

    >>> digits_of("+1"), digits_of("-2.0")
    ('1', '-2')
    """
    return str(int(text.partition(".")[0][:30]))  # Python refuses integers of 5,000 digits


def spelled(value: Any) -> str:
    """One label in plain spelling: whole numbers by their digits, true and false as 1 and 0."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value)


def items_of(value: Any, separator: str | None) -> list[str]:
    """The labels of a set in plain spelling; the set is a list, a text that holds one, or a separated text.

    >>> items_of("['a', 'b']", ","), items_of("a|b", "|"), items_of([1, 0.0], None)
    (['a', 'b'], ['a', 'b'], ['1', '0'])
    """
    if isinstance(value, str):
        value = _parts(plain(value), separator)
    elif not isinstance(value, list | tuple):
        value = [value]
    return [text for text in map(spelled, value) if text]


def _parts(text: str, separator: str | None) -> Sequence[Any]:
    if not is_bracketed(text):
        return text.split(separator) if separator else [text]
    try:
        return list(json.loads(text))
    except ValueError:  # written by Python with other quotes, or by numpy with spaces
        marks = [mark for mark in (separator, ",") if mark and mark in text]
        return [_item(part.strip()) for part in text[1:-1].split(marks[0] if marks else None)]


def _item(text: str) -> str:
    if text in ("True", "False"):
        return str(TRUTH[text.casefold()])
    return digits_of(text) if is_whole(text) else text.strip("'\"")


def is_bracketed(text: str) -> bool:
    """Whether a text holds a list.

    >>> is_bracketed("[0, 1]"), is_bracketed("a [sic]")
    (True, False)
    """
    return text.startswith("[") and text.endswith("]")


@dataclass
class LabelSurvey:
    """Counts of the labels; unlabelled rows are left out.

    Attributes:
        kinds: type (text, bool, int, float, list or other) -> count.
        labels: single label in plain spelling -> count.
        lists: list of labels -> count.
        forms: form of a text -> count: "whole" number; whole number of "digits" alone; number ("decimal"); number in
            any locale ("number"); number with a decimal "comma", and one that could be thousands ("comma of three");
            "truth"; list ("bracketed").
        fractions: how many numbers have a fraction.
        whole_twice: two spellings of one whole number.
        fraction_twice: two spellings of one number with a fraction.
        is_typed: whether the format distinguishes text from numbers; CSV does not.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    lists: Counter[tuple[str, ...]] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    fractions: int = 0
    whole_twice: tuple[str, str] | None = None
    fraction_twice: tuple[str, str] | None = None
    is_typed: bool = False
    _spelling_of: dict[float, str] = field(default_factory=dict)

    def add(self, values: Iterable[Any], *, is_typed: bool) -> None:
        """Count the labels of more rows."""
        self.is_typed = self.is_typed or is_typed
        for (kind, value), count in Counter((type(value).__name__, _hashable(value)) for value in values).items():
            self.kinds[kind] += count
            if isinstance(value, str):
                self._add_text(plain(value), count)
            elif isinstance(value, tuple):
                _count(self.lists, tuple(items_of(value, None)), count)
            elif isinstance(value, bool | int | float):
                self.fractions += 0 if float(value).is_integer() else count
                _count(self.labels, spelled(value), count)

    def without(self, texts: Iterable[str]) -> LabelSurvey:
        """The survey without the labels in `texts`."""
        left = replace(self, kinds=+self.kinds, labels=+self.labels, forms=+self.forms)
        for text in [label for label in self.labels if label.casefold() in texts]:
            count = left.labels.pop(text)
            left.kinds["str"] -= count
            left.forms.subtract(dict.fromkeys(_forms(text), count))
        left.kinds, left.forms = +left.kinds, +left.forms
        return left

    def _add_text(self, text: str, count: int) -> None:
        _count(self.labels, text, count)
        forms = _forms(text)
        self.forms.update(dict.fromkeys(forms, count))
        if "decimal" in forms and not _LEADING_ZERO.match(text):
            value = float(text)
            is_integer = "whole" in forms or value.is_integer()
            self.fractions += 0 if is_integer else count
            before = self._spelling_of.get(value, text)
            if before != text and is_integer:
                self.whole_twice = self.whole_twice or (before, text)
            elif before != text:
                self.fraction_twice = self.fraction_twice or (before, text)
            elif len(self._spelling_of) < MOST_LABELS:
                self._spelling_of[value] = text

    def all_are(self, *forms: str) -> bool:
        """Whether all labels are texts of these forms; the forms must exclude each other."""
        return self.kinds.keys() == {"str"} and sum(self.forms[form] for form in forms) == self.kinds["str"]


def _forms(text: str) -> list[str]:
    """The forms that a text has."""
    forms = {
        "whole": is_whole(text),
        "digits": bool(_WHOLE.fullmatch(text)) and is_whole(text) and digits_of(text) == text,
        "decimal": is_decimal(text),
        "number": any(form.fullmatch(text) for form in (_DECIMAL, _COMMA, _THOUSANDS)),
        "comma": bool(_PLAIN_COMMA.fullmatch(text)),
        "comma of three": bool(_COMMA_OF_THREE.fullmatch(text)),
        "truth": text.casefold() in TRUTH,
        "bracketed": is_bracketed(text),
    }
    return [form for form, holds in forms.items() if holds]


def _count(counts: Counter[Any], key: Any, count: int) -> None:
    if key in counts or len(counts) < MOST_LABELS or key in NO_LABEL:
        counts[key] += count


def _hashable(value: Any) -> Any:
    """A key for counting: lists as tuples, other unhashable values as text."""
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    return value if isinstance(value, str | bool | int | float) else str(value)
