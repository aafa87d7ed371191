"""The folder that a search deploys: a copy of one of its exports, and `--pick`, which takes another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkd.errors import RecipeError
from pkd.jobs.export import KIND, card_of
from pkd.recipe.places import local_path
from pkd.recipe.spelling import named, set_to
from pkd.reporting.export_card import exported_card
from pkd.reporting.front import Compressed, Point, read_front
from pkd.reporting.front_card import searched_card
from pkd.runs.folder import CARD, RunFolder
from pkd.runs.seal import MANIFEST, copy_folder, read_manifest, write_text
from pkd.runs.stage import run_stage
from pkd.search.random_graphs import bytes_in


def deploy(served: Path, work: Path, compressed: Compressed, point: Point, *, overwrite: bool) -> None:
    """Bring the folder up to date with the export of a point; what it held before is set aside."""
    source, student = work / point.folder, work / point.student
    manifest = read_manifest(source)
    assert manifest is not None  # a finished stage has one

    def build(partial: Path) -> Mapping[str, Any]:
        copy_folder(source, partial, without=[MANIFEST])
        return manifest.facts

    run_stage(served, KIND, {**manifest.inputs, "content": manifest.content}, build, overwrite=overwrite, resumes=False)
    exported = exported_card(card_of(student), served.name, manifest.facts)
    write_text(served / CARD, searched_card(exported, compressed, point))


def with_bytes(compressed: Compressed, served: Path) -> Compressed:
    """The record with the size of the folder as it is deployed, with its card."""

    def measured(point: Point) -> Point:
        if not point.chosen:
            return point
        return point.model_copy(update={"measured": point.measured.model_copy(update={"bytes": bytes_in(served)})})

    return compressed.model_copy(update={"points": [measured(point) for point in compressed.points]})


def search_of(output: Path, search: str | None) -> Path:
    """The work folder of the search that a point is picked from: the named one, the output's own, or the one beside.

    Raises:
        RecipeError: if there is none, or several lie beside the output.
        CacheError: if it holds no record that can be read.
    """
    if search is not None:
        place = local_path(search)
        beside = RunFolder.beside(place)
        return place if RunFolder(place).front.is_file() or not beside.front.is_file() else beside.path
    own = RunFolder.beside(output)
    if own.front.is_file():
        return own.path
    around = output.absolute().parent
    found = [each for each in sorted(around.glob("*")) if each.is_dir() and RunFolder(each).front.is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        told = ", ".join(each.name for each in found)
        raise RecipeError(f"{around} holds several searches ({told}). Name one with {set_to('search', ...)}.")
    raise RecipeError(
        f"There is no search in {around} to pick from. Name its work folder, SERVED.work, with {set_to('search', ...)}."
    )


def point_of(work: Path, number: int) -> tuple[Compressed, Point]:
    """A search's record, and the point of a number.

    Raises:
        RecipeError: if it has no such point.
        CacheError: if the record cannot be read.
    """
    compressed = read_front(work)
    for point in compressed.points:
        if point.number == number:
            return compressed, point
    known = ", ".join(f"{point.number} ({point.shape.name})" for point in compressed.points)
    raise RecipeError(f"{named('pick')} is {number}, but the points of {work} are {known}.")
