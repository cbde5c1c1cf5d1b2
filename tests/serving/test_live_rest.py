"""The running server, asked by plain HTTP: JSON, statuses and messages."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.server import RunningServer
from serving.server.addresses import bind


@pytest.fixture(scope="module")
def http(toy_server: RunningServer) -> Iterator[httpx.Client]:
    """An HTTP client of the server."""
    with httpx.Client(base_url=toy_server.rest_url, trust_env=False) as client:
        yield client


def post(http: httpx.Client, body: Any, path: str = "/v1/models/toy:predict") -> Any:
    """Return the parsed answer to a request that succeeds."""
    response = http.post(path, content=body if isinstance(body, bytes) else json.dumps(body))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def test_one_unnamed_tensor_by_row_and_by_column(http: httpx.Client) -> None:
    half = {"signature_name": "half"}
    assert post(http, half | {"instances": [1, 2]}) == {"predictions": [2.5, 3.0]}
    assert post(http, half | {"instances": [{"x": 1}]}) == {"predictions": [2.5]}
    assert post(http, half | {"inputs": [1, 2]}) == {"outputs": [2.5, 3.0]}
    assert post(http, half | {"inputs": {"x": [1]}}) == {"outputs": [2.5]}
    assert post(http, half | {"instances": [1]}, "/v1/models/toy/versions/1:predict")


def test_several_named_tensors(http: httpx.Client) -> None:
    encoded = base64.b64encode("é".encode()).decode()
    rows = post(http, {"instances": ["a", {"b64": encoded}]})["predictions"]
    assert rows[0] == {
        "label": "short",
        "length": 1,
        "probabilities": [1.0, 0.0],
        "status": "",
        "text_bytes": {"b64": "YQ=="},
        "text_plain": "a",
    }
    assert rows[1]["text_plain"] == "é"
    columns = post(http, {"inputs": {"text": ["a", "é"]}})["outputs"]
    assert columns == {name: [row[name] for row in rows] for name in rows[0]}


def test_text_that_is_not_utf8_comes_back_as_it_is(http: httpx.Client) -> None:
    response = http.post("/v1/models/toy:predict", content=b'{"instances": ["\xff"]}')
    assert b'"text_plain": "\xff"' in response.content


def test_numbers_beyond_json(http: httpx.Client) -> None:
    body = b'{"signature_name": "half", "instances": [NaN, Infinity, -Infinity]}'
    response = http.post("/v1/models/toy:predict", content=body)
    assert "[NaN, Infinity, -Infinity" in response.text


def test_status_over_rest(http: httpx.Client) -> None:
    expected = {
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for path in ("/v1/models/toy", "/v1/models/toy/versions/1", "/V1/Models/toy"):
        assert http.get(path).json() == expected


def test_metadata_over_rest(http: httpx.Client) -> None:
    metadata = http.get("/v1/models/toy/metadata").json()
    assert metadata["model_spec"] == {"name": "toy", "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["half"]["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
        "name": "half_x:0",
    }
    assert http.get("/v1/models/toy/versions/1/metadata").json() == metadata


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        (
            "POST",
            "/v1/models/nobody:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Latest(nobody)",
        ),
        (
            "POST",
            "/v1/models/toy/versions/5:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(toy, 5)",
        ),
        (
            "POST",
            "/v1/models/toy/labels/x:predict",
            {"instances": [1]},
            400,
            "Unrecognized servable version label: x",
        ),
        (
            "POST",
            "/v1/models/toy:predict",
            {"signature_name": "nothing", "instances": [1]},
            400,
            'Serving signature name: "nothing" not found in signature def',
        ),
        ("POST", "/v1/models/toy:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        (
            "POST",
            "/v1/models/toy:predict",
            {"signature_name": "pick", "instances": [3]},
            400,
            "indices[0] = 3 is not in [0, 3)",
        ),
        (
            "POST",
            "/v1/models/toy:predict",
            {"signature_name": "scale", "inputs": {"x": [[1, 2]], "factor": 1}, "instances": []},
            400,
            None,
        ),
        (
            "POST",
            "/v1/models/toy:classify",
            {"examples": []},
            400,
            None,
        ),
        ("POST", "/v1/models/toy", {}, 400, "Malformed request: POST /v1/models/toy"),
        ("PUT", "/v1/models/toy", {}, 400, "Malformed request: PUT /v1/models/toy"),
        ("GET", "/v1/models", None, 400, "Missing model name in request."),
        ("GET", "/v1/nothing", None, 400, "Malformed request: GET /v1/nothing"),
        ("GET", "/v1/models/no", None, 404, "Could not find any versions of model no"),
        (
            "GET",
            "/v1/models/toy/versions/5",
            None,
            404,
            "Could not find version 5 of model toy",
        ),
        (
            "GET",
            "/v1/models/toy/versions/99999999999999999999",
            None,
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        (
            "GET",
            "/v1/models/..%2F..%2Fetc",
            None,
            404,
            "Could not find any versions of model ../../etc",
        ),
    ],
)
def test_rest_errors(
    http: httpx.Client, method: str, path: str, body: Any, status: int, message: str | None
) -> None:
    response = http.request(method, path, json=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    assert message in (None, response.json()["error"])


def test_paths_outside_of_the_interface(http: httpx.Client) -> None:
    assert http.get("/").status_code == 404


def test_what_the_graph_says_of_an_input_is_the_answer(http: httpx.Client) -> None:
    body = {"signature_name": "spin", "instances": [1]}
    response = http.post("/v1/models/toy:predict", json=body)
    assert response.status_code == 400
    assert response.json() == {"error": "The second input must be a scalar, but it has shape [1]"}


def test_answers_are_not_held_back() -> None:
    # asyncio sends at once only on sockets that name their protocol.
    with bind("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
