"""Ray trains whatever it is given, and tells how each ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkd import progress
from pkd.errors import DivergedError
from pkd.jobs.cluster import Outcome, Report, ray_started, require_ray, resources_of, train_on_ray
from pkd.recipe.settings import SweepSettings


@pytest.mark.slow
def test_every_training_ends_once_with_its_scores_or_with_why_it_has_none(tmp_path: Path) -> None:
    def train(number: int, report: Report) -> float:
        for epoch in (1, 2):
            report(number + epoch / 10, epoch)
        if number == 1:
            raise DivergedError("The loss is not finite.")
        if number == 2:
            raise ValueError("no such shape")
        return number + 0.3

    ended: dict[int, Outcome] = {}
    require_ray()
    with ray_started(), progress.stage("search", 3, "shapes") as stage:
        resources, slots = resources_of(SweepSettings(), "cpu")
        assert slots >= 1
        train_on_ray(
            train, [3, 3, 3], resources, tmp_path / "ray", stage, lambda one: ended.update({one.number: one}),
            early_stopping=False,
        )  # fmt: skip
    assert sorted(ended) == [0, 1, 2]
    assert [ended[number].status for number in range(3)] == ["done", "diverged", "failed"]
    assert ended[0].scores == pytest.approx([0.1, 0.2])
    assert [ended[number].why for number in range(3)] == [None, "The loss is not finite.", "ValueError: no such shape"]
    assert stage.done == 3
    assert not (tmp_path / "ray").exists()
