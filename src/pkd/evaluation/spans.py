"""Precision, recall and F1 of the spans that words' tags form."""

from __future__ import annotations

from pkd.evaluation.scoring import Scoring


def scoring_of_tags(names: tuple[str, ...]) -> Scoring:
    """The measures for classes with these names: logits [N, W, C], NaN-padded; labels [N, W], -100 where no word is."""
    raise NotImplementedError(names)
