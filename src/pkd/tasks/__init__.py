"""The kinds of problems, one module each, and their registry; only this package compares their names."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pkd.tasks.binary import BINARY
from pkd.tasks.kind import TaskKind
from pkd.tasks.multi_label import MULTI_LABEL
from pkd.tasks.multiple_choice import MULTIPLE_CHOICE
from pkd.tasks.regression import REGRESSION
from pkd.tasks.single_label import SINGLE_LABEL
from pkd.tasks.token_classification import TOKEN_CLASSIFICATION

if TYPE_CHECKING:
    from pkd.recipe.settings import ProblemType

__all__ = [
    "BINARY",
    "KINDS",
    "MULTIPLE_CHOICE",
    "MULTI_LABEL",
    "REGRESSION",
    "SINGLE_LABEL",
    "TOKEN_CLASSIFICATION",
    "TaskKind",
    "asks_for_choices",
    "asks_for_tags",
    "is_multiple_choice",
    "is_token_classification",
    "kind_of",
    "kind_of_head",
    "names_in_config",
]

KINDS: Mapping[ProblemType, TaskKind] = {
    kind.name: kind for kind in (SINGLE_LABEL, MULTI_LABEL, BINARY, REGRESSION, MULTIPLE_CHOICE, TOKEN_CLASSIFICATION)
}


@functools.cache
def kind_of(problem_type: ProblemType, names: tuple[str, ...] = ()) -> TaskKind:
    """The kind of problem with this name; for classes with these names, if its scores depend on them."""
    kind = KINDS[problem_type]
    return kind if kind.scoring_of is None or not names else replace(kind, names=names)


def asks_for_choices(problem_type: str) -> bool:
    """Whether a recipe's `problem_type`, which may be "auto", is multiple choice."""
    return problem_type == MULTIPLE_CHOICE.name


def asks_for_tags(problem_type: str) -> bool:
    """Whether a recipe's `problem_type`, which may be "auto", is token classification."""
    return problem_type == TOKEN_CLASSIFICATION.name


def names_in_config() -> list[str]:
    """The values of `problem_type` in transformers configurations."""
    return list(dict.fromkeys(kind.name_in_config for kind in KINDS.values() if kind.name_in_config is not None))


def kind_of_head(said: str | None, outputs: int) -> TaskKind:
    """The kind of a head that is not for multiple choice, as transformers' pipeline would read it.

    Args:
        said: its configuration's problem_type: one of `names_in_config`, or None.
        outputs: number of outputs; a single one is a sigmoid of two classes unless it is a score.

    >>> kind_of_head(None, 3).name, kind_of_head("multi_label_classification", 1).name
    ('single_label_classification', 'binary_classification')
    """
    if outputs == 1 and said != REGRESSION.name_in_config:
        return BINARY
    several = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)
    return next((kind for kind in several if kind.name_in_config == said), SINGLE_LABEL)


def is_multiple_choice(architectures: Any) -> bool:
    """Whether a configuration's `architectures` name a multiple-choice model, which has no other sign."""
    return _names_head(architectures, "ForMultipleChoice")


def is_token_classification(architectures: Any) -> bool:
    """Whether a configuration's `architectures` name a model that classifies tokens, which has no other sign."""
    return _names_head(architectures, "ForTokenClassification")


def _names_head(architectures: Any, head: str) -> bool:
    names: Sequence[Any] = architectures if isinstance(architectures, list | tuple) else ()
    return any(str(name).endswith(head) for name in names)
