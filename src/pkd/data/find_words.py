"""Find the columns of rows whose words have tags: lists of tokens and of their tags, or a text and its spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pkd.errors import DataError
from pkd.recipe.settings import DataSettings
from pkd.recipe.spelling import set_to
from pkd.tasks import asks_for_tags

TOKENS = ("tokens", "words")
TAGS = (  # the likeliest first
    "ner_tags", "ner", "tags", "bio_tags", "iob_tags", "ner_labels", "token_labels", "word_labels",
    "labels", "label", "pos_tags", "upos", "pos", "xpos", "chunk_tags",
)  # fmt: skip
SPANS = ("entities", "spans", "entity_spans")
_SPANS_OF_TOOLS = ("annotations", "annotation", "privacy_mask")  # LightTag, UBIAI and Argilla, AI4Privacy
_TEXTS_OF_TOOLS = ("document", "full_text", "source_text")  # UBIAI, Presidio, AI4Privacy; only beside spans
_ONE_WORD = ("word", "token")
_TAGS_OF_ONE = ("tag", "ner_tag", *(name for name in TAGS if name not in ("label", "labels")))
_WITHOUT_TEXTS = ({"begin offset", "end offset"}, {"projectfileversion", "assets"})
_ANY_LABEL = ("labels", "label", "tags")  # also of whole texts


class WordColumns(NamedTuple):
    """The column of the tokens, or of the text; of their tags, or of the spans, if there are any."""

    text: str
    label: str | None
    has_tokens: bool


def find_word_columns(
    columns: Sequence[str],
    settings: DataSettings,
    source: str,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    labelled: bool,
) -> WordColumns | None:
    """The columns, or None if the names do not say that words have tags.

    Args:
        columns: the names in the file.
        settings: `text_columns` and `label_column` override the usual names.
        source: what is read, for messages.
        texts: the columns that are usually single texts.
        labels: the columns that are usually labels of whole texts.
        labelled: whether tags are required.

    Raises:
        DataError: if tokens have no tags, or a named column is missing.
    """
    asked = asks_for_tags(settings.problem_type)
    if not asked and settings.problem_type != "auto":
        return None
    given = settings.text_columns[0] if len(settings.text_columns) == 1 else None
    if len(settings.text_columns) > 1 or (given is not None and given not in columns):
        return None
    by_name = {column.casefold(): column for column in reversed(columns)}
    tokens = next((by_name[name] for name in TOKENS if name in by_name and given in (None, by_name[name])), None)
    usual = (*SPANS, *_SPANS_OF_TOOLS) if labelled or not texts else SPANS
    spans = next((by_name[name] for name in usual if name in by_name), None)
    tags = next((by_name[name] for name in TAGS if name in by_name), None)
    if settings.label_column is not None:
        wanted = settings.label_column
        if wanted not in columns:
            return None  # the usual message
        spans = wanted if wanted.casefold() in usual else None
        tags = wanted
    says_words = tags is not None and tags.casefold() not in _ANY_LABEL
    if tags is not None and tags.casefold() in ("labels", "tags") and settings.label_column is None and labelled:
        says_words = spans is None  # several labels beside tokens are theirs, also where the text stands there as well
    if tokens is not None and (says_words or ((asked or not texts) and not (spans and texts))):
        if tags is None and labelled:
            raise DataError(
                f"{source} has tokens ('{tokens}') but no column with their tags ({', '.join(TAGS[:3])}, ...); its "
                f"columns: {', '.join(columns)}. Name it with {set_to('data.label_column')}."
            )
        return WordColumns(tokens, tags, has_tokens=True)
    one = next((by_name[name] for name in _ONE_WORD if name in by_name), None)
    if labelled and not settings.label_column and any(names <= by_name.keys() for names in _WITHOUT_TEXTS):
        raise DataError(
            f"{source} has the offsets of spans without their texts, as Azure and Amazon Comprehend export them. Write "
            'a row a text, as JSON lines: {"text": "EU said", "entities": [[0, 2, "ORG"]]}.'
        )
    has_tags = asked or any(name in by_name for name in _TAGS_OF_ONE)
    if has_tags and labelled and one is not None and not texts and not settings.text_columns:
        raise DataError(
            f"{source} has one word a row ('{one}'), which does not say where sentences end. Write CoNLL columns: a "
            "word and its tag a line, with a tab between, a blank line after each sentence, in a file .conll."
        )
    of_tools = [by_name[name] for name in _TEXTS_OF_TOOLS if name in by_name]
    text = given or next(iter((*texts, *of_tools)), None)
    if spans is not None and text is not None and (asked or not labels):
        return WordColumns(text, spans, has_tokens=False)
    return None
