"""A question with several choices: what a model reads of it, and which choice is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def right_choice(answer: Any, choices: Sequence[str], where: str) -> int:
    """The place of the right choice, from 0: by its letter, its place, or its text.

    Raises:
        DataError: if the answer is none of these.
    """
    if isinstance(answer, str):
        word = answer.strip()
        if word in choices:
            return list(choices).index(word)
        if len(word) == 1 and word.isalpha() and ord(word.upper()) - ord("A") < len(choices):
            return ord(word.upper()) - ord("A")
        if word.isdecimal():
            answer = int(word)
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return answer
    raise DataError(
        f"{where}: the answer is {answer!r}; give the letter of the right choice (A to {chr(64 + len(choices))}), its "
        f"place (0 to {len(choices) - 1}), or its text."
    )


def groups_of(values: Sequence[str]) -> list[str] | None:
    """The part of a benchmark that each row belongs to, of RACE's ids the school; None where they part nothing.

    >>> groups_of(["high1.txt", "middle7.txt"]), groups_of([f"q{number}" for number in range(100)])
    (['high', 'middle'], None)
    """
    groups = [next((group for group in RACE_GROUPS if value.startswith(group)), value) for value in values]
    return groups if 1 < len(set(groups)) <= _MOST_GROUPS else None
