"""The outputs of a classifier's head, from its configuration or, if that lacks them, from the user's settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pkd import progress
from pkd.data.class_names import names_by_id
from pkd.data.match_names import covers, match_names
from pkd.data.tags import classes_in_iob2
from pkd.errors import RecipeError, TeacherError
from pkd.recipe.spelling import named, set_to
from pkd.tasks import (
    BINARY,
    MULTI_LABEL,
    MULTIPLE_CHOICE,
    TOKEN_CLASSIFICATION,
    TaskKind,
    is_multiple_choice,
    is_token_classification,
    kind_of,
    kind_of_head,
    names_in_config,
)
from pkd.tasks.binary import NO_NAMES, binary_classes

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from pkd.recipe.settings import DataSettings, ProblemType

REGRESSION_NAME = "score"  # of the one output
_SHOWN = 10


@dataclass(frozen=True)
class Outputs:
    """The outputs of a classifier's head.

    Attributes:
        problem_type: the kind of problem. A binary classification has one output, the logit of its second class.
        label_names: its classes in order, as in rows and results; empty for a multiple-choice model that does not fix
            the number of choices.
        is_declared: whether the configuration or the user gives the kind of problem; otherwise the labels decide.
    """

    problem_type: ProblemType
    label_names: tuple[str, ...]
    is_declared: bool = True

    @property
    def kind(self) -> TaskKind:
        """The kind of problem."""
        return kind_of(self.problem_type, self.label_names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, as in the configuration."""
        if not self.kind.tells_two_classes:
            return self.label_names
        return ("LABEL_0",) if self.label_names == NO_NAMES else self.label_names[1:]

    @property
    def is_named(self) -> bool:
        """Whether its classes have names."""
        return bool(self.label_names) and not has_placeholder_names(self.output_names)


def outputs_of(config: PretrainedConfig) -> Outputs:
    """The outputs of a saved classifier's head, from its configuration.

    Without `problem_type` it is read as by transformers' pipeline: several outputs are classes, one output is the logit
    of a class. A multiple-choice model is recognised by its Python class.

    Raises:
        TeacherError: if its outputs are not named one by one, or pkd does not know the problem_type.
    """
    where = str(config.name_or_path or "The model")
    names = names_by_id(config.id2label, where)
    if is_multiple_choice(config.architectures):
        return Outputs(MULTIPLE_CHOICE.name, () if has_placeholder_names(names) else names)
    if is_token_classification(config.architectures):
        return Outputs(TOKEN_CLASSIFICATION.name, _tags(names, where))
    said: Any = config.problem_type
    if said is not None and said not in names_in_config():
        raise TeacherError(
            f"{where}: problem_type is {said!r}; it must be one of {', '.join(names_in_config())}. Correct its "
            "config.json."
        )
    kind = kind_of_head(said, len(names))
    if kind.tells_two_classes:
        return Outputs(kind.name, binary_classes(names[0]), is_declared=said is not None or _has_sigmoid(config))
    return Outputs(kind.name, names, is_declared=said is not None)


def _tags(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The classes of a classifier of words, in the spelling of the rows' tags."""
    tags = classes_in_iob2(names)
    if tags is None:
        raise TeacherError(
            f"{where}: its classes ({_listed(names)}) mark where spans end, as IOBES and BIOLU do, but it must answer "
            "in IOB2 (B-, I- and O), as rows of any scheme are read. `pkd finetune` makes such a classifier of it."
        )
    return tags


def config_values(outputs: Outputs) -> dict[str, Any]:
    """The values for a transformers configuration, in which a binary output is a set of one label."""
    names = dict(enumerate(outputs.output_names))
    return {
        "problem_type": outputs.kind.name_in_config,
        "id2label": names,
        "label2id": {name: index for index, name in names.items()},
    }


def has_placeholder_names(names: Sequence[str]) -> bool:
    """Whether a classifier's classes were never named.

    >>> has_placeholder_names(["LABEL_0", "LABEL_1"]), has_placeholder_names(["negative", "positive"])
    (True, False)
    """
    return bool(names) and all(re.fullmatch(rf"LABEL_{index}", name) for index, name in enumerate(names))


def with_settings(outputs: Outputs, settings: DataSettings) -> Outputs:
    """Complete the outputs with the problem and the names from the settings.

    Raises:
        RecipeError: if the configuration contradicts the settings.
    """
    asked = settings.problem_type
    if asked == "auto" and settings.label_columns and not outputs.is_declared:
        asked = MULTI_LABEL.name
    if asked != "auto":
        outputs = as_problem(outputs, asked)
    if settings.label_names:
        return _named(outputs, settings.label_names, "data.label_names")
    if settings.label_columns and len(settings.label_columns) == len(outputs.output_names):
        return _named(outputs, settings.label_columns, "data.label_columns")
    return outputs


def as_problem(outputs: Outputs, asked: ProblemType) -> Outputs:
    """The outputs under the given kind of problem.

    Raises:
        RecipeError: if the head has learned another kind, or its number of outputs does not fit.
    """
    several = len(outputs.output_names) != 1
    if not several and not kind_of(asked).has_one_output:
        asked = BINARY.name
    if asked == outputs.problem_type:
        return replace(outputs, is_declared=True)
    if outputs.is_declared:
        raise RecipeError(
            f"{named('data.problem_type')} is {asked}, but the teacher has learned {outputs.problem_type}. Leave it "
            "out, or take another teacher."
        )
    if several and kind_of(asked).has_one_output:
        raise RecipeError(
            f"{named('data.problem_type')} is {asked}, but the teacher has {len(outputs.output_names)} outputs. Leave "
            "it out, or take another teacher."
        )
    names = outputs.output_names if kind_of(asked).has_scores else outputs.label_names
    return Outputs(asked, names)


def order_of(outputs: Outputs, wanted: Outputs) -> list[int]:
    """The index in `outputs` of each wanted output, by name: models of one task may order them differently."""
    names = match_names(wanted.output_names, outputs.output_names or wanted.output_names)
    return [names[name] for name in wanted.output_names]


def order_among(name: str, outputs: Outputs, first: tuple[str, Outputs], settings: DataSettings) -> list[int]:
    """The index in a model's outputs of each output of the first model of several.

    A configuration without problem_type or names takes those of the first model.

    Args:
        name: of the model.
        outputs: its own.
        first: the name and the outputs of the first model.
        settings: which may name the outputs.

    Raises:
        TeacherError: if the model has learned another kind of problem or other classes.
    """
    other, wanted = first
    outputs = wanted if name == other else with_settings(outputs, settings)
    if not outputs.is_declared and len(outputs.output_names) == len(wanted.output_names):
        outputs = as_problem(outputs, wanted.problem_type)
    if outputs.kind is not wanted.kind:
        raise TeacherError(
            f"{name} has learned {outputs.problem_type}, but {other} {wanted.problem_type}; they do not go together."
        )
    names = outputs.output_names
    if names and (len(names) != len(wanted.output_names) or not covers(names, wanted.output_names)):
        advice = ""
        if not (outputs.is_named and wanted.is_named):
            advice = f" If these are the same in this order, name them all with {set_to('data.label_names')}."
        raise TeacherError(
            f"{name} has the classes {sorted(names)}, but {other} has {sorted(wanted.output_names)}; "
            f"they do not go together.{advice}"
        )
    return order_of(outputs, wanted)


def _named(outputs: Outputs, names: Sequence[str], key: str) -> Outputs:
    """Name the outputs that have no name."""
    old = outputs.output_names
    without = [index for index, name in enumerate(old) if name == f"LABEL_{index}"]
    if outputs.kind.has_choices or outputs.kind.has_scores or not without:
        return outputs
    if outputs.kind.tells_two_classes and len(names) in (1, 2):
        classes = (names[0], names[1]) if len(names) == 2 else binary_classes(names[0])
        progress.note(f"The classifier's one output has no name ({old[0]}); {named(key)} names it '{classes[1]}'.")
        return replace(outputs, label_names=classes)
    others = {index: name for index, name in enumerate(old) if index not in without}
    agree = len(names) == len(old) and all(match_names([names[index]], [name]) for index, name in others.items())
    if not agree:
        raise RecipeError(
            f"{named(key)} names {_listed(names)}, but the classifier has {len(old)} output{'s' * (len(old) > 1)}: "
            f"{_listed(old)}. Name every output in order; existing names must stay."
        )
    renamed = tuple(others.get(index, name) for index, name in enumerate(names))
    shown = ", ".join(f"{index} {name}" for index, name in enumerate(renamed[:_SHOWN]))
    more = f" and {len(renamed) - _SHOWN:,} more" if len(renamed) > _SHOWN else ""
    progress.note(
        f"The classifier's outputs have no names ({_listed(old)}); {named(key)} names them, in this order: "
        f"{shown}{more}. Students keep these names."
    )
    return replace(outputs, label_names=renamed)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def _has_sigmoid(config: PretrainedConfig) -> bool:
    """Whether the configuration puts a sigmoid after the output, as sentence-transformers' cross-encoders do."""
    own = getattr(config, "sentence_transformers", None)
    said = (
        own.get("activation_fn") if isinstance(own, Mapping) else None,
        getattr(config, "sbert_ce_default_activation_function", None),
        getattr(config, "function_to_apply", None),
    )
    return any(str(each).rpartition(".")[2].casefold() == "sigmoid" for each in said)
