"""The word-count baseline learns each kind of problem from words alone, and says nothing where there are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pkd.evaluation import word_counts
from pkd.evaluation.word_counts import Fit, fit_word_counts
from pkd.tasks import KINDS, kind_of

TRAIN = [f"{'good' if row % 2 else 'bad'} film number {row}" for row in range(40)]
GOOD = np.arange(40) % 2
LABELS = {
    "single_label_classification": GOOD,
    "binary_classification": GOOD,
    "multi_label_classification": np.stack([GOOD, 1 - GOOD, np.ones(40)], axis=1),
    "regression": GOOD * 4.0 + 1.0,
}
ANSWERS = {
    "single_label_classification": [[1, 0, 0], [0, 1, 0]],  # the larger logit
    "binary_classification": [[0], [1]],
    "multi_label_classification": [[0, 1, 1], [1, 0, 1]],
    "regression": [[0], [1]],
}


def word_count_logits(
    fit: Fit, train: Sequence[str], labels: np.ndarray, measured: Sequence[str], outputs: int
) -> np.ndarray | None:
    fitted = fit_word_counts(fit, train, labels, outputs)
    return None if fitted is None else fitted.logits(measured)


@pytest.mark.parametrize("name", list(LABELS))
def test_it_learns_what_words_say(name: str) -> None:
    fit = kind_of(name).fit_word_counts
    assert fit is not None
    outputs = len(ANSWERS[name][0])
    logits = word_count_logits(fit, TRAIN, LABELS[name], ["a bad one", "a good one"], outputs)
    assert logits is not None
    assert logits.shape == (2, outputs)
    if name == "regression":
        assert logits[0, 0] < 2.5 < logits[1, 0]
    elif name == "single_label_classification":
        assert logits.argmax(axis=1).tolist() == [0, 1]
        assert logits[:, 2].max() < -40  # a class that no row has
    else:
        assert (logits > 0).astype(int).tolist() == ANSWERS[name]


def test_choices_among_texts_and_tags_of_words_have_none_and_neither_have_texts_without_words() -> None:
    without = [kind.name for kind in KINDS.values() if kind.fit_word_counts is None]
    assert without == ["multiple_choice", "token_classification"]
    fit = kind_of("single_label_classification").fit_word_counts
    assert fit is not None
    assert word_count_logits(fit, ["?!", "..."], np.array([0, 1]), ["a word"], 2) is None
    alone = word_count_logits(fit, ["one", "two"], np.array([1, 1]), ["a word"], 2)
    assert alone is not None
    assert alone.argmax() == 1


@pytest.mark.parametrize("name", list(LABELS))
def test_where_time_runs_out_it_answers_as_far_as_it_came(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_counts, "MOST_SECONDS", -1.0)
    fit = kind_of(name).fit_word_counts
    assert fit is not None
    logits = word_count_logits(fit, TRAIN, LABELS[name], ["a good one"], len(ANSWERS[name][0]))
    assert logits is not None
    assert np.isfinite(logits).all()


def test_of_many_rows_some_are_learned_from_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_counts, "MOST_ROWS", 10)
    fit = kind_of("single_label_classification").fit_word_counts
    assert fit is not None
    one, other = (word_count_logits(fit, TRAIN, GOOD, ["a good film"], 2) for _ in range(2))
    assert one is not None
    assert other is not None
    assert np.array_equal(one, other)
    assert one.argmax() == 1
