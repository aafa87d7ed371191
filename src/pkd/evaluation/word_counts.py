"""The word-count baseline: the score of a linear model without an encoder on the same rows.

TF-IDF of unigrams and bigrams with a linear model: logistic regression for classes, one per label for sets, ridge
regression for scores. A classifier with a lower score has not been trained enough.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Linear:
    """A fitted linear model: counts [M, V] → logits [M, C], and the number of its weights."""

    logits: Callable[[Any], Array]
    weights: int


Fit = Callable[[Any, Array, int, float], Linear]  # counts [N, V], labels, outputs and a `time.monotonic` deadline

MOST_ROWS = 20_000  # training rows
MOST_SECONDS = 60.0
_CHARACTERS = 10_000  # read of each text
_WEIGHTS = 20_000_000  # maximum over all outputs
_INVERSE_PENALTY = 10.0  # sklearn's C
_ITERATIONS = 50  # between two checks of the deadline
_BYTES_A_WEIGHT = 8
_NEVER = -50.0  # the logit of a class that no training row has


@dataclass(frozen=True)
class WordCounts:
    """The fitted baseline.

    Attributes:
        features: scikit-learn's vectoriser.
        linear: the linear model.
    """

    features: Any
    linear: Linear

    def logits(self, texts: Sequence[str]) -> Array:
        """The logits [M, C] of texts, the two of a pair joined."""
        return self.linear.logits(self.features.transform([text[:_CHARACTERS] for text in texts]))

    @property
    def bytes(self) -> int:
        """What the words, their weights and those of the linear model take."""
        words = self.features.vocabulary_
        return sum(len(word.encode()) for word in words) + _BYTES_A_WEIGHT * (len(words) + self.linear.weights)


def fit_word_counts(fit: Fit, train: Sequence[str], labels: Array, outputs: int) -> WordCounts | None:
    """Fit the baseline.

    Args:
        fit: the linear model of the kind of problem.
        train: training texts, the two of a pair joined.
        labels: their class ids or scores [N], or sets [N, C].
        outputs: C, the number of outputs.

    Returns:
        None if no text has a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    chosen = np.sort(np.random.default_rng(0).permutation(len(train))[:MOST_ROWS])
    features = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", max_features=_WEIGHTS // max(1, outputs)
    )
    deadline = time.monotonic() + MOST_SECONDS
    try:
        counts = features.fit_transform([train[row][:_CHARACTERS] for row in chosen])
    except ValueError:  # "empty vocabulary"
        return None
    return WordCounts(features, fit(counts, np.asarray(labels)[chosen], outputs, deadline))


def fit_classes(counts: Any, labels: Array, outputs: int, deadline: float) -> Linear:
    """Multinomial logistic regression, stopped at the deadline."""
    from sklearn.linear_model import LogisticRegression

    if len(known := np.unique(labels)) < 2:
        return Linear(lambda measured: _one_class(measured.shape[0], known, outputs), outputs)
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_ITERATIONS, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about convergence
        while True:
            began = time.monotonic()
            model.fit(counts, labels)
            now = time.monotonic()
            if model.n_iter_.max() < _ITERATIONS or now + (now - began) > deadline:
                break

    def logits(measured: Any) -> Array:
        found = np.full((measured.shape[0], outputs), _NEVER)
        found[:, model.classes_] = np.maximum(model.predict_log_proba(measured), _NEVER)
        return found

    return Linear(logits, model.coef_.size + model.intercept_.size)


def _one_class(rows: int, known: Array, outputs: int) -> Array:
    logits = np.full((rows, outputs), _NEVER)
    logits[:, known] = 0.0
    return logits


def fit_one_output(counts: Any, labels: Array, outputs: int, deadline: float) -> Linear:
    """Logistic regression of two classes; its logit is the second's."""
    both = fit_classes(counts, labels.astype(int), 2, deadline)

    def logits(measured: Any) -> Array:
        of_classes = both.logits(measured)
        return of_classes[:, 1:] - of_classes[:, :1]

    return Linear(logits, both.weights)


def fit_sets(counts: Any, labels: Array, outputs: int, deadline: float) -> Linear:
    """One logistic regression per label; after the deadline, the label's share of the rows."""
    from sklearn.linear_model import LogisticRegression

    of_label: list[Callable[[Any], Array] | float] = []
    for label in range(outputs):
        has = labels[:, label] > 0.5
        share = has.mean()
        if share in (0.0, 1.0) or time.monotonic() > deadline:
            of_label.append(float(np.log((share + 1e-6) / (1 - share + 1e-6))))
        else:
            model = LogisticRegression(C=_INVERSE_PENALTY, solver="liblinear", random_state=0)
            of_label.append(model.fit(counts, has).decision_function)

    def logits(measured: Any) -> Array:
        found = np.zeros((measured.shape[0], outputs))
        for label, decides in enumerate(of_label):
            found[:, label] = decides if isinstance(decides, float) else decides(measured)
        return found

    fitted = sum(not isinstance(decides, float) for decides in of_label)
    return Linear(logits, fitted * counts.shape[1] + outputs)


def fit_scores(counts: Any, labels: Array, outputs: int, deadline: float) -> Linear:
    """Ridge regression."""
    from sklearn.linear_model import Ridge

    model = Ridge(random_state=0).fit(counts, labels.ravel())
    return Linear(lambda measured: np.asarray(model.predict(measured))[:, None], model.coef_.size + 1)
