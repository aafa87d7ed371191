from itertools import chain, repeat
from pathlib import Path

import pytest

import pkd
from pkd.serving.classifier import Classifier


@pytest.fixture(scope="module")
def classifier(workspace: Path) -> Classifier:
    return Classifier.load(str(workspace / "teacher"))


def test_one_text_or_many_give_the_same_answers_in_order(classifier: Classifier) -> None:
    texts = ["a great film", "an awful plot", "the end"]
    assert [prediction.text for prediction in classifier(texts)] == texts
    together = classifier(texts)
    for text, expected in zip(texts, together, strict=True):
        assert classifier(text)[0].probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert [prediction.label for prediction in together[:2]] == ["positive", "negative"]


def test_pairs_are_pairs(classifier: Classifier) -> None:
    assert classifier(("a film", "a great film"))[0].text == ("a film", "a great film")
    with pytest.raises(pkd.DataError, match="Some texts are pairs and others are not"):
        classifier(["one", ("a", "pair")])


def test_a_stream_that_never_ends_is_answered_as_it_comes(classifier: Classifier) -> None:
    stream = classifier.stream(chain(["a great film"], repeat("the plot")))
    assert next(stream).label == "positive"


def test_a_text_longer_than_the_model_reads_is_cut(classifier: Classifier) -> None:
    assert classifier("great " * 500)[0].label == "positive"
