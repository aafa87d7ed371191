"""A class for every word of a text: entities, personal data, parts of speech.

A word is taught, and classified, at the first word pieces of its parts; see `data/windows`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pkd.tasks.single_label import SINGLE_LABEL

if TYPE_CHECKING:
    from pkd.evaluation.scoring import Scoring


def _scoring_of(names: tuple[str, ...]) -> Scoring:
    """Precision, recall and F1 of spans; differences of the share of rows whose spans are all right are tested."""
    from pkd.evaluation.spans import scoring_of_tags

    return scoring_of_tags(names)


TOKEN_CLASSIFICATION = replace(
    SINGLE_LABEL,
    name="token_classification",
    labels_in_words="tags of words",
    has_tokens=True,
    has_classes=False,
    name_in_config=None,
    auto_class="AutoModelForTokenClassification",
    pipeline_tag="token-classification",
    ce_formula="−log p_student(tag), the mean over the row's words",
    kd_formula="T² · KL(softmax(z_teacher / T) ‖ softmax(z_student / T)), the mean over the row's words",
    temperature=1.0,  # most words are O; softened, the teacher speaks of classes that they are not of
    fit_word_counts=None,  # a word's tag depends on its place
    scoring_of=_scoring_of,
)
