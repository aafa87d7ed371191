"""Rules across a recipe's keys, beyond the range of each value; those that need the teacher are checked elsewhere."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator

from pkd.recipe.faults import Fault, shown
from pkd.recipe.naming import Path, dotted
from pkd.recipe.schema import Recipe, depth_label, loss_of, method_label, start_label
from pkd.recipe.settings import AUTO_START, DataSettings, StudentSettings, TeacherSettings, plain_name
from pkd.recipe.spelling import named, set_to

_OF_ENCODERS = ("first", AUTO_START, StudentSettings.start)  # the only one that there is, however it is asked for
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def broken_rules(recipe: Recipe) -> Iterator[Fault]:
    """Every rule that `recipe` breaks."""
    if not recipe.students:
        yield Fault(("students",), "is empty; name at least one student ([{}] takes the defaults)")
    yield from _teacher_faults(recipe.teacher)
    for index, student in enumerate(recipe.students):
        at: Path = ("students", index)
        yield from _method_faults(student, at)
        yield from _width_faults(student, at)
        yield from _start_faults(student, at)
        if student.method == "pkd" and not isinstance(student.layer_map, str):
            yield from _map_faults(student, (*at, "layer_map"))
    yield from _name_faults(recipe.students)
    if recipe.seed + recipe.seeds > 2**32:
        yield Fault(("seeds",), f"is {recipe.seeds}; the last seed must be below 2^32, and the first is {recipe.seed}")
    yield from _class_name_faults(recipe.data.label_columns, ("data", "label_columns"))
    yield from _class_name_faults(recipe.data.label_names, ("data", "label_names"))
    if len(recipe.data.text_columns) > 2:
        yield Fault(
            ("data", "text_columns"),
            f"is {shown(recipe.data.text_columns)}; name the column of the text, or the two of a pair",
        )
    yield from _separator_faults(recipe.data)


def _teacher_faults(teacher: TeacherSettings) -> Iterator[Fault]:
    several = isinstance(teacher.model, list)
    plain = [plain_name(model) for model in teacher.models]
    if several and (twice := [model for model in teacher.models if plain.count(plain_name(model)) > 1]):
        yield Fault(("teacher", "model"), f"names {twice[0]} twice; each teacher counts once")
    elif several and teacher.model and not all(teacher.models):
        yield Fault(("teacher", "model"), "has an empty name; name each teacher: a fine-tuned folder or a hub name")
    if several and teacher.finetune is not None:
        yield Fault(
            ("teacher", "finetune"),
            f"is given with {len(plain)} models; one encoder is fine-tuned: name one, and how many teachers to make of "
            f"it, as count: {len(plain)}",
        )
    if teacher.count > 1 and teacher.finetune is None:
        yield Fault(
            ("teacher", "count"),
            f"is {teacher.count}, but no teacher is fine-tuned here (finetune: {{}}); several that are fine-tuned "
            "already are named one by one",
        )
    yield from _patience_from_faults(teacher, plain)


def _patience_from_faults(teacher: TeacherSettings, plain: list[str]) -> Iterator[Fault]:
    chosen, path = teacher.patience_from, ("teacher", "patience_from")
    if isinstance(chosen, int) and chosen > max(1, len(plain)):
        yield Fault(
            path, f"is {chosen}, but there {'is 1 teacher' if len(plain) < 2 else f'are {len(plain)} teachers'}"
        )
    elif isinstance(chosen, str) and teacher.count > 1:
        yield Fault(path, f"is {shown(chosen)}; name a fine-tuned teacher by its number, from 1 to {teacher.count}")
    elif isinstance(chosen, str) and plain_name(chosen) not in plain:
        yield Fault(path, f"is {shown(chosen)}, which is none of the teachers: {', '.join(teacher.models)}")


def _separator_faults(data: DataSettings) -> Iterator[Fault]:
    if data.sep is not None and (len(data.sep) != 1 or data.sep in '"\r\n'):
        yield Fault(
            ("data", "sep"), _separator_fault(data.sep, "one character other than a quote or the end of a line")
        )
    if data.label_sep == "":
        yield Fault(("data", "label_sep"), _separator_fault("", "what stands between two labels"))


def _separator_fault(given: str, wanted: str) -> str:
    # YAML reads a lone | as the start of an empty block text
    quoted = "; in YAML it stands in quotes" if not given else ""
    return f"is {shown(given)}; it must be {wanted}, as ';', '|', or \\t for a tab{quoted}"


def _class_name_faults(names: list[str], path: Path) -> Iterator[Fault]:
    """Two classes of one name would be learned and reported as one."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        yield Fault(path, f"is {shown(names)}; {shown(twice[0])} stands there twice, but names tell classes apart")
    elif not all(name.strip() for name in names):
        yield Fault(path, f"is {shown(names)}; one of its names is empty")


def missing_values(recipe: Recipe, required: tuple[str, ...]) -> Iterator[Fault]:
    """Each of `required` (as "data.train") that the recipe leaves empty."""
    wanted = {
        "teacher.model": (recipe.teacher.model, "name the teacher: a fine-tuned folder or a hub name"),
        "data.train": (recipe.data.train, "name the training examples: a file, a saved dataset or a hub name"),
        "data.eval": (recipe.data.eval, "name the development examples"),
        "data.test": (recipe.data.test, "name the examples to measure on"),
    }
    for name in required:
        value, sentence = wanted[name]
        if not value:
            yield Fault(tuple(name.split(".")), f"is missing; {sentence}")


def _method_faults(student: StudentSettings, at: Path) -> Iterator[Fault]:
    if student.method == "pkd" and student.layers == 1:
        yield Fault(
            (*at, "layers"),
            "is 1, which leaves patience no layer to teach (K = layers − 1 = 0); take 2 or more, or method kd or ft",
        )
    loss = loss_of(student)
    if student.beta is not None and student.patience is not None:
        yield Fault(
            (*at, "patience"),
            f"is {shown(student.patience)}, and {named(dotted((*at, 'beta')))} is {shown(student.beta)}: the one is "
            "the share of the gradient that sets the other; give one of the two",
        )
    if student.method != "ft" and loss.alpha == 0 and not loss.has_patience:
        method = dotted((*at, "method"))
        weight = named(dotted((*at, "beta" if student.patience is None else "patience")))
        weights = "is 0, and kd has no patience" if student.method == "kd" else f"and {weight} are 0"
        yield Fault(
            (*at, "alpha"),
            f"{weights}: the teacher would teach nothing; raise it, or give {set_to(method, 'ft')} if that is meant",
        )


def _width_faults(student: StudentSettings, at: Path) -> Iterator[Fault]:
    if student.width < 1 and student.student is not None:
        yield Fault(
            (*at, "width"),
            f"is {shown(student.width)}, a share of the teacher's neurons, but "
            f"{named(dotted((*at, 'student')))} is another encoder; leave one of the two out",
        )


def _start_faults(student: StudentSettings, at: Path) -> Iterator[Fault]:
    path = (*at, "start")
    starts = starts_of(student)
    if student.student is not None and student.start not in _OF_ENCODERS:
        yield Fault(
            path,
            f"is {shown(student.start)}, but {named(dotted((*at, 'student')))} is an encoder of its own, of which the "
            f"first layers are kept, as many as {named(dotted((*at, 'layers')))} says; leave one of the two out",
        )
        return
    if not starts:
        yield Fault(path, "is an empty list; write spread, first or the teacher layers to copy, as [1, 3, 5]")
    if len(starts) != len({str(start) for start in starts}):
        yield Fault(path, f"is {shown(student.start)}; the same start stands there twice")
    for start in starts:
        if isinstance(start, str):
            continue
        if not _increasing(start):
            yield Fault(path, f"is {shown(start)}; teacher layers count from 1 and must be in increasing order")
        elif student.layers is not None and len(start) != student.layers:
            yield Fault(
                path,
                f"is {shown(start)}, {len(start)} layers, but {named(dotted((*at, 'layers')))} is {student.layers}; "
                "make them agree",
            )


def starts_of(student: StudentSettings) -> list[str | list[int]]:
    """The student's starts as a list, one or several; those of `auto` follow from the teacher."""
    start = student.start
    if isinstance(start, str):
        return [start]
    if start and all(isinstance(layer, int) for layer in start):
        return [[layer for layer in start if isinstance(layer, int)]]
    return [one for one in start if not isinstance(one, int)]


def _map_faults(student: StudentSettings, path: Path) -> Iterator[Fault]:
    pairs = [pair for pair in student.layer_map if not isinstance(pair, str)]
    given = shown([list(pair) for pair in pairs])
    if not pairs:
        yield Fault(path, "is an empty list; write skip, last, or pairs [student layer, teacher layer]")
    for side, layers in (("student", [pair[0] for pair in pairs]), ("teacher", [pair[1] for pair in pairs])):
        if pairs and not _increasing(layers):
            yield Fault(path, f"is {given}; its {side} layers must count from 1 and increase from pair to pair")
    if pairs and student.layers is not None and student.layers > 1 and max(pair[0] for pair in pairs) >= student.layers:
        yield Fault(
            path,
            f"is {given}; patience teaches the student layers 1 to {student.layers - 1}, "
            "since the last one learns from the teacher's logits",
        )


def _increasing(layers: list[int]) -> bool:
    return bool(layers) and layers[0] >= 1 and all(low < high for low, high in itertools.pairwise(layers))


def _name_faults(students: list[StudentSettings]) -> Iterator[Fault]:
    """Names become folders, also on case-insensitive file systems."""
    seen: dict[str, int] = {}
    for index, student in enumerate(students):
        path: Path = ("students", index, "name")
        if student.name is not None and not _SAFE_NAME.fullmatch(student.name):
            yield Fault(
                path,
                f"is {shown(student.name)}; it becomes a folder's name: letters, digits, '.', '_' and '-', "
                "starting with a letter or digit, at most 100",
            )
            continue
        if student.name is not None and student.name.lower() == "teacher":
            yield Fault(path, "is teacher, which is the teacher's own name in the results; choose another")
            continue
        depth = depth_label(student.layers or "k", student.width)
        name = student.name or f"{method_label(student)}-{depth}-{start_label(student)}"
        if (first := seen.setdefault(name.lower(), index)) != index:
            yield Fault(path, f"would be {name} as that of students.{first}; give each student a name of its own")
