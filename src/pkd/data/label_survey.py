"""What stands in a label column, counted a piece at a time: the facts by which `label_kinds` decides what is meant."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pkd.data.match_names import plain

TRUTH = {"true": 1, "false": 0}
MOST_LABELS = 10_000  # different ones that are remembered; of what more there are only the forms are counted

_WHOLE = re.compile(r"[-+]?\d+", re.ASCII)
_LEADING_ZERO = re.compile(r"[-+]?0\d", re.ASCII)
_ROUND = re.compile(r"[-+]?\d+(\.0*)?", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_GROUPED = r"\d{1,3}([. '\u2019]\d{3})+"
_COMMA = re.compile(rf"[-+]?(\d+|{_GROUPED}),\d+", re.ASCII)
_THOUSANDS = re.compile(rf"[-+]?({_GROUPED}(,\d+)?|\d{{1,3}}(,\d{{3}})+(\.\d+)?)", re.ASCII)
_PLAIN_COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)
_COMMA_OF_THREE = re.compile(r"[-+]?\d{1,3},\d{3}", re.ASCII)

# what files write where there is no label, besides nothing; a class may be called so where it is named
NO_LABEL = ("-", "--", "–", "—", "?", "n/a", "#n/a", "<na>")


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, perhaps written as +1 or 1.0, that does not begin with a needless zero."""
    return bool(_ROUND.fullmatch(text)) and not _LEADING_ZERO.match(text)


def is_decimal(text: str) -> bool:
    """Whether a text is a number as programs write them."""
    return bool(_DECIMAL.fullmatch(text))


def begins_with_zero(text: str) -> bool:
    """Whether a number begins with a needless zero, which makes a name of it.

    >>> begins_with_zero("007"), begins_with_zero("0.5"), begins_with_zero("0")
    (True, False, False)
    """
    return is_decimal(text) and bool(_LEADING_ZERO.match(text))


def digits_of(text: str) -> str:
    """The digits of a whole number, however it is written.

    >>> digits_of("+1"), digits_of("-2.0")
    ('1', '-2')
    """
    return str(int(text.partition(".")[0][:30]))  # Python reads no 5,000


def spelled(value: Any) -> str:
    """One label in plain spelling; of whole numbers their digits, true and false as 1 and 0."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value)


def items_of(value: Any, separator: str | None) -> list[str]:
    """The labels of a set in plain spelling: of a list, of a text that holds one, or of a text that is parted.

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
    except ValueError:  # written by Python, which quotes otherwise, or by numpy, which puts spaces between
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
    """The labels of rows that have one.

    Attributes:
        kinds: how many are text, bool, int, float, list or something else.
        labels: how often each single label occurs, in plain spelling.
        lists: how often each list of labels does.
        forms: how many of the texts are "whole" numbers, such numbers in "digits" alone, numbers ("decimal"), numbers
            in any country's way ("number"), those with one decimal "comma" and of these such as could be thousands
            ("comma of three"), "truth", or a list ("bracketed").
        fractions: how many numbers have a fraction.
        whole_twice: two spellings of one whole number.
        fraction_twice: two spellings of one number with a fraction.
        is_typed: what is text is text because the format says so, which CSV cannot.
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
        """Count the labels of some rows."""
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
        """The survey of the labels that are none of `texts`."""
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
        """Whether all labels are texts of one of some forms, of which no text has two."""
        return self.kinds.keys() == {"str"} and sum(self.forms[form] for form in forms) == self.kinds["str"]


def _forms(text: str) -> list[str]:
    """What a text looks like."""
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
    """Lists as tuples; what else cannot be counted as its text."""
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    return value if isinstance(value, str | bool | int | float) else str(value)
