"""Decide what a job's labels mean, once, from the training rows and the teacher; the decision holds for every file.

Known names, the teacher's or those of `label_names`, override what labels look like. Labels with two possible meanings
that would train differently are refused; the error names the setting that decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pkd import progress
from pkd.data.label_sets import as_names, as_sets, form_of_sets, warn_of_sets
from pkd.data.label_survey import NO_LABEL, TRUTH, LabelSurvey, begins_with_zero
from pkd.data.match_names import covers, listed, match_names, plain, visible
from pkd.data.outputs import Outputs
from pkd.errors import DataError
from pkd.recipe.settings import DataSettings, ProblemType
from pkd.recipe.spelling import named, set_to
from pkd.tasks import BINARY, MULTI_LABEL, REGRESSION, SINGLE_LABEL, TaskKind, kind_of

Form = Literal["names", "integers", "scores", "sets", "vectors", "columns", "tags"]

IGNORED_LABEL = -100  # ignored by PyTorch's losses: training on it alone would give NaN
HIDDEN_LABEL = -1  # written by benchmarks that withhold the label

_SHOWN = 5
_FEW = 20  # up to so many different scores, if each is frequent, could be names
_ROWS_OF_A_NAME = 3
_DECIMALS = "{}: the labels are whole numbers written as decimals; they are read as integers."


@dataclass(frozen=True)
class LabelKind:
    """How label columns are read.

    Attributes:
        problem_type: what is learned.
        form: the column's values: names, integers, scores, sets of names, vectors of 0 and 1, the columns of
            `label_columns`, or tags of words.
        no_label: markers of an unlabelled row, in plain spelling and lower case.
        separator: separates the labels of a set written as text.
        positions: the names that integers index.
        decimal_comma: whether scores are written as 0,5.
    """

    problem_type: ProblemType
    form: Form
    no_label: frozenset[str] = frozenset()
    separator: str | None = None
    positions: tuple[str, ...] = ()
    decimal_comma: bool = False

    @property
    def task(self) -> TaskKind:
        """The kind of problem."""
        return kind_of(self.problem_type)


def decide_kind(survey: LabelSurvey, settings: DataSettings, outputs: Outputs | None, source: str) -> LabelKind:
    """Decide how labels are read.

    Args:
        survey: the labels of the rows that decide.
        settings: the user's settings for them.
        outputs: the teacher's, from its configuration and the settings; None without a teacher.
        source: where the rows came from, for messages.

    Raises:
        DataError: if they are ambiguous, or of another kind than the one to learn.
    """
    names = known_names(settings, outputs)
    no_label = _markers(survey, names)
    survey = survey.without(no_label)
    asked = outputs.problem_type if outputs is not None and outputs.is_declared else settings.problem_type
    one = outputs is not None and len(outputs.output_names) == 1
    if settings.label_columns:
        return LabelKind((BINARY if one else MULTI_LABEL).name, "columns", no_label)
    task = _guess(survey, names, outputs, source) if asked == "auto" else kind_of(asked)
    problem = task.name
    if task.has_scores:
        return LabelKind(problem, "scores", no_label, decimal_comma=_has_decimal_comma(survey, source))
    if task.has_sets or (task.tells_two_classes and _are_lists(survey, names)):
        written = form_of_sets(survey, settings, outputs, names, source)
        return LabelKind(problem, written.form, no_label, written.separator, written.positions)
    no_label |= _number_markers(survey, names, source)
    form = _form_of_classes(survey, settings, outputs, names, source, is_asked=asked != "auto")
    if form == "names" and settings.problem_type == "auto" and not covers(names, survey.labels):
        warn_of_sets(survey, names, source)
    if form == "integers" and task is SINGLE_LABEL and not names and outputs is not None:
        progress.warn(
            f"{source}: the classifier's classes have no names ({listed(outputs.label_names)}), so integer labels are "
            f"read as its class ids. Make sure that they are, or name them with {named('data.label_names')}."
        )
    return LabelKind(problem, form, no_label, positions=tuple(settings.label_names) if form == "integers" else ())


def known_names(settings: DataSettings, outputs: Outputs | None) -> tuple[str, ...]:
    """The known class names: the teacher's, if it has any, and those in the settings."""
    of_teacher = outputs.label_names if outputs is not None and outputs.is_named else ()
    return tuple(dict.fromkeys([*of_teacher, *settings.label_names]))


def _markers(survey: LabelSurvey, names: Sequence[str]) -> frozenset[str]:
    """The texts that mark an unlabelled row, except class names, and - where + occurs too."""
    called = {name.casefold() for name in names}
    signs = {"-", "--", "–", "—"} if {"+", "++"} & survey.labels.keys() else set()
    return frozenset(text for text in NO_LABEL if text not in called and text not in signs)


def _number_markers(survey: LabelSurvey, names: Sequence[str], source: str) -> frozenset[str]:
    """The integers that mark an unlabelled row: -100, and -1 unless it is a sentiment class or a class name."""
    hidden, ignored = str(HIDDEN_LABEL), str(IGNORED_LABEL)
    found = frozenset(number for number in (hidden, ignored) if number not in names)
    beside = survey.labels.keys() - {hidden}
    if hidden in found and hidden in survey.labels and {"1", "+1"} & beside and beside <= {"0", "1", "+1"}:
        progress.warn(f"{source}: -1 is read as a class, beside {listed(sorted(beside))}.")
        return found - {hidden}
    return found


def _guess(survey: LabelSurvey, names: Sequence[str], outputs: Outputs | None, source: str) -> TaskKind:
    """The kind of problem that labels look like; used if neither the teacher nor the settings give it."""
    one = outputs is not None and len(outputs.output_names) == 1
    if _are_lists(survey, names):
        return BINARY if one else MULTI_LABEL
    if outputs is not None and not one:
        return SINGLE_LABEL
    if not covers(names, survey.labels):
        if _are_scores(survey, source):
            return REGRESSION
        if survey.all_are("number") and not survey.all_are("decimal"):
            raise DataError(_local_numbers(survey, source))
    if not one:
        return SINGLE_LABEL
    two = survey.labels.keys() <= {"0", "1", "-1", "-100", "0.0", "1.0"} or survey.all_are("truth")
    return BINARY if two or match_names(survey.labels, names) else REGRESSION


def _are_lists(survey: LabelSurvey, names: Sequence[str]) -> bool:
    return survey.kinds.keys() == {"list"} or (survey.all_are("bracketed") and not covers(names, survey.labels))


def _are_scores(survey: LabelSurvey, source: str) -> bool:
    """Whether labels have fractions and are no names; a version or section such as 2.10 looks like a number too."""
    if not survey.fractions:
        return False
    if survey.kinds.keys() <= {"int", "float"}:
        return True
    if not survey.all_are("decimal"):
        return False
    few = len(survey.labels) <= _FEW and survey.labels.total() >= _ROWS_OF_A_NAME * len(survey.labels)
    if survey.is_typed:
        progress.note(
            f"{source}: the labels are text, so {listed(survey.labels)} are names. If they are scores, set "
            f"{_as_scores()}."
        )
        return False
    if few and survey.fraction_twice:
        raise DataError(
            f"{source}: the labels {listed(survey.fraction_twice)} are one number in two spellings, so they could be "
            f"names as well as scores. Set {as_names()} if they are names, {_as_scores()} if they are scores."
        )
    if few:
        progress.warn(
            f"{source}: the labels are {len(survey.labels)} different numbers ({listed(survey.labels)}); they are "
            f"learned as scores. If they are names, set {as_names()}; {_as_scores()} silences this warning."
        )
    return True


def _has_decimal_comma(survey: LabelSurvey, source: str) -> bool:
    """Whether scores are written as 0,5.

    Raises:
        DataError: if they could also be thousands.
    """
    commas = survey.forms["comma"]
    if not commas or not survey.all_are("comma", "digits"):
        return False
    if survey.forms["comma of three"] == commas:
        label = next(label for label in survey.labels if "," in label)
        raise DataError(
            f"{source}: a label is {visible(label)}, which is {label.replace(',', '.')} if the comma is decimal and "
            f"{label.replace(',', '')} if it groups thousands. Write scores with a decimal point and no groups."
        )
    progress.note(f"{source}: the scores have a decimal comma, and are read that way.")
    return True


def _local_numbers(survey: LabelSurvey, source: str) -> str:
    plain_comma = survey.all_are("comma", "digits") and survey.forms["comma of three"] < survey.forms["comma"]
    form = "a decimal comma" if plain_comma else "a decimal comma or grouped thousands"
    scores = f"Set {_as_scores()} to learn them as scores" if plain_comma else "Write scores with only a decimal point"
    return (
        f"{source}: the labels look like numbers with {form} ({listed(survey.labels)}). {scores}; {as_names()} learns "
        f"them as names, {as_sets()} as sets of numbers."
    )


def _form_of_classes(
    survey: LabelSurvey,
    settings: DataSettings,
    outputs: Outputs | None,
    names: Sequence[str],
    source: str,
    *,
    is_asked: bool,
) -> Form:
    """Whether single labels are names, or integers that may be class ids."""
    kinds = survey.kinds.keys()
    if kinds == {"bool"} or survey.all_are("truth"):
        if {name.casefold() for name in names} & TRUTH.keys():
            return "names"
        progress.note(f"{source}: the labels are true and false; they are read as 1 and 0.")
        return "integers"
    whole = kinds <= {"int", "float"} and not survey.fractions
    if covers(names, survey.labels) and "float" in kinds:
        _refuse_names_of_one_value(survey, names, source)
    spelled = {plain(name).casefold() for name in names}
    if covers(names, survey.labels) and (kinds != {"str"} or {label.casefold() for label in survey.labels} <= spelled):
        return "names"
    if settings.label_names and match_names(survey.labels, settings.label_names):
        return "names"
    if kinds <= {"int", "float"}:
        if whole and "float" in kinds:
            progress.note(_DECIMALS.format(source))
        return "integers"
    whole = survey.all_are("whole") and not survey.whole_twice
    if survey.all_are("digits") or (outputs is not None and not names and survey.all_are("decimal")):
        return "integers"  # reading refuses fractions and names their line
    if zeros := [label for label in survey.labels if begins_with_zero(label)] if survey.all_are("decimal") else []:
        progress.note(f"{source}: labels such as {visible(zeros[0])} begin with a zero; they are read as names.")
        return "names"
    if whole and (outputs is not None or not is_asked):
        progress.note(_DECIMALS.format(source))
        return "integers"
    if is_asked:
        return "names"
    if survey.whole_twice and survey.all_are("decimal") and outputs is None:
        raise DataError(
            f"{source}: the labels {listed(survey.whole_twice)} are one number in two spellings. Write each class in "
            f"one way; or set {as_names()} if they are different classes."
        )
    if survey.all_are("truth", "whole"):
        raise DataError(
            f"{source}: the labels mix true and false with numbers ({listed(survey.labels)}). Write each class in one "
            f"way; or set {as_names()} if they are different classes."
        )
    return "names"


def _refuse_names_of_one_value(survey: LabelSurvey, names: Sequence[str], source: str) -> None:
    """Refuse a typed number that could be several names: it has lost the spelling that tells 2.1 from 2.10."""
    for label in survey.labels:
        alike = [name for name in names if _value(name) is not None and _value(name) == _value(label)]
        if len(alike) > 1:
            raise DataError(
                f"{source}: the label {label} is a number, and could be any of the classes {listed(alike)}. Write the "
                "labels as text."
            )


def _value(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _as_scores() -> str:
    return set_to("data.problem_type", REGRESSION.name)
