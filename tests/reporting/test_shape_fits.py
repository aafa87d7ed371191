"""The line through the times of shapes, in words."""

from __future__ import annotations

from pkd.reporting.shape_fits import fit_sentences
from reporting.searches import candidate


def test_times_on_a_line_give_back_its_terms() -> None:
    shapes = [
        candidate(layers, 0.5 + layers * (0.2 + 0.4 * width), width=width)
        for layers in (1, 2, 3, 4)
        for width in (1.0, 0.5)
    ]
    assert fit_sentences(shapes) == [
        "The teacher cut, float32: one text takes about 0.5 ms, and 0.2 ms + 0.4 ms × width for each layer (at most "
        "0 % off)."
    ]


def test_precisions_and_encoders_have_lines_of_their_own_and_too_few_shapes_none() -> None:
    own = [candidate(layers, 1.0 + 0.3 * layers, precision="int8") for layers in (1, 2, 3, 4)]
    foreign = [candidate(layers, 0.4 + 0.1 * layers, student="some/tiny") for layers in (1, 2, 3, 4)]
    few = [candidate(layers, 1.0 * layers) for layers in (1, 2, 3)]
    told = fit_sentences([*own, *foreign, *few])
    assert [sentence.partition(":")[0] for sentence in told] == ["The teacher cut, int8", "tiny cut, float32"]


def test_how_far_off_the_line_is_counts_the_worst_shape() -> None:
    shapes = [candidate(layers, ms) for layers, ms in ((1, 1.0), (2, 2.0), (3, 3.0), (4, 8.0))]
    (sentence,) = fit_sentences(shapes)
    assert sentence.endswith("(at most 53 % off).")  # 46/30 x for the first three, which took x


def test_no_term_is_below_0() -> None:
    (sentence,) = fit_sentences([candidate(layers, 2.0 * layers - 0.1) for layers in (1, 2, 3, 4)])
    assert sentence == "The teacher cut, float32: one text takes about 1.97 ms for each layer (at most 4 % off)."
    widths = [candidate(2, 1.0 - 0.01 * width, width=width) for width in (1.0, 0.75, 0.5, 0.25)]
    assert "-" not in fit_sentences(widths)[0]
