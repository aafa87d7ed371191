"""Find the columns of the text and the label: by the user's settings, else by the usual names.

Column names go in; a choice comes out, or a `DataError` that names the flag to set.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pkd.data.find_words import SPANS, TAGS, TOKENS, find_word_columns
from pkd.errors import DataError, RecipeError
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import named, set_to
from pkd.tasks import asks_for_choices, asks_for_tags

SINGLE_TEXTS = ("text", "sentence", "review", "comment", "content", "query", "question", "tweet", "utterance", "body")
TEXT_PAIRS = (
    ("text_a", "text_b"),
    ("text", "text_pair"),
    ("text1", "text2"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question1", "question2"),
    ("query", "document"),
    ("query", "passage"),
)
LABELS = ("label", "labels")
OTHER_LABELS = (
    "target",
    "class",
    "category",
    "intent",
    "sentiment",
    "emotion",
    "score",
    "gold_label",
)  # used only if no column is called label: they may be metadata
# multiple choice: names of the question and of its context, the likeliest first
QUESTIONS = ("question", "query", "sent2", "sentence", "text", "text_a")
CONTEXTS = ("article", "context", "passage", "document", "sent1", "premise", "text", "sentence", "text_a")
CHOICES = ("choices", "options", "endings")
CHOICE_COLUMNS = re.compile(r"(choice|option|ending|answer)_?([0-9]|[a-h])", re.IGNORECASE)  # one column per choice
ANSWERS = ("answer", "answerkey", "label", "labels")
GROUP_COLUMNS = ("group", "example_id")  # RACE's example id begins with the school
ROW_IDS = ("id", "row_id")

_USUAL = frozenset(
    name
    for names in (
        SINGLE_TEXTS,
        *TEXT_PAIRS,
        LABELS,
        OTHER_LABELS,
        CONTEXTS,
        QUESTIONS,
        CHOICES,
        ANSWERS,
        GROUP_COLUMNS,
        ROW_IDS,
        TOKENS,
        TAGS,
        SPANS,
    )
    for name in names
)
_TEXTS = frozenset([*SINGLE_TEXTS, *(name for pair in TEXT_PAIRS for name in pair), *CONTEXTS, *QUESTIONS, *CHOICES])
_MOST_WORDS_OF_A_NAME = 4


@dataclass(frozen=True)
class Columns:
    """The columns that are read.

    Attributes:
        text: one text or the two of a pair; for multiple choice the question, after its context if there is one.
        label: the label, if rows have one.
        row_id: the id of the row.
        label_set: instead of `label`, columns of 0 and 1, one per label.
        choices: a column that holds the list of choices.
        choice_set: instead of `choices`, one column per choice.
        group: the group of a multiple-choice row; groups are scored separately.
        has_tokens: `text` holds lists of words, and `label` one of their tags.
        has_spans: `label` holds the spans of characters that have a label.
        asks_for_words: words are to be classified, so that a text may be a list of words as well (`holding`).
    """

    text: tuple[str, ...]
    label: str | None = None
    row_id: str | None = None
    label_set: tuple[str, ...] = ()
    choices: str | None = None
    choice_set: tuple[str, ...] = ()
    group: str | None = None
    has_tokens: bool = False
    has_spans: bool = False
    asks_for_words: bool = False

    @property
    def has_choices(self) -> bool:
        """Whether a row is a question with several choices."""
        return self.choices is not None or bool(self.choice_set)

    def holding(self, text: object) -> Columns:
        """The columns, now that it is seen what the first one holds."""
        return replace(self, has_tokens=True) if self.asks_for_words and isinstance(text, list) else self

    @property
    def labels(self) -> tuple[str, ...]:
        """The label columns: none, one, or one per label."""
        return self.label_set or ((self.label,) if self.label is not None else ())

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is read."""
        others = (self.choices, self.group, self.row_id)
        return (*self.text, *self.labels, *self.choice_set, *(name for name in others if name is not None))


def find_columns(columns: Sequence[str], settings: DataSettings, source: str, *, labelled: bool = True) -> Columns:
    """Choose the text and the label column.

    Args:
        columns: the names in the file, in order.
        settings: `text_columns` and `label_column` override the usual names.
        source: what is read, for messages.
        labelled: whether a label is required.

    Raises:
        RecipeError: if the settings contradict each other.
        DataError: if a column is missing, or the choice is ambiguous.

    >>> find_columns(["idx", "premise", "hypothesis", "label"], DataSettings(), "train.csv").text
    ('premise', 'hypothesis')
    """
    _check_settings(settings)
    choices, choice_set = _find_choices(columns, settings)
    if choices or choice_set or asks_for_choices(settings.problem_type):
        has_choices = choices is not None or bool(choice_set)
        found = _multiple_choice(columns, settings, source, has_choices=has_choices, labelled=labelled)
        return replace(found, choices=choices, choice_set=choice_set)
    if not settings.label_columns:
        usual = (_called(columns, SINGLE_TEXTS), _called(columns, (*LABELS, *OTHER_LABELS)))
        words = find_word_columns(columns, settings, source, *usual, labelled=labelled)
        if words is not None:
            ids = [column for column in columns if column.casefold() in ROW_IDS]
            return Columns(
                (words.text,),
                words.label,
                ids[0] if ids else None,
                has_tokens=words.has_tokens,
                has_spans=words.label is not None and not words.has_tokens,
            )
    if settings.label_columns:
        for column in settings.label_columns:
            if column not in columns:
                raise DataError(_missing(column, columns, source, "data.label_columns"))
        label = None
    else:
        label = _find_label(columns, settings, source, labelled=labelled)
    rest = [column for column in columns if column != label and column not in settings.label_columns]
    text = tuple(settings.text_columns) or _find_texts(rest, columns, source)
    for column in text:
        if column not in columns:
            raise DataError(_missing(column, columns, source, "data.text_columns"))
    ids = [column for column in columns if column.casefold() in ROW_IDS and column not in (*text, label)]
    return Columns(
        text,
        label,
        ids[0] if ids else None,
        tuple(settings.label_columns),
        asks_for_words=asks_for_tags(settings.problem_type) and len(text) == 1,
    )


def unused_columns(columns: Sequence[str], used: Columns) -> tuple[list[str], list[str]]:
    """The unread columns with usual names: those that could be texts, and the others.

    >>> unused_columns(["id", "text", "query", "label"], Columns(("text",), "label"))
    (['query'], ['id'])
    """
    unused = [column for column in columns if column not in used.all and is_usual_name(column)]
    texts = [column for column in unused if column.casefold() in _TEXTS or CHOICE_COLUMNS.fullmatch(column)]
    return texts, [column for column in unused if column not in texts]


def _find_choices(columns: Sequence[str], settings: DataSettings) -> tuple[str | None, tuple[str, ...]]:
    """The column with the list of choices, or the columns with one choice each, if the rows are multiple choice.

    `text_columns` means that the rows are texts, unless `problem_type` is multiple choice.
    """
    wants_text = settings.problem_type != "auto" or settings.text_columns or not _called(columns, QUESTIONS)
    if wants_text and not asks_for_choices(settings.problem_type):
        return None, ()
    if found := _by_preference(columns, CHOICES):
        return found[0], ()
    numbered = sorted((match[1], match[2], match[0]) for match in map(CHOICE_COLUMNS.fullmatch, columns) if match)
    of_one_kind = tuple(name for kind, _, name in numbered if kind == numbered[0][0])
    return None, of_one_kind if len(of_one_kind) > 1 else ()


def _multiple_choice(
    columns: Sequence[str], settings: DataSettings, source: str, *, has_choices: bool, labelled: bool
) -> Columns:
    for key, classes in (("data.label_columns", settings.label_columns), ("data.label_names", settings.label_names)):
        if classes:
            raise DataError(
                f"{source} has multiple-choice questions; {named(key)} ({_listed(classes)}) is for classes. "
                f"Leave it out, or name the text with {set_to('data.text_columns')}."
            )
    text = tuple(settings.text_columns) or _question(columns)
    if not text or not has_choices:
        lacks = "questions" if not text else "choices"
        names = QUESTIONS[:2] if not text else (*CHOICES, "choice_0, choice_1, ...")
        raise DataError(
            f"{source} has no {lacks} (a column {_listed(names)}), which multiple choice needs; its columns: "
            f"{_listed(columns)}. Rename a column, or name the question, or its context and the question, with "
            f"{set_to('data.text_columns')}."
        )
    for column in text:
        if column not in columns:
            raise DataError(_missing(column, columns, source, "data.text_columns"))
    answers = [settings.label_column] if settings.label_column else _by_preference(columns, ANSWERS)
    if labelled and (not answers or answers[0] not in columns):
        raise DataError(
            f"{source} has questions and choices, but no column with the right one ({_listed(ANSWERS[:3])}); its "
            f"columns: {_listed(columns)}. Name it with {set_to('data.label_column')}."
        )
    answer = answers[0] if answers and answers[0] in columns else None
    groups = _by_preference(columns, GROUP_COLUMNS)
    return Columns(text, answer, group=groups[0] if groups else None)


def _question(columns: Sequence[str]) -> tuple[str, ...]:
    """The question's column, after the column of its context if there is one."""
    question = _by_preference(columns, QUESTIONS)[:1]
    context = _by_preference([column for column in columns if column not in question], CONTEXTS)[:1]
    return (*context, *question) if question else ()


def _check_settings(settings: DataSettings) -> None:
    chosen = settings.text_columns
    text, label, labels = (named(f"data.{name}") for name in ("text_columns", "label_column", "label_columns"))
    if settings.label_columns and settings.label_column is not None:
        raise RecipeError(f"{label} and {labels} are both given; give one of them.")
    if both := sorted(set(settings.label_columns) & set(chosen)):
        raise RecipeError(f"{text} and {labels} both name '{both[0]}'; a text is not its label.")
    if len(chosen) > 2:
        raise RecipeError(f"{text} names {len(chosen)} columns ({_listed(chosen)}); give one, or the two of a pair.")
    if len(set(chosen)) < len(chosen):
        raise RecipeError(f"{text} names '{chosen[0]}' twice; a pair has two different columns.")
    if settings.label_column in chosen:
        raise RecipeError(f"{text} and {label} both name '{settings.label_column}'; a text is not its label.")


def _find_label(columns: Sequence[str], settings: DataSettings, source: str, *, labelled: bool) -> str | None:
    if settings.label_column is not None:
        if settings.label_column in columns:
            return settings.label_column
        if labelled:
            raise DataError(_missing(settings.label_column, columns, source, "data.label_column"))
        return None
    free = [column for column in columns if column not in settings.text_columns]
    found = _called(free, LABELS) or _called(free, OTHER_LABELS)
    if len(found) > 1 and labelled:
        raise DataError(
            f"{source} has several columns that could be the label: {_listed(found)}. Choose one with "
            f"{set_to('data.label_column')}."
        )
    if not found and labelled:
        hint = _header_hint(columns) or f"Name the column of the label with {set_to('data.label_column')}."
        raise DataError(
            f"{source} has no column 'label'; its columns: {_listed(columns)}.{_close(LABELS, free)} {hint}"
        )
    return found[0] if found else None


def _find_texts(rest: Sequence[str], columns: Sequence[str], source: str) -> tuple[str, ...]:
    by_name = {column.casefold(): column for column in reversed(rest)}
    pairs = [tuple(by_name[name] for name in pair) for pair in TEXT_PAIRS if all(name in by_name for name in pair)]
    in_pairs = {column for pair in pairs for column in pair}
    singles = [(column,) for column in _called(rest, SINGLE_TEXTS) if column not in in_pairs]
    candidates = [*pairs, *singles]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        found = " or ".join("'" + ",".join(candidate) + "'" for candidate in candidates)
        raise DataError(
            f"{source} has several columns that could be the text: {found}. Choose with {set_to('data.text_columns')}."
        )
    half = [(name, pair) for pair in TEXT_PAIRS for name in pair if name in by_name]
    if half:
        name, pair = half[0]
        other = pair[1 - pair.index(name)]
        raise DataError(
            f"{source} has the column '{by_name[name]}' but not '{other}', its usual other half; its columns: "
            f"{_listed(columns)}. Add that column, or name the text with {set_to('data.text_columns')}."
        )
    hint = _header_hint(columns) or f"Name it with {set_to('data.text_columns')} (two for pairs)."
    raise DataError(
        f"{source} has no column with a usual name for the text ({_listed(SINGLE_TEXTS[:4])}, ...); its columns: "
        f"{_listed(columns)}.{_close(SINGLE_TEXTS, rest)} {hint}"
    )


def is_usual_name(column: str) -> bool:
    """Whether a column of this name is found without a setting."""
    return column.casefold() in _USUAL or CHOICE_COLUMNS.fullmatch(column) is not None


def _called(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    return [column for column in columns if column.casefold() in names]


def _by_preference(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    """The columns of these names, in the order of the names."""
    return sorted(_called(columns, names), key=lambda column: names.index(column.casefold()))


def _missing(column: str, columns: Sequence[str], source: str, key: str) -> str:
    hint = _header_hint(columns) or f"Choose one of them with {set_to(key)}."
    return f"{source} has no column '{column}'; its columns: {_listed(columns)}.{_close([column], columns)} {hint}"


def _close(wanted: Iterable[str], columns: Sequence[str]) -> str:
    by_name = {column.casefold(): column for column in columns}
    for name in wanted:
        near = difflib.get_close_matches(name.casefold(), by_name, n=1, cutoff=0.6)
        if near:
            return f" Did you mean '{by_name[near[0]]}'?"
    return ""


def _header_hint(columns: Sequence[str]) -> str:
    """A hint if the names look like a row of data: numbers or whole sentences; else ""."""
    if columns and columns[0].startswith("{"):
        return "If these are JSON lines, the file's name must end in .jsonl."
    looks_like_data = [
        column
        for column in columns
        if re.fullmatch(r"[-+]?\d+(\.\d+)?", column.strip()) or len(column.split()) > _MOST_WORDS_OF_A_NAME
    ]
    known = {*SINGLE_TEXTS, *LABELS, *OTHER_LABELS, *ROW_IDS, *(name for pair in TEXT_PAIRS for name in pair)}
    has_known = any(column.casefold() in known for column in columns)
    if not (looks_like_data or has_known) and any(" " in column for column in columns):
        return (
            f"If the first row ('{_short(columns[0])}', ...) is data, add a header row above it, such as text and "
            f"label; else name the columns with {set_to('data.text_columns')} and {set_to('data.label_column')}."
        )
    if not looks_like_data:
        return ""
    return (
        f"The header looks like data ('{_short(looks_like_data[0])}'): add a header row above it, such as text and "
        "label."
    )


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f"'{_short(column)}'" for column in columns) or "none"


def _short(column: str) -> str:
    return column if len(column) <= 60 else column[:57] + "..."
