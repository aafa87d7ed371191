from __future__ import annotations

import json
import struct
import sys
from typing import Any

import pytest

from pkd.errors import ResourceError
from pkd.reporting import charts
from pkd.reporting.results import ModelRecord, Record


def data_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows a chart was given; altair hoists them to the top where layers share them."""
    if "datasets" in spec:
        return next(iter(spec["datasets"].values()))
    return spec["data"]["values"]


def changed(records: list[Record], **update: Any) -> list[Record]:
    return [record.model_copy(update=update) if isinstance(record, ModelRecord) else record for record in records]


def test_the_kept_chart_has_a_point_a_model_with_its_interval(records: list[Record]) -> None:
    rows = data_of(charts.render(charts.kept_chart(records)))
    assert rows[0]["name"] == "teacher"
    assert len(rows) == 7
    student = rows[1]
    assert student["score"] == pytest.approx(83.2)
    assert student["x"] == pytest.approx(219)
    assert student["low"] < student["score"] < student["high"]


def test_the_kept_chart_shows_parameters_where_a_speed_is_missing(records: list[Record]) -> None:
    spec = charts.render(charts.kept_chart(changed(records, rows_per_second=None)))
    assert data_of(spec)[0]["x"] == pytest.approx(22.713986)
    assert "million parameters" in spec["description"]


def test_the_teacher_alone_in_grey_and_each_student_in_its_own_colour(records: list[Record]) -> None:
    colours = charts.colours_of(records)
    assert colours["teacher"] == charts.NEUTRAL
    assert len(set(colours.values())) == 7


def test_the_scores_chart_has_a_line_a_seed(records: list[Record]) -> None:
    rows = data_of(charts.render(charts.scores_chart(records)))
    assert len(rows) == 1 + 6 * 3
    assert sorted(row["line"] for row in rows if row["name"] == "kd-L3-first") == [0, 1, 2]
    assert [row["line"] for row in rows if row["role"] == "teacher"] == [1]  # in the middle


def test_a_picture_without_the_library_that_draws_it_is_refused_in_a_sentence(
    records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # as Python finds a package that is not installed
    with pytest.raises(ResourceError, match=r"vl-convert-python, which is not installed .* pip install"):
        charts.chart_png(charts.kept_chart(records))


def test_learning_curves_show_only_terms_that_were_logged(records: list[Record]) -> None:
    assert [title.split(",")[0] for title, _ in charts.curve_panels(records)] == [
        "ce",
        "kd",
        "pt",
        "accuracy on development data",
    ]
    fine_tuned = [record for record in records if isinstance(record, ModelRecord) and record.method == "ft"]
    assert len(charts.curve_panels(fine_tuned)) == 2
    assert charts.curve_panels(changed(records, history=[])) == []


def test_a_long_history_is_thinned_but_keeps_its_end(records: list[Record]) -> None:
    history = [{"step": float(step), "loss/ce": 1.0 / (step + 1)} for step in range(20_000)]
    (_, chart), *_ = charts.curve_panels(changed(records[2:3], history=history))
    rows = data_of(charts.render(chart))
    assert len(rows) <= 301
    assert rows[0]["step"] == 0
    assert rows[-1]["step"] == 19_999


def test_a_rendered_chart_fills_its_container_and_brings_no_theme(records: list[Record]) -> None:
    spec = charts.render(charts.kept_chart(records))
    assert spec["width"] == "container"
    assert "config" not in spec
    json.dumps(spec, allow_nan=False)


def test_a_score_without_an_interval_is_drawn_as_a_point(records: list[Record]) -> None:
    bare = [
        record.model_copy(update={"scores": {"accuracy": record.scores["accuracy"].model_copy(update={"low": None})}})
        if isinstance(record, ModelRecord)
        else record
        for record in records
    ]
    row = data_of(charts.render(charts.kept_chart(bare)))[1]
    assert row["low"] == row["score"] == row["high"]


@pytest.mark.parametrize("make", [charts.kept_chart, charts.scores_chart])
def test_every_chart_becomes_a_png_without_a_browser(make: Any, records: list[Record]) -> None:
    png = charts.chart_png(make(records), scale=1)
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert width > 600
    assert height > 200


def test_one_model_alone_can_be_drawn(records: list[Record]) -> None:
    assert charts.chart_png(charts.kept_chart(records[1:2]), scale=1).startswith(b"\x89PNG")
    assert charts.chart_png(charts.scores_chart(records[1:2]), scale=1).startswith(b"\x89PNG")
