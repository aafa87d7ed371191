"""What the tests of this room share: somebody who listens to notes and warnings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pkd import progress


class Listener(progress.Watcher):
    """Keeps what a user would read."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def noted(self, message: str, level: str) -> None:
        (self.warnings if level == "warning" else self.notes).append(message)


@pytest.fixture
def heard() -> Iterator[Listener]:
    listener = Listener()
    with progress.watch(listener):
        yield listener
