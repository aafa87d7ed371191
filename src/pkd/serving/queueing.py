"""Batches concurrent requests.

No batching delay: an idle model answers at once; requests that arrive while it is busy form the next batch. On a CPU
several threads work in parallel, one per core: many small calls at once finish more texts than one call over all cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pkd.serving.classifier import Prediction
from pkd.serving.texts import Text

Answer = Callable[[Sequence[Text]], list[Prediction]]


class QueueFull(Exception):  # noqa: N818 - it is reported to the client, and is not an error of the server
    """Too many texts are queued for another request."""


@dataclass(frozen=True)
class _Request:
    """A request, or a part of one that has more texts than a batch."""

    texts: list[Text]
    answered: asyncio.Future[list[Prediction]]


class BatchingQueue:
    """Batches concurrent requests.

    Args:
        answer: the model; called in the queue's own threads.
        batch: most texts per call.
        queue: most queued texts.
        workers: threads that call it in parallel.
        on_batch: called after each batch with its size and seconds.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        batch: int,
        queue: int,
        workers: int = 1,
        on_batch: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self._answer = answer
        self._batch = batch
        self._queue = queue
        self._on_batch = on_batch
        self._requests: deque[_Request] = deque()
        self._wake = asyncio.Event()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="model")
        self._workers = workers
        self._tasks: list[asyncio.Task[None]] = []
        self._with_the_model = 0  # calls
        self.waiting = 0  # texts

    async def start(self) -> None:
        """Start the workers in the running event loop."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._workers)]

    async def stop(self) -> None:
        """Answer the queued requests, then stop."""
        while self._requests or self._with_the_model:
            await asyncio.sleep(0.005)
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._threads.shutdown()

    async def ask(self, texts: list[Text]) -> list[Prediction]:
        """The predictions for a request's texts.

        Raises:
            QueueFull: if too many texts are queued.
        """
        if self.waiting + len(texts) > self._queue:
            raise QueueFull(f"{self.waiting} texts wait for the model and {self._queue} may; try again in a moment.")
        loop = asyncio.get_running_loop()
        parts = [
            _Request(texts[begin : begin + self._batch], loop.create_future())
            for begin in range(0, len(texts), self._batch)
        ]
        self._requests.extend(parts)
        self.waiting += len(texts)
        self._wake.set()
        if len(parts) == 1:
            return await parts[0].answered
        return [answer for part in await asyncio.gather(*(part.answered for part in parts)) for answer in part]

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            requests = self._next_batch()
            if not requests:
                self._wake.clear()
                continue
            texts = [text for request in requests for text in request.texts]
            began = time.perf_counter()
            self._with_the_model += 1
            try:
                answers = await loop.run_in_executor(self._threads, self._answer, texts)
            except Exception as error:  # only these requests fail; the next ones are answered
                for request in requests:
                    if not request.answered.done():
                        request.answered.set_exception(error)
                continue
            finally:
                self._with_the_model -= 1
            self._on_batch(len(texts), time.perf_counter() - began)
            begin = 0
            for request in requests:
                end = begin + len(request.texts)
                if not request.answered.done():  # the client may be gone
                    request.answered.set_result(answers[begin:end])
                begin = end

    def _next_batch(self) -> list[_Request]:
        """A worker's share of the queue, without requests whose client is gone."""
        share = min(self._batch, -(-self.waiting // self._workers))
        taken: list[_Request] = []
        count = 0
        while self._requests and (not taken or count + len(self._requests[0].texts) <= share):
            request = self._requests.popleft()
            self.waiting -= len(request.texts)
            if not request.answered.done():
                taken.append(request)
                count += len(request.texts)
        return taken
