"""Requests that nobody meant to send are refused, and are never the server's own fault."""

from __future__ import annotations

import json
import random
from typing import Any

from serving import errors
from serving.server.core import ServerCore
from serving.server.grpc_api import SERVICES, answer
from serving.server.rest_api import RestApi
from tests.serving.official import predict_request

ROUNDS = 1500


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return the content with a few bytes changed, removed, or said twice."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randint(1, 8)]
            case 2:
                changed[at:at] = chance.choice([b"[", b"]", b"{", b"}", b"\xff", b"1e9", b"-"])
            case 3:
                changed[at:at] = changed[at : at + chance.randint(1, 16)]
    return bytes(changed)


def documents() -> list[bytes]:
    """Return JSON requests that are right."""
    bodies: list[Any] = [
        {"instances": ["a", {"b64": "/w=="}]},
        {"inputs": {"text": ["a", "é"]}, "signature_name": "serving_default"},
        {"instances": [1, 2.5, -3e2], "signature_name": "half"},
        {"inputs": {"x": [[1, 2]], "factor": 2}, "signature_name": "scale"},
    ]
    return [json.dumps(body, ensure_ascii=False).encode() for body in bodies]


def test_json(toy_core: ServerCore) -> None:
    chance, api = random.Random(0), RestApi(toy_core)
    statuses = set()
    for _ in range(ROUNDS):
        body = mutated(chance.choice(documents()), chance)
        status, text = api.answer("POST", "/v1/models/toy:predict", body)
        text.encode(errors="surrogateescape")
        statuses.add(status)
        assert status < 500, (body, text)
    assert {200, 400} <= statuses


def test_paths(toy_core: ServerCore) -> None:
    chance, api = random.Random(0), RestApi(toy_core)
    paths = [b"/v1/models/toy", b"/v1/models/toy/versions/1/metadata", b"/v1/models/toy:predict"]
    for _ in range(ROUNDS):
        path = mutated(chance.choice(paths), chance).decode("latin-1")
        for method in ("GET", "POST"):
            status, text = api.answer(method, path, b"{}")
            assert status < 500, (path, text)


def test_protobuf(toy_core: ServerCore) -> None:
    chance, method = random.Random(0), SERVICES["tensorflow.serving.PredictionService"]["Predict"]
    requests = [
        predict_request("", text=["a", "long enough"]),
        predict_request(x=[1.0, 2.0]),
        predict_request("scale", x=[[1.0, 2.0]], factor=0.5),
    ]
    answered = refused = 0
    for _ in range(ROUNDS):
        content = mutated(chance.choice(requests).SerializeToString(), chance)
        try:
            answer(toy_core, "Predict", method, content)
            answered += 1
        except errors.RequestRefused as error:
            errors.message_of(error)
            refused += 1
    assert answered and refused
