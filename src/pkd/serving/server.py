"""A small HTTP service around a classifier: /predict, /health, /metrics, and a page of its own interface at /docs."""

# no `from __future__ import annotations`: FastAPI reads the annotation of a model that is made inside a function
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.exceptions import HTTPException as StarletteHTTPException

from pkd._version import __version__
from pkd.serving.classifier import Classifier, Prediction
from pkd.serving.limits import Limits
from pkd.serving.measures import Measures
from pkd.serving.queueing import BatchingQueue, QueueFull

_SECONDS_TO_RETRY = "1"
_FAULTS_TOLD = 5
_LONGEST_TOLD = 200  # characters of what was asked for, in an answer
_PLACES = ("/predict", "/health", "/metrics", "/docs", "/openapi.json")  # in the order in which they are told


class Problem(BaseModel):
    """Why a request was not answered, in a sentence."""

    detail: str


class Answer(BaseModel):
    """What the classifier says of one text."""

    label: str = Field(description="the class; of sets the labels, parted by commas; of a score the score")
    probabilities: dict[str, float] = Field(description="of each class, or under `score` the score itself")
    labels: list[str] | None = Field(None, description="of sets of labels those above one half")


class Answers(BaseModel):
    """The answers, in the order of the texts."""

    predictions: list[Answer]


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
        classifier: what answers.
        limits: what is taken before a request is refused.
        workers: threads that call it at the same time.
    """
    limits = limits or Limits()
    measures = Measures()
    queue = BatchingQueue(
        classifier.answer, batch=limits.max_batch, queue=limits.max_queue, workers=workers,
        on_batch=measures.batch_answered,
    )  # fmt: skip
    measures.watch_queue(lambda: queue.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        classifier.answer(["warm up"])  # the first call allocates
        await queue.start()
        yield
        await queue.stop()

    app = FastAPIOffline(
        title=f"pkd: {classifier.model.name}",
        description="Classifies texts. " + _limits_in_words(limits),
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url="/docs/oauth2-redirect",
    )
    app.add_middleware(_BodyLimit, limit=limits.max_body)
    app.add_middleware(_Counted, measures=measures)
    _tell_problems_in_sentences(app, limits)
    _add_predict(app, queue, limits, measures)
    _add_looks(app, classifier, queue, measures)
    return app


def _add_predict(app: FastAPI, queue: BatchingQueue, limits: Limits, measures: Measures) -> None:
    text = Annotated[str, StringConstraints(max_length=limits.max_characters)]

    class Texts(BaseModel):
        """What to classify: texts, or pairs of texts."""

        model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"texts": ["a moving film"]}]})

        texts: Annotated[list[text | tuple[text, text]], Field(min_length=1, max_length=limits.max_texts)]

    problems: dict[int | str, dict[str, Any]] = {
        400: {"model": Problem, "description": "The body was not read to its end."},
        413: {"model": Problem, "description": f"The body is larger than {limits.max_body:,} bytes."},
        422: {"model": Problem, "description": "The body is not what is asked for."},
        429: {"model": Problem, "description": "Too many texts wait; try again after the seconds in Retry-After."},
    }

    @app.post("/predict", response_model=Answers, response_model_exclude_none=True, responses=problems)
    async def predict(request: Texts) -> Response:
        """Classify texts; requests that come at the same time are answered together."""
        try:
            predictions = await queue.ask(request.texts)
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
    answers = []
    for prediction in predictions:
        answer: dict[str, Any] = {"label": prediction.label, "probabilities": prediction.probabilities}
        if prediction.labels:
            answer["labels"] = prediction.labels
        answers.append(answer)
    return json.dumps({"predictions": answers}, ensure_ascii=False).encode()


def _limits_in_words(limits: Limits) -> str:
    return (
        f"At most {limits.max_texts:,} texts a request, {limits.max_characters:,} characters a text and "
        f"{limits.max_body:,} bytes a body."
    )


def _tell_problems_in_sentences(app: FastAPI, limits: Limits) -> None:
    """Every refusal is `{"detail": "..."}`; what was sent is not sent back, for it may not even be text."""

    @app.exception_handler(RequestValidationError)
    async def refuse_body(_: Request, error: RequestValidationError) -> Response:
        places: dict[Any, list[dict[str, Any]]] = {}
        for fault in error.errors():
            place = fault["loc"][:3]  # what follows names the kinds of text that were tried
            places.setdefault(place, []).append(fault)
        told = [_told(faults, limits) for faults in places.values()]
        return _problem(422, " ".join(told[:_FAULTS_TOLD]))

    @app.exception_handler(StarletteHTTPException)
    async def refuse(request: Request, error: StarletteHTTPException) -> Response:
        sentence = str(error.detail)
        if error.status_code in (404, 405):
            asked = f"{request.method} {request.url.path}"
            sentence = f"{asked[:_LONGEST_TOLD]} is not answered here. This service has {_answered(app)}."
        return _problem(error.status_code, sentence, dict(error.headers or {}))


def _answered(app: FastAPI) -> str:
    """What the service answers, e.g. "POST /predict, GET /health and GET /metrics"."""
    methods: dict[str, str] = {}
    for route in app.routes:
        path, known = getattr(route, "path", ""), sorted(getattr(route, "methods", None) or ())
        if path in _PLACES and known:
            methods[path] = "POST" if "POST" in known else "GET"
    *places, last = (f"{methods[path]} {path}" for path in _PLACES if path in methods)
    return f"{', '.join(places)} and {last}"


def _told(faults: list[dict[str, Any]], limits: Limits) -> str:
    """What is wrong at one place of a body, in a sentence."""
    kinds = {fault["type"]: fault for fault in faults}
    _, *place = faults[0]["loc"][:3]
    if "json_invalid" in kinds:
        return f"The body is not JSON: {kinds['json_invalid'].get('ctx', {}).get('error', 'it cannot be read')}."
    if not place:
        return 'The body must be a JSON object, as {"texts": ["a text"]}, sent as Content-Type: application/json.'
    where = ".".join(str(part) for part in place)
    if "extra_forbidden" in kinds:
        return f"{where} is not known; the only key is texts."
    if "missing" in kinds and len(place) == 1:
        return f'{where} is missing; send {{"texts": ["a text"]}}.'
    if len(place) == 1:  # the list itself
        if "too_short" in kinds:
            return f"{where} is empty; it must have a text or more."
        if "too_long" in kinds:
            return f"{where} has more than {limits.max_texts:,} texts, the most of a request; send them in several."
        return f'{where} must be a list of texts, as ["a text"].'
    if "string_too_long" in kinds:
        return f"{where} has more than {limits.max_characters:,} characters, the most of a text; cut it."
    if "string_unicode" in kinds:
        return f"{where} is not Unicode text: it holds half a character (a lone surrogate)."
    return f"{where} must be a text, or a list of two texts."


def _problem(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"detail": sentence}, ensure_ascii=True)
    return Response(body, status, headers, media_type="application/json")


class _BodyLimit:
    """Refuses a body as soon as it is known to be too large, without reading it to its end."""

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
    """Counts answers by path and status, and how long they took."""

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
