"""Which teacher layer teaches which student layer. Layers are counted from 1, as in the paper."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from pkd.errors import RecipeError
from pkd.recipe.spelling import named, set_to


@dataclass(frozen=True)
class LayerMap:
    """Pairs (student layer, teacher layer) whose [CLS] states L_PT compares; K of them.

    Source: Sun et al. 2019, "Patient Knowledge Distillation for BERT Model Compression" (PKD-Skip and PKD-Last).
    """

    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def skip(cls, teacher_layers: int, student_layers: int) -> LayerMap:
        """PKD-Skip: teacher layer floor(j · Nt / Ns) teaches student layer j = 1 .. Ns − 1.

        >>> LayerMap.skip(teacher_layers=12, student_layers=6).teacher
        (2, 4, 6, 8, 10)
        """
        _check_depths(teacher_layers, student_layers)
        return cls(tuple((j, j * teacher_layers // student_layers) for j in range(1, student_layers)))

    @classmethod
    def last(cls, teacher_layers: int, student_layers: int) -> LayerMap:
        """PKD-Last: the teacher's layers Nt − K .. Nt − 1 teach student layers 1 .. K, K = Ns − 1.

        >>> LayerMap.last(teacher_layers=12, student_layers=6).teacher
        (7, 8, 9, 10, 11)
        """
        _check_depths(teacher_layers, student_layers)
        first = teacher_layers - student_layers
        return cls(tuple((j, first + j) for j in range(1, student_layers)))

    @classmethod
    def across(cls, teacher_layers: int, student_layers: int) -> LayerMap:
        """A student of another family: teacher layer j · Nt / Ns, halves rounded up, teaches layer j = 1 .. Ns − 1.

        It is kept within 1 .. Nt − 1. The student may be as deep as its teacher, or deeper, where neighbours learn from
        one teacher layer.

        >>> LayerMap.across(teacher_layers=12, student_layers=5).teacher
        (2, 5, 7, 10)
        >>> LayerMap.across(teacher_layers=3, student_layers=6).teacher
        (1, 1, 2, 2, 2)
        """
        _check_patient(teacher_layers, student_layers)
        return cls(
            tuple(
                (j, min(max((2 * j * teacher_layers + student_layers) // (2 * student_layers), 1), teacher_layers - 1))
                for j in range(1, student_layers)
            )
        )

    @classmethod
    def explicit(cls, pairs: Iterable[tuple[int, int]], teacher_layers: int, student_layers: int) -> LayerMap:
        """A map given as pairs.

        Raises:
            RecipeError: if a layer does not exist, occurs twice or out of order, or is a last layer: the logits already
                teach the last layers' states.
        """
        _check_patient(teacher_layers, student_layers)
        layer_map = cls(tuple((int(student), int(teacher)) for student, teacher in pairs))
        if not layer_map.pairs:
            raise RecipeError(f"{named('layer_map')} is empty; give at least one pair [student layer, teacher layer].")
        for name, layers, depth in (
            ("student", layer_map.student, student_layers),
            ("teacher", layer_map.teacher, teacher_layers),
        ):
            if any(not 1 <= layer < depth for layer in layers):
                raise RecipeError(
                    f"{named('layer_map')} names {name} layers {list(layers)}; they must be from 1 to {depth - 1} (the "
                    "last layer is no patient layer: the logits already teach its output)."
                )
            if any(before >= after for before, after in itertools.pairwise(layers)):
                raise RecipeError(
                    f"{named('layer_map')} names {name} layers {list(layers)}; they must increase from pair to pair."
                )
        return layer_map

    @property
    def student(self) -> tuple[int, ...]:
        """The student's layers, K of them."""
        return tuple(student for student, _ in self.pairs)

    @property
    def teacher(self) -> tuple[int, ...]:
        """The teacher's layers, K of them."""
        return tuple(teacher for _, teacher in self.pairs)

    def __str__(self) -> str:
        return ", ".join(f"{student}←{teacher}" for student, teacher in self.pairs)


def layer_map_of(
    layer_map: str | Iterable[tuple[int, int]], teacher_layers: int, student_layers: int, *, is_cut: bool = True
) -> LayerMap:
    """The map that a recipe names: "skip", "last" or pairs.

    "skip" is the paper's for a student that `is_cut` from its teacher, and `across` for an encoder of its own.
    """
    if layer_map == "skip":
        return (LayerMap.skip if is_cut else LayerMap.across)(teacher_layers, student_layers)
    if layer_map == "last":
        if not is_cut and student_layers > teacher_layers:
            raise RecipeError(
                f"{named('layer_map')} is last, but a student of {student_layers} layers needs {student_layers - 1} of "
                f"its teacher's below the last, which has {teacher_layers - 1}. Give skip, or fewer {named('layers')}."
            )
        return LayerMap.last(teacher_layers, student_layers)
    if isinstance(layer_map, str):
        raise RecipeError(
            f"{named('layer_map')} is {layer_map!r}; it must be skip, last or pairs [student layer, teacher layer]."
        )
    return LayerMap.explicit(layer_map, teacher_layers, student_layers)


def _check_depths(teacher_layers: int, student_layers: int) -> None:
    if student_layers > teacher_layers:
        raise RecipeError(
            f"{named('layers')} is {student_layers}: a student of {student_layers} layers cannot come from a teacher "
            f"of {teacher_layers}; choose from 1 to {teacher_layers}."
        )
    _check_patient(teacher_layers, student_layers)


def _check_patient(teacher_layers: int, student_layers: int) -> None:
    if student_layers < 2:
        raise RecipeError(
            "A student of one layer has no layer below its last for patience to teach (K = 0). Fine-tuning (ft) and "
            "KD (kd) work; for patience take 2 layers or more."
        )
    if teacher_layers < 2:
        raise RecipeError(
            "A teacher of one layer has no layer below its last that patience could teach from. KD (kd) works; give "
            f"{set_to('method', 'kd')}."
        )
