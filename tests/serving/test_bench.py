"""The load client and the benchmark: what is sent, counted, summed up and written."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import bench, load
from serving.__main__ import main
from serving.bench import Load, closed_loop, summarise
from serving.commands.bench import picture
from serving.errors import ServingError
from serving.parity import Probes, serve_alone
from serving.protocol import rest
from serving.server import RunningServer
from serving.values import Call, ModelRef, Signature
from zoo.ports import Ports

TEXTS = [{"text": np.array([text], object)} for text in ("a", "a long text ✓", "", b"\xff")]


def target(server: RunningServer, transport: str) -> str:
    """Return "host:port" of an interface."""
    return {"grpc": server.grpc_address, "rest": server.rest_url.removeprefix("http://")}[transport]


@contextmanager
def answering(status: int, body: bytes, *headers: str) -> Iterator[tuple[str, list[bytes]]]:
    """Run an HTTP server that gives one answer; yield its address and what it received."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            for header in headers or (f"content-LENGTH: {len(body)}",):
                self.send_header(*header.split(": "))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


class TestClosedLoop:
    @pytest.mark.parametrize("transport", ["grpc", "rest"])
    @pytest.mark.parametrize("concurrency", [1, 5])
    def test_calls_are_counted_and_timed(
        self, toy_server: RunningServer, transport: str, concurrency: int
    ):
        address = target(toy_server, transport)
        one = closed_loop(transport, address, "toy", TEXTS, concurrency, 0.3)
        assert (one.transport, one.concurrency, one.errors) == (transport, concurrency, 0)
        assert one.qps > 0 and one.seconds >= 0.3
        assert 0 < one.p50_ms <= one.p95_ms <= one.p99_ms

    @pytest.mark.parametrize("transport", ["grpc", "rest"])
    def test_refusals_are_errors(self, toy_server: RunningServer, transport: str):
        address = target(toy_server, transport)
        with pytest.raises(ServingError, match=r"every call failed: .*Latest\(nobody\)"):
            closed_loop(transport, address, "nobody", TEXTS, 2, 0.2)
        mixed = [*TEXTS, {"txt": TEXTS[0]["text"]}]
        one = closed_loop(transport, address, "toy", mixed, 2, 0.3)
        assert one.errors > 0 and one.qps > 0

    @pytest.mark.parametrize("transport", ["grpc", "rest"])
    def test_nobody_listens(self, transport: str):
        with pytest.raises(ServingError, match="every call failed: .*[Cc]onnect"):
            closed_loop(transport, "127.0.0.1:9", "toy", TEXTS, 2, 0.2)

    def test_another_transport_is_refused(self):
        with pytest.raises(ValueError, match="must be 'grpc' or 'rest', not 'smtp'"):
            closed_loop("smtp", "127.0.0.1:9", "toy", TEXTS, 1, 0.1)

    def test_a_busy_client_gets_help_and_the_best_counts(self, monkeypatch: pytest.MonkeyPatch):
        tasks: list[load.Task] = []

        def run(given: Sequence[load.Task]) -> list[load.Outcome]:
            tasks.extend(given)
            return [
                load.Outcome([0.001] * 10 * task.concurrency, seconds=1.0, busy=0.99)
                for task in given
            ]

        monkeypatch.setattr(load, "run", run)
        monkeypatch.setattr(bench, "cores", lambda: 4)
        one = closed_loop("grpc", "127.0.0.1:9", "toy", TEXTS, 9, 1.0)
        assert [task.concurrency for task in tasks] == [9, 5, 4, 3, 2, 2, 2]
        assert one.qps == 90 and one.concurrency == 9 and one.p50_ms == 1.0


class TestLoadClient:
    def test_every_row_is_sent_in_turn(self):
        calls = [Call(ModelRef("toy"), "", Signature({}, {}), rows) for rows in TEXTS]
        with answering(200, b"{}") as (address, received):
            exchanges = [rest.predict(f"http://{address}", call) for call in calls]
            requests = tuple(map(load.http_request, exchanges))
            (outcome,) = load.run([load.Task("rest", address, requests, 1, 0.0, 0.2)])
        assert 0 < len(outcome.latencies) < len(received) and len(received) > len(TEXTS)
        expected = [exchange.content for exchange in exchanges]
        assert received == [expected[i % len(expected)] for i in range(len(received))]

    @pytest.mark.parametrize(
        ("status", "headers", "message"),
        [(503, (), "503.*busy"), (200, ("Connection: close",), "without its length")],
    )
    def test_what_is_no_answer_is_an_error(self, status: int, headers: tuple[str], message: str):
        with answering(status, b"busy", *headers) as (address, _):
            with pytest.raises(ServingError, match=f"every call failed: .*{message}"):
                closed_loop("rest", address, "toy", TEXTS, 2, 0.2)

    def test_the_warm_up_is_not_counted(self, toy_server: RunningServer):
        address = target(toy_server, "grpc")
        request = bench._request("grpc", address, bench._call("toy", TEXTS[0]))
        (outcome,) = load.run([load.Task("grpc", address, (request,), 1, 0.4, 0.1)])
        assert outcome.latencies and sum(outcome.latencies) < 0.4
        assert 0 < outcome.busy


def loads(**qps: float) -> list[dict[str, Any]]:
    """Return loads written as grpc_32_on=2000."""
    rows = []
    for key, value in qps.items():
        transport, concurrency, batching = key.split("_")
        kind = {"on": True, "off": False, "asis": None}[batching]
        one = Load(transport, int(concurrency), value, 1.0, 2.0, 3.0 + value, 0, 1.0)
        rows.append({**vars(one), "batching": kind})
    return rows


def test_the_summary_compares_what_belongs_together() -> None:
    rows = loads(
        **{"grpc_1_off": 9, "grpc_32_off": 1000, "grpc_32_on": 2000},
        **{"rest_1_off": 90, "rest_32_off": 900, "rest_32_on": 1200},
    )
    assert summarise(rows, {"grpc_p50_ms": 1.5, "in_process_p50_ms": 1.2}) == {
        "grpc_overhead_ms": 0.3,
        "batching_gain_32": 2.0,
        "rest_vs_grpc": 0.6,
    }


def test_the_summary_leaves_open_what_was_not_measured() -> None:
    nothing = {"grpc_overhead_ms": None, "batching_gain_32": None, "rest_vs_grpc": None}
    assert summarise(loads(grpc_32_asis=5), None) == nothing
    assert summarise(loads(grpc_8_off=5, grpc_8_on=6), None) == nothing
    measured = summarise(loads(grpc_8_asis=10, rest_8_asis=5), None)
    assert measured == {**nothing, "rest_vs_grpc": 0.5}


def test_the_picture_is_a_png() -> None:
    rows = loads(grpc_1_off=5, grpc_8_off=9, grpc_1_on=4, rest_8_asis=3)
    assert picture(rows).startswith(b"\x89PNG")


class TestCommand:
    def test_a_running_server_is_measured_as_it_is(
        self, tiny_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        file = tmp_path / "bench.json"
        with serve_alone(tiny_export, "other") as server:
            words = ["bench", str(tiny_export), "--json", str(file), "--name", "other"]
            words += ["--target", server.grpc_address, "--rest-target", target(server, "rest")]
            assert main([*words, "--concurrency", "1", "3", "--seconds", "0.2"]) == 0
        record = json.loads(file.read_text())
        assert [(each["transport"], each["concurrency"]) for each in record["loads"]] == [
            ("grpc", 1),
            ("rest", 1),
            ("grpc", 3),
            ("rest", 3),
        ]
        assert {each["batching"] for each in record["loads"]} == {None}
        assert {each["errors"] for each in record["loads"]} == {0}
        assert record["rows"] == len(bench.rows_of(Probes.read(tiny_export)))
        assert record["in_turn"]["calls"] > 0
        assert record["summary"]["grpc_overhead_ms"] is not None
        assert record["summary"]["batching_gain_32"] is None
        assert record["environment"]["cores"] == os.cpu_count()
        assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == 1 + 4 + 3 and printed[-2].endswith("not measured")

    @pytest.mark.slow
    def test_the_embedded_server_is_measured_with_and_without_batching(
        self, tiny_export: Path, tmp_path: Path
    ):
        file = tmp_path / "bench.json"
        words = ["bench", str(tiny_export), "--json", str(file)]
        assert main([*words, "--concurrency", "32", "--seconds", "0.5"]) == 0
        record = json.loads(file.read_text())
        assert [(each["transport"], each["batching"]) for each in record["loads"]] == [
            ("grpc", False),
            ("grpc", True),
            ("rest", False),
            ("rest", True),
        ]
        assert None not in record["summary"].values()
        assert record["batching_parameters"] == {"rows": 32, "wait_micros": 2000}

    def test_an_interrupted_measurement_leaves_no_file(
        self, tiny_export: Path, toy_server: RunningServer, tmp_path: Path
    ):
        command = [sys.executable, "-m", "serving", "bench", str(tiny_export), "--name", "toy"]
        command += ["--json", str(tmp_path / "bench.json"), "--seconds", "60"]
        command += ["--rest-target", target(toy_server, "rest")]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith("transport")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (130, "interrupted\n")
        assert not list(tmp_path.iterdir())

    def test_what_cannot_be_measured_is_said(
        self, tiny_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        with socket.create_server(("127.0.0.1", 0)) as dumb:
            free = f"127.0.0.1:{dumb.getsockname()[1]}"
        file = str(tmp_path / "bench.json")
        model = str(tiny_export)
        for words, code, message in (
            ([model, "--json", file, "--rest-target", free, "--seconds", "0.1"], 1, "every call"),
            ([model, "--json", str(tmp_path / "no" / "x.json")], 2, "no such folder"),
            ([str(tmp_path), "--json", file], 2, "holds no exported model"),
            ([model, "--json", file, "--concurrency", "0"], 2, "must be at least 1, not 0"),
            ([model, "--json", file, "--seconds", "inf"], 2, "must be a positive number"),
        ):
            assert main(["bench", *words]) == code
            assert message in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


def test_a_load_is_made_of_ordinary_rows():
    texts = np.array(["good", "", "a" * 39, "a" * 41, "fine", "fair"], object)
    status = np.array(["", "text is empty", "", "", "", ""], object)
    probes = Probes(Ports(), Ports(), {"text": texts}, {"status": status})
    assert [row["text"][0] for row in bench.rows_of(probes)] == ["good", "a" * 39, "fine", "fair"]
