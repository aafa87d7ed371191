"""The word-count baseline: the score of a linear model without an encoder on the same rows.

TF-IDF of unigrams and bigrams with a linear model: logistic regression for classes, one per label for sets, ridge
regression for scores. A classifier with a lower score has not been trained enough.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# counts [N, V], labels, counts of the evaluated rows [M, V], outputs and a `time.monotonic` deadline → logits [M, C]
Fit = Callable[[Any, Array, Any, int, float], Array]

MOST_ROWS = 20_000  # training rows
MOST_SECONDS = 60.0
_CHARACTERS = 10_000  # read of each text
_WEIGHTS = 20_000_000  # maximum over all outputs
_INVERSE_PENALTY = 10.0  # sklearn's C
_ITERATIONS = 50  # between two checks of the deadline
_NEVER = -50.0  # the logit of a class that no training row has


def word_count_logits(
    fit: Fit, train: Sequence[str], labels: Array, measured: Sequence[str], outputs: int
) -> Array | None:
    """The logits [M, C] of the baseline for the measured texts.

    Args:
        fit: the linear model of the kind of problem.
        train: training texts, the two of a pair joined.
        labels: their class ids or scores [N], or sets [N, C].
        measured: the texts to predict.
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
    of_measured = features.transform([text[:_CHARACTERS] for text in measured])
    return fit(counts, np.asarray(labels)[chosen], of_measured, outputs, deadline)


def fit_classes(counts: Any, labels: Array, measured: Any, outputs: int, deadline: float) -> Array:
    """Multinomial logistic regression, stopped at the deadline."""
    from sklearn.linear_model import LogisticRegression

    logits = np.full((measured.shape[0], outputs), _NEVER)
    if len(known := np.unique(labels)) < 2:
        logits[:, known] = 0.0
        return logits
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_ITERATIONS, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about convergence
        while True:
            began = time.monotonic()
            model.fit(counts, labels)
            now = time.monotonic()
            if model.n_iter_.max() < _ITERATIONS or now + (now - began) > deadline:
                break
    logits[:, model.classes_] = np.maximum(model.predict_log_proba(measured), _NEVER)
    return logits


def fit_one_output(counts: Any, labels: Array, measured: Any, outputs: int, deadline: float) -> Array:
    """Logistic regression of two classes; returns the logit of the second."""
    both = fit_classes(counts, labels.astype(int), measured, 2, deadline)
    return both[:, 1:] - both[:, :1]


def fit_sets(counts: Any, labels: Array, measured: Any, outputs: int, deadline: float) -> Array:
    """One logistic regression per label; after the deadline, the label's share of the rows."""
    from sklearn.linear_model import LogisticRegression

    logits = np.zeros((measured.shape[0], outputs))
    for label in range(outputs):
        has = labels[:, label] > 0.5
        share = has.mean()
        if share in (0.0, 1.0) or time.monotonic() > deadline:
            logits[:, label] = np.log((share + 1e-6) / (1 - share + 1e-6))
        else:
            model = LogisticRegression(C=_INVERSE_PENALTY, solver="liblinear", random_state=0)
            logits[:, label] = model.fit(counts, has).decision_function(measured)
    return logits


def fit_scores(counts: Any, labels: Array, measured: Any, outputs: int, deadline: float) -> Array:
    """Ridge regression."""
    from sklearn.linear_model import Ridge

    scores: Array = Ridge(random_state=0).fit(counts, labels.ravel()).predict(measured)
    return scores[:, None]
