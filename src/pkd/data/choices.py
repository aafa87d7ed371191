"""Questions with several choices: the text that a model reads, and which choice is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

from pkd.errors import DataError

RACE_GROUPS = ("high", "middle")  # RACE-H and RACE-M, which are scored separately
_MOST_GROUPS = 10  # more than this are probably row ids


@dataclass(frozen=True)
class Question:
    """A question, its choices, one of which is right, and its context if it has one."""

    question: str
    choices: tuple[str, ...]
    context: str | None = None

    def sequences(self) -> list[tuple[str, str]]:
        """The input of a model: one pair of texts per choice.

        >>> Question("Who is _ ?", ("he", "she"), "An article.").sequences()
        [('An article.', 'Who is he ?'), ('An article.', 'Who is she ?')]
        """
        texts = [self.question] if self.context is None else [self.context, self.question]
        first, *others = choice_texts(texts, self.choices)
        return [(first, other) for other in others]


def choice_names(count: int) -> tuple[str, ...]:
    """The names of choices: A, B, C, ...; if there are more than 26, their numbers from 1."""
    return tuple(chr(ord("A") + number) if count <= 26 else str(number + 1) for number in range(count))


def choice_texts(texts: Sequence[str], choices: Sequence[str]) -> list[str]:
    """The texts that a model reads: the context, and for each choice the question with that choice.

    The choice replaces a blank (`_`) in the question, as is usual for RACE; without a blank it follows the question.

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
    """The choices in a value and their labels, if they have any; None if it holds fewer than two choices.

    The value is a list of texts or, in some benchmarks, a mapping with the lists `text` and `label`.

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
    """A value as text; NaN is null, as in data from pandas."""
    return None if value is None or (isinstance(value, float) and not isfinite(value)) else str(value)


def questions_of_article(record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The questions of an article in the RACE authors' format, one row each; None if the record is no article.

    The article's name becomes `example_id`, as on the hub: it gives the school and is no row id.
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
    """The index of the right choice under each reading of an answer; None where a reading does not apply."""

    letter: int | None
    position: int | None
    text: int | None


def read_answer(answer: Any, choices: Sequence[str], where: str, labels: Sequence[str] = ()) -> Readings:
    """Read an answer as the letter of the right choice, its position or its text; by its label if choices have labels.

    Raises:
        DataError: if it is none of these.

    >>> read_answer("B", ["B", "A"], "asked.csv, line 2")
    Readings(letter=1, position=None, text=0)
    """
    word = str(answer).strip() if isinstance(answer, str | int) and not isinstance(answer, bool) else ""
    if word in labels:
        index = list(labels).index(word)
        return Readings(index, index, index)
    number = int(word) if word.isdecimal() else len(choices)
    read = Readings(
        _index_of_letter(word, len(choices)),
        number if number < len(choices) else None,
        list(choices).index(word) if word in choices else None,
    )
    if read == (None, None, None):
        raise DataError(
            f"{where}: the answer is {answer!r}; give the letter of the right choice (A to {chr(64 + len(choices))}), "
            f"its position (0 to {len(choices) - 1}), or its text."
        )
    return read


def answer_by_letter(answer: Any, choices: Sequence[str], where: str) -> int:
    """The index of the right choice for an answer that must be a letter, as in RACE.

    Raises:
        DataError: if it is no letter of these choices.
    """
    index = _index_of_letter(str(answer).strip(), len(choices))
    if index is None:
        raise DataError(
            f"{where}: the answer is {answer!r}; give the letter of the right choice (A to {chr(64 + len(choices))})."
        )
    return index


def right_choices(answers: Sequence[Readings | None], name_row: Callable[[int], str]) -> list[int | None]:
    """The index of the right choice in each row, by the one reading that fits all rows if there is one.

    Letters, positions and texts of choices can look alike: for the choices 2, 1 and 0 the answer 0 may be the first or
    the last. If no reading fits every row, each row must be unambiguous.

    Args:
        answers: one per row; None if the row has no answer.
        name_row: describes where a row is, for messages.

    Raises:
        DataError: if the possible readings of an answer disagree.
    """
    rows = [row for row, answer in enumerate(answers) if answer is not None]
    given = [answer for answer in answers if answer is not None]
    fit_all = {name: column for name, column in _columns(given).items() if None not in column}
    candidates = fit_all or _columns(given)
    right: list[int | None] = [None] * len(answers)
    for index, row in enumerate(rows):
        read = {name: column[index] for name, column in candidates.items() if column[index] is not None}
        if len(set(read.values())) > 1:
            shown = ", ".join(f"by its {name} choice {chr(65 + int(choice or 0))}" for name, choice in read.items())
            raise DataError(
                f"{name_row(row)}: the answer can be read in several ways, which do not agree: {shown}. Name the right "
                "choice of every row in the same way, by letters where no choice is a letter, else by its text."
            )
        right[row] = next(iter(read.values()))
    return right


def _columns(answers: Sequence[Readings]) -> dict[str, tuple[int | None, ...]]:
    return dict(zip(Readings._fields, zip(*answers, strict=True), strict=True)) if answers else {}


def _index_of_letter(word: str, choices: int) -> int | None:
    index = ord(word.upper()) - ord("A") if len(word) == 1 and word.isascii() and word.isalpha() else choices
    return index if index < choices else None


def groups_of(values: Sequence[str]) -> list[str] | None:
    """The group of each row, which for RACE ids is the school; None if the values form no groups.

    >>> groups_of(["high1.txt", "middle7.txt"]), groups_of([f"q{number}" for number in range(100)])
    (['high', 'middle'], None)
    """
    groups = [next((group for group in RACE_GROUPS if value.startswith(group)), value) for value in values]
    return groups if 1 < len(set(groups)) <= _MOST_GROUPS else None
