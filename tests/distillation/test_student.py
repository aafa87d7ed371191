import copy

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from encoder.families import CONFIGS, make_classifier
from pkd.distillation.student import start_layers, student_from
from pkd.encoder.families import depth_of, family_of, layers_of
from pkd.errors import RecipeError


@pytest.mark.parametrize(
    ("start", "teacher", "layers", "expected"),
    [
        ("spread", 6, 3, [1, 3, 5]),
        ("spread", 12, 6, [1, 3, 5, 7, 9, 11]),
        ("spread", 12, 5, [1, 3, 5, 8, 10]),  # floor((j − 1) · 12 / 5) + 1
        ("spread", 6, 6, [1, 2, 3, 4, 5, 6]),
        ("first", 12, 3, [1, 2, 3]),
        ([1, 2, 6], 6, 3, [1, 2, 6]),
    ],
)
def test_starts_are_those_of_the_method(start: str, teacher: int, layers: int, expected: list[int]) -> None:
    assert start_layers(start, teacher, layers) == expected


@pytest.mark.parametrize("start", [[1, 2], [1, 3, 3], [3, 2, 1], [0, 1, 2], [4, 5, 7], "middle"])
def test_a_start_that_cannot_be_is_refused(start: str | list[int]) -> None:
    with pytest.raises(RecipeError, match="start is"):
        start_layers(start, 6, 3)


def test_a_teacher_that_is_no_model_is_refused() -> None:
    with pytest.raises(RecipeError, match="The teacher is a str; a student is built from the model itself"):
        student_from("teacher/")  # type: ignore[arg-type]


def test_a_student_deeper_than_its_teacher_is_refused() -> None:
    with pytest.raises(RecipeError, match="7 layers cannot come from a teacher of 6"):
        start_layers("spread", 6, 7)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("start", ["spread", "first", [1, 2, 6]])
def test_layers_are_copied_from_where_the_start_says_and_all_else_as_it_is(kind: str, start: str | list[int]) -> None:
    teacher = make_classifier(kind)
    student = student_from(teacher, 3, start)
    chosen = start_layers(start, 6, 3)
    assert type(student) is type(teacher)
    assert depth_of(student.config) == len(layers_of(student)) == 3
    for place, layer in enumerate(chosen):
        copied, original = layers_of(student)[place].state_dict(), layers_of(teacher)[layer - 1].state_dict()
        assert copied.keys() == original.keys()
        assert all(torch.equal(copied[name], original[name]) for name in copied)
    prefix = family_of(teacher.config).layers
    weights = teacher.state_dict()
    for name, tensor in student.state_dict().items():
        if not name.startswith(prefix + "."):
            assert torch.equal(tensor, weights[name]), name
    assert student.config.num_labels == 3


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_student_of_all_layers_answers_as_its_teacher(kind: str) -> None:
    teacher = make_classifier(kind)
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    torch.testing.assert_close(
        student_from(teacher, 6, "first").eval()(input_ids=ids).logits, teacher(input_ids=ids).logits
    )


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_saved_student_is_an_ordinary_folder(kind: str, tmp_path) -> None:
    student = student_from(make_classifier(kind), 3).eval()
    student.save_pretrained(tmp_path)
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    torch.testing.assert_close(loaded.eval()(input_ids=ids).logits, student(input_ids=ids).logits)


def test_the_student_has_weights_of_its_own_and_building_it_draws_nothing() -> None:
    teacher = make_classifier("bert")
    before = copy.deepcopy(teacher.state_dict())
    state = torch.get_rng_state()
    student = student_from(teacher, 2)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
