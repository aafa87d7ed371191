"""What the file of published numbers must hold; the numbers themselves are checked against where they stand."""

from __future__ import annotations

import pytest

from pkd.recipe.settings import LossSettings
from pkd.reporting.published import ModelKey, published


def test_every_number_names_a_source_that_is_explained() -> None:
    facts = published()
    named = {one.source for one in (*facts.scores, *facts.sizes, *facts.speeds)}
    assert named == set(facts.sources)


def test_no_number_stands_twice() -> None:
    cells = [(one.task, one.model, one.metric, one.split) for one in published().scores]
    assert len(cells) == len(set(cells))


@pytest.mark.parametrize(
    ("task", "model", "value"),
    [
        ("RTE", ModelKey(method="pkd-skip", layers=6), 68.2),
        ("MNLI", ModelKey(method="kd", layers=3), 75.6),
        ("RACE", ModelKey(method="teacher", layers=12), 67.5),
        ("MRPC", ModelKey(method="kd", layers=6, teacher=24, start=12), 84.1),
        ("MRPC", ModelKey(method="kd", layers=6, teacher=24, start=24), 75.2),
    ],
)
def test_a_number_is_found_by_its_task_and_model(task: str, model: ModelKey, value: float) -> None:
    found = published().dev_score(task, model)
    assert found is not None
    assert (found.value, found.metric) == (value, "accuracy")


def test_what_is_not_published_is_not_made_up() -> None:
    assert published().dev_score("CoLA", ModelKey(method="kd", layers=6)) is None
    assert published().dev_score("RACE", ModelKey(method="pkd-last", layers=6)) is None


def test_test_server_scores_never_pass_for_development_scores() -> None:
    facts = published()
    assert {one.source for one in facts.scores if one.split == "test"} == {"second-hand"}
    assert [one.value for one in facts.test_scores(("RTE",))] == [65.5]


def test_the_published_settings_fit_the_recipe() -> None:
    settings = published().settings
    assert set(settings) == {"MRPC", "SST-2", "RTE", "MNLI", "QNLI", "QQP", "RACE"}
    for one in settings.values():
        assert LossSettings(**one.of_loss()).temperature == one.temperature
    assert settings["RTE"].learning_rate == 1e-5
