"""The tables of docs/performance-gpu.md, made from the `figures.json` of a run; what was not measured is left out.

python -m benchmarks.gpu.tables OUT/figures.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_GRID_POINTS, _GRID_EPOCHS, _SST2_ROWS = 108, 4, 67_349
_RATIOS = {  # what a ratio tells, and what is aimed at
    "pkd / teacher in the loop": ("student training: `pkd` / Trainer with the teacher in the loop", "5 ×"),
    "pkd / TextBrewer": ("… / TextBrewer", "5 ×"),
    "pkd / reference style": ("… / reference style", ""),
    "pkd / limit": ("… / limit", ""),
    "teacher pass / bare forward": ("time of the teacher pass / bare forward", ""),
    "whole job / teacher in the loop": ("whole job / Trainer with the teacher in the loop", ""),
}
_AIMED_AT = {("base, 128", "teacher pass"): "60 %", ("base, 128", "training"): "50 %"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="figures.json")
    given = parser.parse_args()
    print("\n".join(tables(json.loads(given.figures.read_text(encoding="utf-8")))))


def tables(figures: dict[str, Any]) -> Iterator[str]:
    """The lines of all tables, each under a heading, in the order of the parts."""
    for title, part, lines in _SECTIONS:
        if part in figures:
            yield from (f"## {title}", "", *lines(figures[part]), "")
    yield from _grid(figures)
    yield from _ends(figures.get("parts", {}))


def _machine(machine: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    card = [f"{machine['device']}"]
    if "driver" in machine:
        card.append(f"{machine['memory_gb']} GB, driver {machine['driver']}, CUDA {machine['cuda']}")
    yield f"{', '.join(card)}; {machine['processor']}, {machine['cores']} cores; {versions}."


def _jobs(checks: dict[str, Any]) -> Iterator[str]:
    yield from _head("check", "", "seen")
    for name, seen in checks.items():
        verdict = {True: "passed", False: "**failed**", None: "no promise"}[seen["passed"]]
        told = "; ".join(
            f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
            for key, value in seen.items()
            if key not in ("passed", "seconds", "messages")
        )
        yield _row(name, verdict, told)


def _throughput(part: dict[str, Any]) -> Iterator[str]:
    data = part["data"]
    yield f"{data['rows']:,} rows of {data['mean_length']:.1f} word pieces; batch 32; teacher: {part['teacher']}."
    yield ""
    if part.get("ratios"):
        yield from _head("figure", "aim", "measured (lowest to highest)")
        for name, (words, aim) in _RATIOS.items():
            if name in part["ratios"]:
                yield _row(words, aim, _times(part["ratios"][name]))
        yield ""
    yield from _head("", "a second (lowest to highest)")
    for group, unit in (("training", "examples"), ("teacher_pass", "rows")):
        for name, speed in part.get(group, {}).items():
            yield _row(name, f"{_span(speed)} {unit}")


def _sizes(part: dict[str, Any]) -> Iterator[str]:
    yield f"Peak of a matrix product in {part['precision']}: {part['peak_teraflops']:,.0f} TFLOP/s."
    yield ""
    kinds = ("teacher pass", "bare forward", "training")
    yield from _head("model, word pieces", *kinds, "aim")
    for size, told in part.items():
        if isinstance(told, dict) and "training" in told:
            cells = [
                f"{told[kind]['rows_per_second']:,.0f} rows/s, {told[kind]['share_of_peak']:.1%}" for kind in kinds
            ]
            aims = [f"{kind} {_AIMED_AT[size, kind]}" for kind in kinds if (size, kind) in _AIMED_AT]
            yield _row(f"BERT-{size}", *cells, "; ".join(aims))


def _ways(part: dict[str, Any], speed: str = "examples_per_second") -> Iterator[str]:
    yield from _head("rows", "way", "a second (lowest to highest)", "times the first", "of the peak")
    for rows, ways in part.items():
        for way, told in ways.items() if isinstance(ways, dict) else ():
            if isinstance(told, dict) and speed in told:
                gain = _times(told["gain"]) if "gain" in told else ""
                share = f"{told['share_of_peak']:.1%}" if "share_of_peak" in told else ""
                yield _row(rows, way, _span(told[speed]), gain, share)


def _passes(part: dict[str, Any]) -> Iterator[str]:
    yield from _ways(part, "rows_per_second")


def _sharing(part: dict[str, Any]) -> Iterator[str]:
    yield from _head("trainings at once", "examples a second of all", "times one after another")
    for count, speed in part["examples_per_second"].items():
        yield _row(count, _span(speed), _times(part["gain"][count]) if count in part["gain"] else "")


def _grid(figures: dict[str, Any]) -> Iterator[str]:
    """Hours of the published grid on SST-2 with BERT-base, calculated: one teacher pass, then all students."""
    base, sharing = figures.get("throughput, BERT-base", {}), figures.get("sharing", {})
    if "training" not in base:
        return
    passes = base.get("teacher_pass", {}).get("teacher pass")
    passing = _SST2_ROWS / passes["median"] / 3600 if passes else 0.0
    learnt = _GRID_POINTS * _GRID_EPOCHS * _SST2_ROWS
    told = "" if passes else ", training alone"
    yield f"## The published grid on SST-2, BERT-base to 6 layers, calculated{told}"
    yield ""
    yield from _head("students", "hours", "aim")
    ways = [(f"`pkd`, {count} at once", speed) for count, speed in sharing.get("examples_per_second", {}).items()]
    ways += [(f"{name}, one after another", speed) for name, speed in base["training"].items()]
    for name, speed in ways:
        yield _row(name, f"{passing + learnt / speed['median'] / 3600:.1f}", "2" if "at once" in name else "")
    yield ""


def _ends(parts: dict[str, Any]) -> Iterator[str]:
    for name, told in parts.items():
        if told["ended"] != "done":
            yield f"- {name}: {told['ended']}"


def _head(*titles: str) -> Iterator[str]:
    yield _row(*titles)
    yield _row(*("---" for _ in titles))


def _row(*cells: str) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def _times(value: dict[str, float]) -> str:
    return f"{value['median']:.2f} × ({value['lowest']:.2f} to {value['highest']:.2f})"


def _span(value: dict[str, float]) -> str:
    return f"{value['median']:,.0f} ({value['lowest']:,.0f} to {value['highest']:,.0f})"


_SECTIONS: Sequence[tuple[str, str, Callable[[dict[str, Any]], Iterator[str]]]] = (
    ("The machine", "machine", _machine),
    ("The jobs, end to end", "jobs", _jobs),
    ("Training, three layers of the demo's encoder, SST-2", "throughput, demo's encoder", _throughput),
    ("Training, BERT-base to 6 layers, SST-2", "throughput, BERT-base", _throughput),
    ("Of the card's peak", "sizes", _sizes),
    ("Launches, BERT-base to 6 layers", "launches, BERT-base", _ways),
    ("Launches, three layers of the demo's encoder", "launches, demo's encoder", _ways),
    ("Long steps, BERT-base to 6 layers", "long steps, BERT-base", _ways),
    ("The teacher's forward passes, BERT-base", "forwards", _passes),
    ("Packed rows, BERT-base", "packing", _passes),
    ("Several students at once, BERT-base to 6 layers", "sharing", _sharing),
)


if __name__ == "__main__":
    main()
