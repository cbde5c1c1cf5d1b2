"""Calls of the gRPC interface: how many at once, those that stall, and the end of the server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.server.engine import CALLS
from serving.server.grpc_server import GrpcOptions, start
from tests.serving.test_grpc_server import SECONDS, Statuses, answers, ask, running


def test_clients_that_send_no_message_do_not_keep_others_out():
    with running(max_threads=2) as server:
        address = f"127.0.0.1:{server.port}"
        with grpc.insecure_channel(address) as channel:
            call = channel.stream_unary("/tensorflow.serving.ModelService/GetModelStatus")
            ended = threading.Event()

            def nothing() -> Iterator[bytes]:
                ended.wait(SECONDS)
                yield from ()

            stalled = [call.future(nothing()) for _ in range(80)]
            time.sleep(0.5)
            assert answers(address)
            ended.set()
            for each in stalled:
                each.cancel()


def test_a_call_that_nobody_waits_for_is_not_made():
    core = Statuses()
    core.go_on.clear()
    with running(core, max_threads=1) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "any"})
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            first = stub.GetModelStatus.future(request, timeout=SECONDS)
            assert core.asked.acquire(timeout=SECONDS)
            late = stub.GetModelStatus.future(request, timeout=0.2)
            assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            time.sleep(2)  # the client knows of its deadline before the server does
            core.go_on.set()
            assert len(first.result().model_version_status) == 1
            ask(channel)
        assert core.asked.acquire(timeout=SECONDS)  # of `ask`
        assert not core.asked.acquire(timeout=0.2)


class TestCalls:
    def test_an_error_keeps_its_code_and_is_cut_at_1024_bytes(self):
        with running() as server:
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                for name, details in (
                    ("é" * 512, "é" * 512),
                    ("é" * 511 + "ab", "é" * 511 + "ab"),
                    ("é" * 511 + "aéé", "é" * 511 + "a...TRUNCATED"),
                ):
                    with pytest.raises(grpc.RpcError) as caught:
                        ask(channel, name)
                    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
                    assert caught.value.details() == details

    def test_an_unknown_method_is_unimplemented(self):
        with running() as server:
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                call = channel.unary_unary("/tensorflow.serving.PredictionService/Guess")
                with pytest.raises(grpc.RpcError) as caught:
                    call(b"", timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    def test_many_run_at_once(self):
        core = Statuses()
        core.go_on.clear()
        with running(core) as server, ThreadPoolExecutor(CALLS) as clients:
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                asked = [clients.submit(ask, channel) for _ in range(CALLS)]
                for _ in asked:
                    assert core.asked.acquire(timeout=SECONDS)
                core.go_on.set()
                assert all(len(each.result().model_version_status) == 1 for each in asked)

    def test_no_more_run_at_once_than_threads_were_given(self):
        core = Statuses()
        core.go_on.clear()
        with running(core, max_threads=1) as server, ThreadPoolExecutor(2) as clients:
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                asked = [clients.submit(ask, channel) for _ in range(2)]
                assert core.asked.acquire(timeout=SECONDS)
                assert not core.asked.acquire(timeout=0.2)
                core.go_on.set()
                assert all(len(each.result().model_version_status) == 1 for each in asked)

    def test_a_client_that_stalls_holds_nobody_up(self):
        go_on = threading.Event()

        def nothing_yet() -> Iterator[bytes]:
            go_on.wait(SECONDS)
            yield b""

        with running() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call = channel.stream_unary("/tensorflow.serving.ModelService/GetModelStatus")
            stalled = call.future(nothing_yet())
            assert answers(f"127.0.0.1:{server.port}")
            assert not stalled.done()
            go_on.set()
            error = stalled.exception(SECONDS)
        assert error.details() == "Missing ModelSpec"


class TestStop:
    def test_lets_running_calls_finish(self):
        core = Statuses()
        core.go_on.clear()
        server = start(core, GrpcOptions())
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            with ThreadPoolExecutor(2) as workers:
                asked = workers.submit(ask, channel)
                assert core.asked.acquire(timeout=SECONDS)
                stopped = workers.submit(server.stop, SECONDS)
                assert not stopped.done()
                core.go_on.set()
                assert len(asked.result().model_version_status) == 1
                stopped.result()
        assert not answers(f"127.0.0.1:{server.port}")

    def test_cuts_off_what_takes_longer_than_the_grace(self):
        core = Statuses()
        core.go_on.clear()
        server = start(core, GrpcOptions())
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            with ThreadPoolExecutor(1) as workers:
                asked = workers.submit(ask, channel)
                assert core.asked.acquire(timeout=SECONDS)
                server.stop(0.1)
                error = asked.exception()
                core.go_on.set()
        assert isinstance(error, grpc.RpcError)
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    def test_removes_its_unix_socket(self, tmp_path: Path):
        path = tmp_path / "grpc.sock"
        with running(socket_path=str(path)):
            assert path.is_socket()
        assert not os.path.lexists(path)
