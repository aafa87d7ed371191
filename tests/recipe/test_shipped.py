"""The recipes that come with the package say what their tables were measured with, whatever the defaults become."""

from __future__ import annotations

from importlib.resources import as_file, files

import pytest
from ruamel.yaml import YAML

from pkd.recipe.reading import read_recipe
from pkd.recipe.schema import loss_of

OF_KD = {"temperature": 10, "alpha": 0.5, "kd_reduction": "mean"}
OF_PATIENCE = {"beta": 100, "pt_reduction": "mean", "normalize": True}
OF_THE_DEMO = {"patience": 0.3, "pt_reduction": "mean", "normalize": "units"}  # large enough to be seen


@pytest.mark.parametrize("name", ["demo", "paper/table1", "paper/table2", "paper/table3", "paper/table5"])
def test_what_a_student_learns_by_stands_in_the_shipped_recipe_itself(name: str) -> None:
    with as_file(files("pkd.recipes")) as folder:
        path = folder / f"{name}.yaml"
        written = YAML(typ="safe").load(path)["students"]
        students = read_recipe(path, required=()).students
    assert {student.method for student in students} >= {"kd", "pkd"}
    of_patience = OF_THE_DEMO if name == "demo" else OF_PATIENCE
    for as_written, student in zip(written, students, strict=True):
        values = {"ft": {}, "kd": OF_KD, "pkd": OF_KD | of_patience}[student.method]
        assert {key: as_written[key] for key in values} == values
        loss = loss_of(student)
        assert (loss.temperature, loss.kd_reduction) == (10, "mean") or student.method == "ft"
        assert loss.beta == (of_patience.get("beta") if student.method == "pkd" else 0)
        assert loss.patience == (of_patience.get("patience") if student.method == "pkd" else None)
