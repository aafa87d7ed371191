import numpy as np

from pkd.evaluation.tags import spans_by_row, types_of


def test_classes_of_special_tokens_beside_a_scheme_are_outside_and_x_alone_is_a_tag() -> None:
    names = ("O", "B-person", "I-person", "X", "[CLS]")
    assert types_of(names) == ["person"]
    assert spans_by_row(names, np.array([[1, 2, 3, 4, 0, 1]])) == [(("person", 0, 2), ("person", 5, 6))]
    assert types_of(("NOUN", "X")) == ["NOUN", "X"]
