"""Broken files and bad clients: the server goes on, and everyone else gets the right answer."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from tests.serving.conformance.calls import (
    AVAILABLE,
    END,
    answer,
    half,
    predict,
    predict_request,
    spec,
    states,
    status,
)
from tests.serving.conformance.conftest import Started, add_version
from tests.serving.conformance.process import Server, wait_until

PREDICTION = "/tensorflow.serving.PredictionService/"
MODELS = "/tensorflow.serving.ModelService/"
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
"""What no request may bring about, however bad it is."""


@pytest.fixture(scope="module")
def base(half_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base path with a good version 1."""
    base = tmp_path_factory.mktemp("base")
    add_version(base, 1, half_base / "1")
    return base


@pytest.fixture(scope="module")
def server(start: Started, base: Path) -> Server:
    """A server of that base path, which tries nothing twice."""
    return start(
        model_name="half",
        model_base_path=base,
        max_num_load_retries=0,
        file_system_poll_wait_seconds=1,
    ).wait()


class TestBrokenVersions:
    """Version 1 answers while one broken version after the other comes."""

    @pytest.mark.parametrize(
        ("version", "file", "keep"),
        [
            (2, "saved_model.pb", 0.0),
            (3, "saved_model.pb", 0.5),
            (4, "variables/variables.data-00000-of-00001", 0.0),
            (5, "variables/variables.index", 0.5),
        ],
    )
    def test_half_copied_files_are_told_and_harm_nothing(
        self, server: Server, base: Path, tmp_path: Path, version: int, file: str, keep: float
    ):
        shutil.copytree(base / "1", tmp_path / "copy")
        content = (tmp_path / "copy" / file).read_bytes()
        (tmp_path / "copy" / file).write_bytes(content[: int(len(content) * keep)])
        add_version(base, version, tmp_path / "copy")
        wait_until(lambda: states(server, "half").get(version) == END)
        told = status(server, spec("half", version=version))[0].status
        assert told.error_code != 0 and told.error_message
        assert states(server, "half")[1] == AVAILABLE
        assert half(server) == 2.0

    def test_garbage_is_told_and_harms_nothing(self, server: Server, base: Path, tmp_path: Path):
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / "saved_model.pb").write_bytes(b"broken" * 1000)
        add_version(base, 6, tmp_path / "copy")
        wait_until(lambda: states(server, "half").get(6) == END)
        assert half(server) == 2.0


class TestStalls:
    def test_clients_that_stall_hold_nobody_up(self, first: Server):
        body = json.dumps({"instances": [2.0]})
        request = (
            f"POST /v1/models/half:predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
            f"\r\n{body}"
        ).encode()
        with ExitStack() as stalled:
            for cut in range(0, len(request), 2):
                address = ("127.0.0.1", first.rest_port)
                connection = stalled.enter_context(socket.create_connection(address))
                connection.sendall(request[:cut])
            preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            for cut in range(len(preface)):
                address = ("127.0.0.1", first.port)
                connection = stalled.enter_context(socket.create_connection(address))
                connection.sendall(preface[:cut])
            assert answer(first.post("/v1/models/half:predict", body)) == {"predictions": [4.0]}
            assert half(first) == 4.0

    def test_clients_that_go_away_harm_nobody(self, first: Server):
        request = predict_request(spec("probe", "hold"), seconds=[1.0])
        for _ in range(8):
            first.predictor.Predict.future(request).cancel()
            with socket.create_connection(("127.0.0.1", first.rest_port)) as connection:
                connection.sendall(b"POST /v1/models/half:predict HTTP/1.1\r\nContent-Le")
        assert half(first) == 4.0

    @pytest.mark.parametrize(
        "content",
        [
            b"\r\n\r\n",
            b"nothing that HTTP knows\r\n\r\n",
            b"POST /v1/models/half:predict HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
            b"POST /v1/models/half:predict HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
            bytes(range(256)) * 16,
        ],
        ids=["blank", "text", "negative", "no length", "long path", "long header", "bytes"],
    )
    def test_what_is_no_http_harms_nobody(self, first: Server, content: bytes):
        for port in (first.rest_port, first.port):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.settimeout(5)
                try:
                    connection.sendall(content)
                    connection.shutdown(socket.SHUT_WR)
                    told = connection.recv(1000)
                except OSError:  # closed at once, or left waiting for the rest
                    told = b""
            assert not told.startswith(b"HTTP/1.1 500")
        assert half(first) == 4.0


@pytest.fixture
def bystander(first: Server) -> Iterator[None]:
    """A client that asks good questions all the time, and checks every answer."""
    stop, failures = threading.Event(), []

    def ask() -> None:
        number = 0.0
        while not stop.is_set():
            number += 1.0
            got = predict(first, spec("half", version=1), x=[number])["y"].tolist()
            body = {"instances": [number]}
            told = first.post("/v1/models/half/versions/2:predict", body).json()
            if got != [number / 2 + 1] or told != {"predictions": [number / 2 + 2]}:
                failures.append((number, got, told))

    asking = threading.Thread(target=ask)
    asking.start()
    yield
    stop.set()
    asking.join()
    assert not failures, failures[:3]
    assert first.process.poll() is None


def valid_messages() -> list[tuple[str, bytes]]:
    """Return a good request to each method, as a path and a serialized message."""
    about = spec("probe", "regress")
    example = {"features": {"feature": {"x": {"float_list": {"value": [2.0]}}}}}
    rows = {"example_list": {"examples": [example]}}
    two = predict_request(spec("probe", "two"), output_filter=["sum"], a=[1.0], b=[2.0])
    text = predict_request(spec("probe", "text", version=1), text=[b"one", b"\xff"])
    task = {"model_spec": about, "method_name": "tensorflow/serving/regress"}
    metadata = {"model_spec": spec("half", label="stable"), "metadata_field": ["signature_def"]}
    messages: list[tuple[str, Any]] = [
        (f"{PREDICTION}Predict", two),
        (f"{PREDICTION}Predict", text),
        (f"{PREDICTION}Regress", regression_pb2.RegressionRequest(model_spec=about, input=rows)),
        (
            f"{PREDICTION}Classify",
            classification_pb2.ClassificationRequest(
                model_spec=spec("probe", "classify"), input=rows
            ),
        ),
        (
            f"{PREDICTION}MultiInference",
            inference_pb2.MultiInferenceRequest(tasks=[task], input=rows),
        ),
        (
            f"{PREDICTION}GetModelMetadata",
            get_model_metadata_pb2.GetModelMetadataRequest(**metadata),
        ),
        (
            f"{MODELS}GetModelStatus",
            get_model_status_pb2.GetModelStatusRequest(model_spec=spec("half", version=1)),
        ),
    ]
    return [(path, message.SerializeToString()) for path, message in messages]


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """Return bytes with a few of them changed, left out, put in or doubled."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 8)))
        new = draw(st.one_of(st.binary(max_size=4), st.just(content[start:stop] * 2)))
        content = content[:start] + new + content[stop:]
    return content


MESSAGES = st.sampled_from(valid_messages()).flatmap(
    lambda each: st.tuples(st.just(each[0]), mutated(each[1]))
)
BODIES = st.sampled_from(
    [
        ("half:predict", '{"instances": [1.0, 2.0]}'),
        ("probe:predict", '{"signature_name": "two", "inputs": {"a": [1.0], "b": [2.5e0]}}'),
        ("probe:predict", '{"signature_name": "text", "instances": ["a", {"b64": "YQ=="}]}'),
        ("probe:predict", '{"signature_name": "integer", "instances": [9007199254740993, -1]}'),
        ("probe:classify", '{"signature_name": "classify", "examples": [{"x": 1.0}]}'),
        ("probe:regress", '{"signature_name": "regress", "context": {}, "examples": [{"x": 2.0}]}'),
    ]
).flatmap(lambda each: st.tuples(st.just(each[0]), mutated(each[1].encode())))

TRUSTED = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
FEW = settings(max_examples=150, **TRUSTED)
MANY = settings(max_examples=5000, **TRUSTED)


def send_message(server: Server, path: str, content: bytes) -> None:
    """Send bytes to a method, and check that they bring about no fault.

    Only of the reference it is taken that bytes that are no message are INTERNAL: gRPC's own
    code for C++ has it so.
    """
    call = server.channel.unary_unary(path)
    try:
        call(content, timeout=30)
    except grpc.RpcError as error:
        if error.code() in FAULTS:
            assert server.executable.is_reference and not parses(path, content), error


def parses(path: str, content: bytes) -> bool:
    """Return whether bytes are a message of the method's type."""
    requests = {
        "Predict": predict_pb2.PredictRequest,
        "Regress": regression_pb2.RegressionRequest,
        "Classify": classification_pb2.ClassificationRequest,
        "MultiInference": inference_pb2.MultiInferenceRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
        "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    }
    try:
        requests[path.rsplit("/")[-1]].FromString(content)
    except Exception:  # whatever the decoder raises
        return False
    return True


def send_body(server: Server, path: str, content: bytes) -> None:
    """Send a body, and check that it brings about no fault."""
    response = server.post(f"/v1/models/{path}", content)
    assert response.status_code in {200, 400, 404}, response.text
    # Text comes back byte for byte, whether it is UTF-8 or not.
    assert len(json.loads(response.content.decode(errors="replace"))) == 1


@pytest.mark.usefixtures("bystander")
class TestMutatedRequests:
    @FEW
    @given(message=MESSAGES)
    def test_messages_bring_about_no_fault(self, first: Server, message: tuple[str, bytes]):
        send_message(first, *message)

    @FEW
    @given(body=BODIES)
    def test_bodies_bring_about_no_fault(self, first: Server, body: tuple[str, bytes]):
        send_body(first, *body)

    @pytest.mark.slow
    @pytest.mark.timeout(1800)
    @MANY
    @given(message=MESSAGES)
    def test_thousands_of_messages_do_not_either(self, first: Server, message: tuple[str, bytes]):
        send_message(first, *message)

    @pytest.mark.slow
    @pytest.mark.timeout(1800)
    @MANY
    @given(body=BODIES)
    def test_nor_thousands_of_bodies(self, first: Server, body: tuple[str, bytes]):
        send_body(first, *body)
