"""What is timed beside something else: models take turns in small pieces, and how much of the cores was to be had.

Another job slows threaded libraries by far more than its share, and not all of them alike: two threads that wait for
one another on one free core can take a hundred times as long. Turns make it hurt the models at the same moments; what
they cannot mend is looked at and told.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence

Call = Callable[[], object]

_PROBE_SECONDS = 0.1
_SETTLE_SECONDS = 0.02  # for threads of a library that still spin after its last call
_BLOCK = bytes(1 << 20)  # hashing so much lets go of Python's lock


def take_turns(parts: Mapping[str, Sequence[Call]], first: int = 0) -> dict[str, float]:
    """Seconds that each model takes for all of its parts: one part after the other, each model's before the next part.

    Args:
        parts: of each model, about as many and alike in size; the order of the models turns round with each part.
        first: whose turn it is to begin: an even number begins in the order given.
    """
    seconds = dict.fromkeys(parts, 0.0)
    for number in range(max(map(len, parts.values()), default=0)):
        for name in list(parts) if (first + number) % 2 == 0 else reversed(list(parts)):
            if number < len(parts[name]):
                seconds[name] += seconds_of(parts[name][number])
    return seconds


def seconds_of(call: Call) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def cpu_share(threads: int, seconds: float = _PROBE_SECONDS) -> float:
    """The share of `threads` cores that this process gets: about 1 where nothing else wants them.

    Measured, by so many threads that do nothing but compute: it holds in containers and under limits too, of which
    the system's load says nothing.
    """
    time.sleep(_SETTLE_SECONDS)
    together, shares = threading.Barrier(threads), []

    def compute() -> None:
        together.wait()
        began, computed = time.perf_counter(), time.thread_time()
        while (passed := time.perf_counter() - began) < seconds:
            hashlib.sha256(_BLOCK).digest()
        shares.append((time.thread_time() - computed) / passed)

    workers = [threading.Thread(target=compute) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return min(1.0, sum(shares) / threads)
