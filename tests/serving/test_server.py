"""The service as a process of its own, asked over real sockets."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from conftest import make_reviews
from pkd.cli.main import main
from pkd.serving.classifier import Classifier
from serving.exported import Exported

OBJECT = 'The body must be a JSON object, as {"texts": ["a text"]}, sent as Content-Type: application/json.'
LIMITS = ("--max-body", "20000", "--max-texts", "5", "--max-characters", "200", "--workers", "2")


def start(folder: Path, *given: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pkd", "serve", str(folder), "--port", "0", *given], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://[\d.:]+", line)
    assert found, line
    url = found.group(0)
    for _ in range(600):
        try:
            ask(f"{url}/health")
        except OSError:
            time.sleep(0.1)
        else:
            return process, url
    raise AssertionError("the server does not answer")


@pytest.fixture(scope="module")
def server(exported: Exported) -> Iterator[str]:
    process, url = start(exported.int8, *LIMITS)
    yield url
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def ask(url: str, body: bytes | None = None, method: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def predict(url: str, texts: list[Any]) -> tuple[int, Any]:
    status, body = ask(f"{url}/predict", json.dumps({"texts": texts}).encode())
    return status, json.loads(body)


def test_64_clients_at_a_time_get_the_answers_of_the_classifier(server: str, exported: Exported) -> None:
    texts = [text for text, _ in make_reviews(128, seed=13)]
    expected = {answer.text: answer for answer in Classifier.load(exported.int8)(texts)}
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda text: predict(server, [text]), texts))
    for text, (status, answer) in zip(texts, answers, strict=True):
        assert status == 200
        assert answer["predictions"][0]["label"] == expected[text].label
        # int8 rounds by the range of all that is in a batch, so that a text's neighbours move it a little
        assert answer["predictions"][0]["probabilities"] == pytest.approx(expected[text].probabilities, abs=0.03)


def test_pairs_and_single_texts_may_come_together(server: str) -> None:
    status, answer = predict(server, ["a great film", ["a film", "an awful plot"]])
    assert status == 200
    assert len(answer["predictions"]) == 2


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 422, OBJECT),
        (b"nonsense", 422, "The body is not JSON: Expecting value."),
        (b'"text"', 422, OBJECT),
        (b'{"texts": []}', 422, "texts is empty; it must have a text or more."),
        (b'{"texts": "a film"}', 422, 'texts must be a list of texts, as ["a text"].'),
        (b'{"texts": ["a","b","c","d","e","f"]}', 422,
         "texts has more than 5 texts, the most of a request; send them in several."),
        (b'{"texts": [1, "a", null]}', 422,
         "texts.0 must be a text, or a list of two texts. texts.2 must be a text, or a list of two texts."),
        (b'{"texts": [["a","b","c"]]}', 422, "texts.0 must be a text, or a list of two texts."),
        (b'{"texts": [["a"]]}', 422, "texts.0 must be a text, or a list of two texts."),
        (b'{"text": ["a"]}', 422, 'texts is missing; send {"texts": ["a text"]}. text is not known; the only key is texts.'),
        (b'{"texts": ["\\ud800"]}', 422, "texts.0 is not Unicode text: it holds half a character (a lone surrogate)."),
        (b'{"texts": ["' + b"a" * 201 + b'"]}', 422, "texts.0 has more than 200 characters, the most of a text; cut it."),
        (b'{"texts": [["a", "' + b"a" * 201 + b'"]]}', 422,
         "texts.0 has more than 200 characters, the most of a text; cut it."),
        (b'{"texts": ["' + b"a" * 30000 + b'"]}', 413,
         "The body has more than 20,000 bytes. Send the texts in several requests."),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_refused_in_a_sentence(server: str, body: bytes, status: int, sentence: str) -> None:
    got, told = ask(f"{server}/predict", body)
    assert (got, json.loads(told)["detail"]) == (status, sentence)


def test_a_body_that_does_not_say_its_length_is_cut_off_at_the_limit(server: str) -> None:
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"7530\r\n" + b"a" * 0x7530 + b"\r\n")
        assert b"413" in connection.recv(4096).splitlines()[0]


def test_the_server_tells_how_it_is(server: str) -> None:
    predict(server, ["a great film"])
    status, body = ask(f"{server}/health")
    health = json.loads(body)
    assert (status, health["status"], health["runtime"], health["labels"]) == (
        200, "ok", "onnx", ["negative", "positive"],
    )  # fmt: skip
    _, measures = ask(f"{server}/metrics")
    assert re.search(r'pkd_requests_total\{path="/predict",status="200"\} [1-9]', measures)
    assert "pkd_batch_texts_bucket" in measures


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/nowhere?x=1", 404), ("GET", "/predict", 405)]
)
def test_what_is_asked_for_and_is_not_there_is_told_with_what_is(
    server: str, method: str, path: str, status: int
) -> None:
    got, told = ask(server + path, method=method)
    assert (got, json.loads(told)) == (
        status,
        {
            "detail": f"{method} {path.partition('?')[0]} is not answered here. This service has POST /predict, GET "
            "/health, GET /metrics, GET /docs and GET /openapi.json."
        },
    )


def test_the_page_of_its_interface_needs_no_network(server: str) -> None:
    status, page = ask(f"{server}/docs")
    assert status == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses
    for address in addresses:
        assert address.startswith("/"), address
        assert ask(f"{server}{address}".replace("favicon.png", "swagger-ui.css"))[0] == 200


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_it_does_what_its_own_description_says_whatever_is_sent(server: str, mode: GenerationMode) -> None:
    """Schemathesis makes requests of the description, right ones or wrong ones, and holds every answer to it."""
    asked = []
    for found in schemathesis.openapi.from_url(f"{server}/openapi.json").get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue  # without parameters there is nothing to get wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        def hold(case: Any) -> None:
            case.call_and_validate()

        hold()
        asked.append(operation.path)
    assert "/predict" in asked


def test_a_stop_answers_what_was_accepted_and_ends_with_0(exported: Exported) -> None:
    process, url = start(exported.int8, "--max-texts", "4000", "--max-queue", "4000", "--workers", "1")
    texts = [text for text, _ in make_reviews(80, seed=15)] * 50
    answers: list[tuple[int, Any]] = []
    client = threading.Thread(target=lambda: answers.append(predict(url, texts)))
    client.start()
    while json.loads(ask(f"{url}/health")[1])["waiting"] == 0 and not answers:
        time.sleep(0.01)
    in_flight = not answers
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    client.join(60)
    assert in_flight
    status, answer = answers[0]
    assert (status, len(answer["predictions"])) == (200, 4000)
    with pytest.raises(OSError, match="refused"):
        ask(f"{url}/health")


def test_a_taken_port_and_limits_that_cannot_be_are_told(
    server: str, exported: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    port = server.rsplit(":", 1)[1]
    assert main(["serve", str(exported.int8), "--port", port]) == 2
    assert "cannot be listened at" in capsys.readouterr().err
    for host in ("a\0b", 70 * "é"):
        assert main(["serve", str(exported.int8), "--host", host]) == 2
        assert "cannot be listened at" in capsys.readouterr().err
    assert main(["serve", str(exported.int8), "--device", "foo", "--port", "0"]) == 2
    assert "--device is foo; it must be auto, cpu or cuda\n" in capsys.readouterr().err
    assert main(["serve", str(exported.int8), "--max-texts", str(10**30), "--port", "0"]) == 2
    assert "--max-texts" in capsys.readouterr().err
    assert main(["serve", str(exported.int8), "--max-queue", "10", "--port", "0"]) == 2
    assert "would never fit into the queue" in capsys.readouterr().err
