"""A question with several choices: what a model reads of it, and which choice is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

from pkd.errors import DataError

RACE_GROUPS = ("high", "middle")  # RACE-H and RACE-M, which are scored apart
_MOST_GROUPS = 10  # more are rather the numbers of the rows


@dataclass(frozen=True)
class Question:
    """A question, the choices of which one is right, and what it is about if that is given."""

    question: str
    choices: tuple[str, ...]
    context: str | None = None

    def sequences(self) -> list[tuple[str, str]]:
        """What a model reads, a pair of texts a choice.

        >>> Question("Who is _ ?", ("he", "she"), "An article.").sequences()
        [('An article.', 'Who is he ?'), ('An article.', 'Who is she ?')]
        """
        texts = [self.question] if self.context is None else [self.context, self.question]
        first, *others = choice_texts(texts, self.choices)
        return [(first, other) for other in others]


def choice_names(count: int) -> tuple[str, ...]:
    """The letters by which choices are called, A, B, C, ...; their numbers from 1 where there are more than letters."""
    return tuple(chr(ord("A") + number) if count <= 26 else str(number + 1) for number in range(count))


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


def listed_choices(value: Any) -> tuple[list[str], list[str]] | None:
    """The choices that a value holds and, where they are labelled, their labels; None where it holds no two of them.

    A list of texts, or as some benchmarks have it a mapping with the lists `text` and `label`.

    >>> listed_choices({"text": ["he", "she"], "label": ["A", "B"]})
    (['he', 'she'], ['A', 'B'])
    """
    labels: list[str] = []
    if isinstance(value, Mapping):
        labels, value = [str(label) for label in value.get("label") or ()], value.get("text")
    if not isinstance(value, list) or len(value) < 2 or (labels and len(labels) != len(value)):
        return None
    if not all(each is None or isinstance(each, str | int | float) for each in value):
        return None
    return [text_of(each) or "" for each in value], labels


def text_of(value: str | float | None) -> str | None:
    """A value as text; what is no number is null, as it is where data come from pandas."""
    return None if value is None or (isinstance(value, float) and not isfinite(value)) else str(value)


def questions_of_article(record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The questions of an article as RACE's authors write it, a row each; None where the record is no article.

    The article's name stands for the school, as on the hub, and numbers no rows.
    """
    questions, options, answers = (record.get(name) for name in ("questions", "options", "answers"))
    if not isinstance(questions, list) or not isinstance(options, list) or len(questions) != len(options):
        return None
    rows: list[dict[str, Any]] = [
        {"article": record.get("article"), "question": question, "options": of, "example_id": record.get("id")}
        for question, of in zip(questions, options, strict=True)
    ]
    if isinstance(answers, list) and len(answers) == len(rows):
        rows = [{**row, "answer": answer} for row, answer in zip(rows, answers, strict=True)]
    return rows


class Readings(NamedTuple):
    """The place of the right choice, from 0, by each way in which an answer can be meant; None where it cannot."""

    letter: int | None
    place: int | None
    text: int | None


def read_answer(answer: Any, choices: Sequence[str], where: str, labels: Sequence[str] = ()) -> Readings:
    """What an answer can mean: the letter of the right choice, its place, or its text; its label where it has one.

    Raises:
        DataError: if it is none of these.

    >>> read_answer("B", ["B", "A"], "asked.csv, line 2")
    Readings(letter=1, place=None, text=0)
    """
    word = str(answer).strip() if isinstance(answer, str | int) and not isinstance(answer, bool) else ""
    if word in labels:
        place = list(labels).index(word)
        return Readings(place, place, place)
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
