from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pkd.reporting.front import REFUSED_EXPORT, Candidate, Figures, Shape
from pkd.reporting.results import Score
from pkd.runs.folder import RunFolder
from pkd.runs.stage import run_stage
from pkd.search.finalists import REFUSED, with_refusals


def candidate(layers: int, precision: Any, stopped: str = "") -> Candidate:
    one = Score(value=1.0)
    figures = Figures(latency=one, p95=one, bytes=1000)
    return Candidate(shape=Shape(layers=layers, precision=precision), predicted=figures, stopped=stopped)


def test_a_finalists_precision_that_its_gate_refused_is_told_apart_from_what_the_heats_stopped(tmp_path: Path) -> None:
    plan: Any = SimpleNamespace(folder=RunFolder(tmp_path))
    candidates = [candidate(3, "float32"), candidate(3, "int8"), candidate(2, "int8", "dominated by L3")]
    run_stage(plan.folder.export("L3-int8"), REFUSED, {}, lambda partial: {"why": "too many answers"}, overwrite=False)
    assert [one.stopped for one in with_refusals(plan, candidates)] == ["", REFUSED_EXPORT, "dominated by L3"]
