import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkd.distillation.layers import LayerMap, layer_map_of
from pkd.errors import RecipeError


@given(st.integers(2, 48), st.data())
def test_maps_rise_and_never_name_a_last_layer(teacher: int, data: st.DataObject) -> None:
    student = data.draw(st.integers(2, teacher))
    for layer_map in (LayerMap.skip(teacher, student), LayerMap.last(teacher, student)):
        assert layer_map.student == tuple(range(1, student))
        assert all(1 <= layer < teacher for layer in layer_map.teacher)
        assert list(layer_map.teacher) == sorted(set(layer_map.teacher))
        assert LayerMap.explicit(layer_map.pairs, teacher, student) == layer_map


def test_one_layer_leaves_nothing_to_be_patient_about() -> None:
    with pytest.raises(RecipeError, match=r"K = 0.*Fine-tuning \(ft\) and KD \(kd\) work"):
        LayerMap.skip(12, 1)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(1, 12)], "must be from 1 to 11"),
        ([(0, 2)], "student layers"),
        ([(6, 2)], "must be from 1 to 5"),
        ([(1, 4), (2, 4)], "must increase"),
        ([(2, 4), (1, 6)], "must increase"),
        ([], "is empty"),
    ],
)
def test_an_explicit_map_that_cannot_be_is_refused(pairs: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        layer_map_of(pairs, 12, 6)


def test_a_student_deeper_than_its_teacher_is_refused() -> None:
    with pytest.raises(RecipeError, match="7 layers cannot come from a teacher of 6"):
        layer_map_of("skip", 6, 7)


@pytest.mark.parametrize(
    ("teacher", "student", "layers"),
    [
        (12, 6, (2, 4, 6, 8, 10)),
        (6, 12, (1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5)),
        (6, 6, (1, 2, 3, 4, 5)),
        (12, 5, (2, 5, 7, 10)),
        (2, 4, (1, 1, 1)),
    ],
)
def test_the_map_of_another_family_rounds_halves_up_and_names_no_last_layer(
    teacher: int, student: int, layers: tuple[int, ...]
) -> None:
    assert layer_map_of("skip", teacher, student, is_cut=False).teacher == layers
    assert layer_map_of("skip", teacher, student, is_cut=False).student == tuple(range(1, student))


def test_a_map_of_another_family_may_be_given_or_the_last_layers_where_there_are_enough() -> None:
    assert layer_map_of([(1, 1), (5, 2)], 3, 6, is_cut=False).teacher == (1, 2)
    assert layer_map_of("last", 6, 4, is_cut=False).teacher == (3, 4, 5)
    with pytest.raises(RecipeError, match=r"layer_map is last, but a student of 6 layers needs 5 .* which has 3"):
        layer_map_of("last", 4, 6, is_cut=False)
    with pytest.raises(RecipeError, match="A teacher of one layer has no layer below its last"):
        layer_map_of("skip", 1, 6, is_cut=False)


def test_a_map_reads_as_student_from_teacher() -> None:
    assert str(layer_map_of("skip", 6, 3)) == "1←2, 2←4"
