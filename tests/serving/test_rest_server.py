"""The REST interface as an ASGI application: bodies, compression, origins, metrics, time."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from serving.protocol.rest import METRICS_PATH
from serving.server import metrics
from serving.server.core import ServerCore
from serving.server.rest_server import Application, RestOptions
from serving.values import ModelRef, TensorSpec

PREDICT = "/v1/models/toy:predict"


def ask(core: ServerCore, method: str, path: str, **options: Any) -> httpx.Response:
    """Send one request; `server` holds fields of the options, the rest is httpx's."""
    application = Application(core, RestOptions(**options.pop("server", {})))

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


@pytest.fixture(scope="module")
def rows(toy_core: ServerCore) -> dict[str, Any]:
    """The body of a request that the toy model answers."""
    inputs = toy_core.get(ModelRef("toy")).servable.signatures["serving_default"].inputs
    return {"inputs": {name: _value(spec) for name, spec in inputs.items()}}


def _value(spec: TensorSpec) -> Any:
    value: Any = "text" if spec.type_name == "string" else 1
    for size in reversed(spec.shape or ()):
        value = [value] * (size or 2)
    return value


def test_a_compressed_body_is_unpacked(toy_core: ServerCore, rows: dict[str, Any]) -> None:
    plain = ask(toy_core, "POST", PREDICT, json=rows)
    packed = ask(
        toy_core,
        "POST",
        PREDICT,
        content=gzip.compress(json.dumps(rows).encode()),
        headers={"content-encoding": "gzip"},
    )
    assert plain.status_code == packed.status_code == 200
    assert plain.content == packed.content


@pytest.mark.parametrize("content", [b"not packed", gzip.compress(b"{}", mtime=0)[:-4]])
def test_what_cannot_be_unpacked_is_refused(toy_core: ServerCore, content: bytes) -> None:
    headers = {"content-encoding": "gzip"}
    response = ask(toy_core, "POST", PREDICT, content=content, headers=headers)
    assert response.status_code == 400
    assert "gzip" in response.json()["error"]


def test_a_body_may_not_be_too_long_packed_or_not(toy_core: ServerCore) -> None:
    content, server = b" " * 5000, {"max_body_bytes": 1000}
    plain = ask(toy_core, "POST", PREDICT, content=content, server=server)
    headers = {"content-encoding": "gzip"}
    packed = ask(
        toy_core, "POST", PREDICT, content=gzip.compress(content), headers=headers, server=server
    )
    assert plain.status_code == packed.status_code == 413
    assert plain.json() == {"error": "the body is longer than 1000 bytes"}
    assert packed.json() == {"error": "the body unpacked is longer than 1000 bytes"}


@pytest.mark.parametrize(
    ("accepted", "packed"), [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False)]
)
def test_long_answers_are_compressed_for_who_takes_it(
    toy_core: ServerCore, accepted: str, packed: bool
) -> None:
    response = ask(
        toy_core, "GET", "/v1/models/toy/metadata", headers={"accept-encoding": accepted}
    )
    assert len(response.content) > 1024
    assert (response.headers.get("content-encoding") == "gzip") == packed
    assert response.json()["model_spec"]["name"] == "toy"


def test_other_origins_are_let_in_only_when_told(toy_core: ServerCore) -> None:
    allowed = ask(toy_core, "GET", "/v1/models/toy", server={"cors": True})
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in ask(toy_core, "GET", "/v1/models/toy").headers
    origin = {"origin": "https://example.org"}
    assert ask(toy_core, "OPTIONS", PREDICT, headers=origin).status_code == 200
    assert ask(toy_core, "OPTIONS", PREDICT).status_code == 400


def test_the_metrics_are_where_they_were_put(toy_core: ServerCore) -> None:
    server = {"metrics_path": "/counts"}
    before = _count("request_count", model_name="toy", status="OK")
    ask(toy_core, "GET", "/v1/models/toy")
    page = ask(toy_core, "GET", "/counts", server=server)
    assert page.headers["content-type"].startswith("text/plain")
    assert _count("request_count", model_name="toy", status="OK") == before + 1
    assert "# TYPE :tensorflow:serving:request_count counter" in page.text.splitlines()
    assert ask(toy_core, "GET", METRICS_PATH, server=server).status_code == 404


def _count(name: str, **labels: str) -> float:
    """Return a number of the page of metrics; 0 if it is not there yet."""
    written = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    for line in metrics.exposition().decode().splitlines():
        sample, _, value = line.rpartition(" ")
        if sample == f":tensorflow:serving:{name}{{{written}}}":
            return float(value)
    return 0.0


def test_times_are_counted_in_microseconds(toy_core: ServerCore) -> None:
    labels = {"model_name": "counted", "API": "predict", "entrypoint": "REST"}
    metrics.answered("counted", "predict", "REST", None, 0.25)
    assert _count("request_latency_sum", **labels) == 250_000
    assert _count("request_latency_count", **labels) == 1


def test_an_answer_that_takes_too_long_is_not_waited_for(toy_core: ServerCore) -> None:
    class Slow:
        def status(self, _: Any) -> list[Any]:
            time.sleep(0.5)
            return []

    response = ask(Slow(), "GET", "/v1/models/toy", server={"timeout_ms": 50})
    assert response.status_code == 504
    assert response.json() == {"error": "the answer was not made within 0.05 s"}


def test_a_request_that_stalls_is_given_up(toy_core: ServerCore) -> None:
    application = Application(toy_core, RestOptions(timeout_ms=50))
    sent: list[Any] = []

    async def never() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"method": "POST", "raw_path": PREDICT.encode(), "query_string": b"", "headers": []}
    asyncio.run(application(scope, never, send))
    assert sent[0]["status"] == 408


async def _pieces(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def test_a_body_may_come_in_pieces(toy_core: ServerCore, rows: dict[str, Any]) -> None:
    content = json.dumps(rows).encode()
    whole = ask(toy_core, "POST", PREDICT, content=content)
    pieces = ask(toy_core, "POST", PREDICT, content=_pieces([content[:7], content[7:]]))
    assert whole.status_code == 200
    assert pieces.content == whole.content
