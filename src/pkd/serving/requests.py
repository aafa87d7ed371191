"""The bodies of `/predict`, texts or questions with choices; faults of others in sentences."""

# no `from __future__ import annotations`: FastAPI reads the annotations of models that are made inside functions
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag

from pkd.data.choices import Question
from pkd.serving.limits import Limits
from pkd.serving.texts import Text

_FAULTS_TOLD = 5
_LEAST_CHOICES = 2


class TextsBody:
    """Bodies of texts and, unless words are tagged, pairs of texts."""

    example = '{"texts": ["a text"]}'
    keys = "the only key is texts"

    def __init__(self, limits: Limits, *, pairs: bool = True) -> None:
        text: Any = Annotated[str, StringConstraints(max_length=limits.max_characters)]
        each: Any = text | tuple[text, text] if pairs else text

        class Texts(BaseModel):
            """What to classify: texts, or pairs of texts where the model reads such."""

            model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"texts": ["a moving film"]}]})

            texts: Annotated[list[each], Field(min_length=1, max_length=limits.max_texts)]

        self.limits = limits
        self.type: Any = Texts
        self._each = "a text, or a list of two texts" if pairs else "a text"

    def texts(self, body: Any) -> list[Text]:
        """The texts of a body that was taken."""
        return list(body.texts)

    def wanted(self, place: Sequence[Any], kinds: set[str]) -> str:
        """What must stand at a place of a body where something else does."""
        where = _dotted(place)
        if len(place) > 1:
            return f"{where} must be {self._each}."
        if "too_short" in kinds:
            return f"{where} is empty; it must have a text or more."
        if "too_long" in kinds:
            return (
                f"{where} has more than {self.limits.max_texts:,} texts, the most of a request; send them in several."
            )
        return f'{where} must be a list of texts, as ["a text"].'


class QuestionsBody:
    """Bodies of a question with choices, or of several under `questions`."""

    example = '{"question": "a text", "choices": ["a text", "another"]}'
    keys = "a question has question, choices and perhaps context; several stand in a list under questions"

    def __init__(self, limits: Limits) -> None:
        text = Annotated[str, StringConstraints(max_length=limits.max_characters)]
        examples: Any = {"examples": [{"question": "Who is _ ?", "choices": ["he", "she"], "context": "An article."}]}

        class OneQuestion(BaseModel):
            """A question, of whose choices one is right."""

            model_config = ConfigDict(extra="forbid", json_schema_extra=examples)

            question: text
            choices: Annotated[list[text], Field(min_length=_LEAST_CHOICES, max_length=limits.max_texts)]
            context: text | None = Field(None, description="what the question is about")

        class Questions(BaseModel):
            """Several questions."""

            model_config = ConfigDict(extra="forbid")

            questions: Annotated[list[OneQuestion], Field(min_length=1, max_length=limits.max_texts)]

        self.limits = limits
        self.type: Any = Annotated[
            Annotated[OneQuestion, Tag("one")] | Annotated[Questions, Tag("several")],
            Discriminator(lambda body: "several" if isinstance(body, dict) and "questions" in body else "one"),
        ]

    def texts(self, body: Any) -> list[Text]:
        """The questions of a body that was taken."""
        asked = body.questions if hasattr(body, "questions") else [body]
        return [Question(one.question, tuple(one.choices), one.context) for one in asked]

    def wanted(self, place: Sequence[Any], kinds: set[str]) -> str:
        """What must stand at a place of a body where something else does."""
        where, most = _dotted(place), f"{self.limits.max_texts:,}"
        if place[-1] == "questions":
            if "too_short" in kinds:
                return f"{where} is empty; it must have a question or more."
            if "too_long" in kinds:
                return f"{where} has more than {most} questions, the most of a request; send them in several."
            return f"{where} must be a list of questions, as [{self.example}]."
        if place[-1] == "choices":
            if "too_long" in kinds:
                return f"{where} has more than {most} texts, the most of a question."
            return f'{where} must be a list of two texts or more, as ["a text", "another"].'
        if isinstance(place[-1], int) and place[-2:-1] == ["questions"]:
            return f"{where} must be a question, as {self.example}."
        return f"{where} must be a text."


Body = TextsBody | QuestionsBody


def told(faults: Sequence[Any], body: Body) -> str:
    """The faults of a body, one sentence per path; `faults` are pydantic's."""
    places: dict[tuple[Any, ...], list[Any]] = {}
    for fault in faults:
        place = [part for part in fault["loc"][1:] if part not in ("one", "several")]
        if isinstance(body, TextsBody):
            place = place[:2]  # what follows names the kinds of text that were tried
        places.setdefault(tuple(place), []).append(fault)
    return " ".join([_sentence(list(place), of_place, body) for place, of_place in places.items()][:_FAULTS_TOLD])


def _sentence(place: list[Any], faults: list[Any], body: Body) -> str:
    kinds = {fault["type"]: fault for fault in faults}
    if "json_invalid" in kinds:
        return f"The body is not JSON: {kinds['json_invalid'].get('ctx', {}).get('error', 'it cannot be read')}."
    if not place:
        return f"The body must be a JSON object, as {body.example}, sent as Content-Type: application/json."
    where = _dotted(place)
    if "extra_forbidden" in kinds:
        return f"{where} is not known; {body.keys}."
    if "missing" in kinds and isinstance(place[-1], str):
        return f"{where} is missing; send {body.example}."
    if "string_too_long" in kinds:
        return f"{where} has more than {body.limits.max_characters:,} characters, the most of a text; cut it."
    if "string_unicode" in kinds:
        return f"{where} is not Unicode text: it holds half a character (a lone surrogate)."
    return body.wanted(place, set(kinds))


def _dotted(place: Sequence[Any]) -> str:
    return ".".join(str(part) for part in place)
