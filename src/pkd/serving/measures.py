"""A server's Prometheus metrics: counts and times of requests, texts and the model's batches."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_PATHS = ("/predict", "/health", "/metrics", "/docs", "/openapi.json")  # any other counts as "other": no end of labels
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Measures:
    """The figures of one server, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "pkd_requests_total", "answers by path and status", ["path", "status"], registry=registry
        )
        self._texts = Counter("pkd_texts_total", "texts classified", registry=registry)
        self._seconds = Histogram(
            "pkd_request_seconds", "seconds from a request to its answer", ["path"], buckets=_SECONDS, registry=registry
        )
        self._batch = Histogram(
            "pkd_batch_texts", "texts the model answered at a time", buckets=_TEXTS, registry=registry
        )
        self._model = Histogram(
            "pkd_model_seconds", "seconds of the model a batch", buckets=_SECONDS, registry=registry
        )
        self._queue = Gauge("pkd_waiting_texts", "texts that wait for the model", registry=registry)

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Call `waiting` for the number of queued texts whenever the figures are read."""
        self._queue.set_function(waiting)

    def request_answered(self, path: str, status: int, seconds: float) -> None:
        """Count a response."""
        known = path if path in _PATHS else "other"
        self._requests.labels(known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)

    def batch_answered(self, texts: int, seconds: float) -> None:
        """Count a call of the model."""
        self._batch.observe(texts)
        self._model.observe(seconds)

    def texts_answered(self, texts: int) -> None:
        """Count texts whose predictions were sent."""
        self._texts.inc(texts)

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)
