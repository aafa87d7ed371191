"""Multiple choice: the classes are the choices, and the number of choices may vary."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pkd.tasks.single_label import SINGLE_LABEL, scoring

if TYPE_CHECKING:
    from pkd.evaluation.scoring import Scoring


def _scoring() -> Scoring:
    """The measures of classes, without figures per class: a choice's position has no meaning."""
    from pkd.evaluation.by_class import blind_to_choices

    return replace(scoring(), by_class=None, blind_spots=blind_to_choices)


MULTIPLE_CHOICE = replace(
    SINGLE_LABEL,
    name="multiple_choice",
    labels_in_words="choices",
    has_classes=False,
    has_choices=True,
    has_one_output=True,
    name_in_config=None,
    auto_class="AutoModelForMultipleChoice",
    pipeline_tag="multiple-choice",
    make_scoring=_scoring,
    fit_word_counts=None,  # words that all choices share do not distinguish them
)
