"""The paper's own layer maps."""

import pytest

from pkd.distillation.layers import LayerMap


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        (12, 6, (2, 4, 6, 8, 10)),
        (12, 3, (4, 8)),
        (24, 6, (4, 8, 12, 16, 20)),
        (6, 3, (2, 4)),
        (12, 5, (2, 4, 7, 9)),  # floor(j · 12 / 5) = 2.4, 4.8, 7.2, 9.6
        (7, 3, (2, 4)),  # floor(j · 7 / 3) = 2.33, 4.67
        (12, 12, tuple(range(1, 12))),
        (12, 2, (6,)),
    ],
)
def test_skip_takes_layers_floor_j_nt_over_ns(teacher: int, student: int, expected: tuple[int, ...]) -> None:
    layer_map = LayerMap.skip(teacher_layers=teacher, student_layers=student)
    assert layer_map.teacher == expected
    assert layer_map.student == tuple(range(1, student))


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [(12, 6, (7, 8, 9, 10, 11)), (12, 3, (10, 11)), (24, 6, (19, 20, 21, 22, 23)), (6, 3, (4, 5))],
)
def test_last_takes_the_layers_below_the_teachers_last(teacher: int, student: int, expected: tuple[int, ...]) -> None:
    assert LayerMap.last(teacher_layers=teacher, student_layers=student).teacher == expected
