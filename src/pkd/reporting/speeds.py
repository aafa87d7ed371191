"""Sizes and speeds of models timed side by side: the record of each, and their table in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pydantic import BaseModel, ConfigDict

from pkd.reporting.published import published
from pkd.reporting.wording import count_text


class SpeedRecord(BaseModel):
    """One model: its parameters by part, the seconds of each round, and how it compares with the first model."""

    model_config = ConfigDict(extra="forbid")

    name: str
    layers: int
    embeddings: int
    layer_parameters: int
    head: int  # pooler, norms and classes: all that is neither embedding nor layer
    parameters: int
    rows: int
    on: str  # the file, or what was made up
    device: str
    seconds: list[float]  # one a round, all rows
    smaller: float  # the first model's parameters divided by this one's
    faster: list[float]  # the first model's seconds divided by this one's, one a round

    @property
    def median_seconds(self) -> float:
        """Seconds of the middle round."""
        return median(self.seconds)


@dataclass(frozen=True)
class SpeedRow:
    """A line of the table, as text; where something is published it stands behind ours, in brackets."""

    name: str
    layers: str
    embeddings: str
    layer_parameters: str
    head: str
    parameters: str
    smaller: str
    seconds: str
    faster: str
    faster_rounds: str  # the least and the most over rounds; "" of the first model


def speed_rows(records: Sequence[SpeedRecord], depths: Sequence[int] = ()) -> list[SpeedRow]:
    """The table: the median over rounds, and the least and the most.

    Args:
        records: the first is what the others are compared with.
        depths: of each record, the depth of the published BERT that stands beside it; without them none does.
    """
    facts = published()
    sizes: dict[int | None, float | None] = {one.layers: one.smaller for one in facts.sizes}
    speeds: dict[int | None, float | None] = {one.layers: one.faster for one in facts.speeds}
    rows = []
    for index, record in enumerate(records):
        beside = depths[index] if depths else None
        rows.append(
            SpeedRow(
                name=record.name,
                layers=str(record.layers),
                embeddings=count_text(record.embeddings),
                layer_parameters=count_text(record.layer_parameters),
                head=count_text(record.head),
                parameters=count_text(record.parameters),
                smaller=f"{record.smaller:.2f}×" + _beside(sizes.get(beside)),
                seconds=_spread(record.seconds, "{:.3g}"),
                faster=f"{median(record.faster):.2f}×" + _beside(speeds.get(beside)),
                faster_rounds=f"{min(record.faster):.2f}–{max(record.faster):.2f}×" if index else "",
            )
        )
    return rows


def speed_title(records: Sequence[SpeedRecord]) -> str:
    """What was timed, in a sentence."""
    first = records[0]
    return (
        f"{first.rows:,} rows ({first.on}) on {first.device}, {len(first.seconds)} rounds in turn, float32. Median "
        f"(least–most) of the rounds; ratios to {first.name}."
    )


def speed_notes(records: Sequence[SpeedRecord], depths: Sequence[int]) -> list[str]:
    """What must be known to read the table beside the published numbers, a sentence each."""
    if not any(depths):
        return []
    facts = published()
    ours = ", ".join(str(record.layers) for record in records)
    theirs = ", ".join(str(depth) for depth in depths)
    speeds = " and ".join(dict.fromkeys(facts.sources[one.source] for one in facts.speeds))
    sizes = facts.sources[facts.sizes[0].source]
    return [
        f"[…] stands for BERT-base of {theirs} layers; the models here have {ours}. Smaller: {_lower(sizes)}. Faster: "
        f"published in {speeds}, on other hardware."
    ]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _spread(values: Sequence[float], form: str) -> str:
    middle, low, high = (form.format(value) for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def _beside(published: float | None) -> str:
    return f" [{published:.2f}×]" if published else ""
