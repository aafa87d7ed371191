"""How the time of one text follows from depth and width, in words: a line through the shapes of each family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from pkd.recipe.schema import encoder_label
from pkd.reporting.amounts import milliseconds
from pkd.reporting.front import Candidate, Precision

_LEAST = 4  # shapes, for a line through their times


def fit_sentences(candidates: Sequence[Candidate]) -> list[str]:
    """For each encoder and precision with enough shapes the line by least squares, and how far off it is."""
    families: dict[tuple[str | None, Precision], list[Candidate]] = {}
    for candidate in candidates:
        families.setdefault((candidate.shape.student, candidate.shape.precision), []).append(candidate)
    return [
        f"{'The teacher' if student is None else encoder_label(student)} cut, {precision}: {_line(members)}"
        for (student, precision), members in families.items()
        if len(members) >= _LEAST
    ]


def _line(candidates: Sequence[Candidate]) -> str:
    layers = np.array([candidate.shape.layers for candidate in candidates], dtype=float)
    widths = np.array([candidate.shape.width for candidate in candidates])
    found = np.array([candidate.predicted.latency.value for candidate in candidates])
    has_widths = len(set(widths)) > 1
    columns = [np.ones_like(layers), layers, *([layers * widths] if has_widths else [])]
    terms = np.stack(columns, axis=1)  # [N, 2 or 3]
    factors, _ = nnls(terms, found)  # on a busy machine the best line may begin below 0, which no time does
    off = float(np.max(np.abs(terms @ factors - found) / found))
    first, *of_a_layer = (milliseconds(factor) if factor else "" for factor in factors)
    whole, by_width = of_a_layer if has_widths else (*of_a_layer, "")
    a_layer = " + ".join(filter(None, [whole, by_width and f"{by_width} × width"]))
    told = ", and ".join(filter(None, [first, a_layer and f"{a_layer} for each layer"]))
    return f"one text takes about {told} (at most {100 * off:.0f} % off)."
