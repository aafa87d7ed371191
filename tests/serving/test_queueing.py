from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from pkd.serving.classifier import Prediction
from pkd.serving.queueing import BatchingQueue, QueueFull
from pkd.serving.texts import Text


def slow_answer(texts: Sequence[Text]) -> list[Prediction]:
    time.sleep(0.05)
    return [Prediction(text, str(text), {}) for text in texts]


def test_what_comes_while_the_model_works_is_answered_together_in_its_order() -> None:
    batches: list[int] = []

    async def run() -> list[list[Prediction]]:
        queue = BatchingQueue(slow_answer, batch=8, queue=100, on_batch=lambda texts, _: batches.append(texts))
        await queue.start()
        first = asyncio.create_task(queue.ask(["first"]))
        await asyncio.sleep(0.02)
        answers = await asyncio.gather(first, *(queue.ask([f"{number}a", f"{number}b"]) for number in range(5)))
        await queue.stop()
        return list(answers)

    answers = asyncio.run(run())
    assert batches == [1, 8, 2]
    assert [answer.label for answer in answers[3]] == ["2a", "2b"]


def test_a_request_of_many_texts_is_shared_among_the_workers() -> None:
    threads: set[str] = set()

    def answer(texts: Sequence[Text]) -> list[Prediction]:
        threads.add(threading.current_thread().name)
        return slow_answer(texts)

    async def run() -> list[Prediction]:
        queue = BatchingQueue(answer, batch=4, queue=100, workers=2)
        await queue.start()
        answers = await queue.ask([str(number) for number in range(16)])
        await queue.stop()
        return answers

    assert [answer.label for answer in asyncio.run(run())] == [str(number) for number in range(16)]
    assert len(threads) == 2


def test_a_full_queue_refuses_and_a_stop_answers_what_waits() -> None:
    async def run() -> list[list[Prediction]]:
        queue = BatchingQueue(slow_answer, batch=2, queue=4)
        await queue.start()
        waiting = [asyncio.create_task(queue.ask(["a", "b"]))]
        await asyncio.sleep(0.02)
        waiting += [asyncio.create_task(queue.ask(["a", "b"])) for _ in range(2)]
        await asyncio.sleep(0.01)  # two are with the model, four wait
        with pytest.raises(QueueFull, match="4 texts wait for the model and 4 may"):
            await queue.ask(["one more"])
        await queue.stop()
        return await asyncio.gather(*waiting)

    assert [len(answers) for answers in asyncio.run(run())] == [2, 2, 2]


def test_a_fault_of_the_model_is_that_of_its_requests_alone() -> None:
    def answer(texts: Sequence[Text]) -> list[Prediction]:
        if "bad" in texts:
            raise ValueError("bad text")
        return slow_answer(texts)

    async def run() -> list[Prediction]:
        queue = BatchingQueue(answer, batch=1, queue=10)
        await queue.start()
        with pytest.raises(ValueError, match="bad text"):
            await queue.ask(["bad"])
        answers = await queue.ask(["good"])
        await queue.stop()
        return answers

    assert asyncio.run(run())[0].label == "good"
