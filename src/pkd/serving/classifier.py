"""A trained classifier at work: texts in, labels and probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import datasets
import torch

from pkd.data.encoding import encode
from pkd.encoder.contract import LoadedClassifier, load_teacher
from pkd.encoder.families import longest_input
from pkd.encoder.inference import answer_rows
from pkd.errors import DataError, TeacherError
from pkd.evaluation.scoring import scoring_of
from pkd.training.precision import resolve_device

Text = str | tuple[str, str]
_ROWS_AT_A_TIME = 512


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one text.

    Attributes:
        text: as it came.
        label: the class; of sets of labels those above one half, parted by commas ("none" where there is none); of a
            score the score in words.
        probabilities: of each class, or under "score" the score itself.
        labels: of sets of labels those above one half.
    """

    text: Text
    label: str
    probabilities: dict[str, float]
    labels: tuple[str, ...] = ()


class Classifier:
    """A teacher or student, loaded once.

    >>> classifier = Classifier.load("student/")  # doctest: +SKIP
    >>> classifier("a moving film")[0].label  # doctest: +SKIP
    'positive'
    """

    def __init__(self, loaded: LoadedClassifier, device: torch.device) -> None:
        self.model = loaded.model.to(device).eval()  # type: ignore[arg-type]
        self.tokenizer = loaded.tokenizer
        self.label_names = loaded.label_names
        self._scoring = scoring_of(loaded.outputs.problem_type)
        self._has_sets = loaded.outputs.problem_type == "multi_label_classification"
        # the length it was trained with is saved in the tokenizer, which otherwise names none
        self.max_length = min(self.tokenizer.model_max_length, longest_input(loaded.model.config))

    @classmethod
    def load(cls, folder: str, device: str = "auto") -> Classifier:
        """Load a saved classifier.

        Raises:
            TeacherError: if the folder holds none, or a model for multiple choice, whose questions are not texts.
        """
        loaded = load_teacher(str(folder))
        if loaded.outputs.problem_type == "multiple_choice":
            raise TeacherError(f"{folder} chooses among several texts; measure it with `pkd evaluate`.")
        return cls(loaded, resolve_device(device))

    def __call__(self, texts: Text | Sequence[Text]) -> list[Prediction]:
        """Classify a text, a pair as a tuple, or a list of either."""
        return list(self.stream([texts] if isinstance(texts, str | tuple) else texts))

    def stream(self, texts: Iterable[Text]) -> Iterator[Prediction]:
        """Classify texts as they come, some hundred at a time, in their order.

        Raises:
            DataError: if some are pairs and others are not.
        """
        waiting = iter(texts)
        while chunk := list(islice(waiting, _ROWS_AT_A_TIME)):
            rows = encode(_as_rows(chunk), self.tokenizer, self.max_length)
            logits = answer_rows(self.model, rows).logits
            answers = self._scoring.answers(logits, self.label_names)
            for text, answer, row in zip(chunk, answers, self._scoring.probabilities(logits), strict=True):
                named = {name: float(value) for name, value in zip(self.label_names, row, strict=True)}
                labels = tuple(name for name, value in named.items() if value > 0.5) if self._has_sets else ()
                yield Prediction(text, answer, named, labels)


def _as_rows(texts: Sequence[Text]) -> datasets.Dataset:
    pairs = [text for text in texts if isinstance(text, tuple)]
    if not pairs:
        return datasets.Dataset.from_dict({"text": list(texts)})
    if len(pairs) != len(texts) or any(len(pair) != 2 for pair in pairs):
        raise DataError("Some texts are pairs and others are not. Give all as single texts, or all as pairs of two.")
    return datasets.Dataset.from_dict(
        {"text_a": [first for first, _ in pairs], "text_b": [second for _, second in pairs]}
    )
