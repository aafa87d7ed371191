"""Find out how sets of labels are written: names, class ids or vectors of 0 and 1, and their separator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple

from pkd import progress
from pkd.data.label_survey import MOST_LABELS, LabelSurvey, is_bracketed, items_of
from pkd.data.match_names import covers, listed, match_names
from pkd.data.outputs import Outputs
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import set_to
from pkd.tasks import MULTI_LABEL, SINGLE_LABEL

_SEPARATORS = ("|", ";", ",")
_SHOWN = 5


class SetForm(NamedTuple):
    """How sets are written: `sets` of names (of class ids if there are `positions`), or `vectors`."""

    form: Literal["sets", "vectors"]
    separator: str
    positions: tuple[str, ...] = ()


def as_names() -> str:
    """The setting that makes single labels classes, whatever they look like."""
    return set_to("data.problem_type", SINGLE_LABEL.name)


def as_sets() -> str:
    """The setting that makes labels sets."""
    return set_to("data.problem_type", MULTI_LABEL.name)


def form_of_sets(
    survey: LabelSurvey, settings: DataSettings, outputs: Outputs | None, names: Sequence[str], source: str
) -> SetForm:
    """Decide how sets of labels are written.

    Args:
        survey: the labels of the rows that decide.
        settings: the user's settings for them.
        outputs: the teacher's, if there is one.
        names: the known class names.
        source: where the rows came from, for messages.

    Raises:
        DataError: if they are vectors, but the classes are unknown or of another number.
    """
    separator = settings.label_sep or _separator_of(survey.labels, names)
    found: Counter[tuple[str, ...]] = Counter({**survey.lists})
    for text, count in survey.labels.items():
        found[tuple(set_of(text, separator, names))] += count
    found = Counter({labels: count for labels, count in found.items() if labels})
    items = {item for labels in found for item in labels}
    positions = tuple(settings.label_names) or (outputs.output_names if outputs is not None else ())
    length = max(map(len, found), default=0)
    _check_lengths(found, items, source)
    if items <= {"0", "1"} and all(len(labels) == length for labels in found) and length > (len(positions) != 1):
        are_names = covers(names, items) and all(len(set(labels)) == len(labels) for labels in found)
        if length == len(positions) or not are_names:
            _check_vectors(length, positions, source)
            shown = ", ".join(f"{index} {name}" for index, name in enumerate(positions[:_SHOWN]))
            more = f" and {len(positions) - _SHOWN:,} more" if len(positions) > _SHOWN else ""
            progress.note(f"{source}: the labels are vectors of 0 and 1, one number for each of {shown}{more}.")
            return SetForm("vectors", separator, positions)
    numbers = bool(items) and all(item.isdecimal() for item in items) and not covers(names, items)
    if numbers and (settings.label_names or settings.label_ids_are_teacher_ids or (positions and not names)):
        if not settings.label_names and not settings.label_ids_are_teacher_ids:
            progress.warn(
                f"{source}: the classifier's classes have no names, so the numbers in sets of labels are read as its "
                "class ids. Make sure that they are."
            )
        return SetForm("sets", separator, positions)
    return SetForm("sets", separator)


def set_of(text: str, separator: str | None, names: Sequence[str]) -> list[str]:
    """Split a set written as text into labels; a known name is not split."""
    return [text] if text in names else items_of(text, separator)


def _check_lengths(found: Collection[Sequence[str]], items: Iterable[str], source: str) -> None:
    """Refuse vectors of different lengths: lists of zeros and ones that repeat a value."""
    lengths = sorted({len(labels) for labels in found})
    if set(items) <= {"0", "1"} and len(lengths) > 1 and any(len(set(labels)) < len(labels) for labels in found):
        raise DataError(
            f"{source}: the labels look like vectors of zeros and ones, one for each class, but they have "
            f"{lengths[0]} to {lengths[-1]} numbers. Every row needs one number for every class."
        )


def _check_vectors(length: int, positions: Sequence[str], source: str) -> None:
    problem = f"{source}: the labels are vectors of {length} zeros and ones, one for each class"
    if not positions:
        raise DataError(
            f"{problem}, but the classes have no names. Name them in order with {set_to('data.label_names')}."
        )
    if length != len(positions):
        raise DataError(
            f"{problem}, but there are {len(positions)} classes ({listed(positions)}). Give one for every class."
        )


def _separator_of(labels: Iterable[str], names: Sequence[str]) -> str:
    """The separator of sets written as text: of the marks that occur, the one that most often yields names."""
    texts = [text for text in labels if text not in names and not is_bracketed(text)]
    marks = [mark for mark in _SEPARATORS if any(mark in text for text in texts)]
    if len(marks) < 2 or not names:
        return marks[0] if marks else _SEPARATORS[0]
    return max(marks, key=lambda mark: _share_named(texts, mark, names))


def _share_named(texts: Sequence[str], mark: str, names: Sequence[str]) -> float:
    parts = {part for text in texts for part in items_of(text, mark)}
    return len(match_names(parts, names)) / max(1, len(parts))


def warn_of_sets(survey: LabelSurvey, names: Sequence[str], source: str) -> None:
    """Warn of single labels that look like sets: their parts recur in other labels, or are known names."""
    if not 1 < len(survey.labels) < MOST_LABELS:
        return
    for mark in _SEPARATORS:
        joined = [text for text in survey.labels if text not in names and len(items_of(text, mark)) > 1]
        uses = Counter(part for text in survey.labels for part in set(items_of(text, mark)))
        parts = {part for text in joined for part in items_of(text, mark)}
        if joined and (covers(names, parts) or 2 * sum(uses[part] > 1 for part in parts) > len(parts)):
            progress.warn(
                f"{source}: labels such as {listed(joined[:2])} look like sets of labels, but are read as single "
                f"classes. If they are sets, set {as_sets()} (separator: {set_to('data.label_sep', mark)}); "
                f"{as_names()} silences this warning."
            )
            return
