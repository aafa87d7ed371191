"""A small HTTP service around a classifier: /predict, /health, /metrics, and its API page at /docs."""

# no `from __future__ import annotations`: FastAPI reads the annotation of a model that is made inside a function
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from pkd._version import __version__
from pkd.data.choices import Question
from pkd.serving.classifier import Classifier, Prediction
from pkd.serving.limits import Limits
from pkd.serving.measures import Measures
from pkd.serving.queueing import BatchingQueue, QueueFull
from pkd.serving.requests import Body, QuestionsBody, TextsBody, told

_SECONDS_TO_RETRY = "1"
_LONGEST_TOLD = 200  # characters of the request that a response quotes
_WHAT = {(True, False): "Answers questions with choices. ", (False, True): "Finds spans of words in texts. "}
_PLACES = ("/predict", "/health", "/metrics", "/docs", "/openapi.json")  # in the order of messages


class Problem(BaseModel):
    """Why a request was not answered, in a sentence."""

    detail: str


class Answer(BaseModel):
    """What the classifier says of one text."""

    label: str = Field(
        description="the class; of sets the labels, parted by commas; of a score the score; of choices the letter"
    )
    choice: str | None = Field(None, description="of a question the choice itself")
    probabilities: dict[str, float] = Field(description="of each class or choice, or under `score` the score itself")
    labels: list[str] | None = Field(None, description="of sets of labels those above one half")


class Answers(BaseModel):
    """The answers, in the order of the texts or questions."""

    predictions: list[Answer]


class SpanFound(BaseModel):
    """A span of a text."""

    text: str
    label: str = Field(description="its type")
    start: int = Field(description="the index of its first character")
    end: int = Field(description="the index after its last character")
    score: float = Field(description="the mean probability of its words' tags")


class Spans(BaseModel):
    """What the model finds in one text."""

    spans: list[SpanFound]


class SpansOfTexts(BaseModel):
    """The spans of each text, in the order of the texts."""

    predictions: list[Spans]


class Health(BaseModel):
    """That the service answers, with what, and how many texts wait."""

    status: str
    model: str
    runtime: str
    device: str
    labels: list[str]
    waiting: int


def make_app(classifier: Classifier, limits: Limits | None = None, workers: int = 1) -> FastAPI:
    """The service as an ASGI application, for uvicorn or any other server.

    Args:
        classifier: the model.
        limits: beyond which a request is refused.
        workers: threads that call it in parallel.
    """
    limits = limits or Limits()
    measures = Measures()
    kind = classifier.model.kind
    questions = kind.has_choices
    body: Body = QuestionsBody(limits) if questions else TextsBody(limits, pairs=not kind.has_tokens)
    queue = BatchingQueue(
        classifier.answer, batch=limits.max_batch, queue=limits.max_queue, workers=workers,
        on_batch=measures.batch_answered,
    )  # fmt: skip
    measures.watch_queue(lambda: queue.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        classifier.answer([Question("warm up", ("a", "b")) if questions else "warm up"])  # the first call allocates
        await queue.start()
        yield
        await queue.stop()

    app = FastAPIOffline(
        title=f"pkd: {classifier.model.name}",
        description=_WHAT.get((kind.has_choices, kind.has_tokens), "Classifies texts. ") + _limits_in_words(limits),
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url="/docs/oauth2-redirect",
    )
    app.add_middleware(_BodyLimit, limit=limits.max_body)
    app.add_middleware(_Counted, measures=measures)
    _tell_problems_in_sentences(app, body)
    _add_predict(app, queue, body, SpansOfTexts if kind.has_tokens else Answers, measures)
    _add_looks(app, classifier, queue, measures)
    return app


def _add_predict(app: FastAPI, queue: BatchingQueue, body: Body, answers: type[BaseModel], measures: Measures) -> None:
    taken: Any = body.type
    problems: dict[int | str, dict[str, Any]] = {
        400: {"model": Problem, "description": "The body was not read to its end."},
        413: {"model": Problem, "description": f"The body is larger than {body.limits.max_body:,} bytes."},
        422: {"model": Problem, "description": "The body is not what is asked for."},
        429: {"model": Problem, "description": "Too many texts wait; try again after the seconds in Retry-After."},
    }

    @app.post("/predict", response_model=answers, response_model_exclude_none=True, responses=problems)
    async def predict(request: taken) -> Response:
        """Answer a request; those that come at the same time are answered together."""
        try:
            predictions = await queue.ask(body.texts(request))
        except QueueFull as full:
            raise HTTPException(429, str(full), {"Retry-After": _SECONDS_TO_RETRY}) from full
        measures.texts_answered(len(predictions))
        return Response(_as_json(predictions), media_type="application/json")


def _add_looks(app: FastAPI, classifier: Classifier, queue: BatchingQueue, measures: Measures) -> None:
    model = classifier.model

    @app.get("/health", response_model=Health)
    async def health() -> Health:
        """Whether the service answers."""
        return Health(
            status="ok",
            model=model.name,
            runtime=model.runtime,
            device=model.device,
            labels=list(model.label_names),
            waiting=queue.waiting,
        )

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counts and times, as Prometheus reads them."""
        return Response(measures.exposition(), headers={"Content-Type": measures.content_type})


def _as_json(predictions: list[Prediction]) -> bytes:
    answers: list[dict[str, Any]] = []
    for prediction in predictions:
        if prediction.spans is not None:
            answers.append({"spans": [dataclasses.asdict(span) for span in prediction.spans]})
            continue
        answer: dict[str, Any] = {"label": prediction.label, "probabilities": prediction.probabilities}
        if prediction.choice is not None:
            answer["choice"] = prediction.choice
        if prediction.labels:
            answer["labels"] = prediction.labels
        answers.append(answer)
    return json.dumps({"predictions": answers}, ensure_ascii=False).encode()


def _limits_in_words(limits: Limits) -> str:
    return (
        f"At most {limits.max_texts:,} texts a request, {limits.max_characters:,} characters a text and "
        f"{limits.max_body:,} bytes a body."
    )


def _tell_problems_in_sentences(app: FastAPI, body: Body) -> None:
    """Every refusal is `{"detail": "..."}`, without echoing the input, which may not even be text."""

    @app.exception_handler(RequestValidationError)
    async def refuse_body(_: Request, error: RequestValidationError) -> Response:
        return _problem(422, told(error.errors(), body))

    @app.exception_handler(StarletteHTTPException)
    async def refuse(request: Request, error: StarletteHTTPException) -> Response:
        sentence = str(error.detail)
        if error.status_code in (404, 405):
            asked = f"{request.method} {request.url.path}"
            sentence = f"{asked[:_LONGEST_TOLD]} is not answered here. This service has {_answered(app)}."
        return _problem(error.status_code, sentence, dict(error.headers or {}))


def _answered(app: FastAPI) -> str:
    """The service's endpoints, e.g. "POST /predict, GET /health and GET /metrics"."""
    methods: dict[str, str] = {}
    for route in app.routes:
        path, known = getattr(route, "path", ""), sorted(getattr(route, "methods", None) or ())
        if path in _PLACES and known:
            methods[path] = "POST" if "POST" in known else "GET"
    *places, last = (f"{methods[path]} {path}" for path in _PLACES if path in methods)
    return f"{', '.join(places)} and {last}"


def _problem(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"detail": sentence}, ensure_ascii=True)
    return Response(body, status, headers, media_type="application/json")


class _BodyLimit:
    """Refuses a body as soon as it is too large, without reading it to its end."""

    def __init__(self, app: Any, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        too_large = f"The body has more than {self.limit:,} bytes. Send the texts in several requests."
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.limit:
            await _problem(413, too_large)(scope, receive, send)
            return
        read = 0

        async def receive_some() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.limit:
                raise HTTPException(413, too_large)
            return message

        await self.app(scope, receive_some, send)


class _Counted:
    """Counts responses by path and status, and their seconds."""

    def __init__(self, app: Any, measures: Measures) -> None:
        self.app = app
        self.measures = measures

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def send_counted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        finally:
            self.measures.request_answered(scope["path"], status, time.perf_counter() - began)
