"""A trained classifier at work: texts in, labels and probabilities out.

A folder that `pkd export` wrote is run by ONNX Runtime, and neither torch nor transformers is imported; any other
folder or hub name by PyTorch. What comes out is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from pkd.data.lengths import batches_by_length
from pkd.encoder.hub import check_place
from pkd.errors import DataError
from pkd.evaluation.answers import answers_of
from pkd.recipe.places import AnyPath, path_text
from pkd.serving.limits import check_threads
from pkd.serving.loaded import LoadedModel
from pkd.serving.onnx_model import graph_of, load_onnx
from pkd.serving.texts import Text, is_unicode

if TYPE_CHECKING:
    from tokenizers import Encoding

_ROWS_AT_A_TIME = 512


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one text.

    Attributes:
        text: as it came.
        label: the class; of sets of labels those above one half, parted by commas ("none" where there is none); of a
            score the score in words. A classifier of one output gives the name of that, as transformers' pipeline does.
        probabilities: of each output, or under "score" the score itself.
        labels: of sets of labels, and of one output, those above one half.
    """

    text: Text
    label: str
    probabilities: dict[str, float]
    labels: tuple[str, ...] = ()


class Classifier:
    """A teacher or student, loaded once; safe to call from several threads.

    >>> classifier = Classifier.load("student/")  # doctest: +SKIP
    >>> classifier("a moving film")[0].label  # doctest: +SKIP
    'positive'
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.label_names = model.label_names
        self.problem_type = model.problem_type
        self.max_length = model.encoder.max_length
        self._answers = answers_of(model.problem_type)
        self._has_sets = model.problem_type in ("multi_label_classification", "binary_classification")

    @classmethod
    def load(cls, folder: AnyPath, device: str = "auto", threads: int | None = None) -> Classifier:
        """Load a saved or exported classifier.

        Args:
            folder: a folder that `pkd export` wrote, any other folder of a classifier, or a hub name.
            device: "auto", "cpu" or "cuda".
            threads: cores to use; None leaves it to the library. With PyTorch it holds for the whole process.

        Raises:
            TeacherError: if the folder holds none, or a model for multiple choice, whose questions are not texts.
            RecipeError: if the device cannot be used, there are fewer cores than `threads`, or ONNX Runtime is needed
                and not installed.
        """
        folder = path_text(folder, "model")
        check_threads(threads)
        if graph_of(folder) is not None:
            return cls(load_onnx(folder, device, threads))
        check_place(folder, "classifier")  # said before the heavy libraries are loaded
        from pkd.serving.torch_model import load_torch

        return cls(load_torch(folder, device, threads))

    def __call__(self, texts: Text | Sequence[Text]) -> list[Prediction]:
        """Classify a text, a pair as a tuple, or a list of either.

        Raises:
            DataError: if one is no text, or some are pairs and others are not.
        """
        whole = [texts] if isinstance(texts, str | tuple) else texts
        checked = list(_checked(whole))  # nothing is computed where one of them is none
        chunks = (checked[begin : begin + _ROWS_AT_A_TIME] for begin in range(0, len(checked), _ROWS_AT_A_TIME))
        return [prediction for chunk in chunks for prediction in self.answer(chunk)]

    def stream(self, texts: Iterable[Text]) -> Iterator[Prediction]:
        """Classify texts as they come, some hundred at a time, in their order.

        Raises:
            DataError: if one is no text, or some are pairs and others are not; those before it are answered first.
        """
        waiting = _checked(texts)
        while True:
            chunk: list[Text] = []
            try:
                for text in islice(waiting, _ROWS_AT_A_TIME):  # not list(...), which a fault would leave empty
                    chunk.append(text)
            except DataError:
                if chunk:
                    yield from self.answer(chunk)
                raise
            if not chunk:
                return
            yield from self.answer(chunk)

    def answer(self, texts: Sequence[Text]) -> list[Prediction]:
        """Classify texts, single ones and pairs together, in one go and in their order."""
        logits = self.logits(texts)
        words = self._answers.words(logits, self.label_names)
        rows = self._answers.probabilities(logits).tolist()
        predictions = []
        for text, label, row in zip(texts, words, rows, strict=True):
            named = dict(zip(self.label_names, row, strict=True))
            labels = tuple(name for name, value in named.items() if value > 0.5) if self._has_sets else ()
            predictions.append(Prediction(text, label, named, labels))
        return predictions

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """The logits of texts, [N, C] in float32, in their order; they are batched by length."""
        if not texts:
            return np.zeros((0, len(self.label_names)), dtype=np.float32)
        return self.logits_of(self.model.encoder.encode(texts))

    def logits_of(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """The logits of texts that are word pieces already, one or more."""
        encoder, forward = self.model.encoder, self.model.forward
        if len(encodings) == 1:
            return forward(encoder.pad(encodings))
        logits = np.empty((len(encodings), len(self.label_names)), dtype=np.float32)
        lengths = np.array([len(encoding) for encoding in encodings])
        for rows in batches_by_length(lengths, self.model.tokens_per_batch):
            logits[rows] = forward(encoder.pad([encodings[row] for row in rows]))
        return logits


def _checked(texts: Iterable[Text]) -> Iterator[Text]:
    """Each text, once it is known to be one, and single or a pair as those before it."""
    first: Text | None = None
    for number, text in enumerate(texts, start=1):
        parts = text if isinstance(text, tuple | list) else (text, "")
        if len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise DataError(f"Text {number} is {_shown(text)}; it must be a text, or a pair as a tuple of two.")
        if not all(is_unicode(part) for part in parts):
            raise DataError(
                f"Text {number} is {_shown(text)}, which holds half a character (a lone surrogate), as bytes that are "
                "not UTF-8 leave behind. Give it as UTF-8."
            )
        first = text if first is None else first
        if isinstance(text, str) != isinstance(first, str):
            this, those = ("a single text", "pairs") if isinstance(text, str) else ("a pair", "single texts")
            raise DataError(
                f"Text {number} is {this}, but those before it are {those}. Give all as single texts, or all as pairs "
                "of two; on the command line a tab parts the two texts of a pair."
            )
        yield text


def _shown(value: object) -> str:
    told = ascii(value)  # what cannot be encoded cannot be printed
    return told if len(told) <= 60 else f"{told[:57]}..."
