"""A trained classifier: texts in, labels and probabilities out.

An exported folder runs in its runtime, ONNX Runtime or OpenVINO, without importing torch or transformers; any other
folder or hub name in PyTorch. The output has the same form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from pkd.data.batches_by_length import batches_by_length
from pkd.data.choices import Question, choice_names
from pkd.data.windows import Sentence, split_words
from pkd.encoder.hub import check_model_name
from pkd.errors import DataError
from pkd.recipe.places import AnyPath, path_text
from pkd.serving.exported_model import format_of, load_exported
from pkd.serving.limits import check_threads
from pkd.serving.loaded import LoadedModel
from pkd.serving.tagging import Found, tag, word_logits
from pkd.serving.texts import Encoded, Row, Text, is_unicode, question_from, rows_of, shown, text_of

Given: TypeAlias = Text | Mapping[str, Any]  # a question may come as a mapping

_ROWS_AT_A_TIME = 512


@dataclass(frozen=True)
class Prediction:
    """A classifier's prediction for one text.

    Attributes:
        text: as it came; a question with choices as a `Question`.
        label: the class; for sets of labels those above one half, separated by commas ("none" if empty); for a score
            the score as text; for a question the letter of its choice. A classifier with one output has that output's
            name, as in transformers' pipeline.
        probabilities: of each output or choice, or the score itself under "score".
        labels: for sets of labels, and for one output, those above one half.
        choice: for a question, the choice itself.
        spans: for a model that tags words, the spans that it finds; `label` then has their types, and there are no
            probabilities.
        tags: of a `Sentence`, the tag of each word.
    """

    text: Text
    label: str
    probabilities: dict[str, float]
    labels: tuple[str, ...] = ()
    choice: str | None = None
    spans: tuple[Found, ...] | None = None
    tags: tuple[str, ...] | None = None


class Classifier:
    """A teacher or student, loaded once; safe to call from several threads.

    >>> classifier = Classifier.load("student/")  # doctest: +SKIP
    >>> classifier("a moving film")[0].label  # doctest: +SKIP
    'positive'

    A model for multiple choice takes questions as mappings:

    >>> classifier({"question": "who _ ?", "choices": ["he", "she"], "context": "..."})[0].choice  # doctest: +SKIP
    'she'
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.label_names = model.label_names
        self.problem_type = model.kind.name
        self.max_length = model.encoder.max_length
        self._kind = model.kind
        self._has_sets = model.kind.has_sets or model.kind.tells_two_classes
        self._reads_questions = model.kind.has_choices
        self._outputs = 1 if self._reads_questions else len(model.label_names)

    @classmethod
    def load(cls, folder: AnyPath, device: str = "auto", threads: int | None = None, callers: int = 1) -> Classifier:
        """Load a saved or exported classifier.

        Args:
            folder: an exported folder, any other folder of a classifier, or a hub name.
            device: "auto", "cpu" or "cuda".
            threads: cores to use; None leaves it to the library. With PyTorch it holds for the whole process.
            callers: threads that will call it at the same time; more of them wait for each other in OpenVINO.

        Raises:
            TeacherError: if the folder holds no classifier.
            RecipeError: if the device cannot be used, there are fewer cores than `threads`, or an exported
                folder's runtime is not installed.
        """
        folder = path_text(folder, "model")
        check_threads(threads)
        if format_of(folder) is not None:
            return cls(load_exported(folder, device, threads, callers))
        check_model_name(folder, "classifier")  # before the heavy imports
        from pkd.serving.torch_model import load_torch

        return cls(load_torch(folder, device, threads))

    def __call__(self, texts: Given | Sequence[Given]) -> list[Prediction]:
        """Classify a text, a pair as a tuple, or a list of either.

        A model for multiple choice takes a question, as a mapping of `question`, `choices` and optionally `context`, or
        a list of them, with any numbers of choices.

        Raises:
            DataError: if one is no text, or some are pairs and others are not.
        """
        whole = [texts] if isinstance(texts, str | tuple | Mapping | Question | Sentence) else texts
        checked = list(self._checked(whole))  # fail before anything is computed
        chunks = (checked[begin : begin + _ROWS_AT_A_TIME] for begin in range(0, len(checked), _ROWS_AT_A_TIME))
        return [prediction for chunk in chunks for prediction in self.answer(chunk)]

    def stream(self, texts: Iterable[Given]) -> Iterator[Prediction]:
        """Classify texts as they arrive, some hundred at a time, in order.

        Raises:
            DataError: if one is not text, or some are pairs and others are not; those before it are classified first.
        """
        waiting = self._checked(texts)
        while True:
            chunk: list[Text] = []
            try:
                for text in islice(
                    waiting, _ROWS_AT_A_TIME
                ):  # not list(...), which would lose the texts before a fault
                    chunk.append(text)
            except DataError:
                if chunk:
                    yield from self.answer(chunk)
                raise
            if not chunk:
                return
            yield from self.answer(chunk)

    def answer(self, texts: Sequence[Text]) -> list[Prediction]:
        """Classify texts, mixed with pairs, or questions, in order and in one call."""
        if self._reads_questions:
            return self._answer_questions([text for text in texts if isinstance(text, Question)])
        if self._kind.has_tokens:
            return self._tag([text for text in texts if not isinstance(text, Question)])
        logits = self.logits(texts)
        words = self._kind.words(logits, self.label_names)
        rows = self._kind.probabilities(logits).tolist()
        predictions = []
        for text, label, row in zip(texts, words, rows, strict=True):
            named = dict(zip(self.label_names, row, strict=True))
            labels = tuple(name for name, value in named.items() if value > 0.5) if self._has_sets else ()
            predictions.append(Prediction(text, label, named, labels))
        return predictions

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """The logits of texts, [N, C] in float32, in order; questions must all have the same number of choices, C.

        Of tags they are [N, W, C], of the words of sentences, NaN where one has fewer than W; a plain text's words are
        those of `split_words`.
        """
        if self._kind.has_tokens:
            return word_logits(self.model, [_as_sentence(text) for text in texts if not isinstance(text, Question)])
        logits = self._logits_of_rows([row for text in texts for row in rows_of(text)])
        return logits.reshape(len(texts), -1) if self._reads_questions and texts else logits

    def _tag(self, texts: Sequence[Row]) -> list[Prediction]:
        predictions = []
        for text, (spans, tags) in zip(texts, tag(self.model, texts), strict=True):
            label = ", ".join(dict.fromkeys(span.label for span in spans)) or "none"
            predictions.append(Prediction(text, label, {}, spans=spans, tags=tags))
        return predictions

    def _answer_questions(self, questions: Sequence[Question]) -> list[Prediction]:
        logits = self._logits_of_rows([row for question in questions for row in question.sequences()])
        predictions, begin = [], 0
        for question in questions:
            names = choice_names(len(question.choices))
            of_choices = logits[begin : begin + len(names)].T  # [1, N]
            begin += len(names)
            (label,), (row,) = self._kind.words(of_choices, names), self._kind.probabilities(of_choices).tolist()
            named = dict(zip(names, row, strict=True))
            predictions.append(Prediction(question, label, named, choice=question.choices[names.index(label)]))
        return predictions

    def _logits_of_rows(self, rows: Sequence[Row]) -> np.ndarray:
        if not rows:
            return np.zeros((0, self._outputs), dtype=np.float32)
        return self.logits_of(self.model.encoder.encode(rows))

    def logits_of(self, encodings: Sequence[Encoded]) -> np.ndarray:
        """The logits of encodings, one or more, batched by length: [R, C], of choices [R, 1]."""
        encoder, forward = self.model.encoder, self.model.forward
        if len(encodings) == 1:
            return forward(encoder.pad(encodings))
        logits = np.empty((len(encodings), self._outputs), dtype=np.float32)
        lengths = np.array([len(encoding) for encoding in encodings])
        for batch in batches_by_length(lengths, self.model.tokens_per_batch):
            logits[batch] = forward(encoder.pad([encodings[row] for row in batch]))
        return logits

    def _checked(self, texts: Iterable[Given]) -> Iterator[Text]:
        if self._kind.has_tokens:
            return _checked_sentences(texts, self.model.name)
        return _checked_questions(texts, self.model.name) if self._reads_questions else _checked_texts(texts)


def _as_sentence(text: Row) -> Sentence:
    return text if isinstance(text, Sentence) else Sentence(text_of(text), tuple(split_words(text_of(text))))


def _checked_sentences(texts: Iterable[Given], model: str) -> Iterator[Text]:
    """Check and yield each text, or sentence."""
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str | Sentence):
            raise DataError(f"Text {number} is {shown(text)}, but {model} tags the words of single texts. Give a text.")
        if not is_unicode(text_of(text)):
            raise DataError(_half_a_character(number, text))
        yield text


def _half_a_character(number: int, text: Any) -> str:
    return (
        f"Text {number} is {shown(text)}, which holds half a character (a lone surrogate), as bytes that are not UTF-8 "
        "leave behind. Give it as UTF-8."
    )


def _checked_questions(texts: Iterable[Given], model: str) -> Iterator[Question]:
    """Check and yield each question."""
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, Mapping | Question):
            raise DataError(
                f"Text {number} is {shown(text)}, but {model} answers questions with choices. Give each as "
                '{"question": "...", "choices": ["...", "..."], "context": "..."}; it may do without a context.'
            )
        yield question_from(text, f"Question {number}")


def _checked_texts(texts: Iterable[Given]) -> Iterator[Text]:
    """Check and yield each text, single or a pair like those before it."""
    first: Any = None
    text: Any  # whatever it is
    for number, text in enumerate(texts, start=1):
        if isinstance(text, Sentence):
            text = text.text
        if isinstance(text, Mapping | Question):
            raise DataError(
                f"Text {number} is a question with choices, but this classifier reads texts. Give a text, or a pair as "
                "a tuple of two; of a file, name the column of the text."
            )
        parts = text if isinstance(text, tuple | list) else (text, "")
        if len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise DataError(f"Text {number} is {shown(text)}; it must be a text, or a pair as a tuple of two.")
        if not all(is_unicode(part) for part in parts):
            raise DataError(_half_a_character(number, text))
        first = text if first is None else first
        if isinstance(text, str) != isinstance(first, str):
            this, those = ("a single text", "pairs") if isinstance(text, str) else ("a pair", "single texts")
            raise DataError(
                f"Text {number} is {this}, but those before it are {those}. Give all as single texts, or all as pairs "
                "of two; on the command line a tab parts the two texts of a pair."
            )
        yield text
