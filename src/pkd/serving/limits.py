"""Server limits, and cores; without heavy imports, for the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from pkd.errors import RecipeError
from pkd.recipe.spelling import named


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of `pkd serve`; all are counts of at least one.

    Attributes:
        max_body: bytes per request; a larger one gets 413.
        max_texts: per request; more get 422.
        max_characters: per text; a longer one gets 422. The model reads only its first word pieces anyway.
        max_queue: queued texts; a request that would exceed it gets 429.
        max_batch: texts per call of the model.
        drain_seconds: how long a stop waits for accepted requests.
    """

    max_body: int = 1_000_000
    max_texts: int = 256
    max_characters: int = 20_000
    max_queue: int = 2048
    max_batch: int = 8
    drain_seconds: int = 30

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) < 1:
                raise RecipeError(f"{named(field.name)} is {value}; a limit of the server is 1 or more.")
        if self.max_queue < self.max_texts:
            raise RecipeError(
                f"{named('max_queue')} is {self.max_queue} and {named('max_texts')} {self.max_texts}: a request of the "
                "most texts would never fit into the queue. Make the queue longer or allow fewer texts."
            )


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_threads(threads: int | None) -> None:
    """Check a number of threads: more than there are cores gain nothing, and very many crash the process.

    Raises:
        RecipeError: if this process has fewer cores.
    """
    if threads is not None and not 1 <= threads <= usable_cores():
        raise RecipeError(
            f"{named('threads')} is {threads}, but this process may use 1 to {usable_cores()} cores. Choose from "
            "these, or leave it out."
        )
