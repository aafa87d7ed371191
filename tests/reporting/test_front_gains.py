"""What one more millisecond, or half a point less, would buy."""

from __future__ import annotations

from pkd.reporting.front import Shape
from pkd.reporting.front_gains import gain_sentences
from reporting.searches import candidate, point, search


def test_one_more_millisecond_names_a_better_student_that_was_trained() -> None:
    better = point(3, Shape(layers=4), 3.4, 0.899, ties=True)
    more, _ = gain_sentences(search(points=[*search().points, better]))
    assert more == (
        "One more millisecond would buy 0.4 points: L4 (point 3) has 89.9 % at 3.4 ms, though the development rows "
        "cannot tell the two apart."
    )


def test_one_more_millisecond_names_shapes_that_only_their_time_kept_out() -> None:
    heavy = candidate(5, 3.6, over="size 60MB, where at most 40MB is asked for")
    heavy = heavy.model_copy(update={"predicted": heavy.predicted.model_copy(update={"bytes": 60_000_000})})
    far = candidate(6, 4.2, over="latency 4.2ms, where at most 3ms is asked for")
    more, _ = gain_sentences(search(candidates=[*search().candidates, heavy, far]))
    assert more == (
        "One more millisecond would let L4 (3.4 ms) in, which is over the budget and was not trained: what it would "
        "score is not known."
    )


def test_one_more_millisecond_that_buys_nothing_says_so() -> None:
    more, _ = gain_sentences(search(candidates=search().candidates[:-1]))
    assert more == "One more millisecond would buy nothing: no shape takes between 2.5 ms and 4 ms."


def test_half_a_point_buys_the_fastest_student_within_it() -> None:
    close = [
        point(1, Shape(layers=1), 0.5, 0.88),
        point(2, Shape(layers=2, precision="int8"), 1.25, 0.891),
        search().points[1].model_copy(update={"number": 3}),
    ]
    _, less = gain_sentences(search(points=close))
    assert less == (
        "Half a point less would buy 1.25 ms: L2-int8 (point 2) is 0.4 points below it at 1.25 ms, 2.0 × as fast."
    )


def test_half_a_point_that_buys_nothing_names_the_nearest_faster_student() -> None:
    _, less = gain_sentences(search())
    assert less == (
        "Half a point less would buy no time: the nearest faster student, L2-int8 (point 1), is 1.9 points below it at "
        "1.25 ms."
    )


def test_one_more_millisecond_counts_no_student_that_was_trained_in_full_as_stopped() -> None:
    """The chosen one may have been predicted slower than it is."""
    chosen = candidate(3, 2.9, 0.82, 0.87)
    stopped = candidate(2, 3.1, 0.82, stopped="dominated by L3")
    more, _ = gain_sentences(search(candidates=[chosen, stopped]))
    assert more == (
        "One more millisecond would buy nothing that the search saw: of the shapes up to 4 ms, L2 (3.1 ms) was not "
        "trained in full."
    )


def test_one_more_millisecond_names_no_shape_that_is_too_large() -> None:
    found = search(budget={"latency": "3ms", "size": "19MB"}, points=[search().points[1]])
    assert gain_sentences(found)[0].startswith(
        "One more millisecond would buy nothing: no shape of the allowed size takes"
    )
