"""Answers to a benchmark's test rows as the GLUE leaderboard takes them: a file a task, `index` and `prediction`.

Source: the instructions of the GLUE benchmark (Wang et al. 2019), gluebenchmark.com/faq.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pkd.errors import TeacherError

_LOWEST, _HIGHEST = 0.0, 5.0  # of a similarity


def submission_text(
    logits: np.ndarray, order: Sequence[int], names: Sequence[str], answers: Literal["ids", "names", "scores"]
) -> str:
    """The text of a leaderboard's file.

    Args:
        logits: [N, C], in the order of the test rows.
        order: the classifier's output for each of the task's classes, as `class_order` gives it.
        names: the task's classes, in the order of their ids.
        answers: class ids, class names, or scores, which are kept between 0 and 5.

    >>> submission_text(np.array([[0.0, 2.0], [3.0, 1.0]]), [1, 0], ["no", "yes"], "names").split()
    ['index', 'prediction', '0', 'no', '1', 'yes']
    """
    if answers == "scores":
        told = [f"{score:.3f}" for score in np.clip(logits[:, 0], _LOWEST, _HIGHEST)]
    else:
        classes = logits[:, list(order)].argmax(axis=1)
        told = [names[index] if answers == "names" else str(index) for index in classes]
    return "index\tprediction\n" + "".join(f"{row}\t{answer}\n" for row, answer in enumerate(told))


def class_order(task: str, names: Sequence[str], classifier: str, classifier_names: Sequence[str]) -> list[int]:
    """The classifier's output for each of a task's classes, matched by name; class ids as names are the task's ids.

    Raises:
        TeacherError: showing both lists, if a class is missing.
    """
    known = {name.casefold(): index for index, name in enumerate(classifier_names)}
    if [name.casefold() for name in names if name.casefold() not in known]:
        ids = [str(index) for index in range(len(names))]
        if set(known) != set(ids):
            raise TeacherError(
                f"{classifier} has the classes {', '.join(classifier_names)}, but {task} has {', '.join(names)}: it "
                "was not trained on this task."
            )
        names = ids
    elif len(known) != len(names):
        raise TeacherError(
            f"{classifier} has {len(known)} classes, {task} {len(names)}; take a classifier of this task."
        )
    return [known[name.casefold()] for name in names]
