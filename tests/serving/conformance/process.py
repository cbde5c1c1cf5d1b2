"""Starts a server executable by its flags, waits until it answers, and stops it.

Nothing is known here of how a server is made: it is told by flags, files and signals, and
asked over gRPC and HTTP. A server is ready when it refuses a model that it does not have.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

PATIENCE = 60.0
"""Seconds that a server gets for anything before the test fails."""

REFERENCE = "tensorflow_model_server"
"""File name of the reference server."""

_CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True)
class Executable:
    """A program that can be started as a server.

    Attributes:
        command: The words that start it, without flags.
        is_reference: Whether it is the reference server, from which no more is asked than
            it promises.
    """

    command: tuple[str, ...]
    is_reference: bool

    def __str__(self) -> str:
        return Path(self.command[-1]).name


def executables() -> list[Executable]:
    """Return what is to be tested: `SEQZOO_SERVER`, or this project's server and the reference."""
    if given := os.environ.get("SEQZOO_SERVER"):
        return [Executable((given,), Path(given).name == REFERENCE)]
    found = [Executable((sys.executable, "-m", "serving.server"), False)]
    if reference := shutil.which(REFERENCE):
        found.append(Executable((reference,), True))
    return found


def flags_of(flags: Mapping[str, Any], *, apart: bool = False) -> list[str]:
    """Return flags as words.

    Args:
        flags: Names and values.
        apart: Whether name and value are two words, and a true one has no value at all,
            instead of `--name=value`.
    """
    words = []
    for name, value in flags.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if not apart:
            words.append(f"--{name}={text}")
        else:
            words += [f"--{name}"] if value is True else [f"--{name}", text]
    return words


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in listeners]
    for each in listeners:
        each.close()
    return ports


def wait_until(holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until a function returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, "what was waited for never came"
        time.sleep(0.05)
    return result


class Server:
    """A running server.

    Args:
        executable: What to start.
        folder: Folder for what it prints; made when there is none.
        flags: Its flags; free ports are chosen when they name none.
        credentials: How to speak gRPC with it; unencrypted when left out.
        apart: Whether names and values of flags are words of their own.

    Attributes:
        executable: What was started.
        port, rest_port: Where it listens.
        process: The process.
        predictor, models: Stubs of the two services.
        channel: The gRPC connection of the stubs.
        http: A client of the REST interface.
    """

    def __init__(
        self,
        executable: Executable,
        folder: Path,
        flags: Mapping[str, Any],
        credentials: grpc.ChannelCredentials | None = None,
        *,
        apart: bool = False,
    ) -> None:
        self.executable = executable
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout.txt", folder / "stderr.txt"
        free = dict(zip(("port", "rest_api_port"), free_ports(2), strict=True))
        flags = free | dict(flags)
        self.port, self.rest_port = flags["port"], flags["rest_api_port"]
        words = [*executable.command, *flags_of(flags, apart=apart)]
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self.process = subprocess.Popen(words, stdout=out, stderr=err)
        self.channel = self.connect(credentials)
        self.predictor = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.rest_port}", timeout=PATIENCE, trust_env=False
        )

    def connect(self, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
        """Return a new gRPC connection."""
        address = f"localhost:{self.port}" if credentials else f"127.0.0.1:{self.port}"
        if credentials:
            return grpc.secure_channel(address, credentials, _CHANNEL_OPTIONS)
        return grpc.insecure_channel(address, _CHANNEL_OPTIONS)

    def wait(self) -> Server:
        """Wait until both interfaces answer, and return the server."""
        wait_until(self._answers)
        wait_until(self._listens)
        return self

    def _answers(self) -> bool:
        """Return whether a model that is not there is refused as such."""
        assert self.process.poll() is None, f"the server ended: {self.printed()[-3000:]}"
        return asks_in_vain(self.predictor)

    def _listens(self) -> bool:
        """Return whether the REST interface takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.rest_port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def printed(self) -> str:
        """Return everything that the server has printed."""
        return self._out.read_text(errors="replace") + self._err.read_text(errors="replace")

    def post(self, path: str, body: Any = b"", **headers: str) -> httpx.Response:
        """Send a body to a path of the REST interface: bytes and text as they are, else as JSON."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.http.post(path, content=content, headers=headers)

    def stop(self) -> int:
        """Tell the server to stop, and return its exit code; kill it when it does not."""
        self.channel.close()
        self.http.close()
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def asks_in_vain(predictor: prediction_service_pb2_grpc.PredictionServiceStub) -> bool:
    """Return whether a Predict to a model that nobody has is refused as not found."""
    request = predict_pb2.PredictRequest(model_spec={"name": "intentionally_missing_model"})
    try:
        predictor.Predict(request, timeout=5)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.NOT_FOUND and "Servable not found" in error.details()
    raise AssertionError("a model that does not exist has answered")


@dataclass
class Ended:
    """A server that was started and has ended: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def printed(self) -> str:
        """Both outputs."""
        return self.stdout + self.stderr


def begin(executable: Executable, *words: str, **flags: Any) -> subprocess.Popen[str]:
    """Start a server that is expected to end by itself; see `end`."""
    if "port" not in flags:
        flags |= dict(zip(("port", "rest_api_port"), free_ports(2), strict=True))
    return subprocess.Popen(
        [*executable.command, *words, *flags_of(flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> Ended:
    """Wait for a server that ends by itself."""
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"the server has not ended: {stdout}{stderr}"[-3000:]) from None
    return Ended(process.returncode, stdout, stderr)
