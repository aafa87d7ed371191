"""A question with several choices: what a model reads of it, and which choice is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pkd.errors import DataError

RACE_GROUPS = ("high", "middle")  # RACE-H and RACE-M, which are scored apart
_MOST_GROUPS = 10  # more are rather the numbers of the rows


def choice_texts(texts: Sequence[str], choices: Sequence[str]) -> list[str]:
    """What a model reads of a question with choices: the context, and for each choice the question answered by it.

    A blank (`_`) in the question is filled in, as is usual for RACE; otherwise the choice stands behind the question.

    >>> choice_texts(["An article.", "Who is _ ?"], ["he", "she"])
    ['An article.', 'Who is he ?', 'Who is she ?']
    """
    if len(texts) == 1:
        return [texts[0], *choices]
    context, question = texts
    return [
        context,
        *(question.replace("_", choice) if "_" in question else f"{question} {choice}" for choice in choices),
    ]


class Readings(NamedTuple):
    """The place of the right choice, from 0, by each way in which an answer can be meant; None where it cannot."""

    letter: int | None
    place: int | None
    text: int | None


def read_answer(answer: Any, choices: Sequence[str], where: str) -> Readings:
    """What an answer can mean: the letter of the right choice, its place, or its text.

    Raises:
        DataError: if it is none of these.

    >>> read_answer("B", ["B", "A"], "asked.csv, line 2")
    Readings(letter=1, place=None, text=0)
    """
    word = str(answer).strip() if isinstance(answer, str | int) and not isinstance(answer, bool) else ""
    number = int(word) if word.isdecimal() else len(choices)
    read = Readings(
        _place_of_letter(word, len(choices)),
        number if number < len(choices) else None,
        list(choices).index(word) if word in choices else None,
    )
    if read == (None, None, None):
        raise DataError(
            f"{where}: the answer is {answer!r}; give the letter of the right choice (A to {chr(64 + len(choices))}), "
            f"its place (0 to {len(choices) - 1}), or its text."
        )
    return read


def answer_by_letter(answer: Any, choices: Sequence[str], where: str) -> int:
    """The place of the right choice, from 0, where an answer is a letter and nothing else, as in RACE.

    Raises:
        DataError: if it is no letter of these choices.
    """
    place = _place_of_letter(str(answer).strip(), len(choices))
    if place is None:
        raise DataError(
            f"{where}: the answer is {answer!r}; give the letter of the right choice (A to {chr(64 + len(choices))})."
        )
    return place


def right_choices(answers: Sequence[Readings | None], name_row: Callable[[int], str]) -> list[int | None]:
    """The places of the right choices of a whole table: of all its answers by the same reading, where one fits all.

    Letters, places and texts of choices can look alike: of the choices 2, 1 and 0 the answer 0 may be the first or the
    last. A reading that fits every row is how the answers are meant; where none does, each row must be clear.

    Args:
        answers: of each row; None where it has none.
        name_row: says where a row is.

    Raises:
        DataError: if answers can be read in several ways which do not agree.
    """
    rows = [row for row, answer in enumerate(answers) if answer is not None]
    given = [answer for answer in answers if answer is not None]
    fit_all = {name: column for name, column in _columns(given).items() if None not in column}
    candidates = fit_all or _columns(given)
    right: list[int | None] = [None] * len(answers)
    for index, row in enumerate(rows):
        read = {name: column[index] for name, column in candidates.items() if column[index] is not None}
        if len(set(read.values())) > 1:
            told = ", ".join(f"by its {name} choice {chr(65 + int(place or 0))}" for name, place in read.items())
            raise DataError(
                f"{name_row(row)}: the answer can be read in several ways, which do not agree: {told}. Name the right "
                "choice of every row in the same way, by letters where no choice is a letter, else by its text."
            )
        right[row] = next(iter(read.values()))
    return right


def _columns(answers: Sequence[Readings]) -> dict[str, tuple[int | None, ...]]:
    return dict(zip(Readings._fields, zip(*answers, strict=True), strict=True)) if answers else {}


def _place_of_letter(word: str, choices: int) -> int | None:
    place = ord(word.upper()) - ord("A") if len(word) == 1 and word.isascii() and word.isalpha() else choices
    return place if place < choices else None


def groups_of(values: Sequence[str]) -> list[str] | None:
    """The part of a benchmark that each row belongs to, of RACE's ids the school; None where they part nothing.

    >>> groups_of(["high1.txt", "middle7.txt"]), groups_of([f"q{number}" for number in range(100)])
    (['high', 'middle'], None)
    """
    groups = [next((group for group in RACE_GROUPS if value.startswith(group)), value) for value in values]
    return groups if 1 < len(set(groups)) <= _MOST_GROUPS else None
