"""`pkd predict`: stream texts in, labels and probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pkd.recipe.places import AnyPath
from pkd.serving.classifier import Classifier, Prediction
from pkd.serving.texts import Text


def predict(model: AnyPath, texts: Iterable[Text], *, device: str = "auto") -> Iterator[Prediction]:
    """Classify texts, or pairs of texts, in order; reads some hundred ahead.

    Args:
        model: folder or hub name of a teacher or student.
        texts: any iterable, even an infinite one.
        device: "auto", "cpu" or "cuda".

    Raises:
        TeacherError: if the model cannot be loaded.
        DataError: if some texts are pairs and others are not.
    """
    return Classifier.load(model, device).stream(texts)
