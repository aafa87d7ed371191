"""What the lines of a sweep tell together: ranks, means at each value, and how much of the best is luck."""

from __future__ import annotations

import itertools
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pkd.errors import CacheError
from pkd.evaluation.by_class import BlindSpots
from pkd.reporting.charts import chart_png
from pkd.reporting.heatmaps import effect_charts, heat_maps
from pkd.reporting.html import report_page
from pkd.reporting.results import Record
from pkd.reporting.terminal import print_leaderboard
from pkd.reporting.trials import (
    TrialRecord,
    effect_sentences,
    leaderboard,
    luck_sentences,
    mean_interval,
    read_trials,
    scores_by,
    swept,
    write_trials,
)


def trial(score: float | None, status: Any = "done", **point: Any) -> TrialRecord:
    whole = {("training." if key == "learning_rate" else "students.0.") + key: value for key, value in point.items()}
    return TrialRecord(
        point=whole, folder="trials/x", status=status, metric="accuracy", score=score, epochs=[score or 0.0],
        seconds=12.0, fingerprint=str(point), why="the loss is nan" if status == "diverged" else None,
    )  # fmt: skip


@pytest.fixture
def trials() -> list[TrialRecord]:
    made = [
        trial(
            0.8 + beta / 10000 - alpha / 100 + temperature / 1000,
            beta=beta,
            temperature=temperature,
            alpha=alpha,
            learning_rate=rate,
        )
        for beta, temperature, alpha, rate in itertools.product((10.0, 100.0), (5.0, 20.0), (0.2, 0.7), (1e-5, 5e-5))
    ]
    return [*made, trial(0.99, "stopped", beta=10.0, temperature=5.0, alpha=0.2, learning_rate=1.0),
            trial(None, "diverged", beta=10.0, temperature=5.0, alpha=0.7, learning_rate=1.0)]  # fmt: skip


def test_lines_are_read_back_as_they_were_written(trials: list[TrialRecord], tmp_path: Path) -> None:
    assert read_trials(tmp_path) == []
    write_trials(trials, tmp_path)
    assert read_trials(tmp_path) == trials
    (tmp_path / "sweep.jsonl").write_text('{"record": "trial"}\n')
    with pytest.raises(CacheError, match=r"sweep\.jsonl"):
        read_trials(tmp_path)


def test_a_trial_stopped_early_never_leads(trials: list[TrialRecord]) -> None:
    ranked = leaderboard(trials)
    assert ranked[0].score == pytest.approx(0.8 + 0.01 - 0.002 + 0.02)
    assert [one.status for one in ranked[-2:]] == ["stopped", "diverged"]


def test_means_are_over_finished_trials_at_each_value_and_numbers_stand_in_order(trials: list[TrialRecord]) -> None:
    by_beta = scores_by(trials, "students.0.beta")
    assert list(by_beta) == [(10.0,), (100.0,)]
    assert [len(scores) for scores in by_beta.values()] == [8, 8]
    # 0.8 + 10/10000 − mean(0.002, 0.007) + mean(0.005, 0.020)
    assert sum(by_beta[(10.0,)]) / 8 == pytest.approx(0.8 + 0.001 - 0.0045 + 0.0125)
    assert effect_sentences(trials)[0] == "beta: mean 81.8 at 100, 80.9 at 10"
    assert swept(trials)[0] == "students.0.beta"


def test_values_with_the_same_mean_are_each_named_once_and_numbers_as_they_were_written() -> None:
    equal = [trial(0.4286, temperature=value) for value in (2, 10)]
    assert effect_sentences(equal) == ["temperature: mean 42.9 at each of 2, 10"]
    near = [trial(0.42864, learning_rate=1e-5), trial(0.42861, learning_rate=1.00001e-5)]
    assert effect_sentences(near) == ["learning_rate: mean 42.9 at each of 1e-05, 1.00001e-05"]
    differ = [trial(0.4286, temperature=2), trial(0.5, temperature=10)]
    assert effect_sentences(differ) == ["temperature: mean 50.0 at 10, 42.9 at 2"]


def test_the_interval_over_seeds_is_students_t() -> None:
    # three values, deviation 0.02: 0.82 ± 4.303 · 0.02 / √3
    mean, low, high = mean_interval([0.80, 0.82, 0.84], 0.95)
    assert (mean, low, high) == pytest.approx((0.82, 0.82 - 0.04968, 0.82 + 0.04968), abs=1e-4)


def test_what_the_best_points_score_hides_is_named(trials: list[TrialRecord], collapsed_records: list[Record]) -> None:
    best = leaderboard(trials)[0]
    blind = best.model_copy(update={"rows": 500, "blind_spots": BlindSpots("fine", {"unsafe": 7})})
    missing = trials[1].model_copy(update={"blind_spots": BlindSpots(None, {"unsafe": 7, "odd": 1})})
    assert (best.status_text, blind.status_text) == ("done", "done, one answer")
    assert missing.status_text == "done, 2 classes never found"
    told = luck_sentences([blind if trial is best else trial for trial in trials], collapsed_records, 0.95)
    assert told[1] == "On those rows it answers 'fine' for all 500 rows and finds none of 7 'unsafe'."
    assert told[-1] == "Trained again it answers 'fine' for all 10 rows and finds none of 3 'unsafe'."


def test_the_best_is_said_to_be_luck_with_the_interval_of_fresh_seeds(
    trials: list[TrialRecord], records: list[Record]
) -> None:
    told = luck_sentences(trials, records, 0.95)
    assert "The best of 16 points (beta 100" in told[0]
    assert "too high" in told[0]
    assert "fresh seeds" in told[1]
    assert "95 % interval over seeds" in told[1]
    assert told[2].startswith("On 1,066 held-out rows it has")


def test_heat_maps_are_of_the_pairs_of_the_published_grid(trials: list[TrialRecord]) -> None:
    maps = dict(heat_maps(trials))
    assert list(maps) == ["beta × temperature", "alpha × learning_rate"]
    spec = maps["beta × temperature"].to_dict()
    cells = spec["datasets"][spec["data"]["name"]]
    best = next(cell for cell in cells if (cell["x"], cell["y"]) == ("100", "20"))
    assert best["score"] == pytest.approx(100 * (0.8 + 0.01 - 0.0045 + 0.02))
    assert best["trials"] == 4
    only = [trial(0.8, beta=beta, start=start) for beta in (1.0, 2.0) for start in ("spread", [1, 3])]
    assert [title for title, _ in heat_maps(only)] == ["beta × start"]
    assert chart_png(maps["beta × temperature"]).startswith(b"\x89PNG")


def test_effects_of_lists_have_means_and_those_of_ranges_points(trials: list[TrialRecord]) -> None:
    charts = dict(effect_charts(trials))
    assert list(charts) == ["beta", "temperature", "alpha", "learning_rate"]
    assert len(charts["beta"].to_dict()["layer"]) == 3
    drawn = [trial(0.8 + index / 1000, learning_rate=1e-5 * (index + 1)) for index in range(30)]
    assert len(dict(effect_charts(drawn))["learning_rate"].to_dict()["layer"]) == 1
    assert heat_maps(drawn) == []
    assert effect_charts([trial(None, "diverged", beta=1.0)]) == []


def test_the_leaderboard_names_ranks_values_and_luck(trials: list[TrialRecord]) -> None:
    stream = StringIO()
    print_leaderboard(trials, ["It is luck."], Console(file=stream, width=100))
    told = stream.getvalue()
    assert "The best of 18 points" in told
    assert "temperature" in told
    assert "Is it luck?" in told
    assert "- It is luck." in told


def test_the_page_shows_the_sweep_only_where_there_was_one(trials: list[TrialRecord], records: list[Record]) -> None:
    page = report_page(records, trials)
    for words in ("The sweep", "Is it luck?", "beta × temperature", "The other 8 points", "the loss is nan"):
        assert words in page
    assert "The sweep" not in report_page(records)
