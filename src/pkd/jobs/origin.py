"""Find the recipe of the run that made a model, and how that run read its files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pkd import progress
from pkd.errors import RecipeError
from pkd.recipe.reading import read_recipe
from pkd.recipe.schema import Recipe
from pkd.recipe.settings import DataSettings
from pkd.runs.folder import RunFolder

_SOURCES = {"task", "folder", "train", "eval", "test", "unlabelled"}


def recipe_of_run(model: str | Path) -> Recipe | None:
    """The recipe of the run that made a student, if the run is beside it."""
    for path in (run.recipe for run in RunFolder.holding(Path(model))):
        if path.is_file():
            try:
                return read_recipe(path)
            except RecipeError as error:  # of another version, or changed by hand
                progress.warn(f"the recipe that made {model} cannot be read: {error}")
                return None
    return None


def reading_of_run(model: str | Path) -> dict[str, Any]:
    """The run's settings for reading files, such as columns and separator, as keywords; without the defaults."""
    recipe = recipe_of_run(model)
    if recipe is None:
        return {}
    fields = [field for field in dataclasses.fields(DataSettings) if field.name not in _SOURCES]
    usual = DataSettings()
    values = {field.name: getattr(recipe.data, field.name) for field in fields}
    return {f"data.{name}": value for name, value in values.items() if value != getattr(usual, name)}
