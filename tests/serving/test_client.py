"""What the client does before and after the transport, with a function in the model's place."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import grpc
import numpy as np
import pytest

from serving import errors
from serving.async_client import AsyncClient
from serving.client import (
    Call,
    Client,
    MockTransport,
    Retries,
    Signature,
    TensorSpec,
    VersionStatus,
)
from serving.protocol import messages

ONCE = Retries(attempts=1)
AT_ONCE = Retries(first_pause=0.0)

TEXT = Signature(
    {"text": TensorSpec.of("object", None)},
    {"label": TensorSpec.of("object", None), "status": TensorSpec.of("object", None)},
)
MIXED = Signature(
    {
        "x": TensorSpec.of("float32", None, 2),
        "n": TensorSpec.of("int32", None),
        "flag": TensorSpec.of("bool", None),
    },
    {"y": TensorSpec.of("float32", None)},
)


def client(handler: Callable[[Call], dict[str, np.ndarray]]) -> Client:
    """Return a client of a model with the two signatures above."""
    return Client(MockTransport(handler, {"serving_default": TEXT, "mixed": MIXED}), "toy")


def sent(*args: object, **kwargs: object) -> dict[str, np.ndarray]:
    """Return the inputs that reach the transport."""
    calls: list[Call] = []

    def handler(call: Call) -> dict[str, np.ndarray]:
        calls.append(call)
        return {}

    client(handler).predict(*args, **kwargs)
    return dict(calls[0].inputs)


def text_answer(*status: str) -> Callable[[Call], dict[str, np.ndarray]]:
    """Return a handler whose `status` output is this."""
    label = np.array([b"\xff\x00" if each else "é".encode() for each in status], object)
    return lambda call: {"label": label, "status": np.array(status, object)}


def test_inputs_come_by_name_as_a_mapping_or_alone() -> None:
    for inputs in (sent(text=["a"]), sent({"text": ["a"]}), sent(["a"]), sent(np.array(["a"]))):
        assert inputs["text"].tolist() == ["a"] and inputs["text"].dtype == object


def test_inputs_take_the_signatures_types() -> None:
    inputs = sent(x=[[1, 2]], n=np.array([3], np.int64), flag=[True], signature="mixed")
    assert {name: array.dtype.name for name, array in inputs.items()} == {
        "x": "float32",
        "n": "int32",
        "flag": "bool",
    }


def test_empty_lists_take_any_type() -> None:
    inputs = sent(x=np.zeros((0, 2)), n=[], flag=[], signature="mixed")
    assert inputs["n"].dtype == np.int32 and inputs["x"].shape == (0, 2)
    assert sent(text=[])["text"].shape == (0,)


def test_zero_bytes_at_the_end_of_a_text_are_kept() -> None:
    assert sent(text=[b"a\0", "b\0"])["text"].tolist() == [b"a\0", "b\0"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"txt": ["a"]}, "unknown input 'txt'; did you mean 'text'\\? \\(known: text\\)"),
        ({}, "missing input 'text' \\(given: \\[\\]\\)"),
        ({"text": [1]}, "element is a int"),
        ({"text": [["a"], ["b", "c"]]}, "rectangular lists"),
        ({"text": ["\ud800"]}, "not valid text"),
    ],
)
def test_misfit_texts_are_refused(inputs: dict[str, object], message: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=message):
        client(text_answer("")).predict(inputs)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", [[1, 2], [3]], "'x' is not rectangular"),
        ("x", [["a", "b"]], "'x' takes float, which <U1 does not turn into"),
        ("n", [1.5], "'n' takes int32, which float64 does not turn into"),
        ("n", [2**40], "'n' takes int32, but a value is beyond it"),
        ("flag", [1], "'flag' takes bool, which int64 does not turn into"),
        ("x", np.array(["2020"], "datetime64[Y]"), "which datetime64"),
    ],
)
def test_misfit_numbers_are_refused(name: str, value: object, message: str) -> None:
    inputs = {"x": [[1, 2]], "n": [1], "flag": [True]} | {name: value}
    with pytest.raises(errors.InvalidArgument, match=message):
        client(text_answer("")).predict(inputs, signature="mixed")


def test_several_inputs_need_names() -> None:
    with pytest.raises(errors.InvalidArgument, match="name the inputs: there are"):
        client(text_answer("")).predict([1], signature="mixed")
    with pytest.raises(errors.InvalidArgument, match="inputs are given twice"):
        client(text_answer("")).predict(["a"], text=["a"])


def test_unknown_signatures_are_refused() -> None:
    with pytest.raises(errors.FailedPrecondition, match="no signature 'mixt'; did you mean"):
        client(text_answer("")).predict(["a"], signature="mixt")


def test_text_comes_as_str_and_as_bytes_where_it_is_none() -> None:
    answer = client(text_answer("", "bad")).predict(["a", "b"], on_bad_row="return")
    assert answer["label"].tolist() == ["é", b"\xff\x00"]
    assert answer["status"].tolist() == ["", "bad"]


def test_bad_rows_raise_with_the_full_answer() -> None:
    with pytest.raises(errors.RowError, match="1 of 2 rows cannot be used: row 1: bad") as caught:
        client(text_answer("", "bad")).predict(["a", "b"])
    assert caught.value.rows == {1: "bad"}
    assert caught.value.answer["label"].tolist() == ["é", b"\xff\x00"]


def test_only_a_status_per_row_counts() -> None:
    assert client(text_answer("fine")).predict(["a", "b"])["status"].tolist() == ["fine"]
    with pytest.raises(ValueError, match="on_bad_row must be 'raise' or 'return', not 'ignore'"):
        client(text_answer("")).predict(["a"], on_bad_row="ignore")


def test_signatures_are_asked_for_once_and_again_after_a_refusal() -> None:
    class Counting(MockTransport):
        asked = 0

        def metadata(self, model, timeout):
            self.asked += 1
            return super().metadata(model, timeout)

    refuse = [False]

    def handler(call: Call) -> dict[str, np.ndarray]:
        if refuse[0]:
            raise errors.InvalidArgument("no")
        return {}

    transport = Counting(handler, {"serving_default": TEXT})
    asking = Client(transport)
    asking.predict(["a"])
    asking.predict(["a"])
    assert transport.asked == 1
    refuse[0] = True
    with pytest.raises(errors.InvalidArgument):
        asking.predict(["a"])
    refuse[0] = False
    asking.predict(["a"])
    assert transport.asked == 2


def test_a_version_or_a_label() -> None:
    with pytest.raises(ValueError, match="not both"):
        Client(MockTransport(text_answer(""), {}), version=1, label="stable")
    assert Client(MockTransport(text_answer(""), {}), version=3).status()[0].version == 3


@pytest.mark.parametrize("make", [Client.rest, Client.grpc])
def test_nobody_listens(make: Callable[..., Client]) -> None:
    address = "127.0.0.1:9"
    with make(f"http://{address}" if make == Client.rest else address, "toy") as lonely:
        for ask in (lonely.status, lonely.metadata, lambda: lonely.predict(["a"])):
            with pytest.raises(errors.Unreachable, match=address):
                ask()


def test_an_address_that_is_none() -> None:
    with Client.rest("nowhere", "toy") as lost, pytest.raises(errors.Unreachable, match="nowhere"):
        lost.status()


def test_a_folder_without_a_model(tmp_path) -> None:
    with pytest.raises(errors.NotFound, match="neither saved_model.pb nor a version"):
        Client.in_process(tmp_path)


class OtherServer(BaseHTTPRequestHandler):
    """An HTTP server that is no model server."""

    status, body = 200, b"{}"

    def do_GET(self) -> None:
        """Answer whatever is asked in the same way."""
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (200, b"{}", errors.ServerFault, "answered 200 and no 'model_version_status': '{}'"),
        (200, b"<html>", errors.ServerFault, "answered 200 and no"),
        (404, b"not here", errors.NotFound, "answered 404 and no"),
        (200, b'{"model_version_status": [{}]}', errors.ServerFault, "a malformed 'model_version_"),
        (200, b'{"model_version_status": 3}', errors.ServerFault, "a malformed 'model_version_"),
        (502, b"", errors.ServerFault, "answered 502 and no"),
        (503, b'{"error": "warming up"}', errors.Unreachable, "^warming up$"),
    ],
)
def test_other_servers(status: int, body: bytes, kind: type[Exception], message: str) -> None:
    handler = type("Handler", (OtherServer,), {"status": status, "body": body})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        with (
            Client.rest(f"http://127.0.0.1:{server.server_port}", retries=ONCE) as client,
            pytest.raises(kind, match=message),
        ):
            client.status()
        answering.join()


def test_a_server_that_drips_does_not_outlast_the_timeout() -> None:
    class Dripping(OtherServer):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    self.wfile.write(b" ")
                    time.sleep(0.02)

    with HTTPServer(("127.0.0.1", 0), Dripping) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        url = f"http://127.0.0.1:{server.server_port}"
        with Client.rest(url, timeout=0.2) as client, pytest.raises(errors.TimedOut):
            client.status()
        answering.join()


def test_what_comes_back_is_asked_again() -> None:
    left = [errors.Unreachable("not yet")] * 3

    def handler(call: Call) -> dict[str, np.ndarray]:
        if left:
            raise left.pop()
        return {"label": np.array([b"a"], object)}

    transport = MockTransport(handler, {"serving_default": TEXT})
    assert Client(transport, retries=AT_ONCE).predict(["a"])["label"].tolist() == ["a"]
    assert not left


def test_many_threads_share_one_client() -> None:
    def handler(call: Call) -> dict[str, np.ndarray]:
        return {"label": call.inputs["text"]}

    shared = client(handler)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda number: shared.predict([str(number)])["label"][0], range(200))
        assert list(answers) == [str(number) for number in range(200)]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_server_that_comes_late_is_found() -> None:
    port = free_port()
    response = messages.GetModelStatusResponse()
    response.model_version_status.add(version=1, state=30)
    handler = grpc.unary_unary_rpc_method_handler(lambda *_: response.SerializeToString())
    _, service, method = messages.GET_MODEL_STATUS.split("/")
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )

    def start() -> None:
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()

    later = threading.Timer(0.5, start)
    later.start()
    patient = Retries(attempts=1000, longest_pause=0.2)
    with Client.grpc(f"127.0.0.1:{port}", retries=patient) as client:
        assert client.status() == [VersionStatus(1, "AVAILABLE")]
    later.join()
    server.stop(None).wait()


def test_calls_share_a_connection() -> None:
    connections: list[object] = []

    class Counting(OtherServer):
        protocol_version = "HTTP/1.1"
        body = b'{"model_version_status": []}'

        def setup(self) -> None:
            super().setup()
            connections.append(self.client_address)

    async def ask(url: str) -> None:
        async with AsyncClient.rest(url) as client:
            for _ in range(3):
                await client.status()

    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        with Client.rest(url) as client:
            for _ in range(3):
                client.status()
        assert len(connections) == 1
        asyncio.run(ask(url))
        assert len(connections) == 2
        server.shutdown()
        thread.join()
