"""Runs the server as a process of its own for the length of a `with` block."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.errors import ServerFault, TimedOut
from serving.following import FOLLOWS

_GRPC = re.compile(r"Running gRPC ModelServer at (\S+) \.\.\.")
_REST = re.compile(r"Exporting HTTP/REST API at:(\S+) \.\.\.")
_STOP_SECONDS = 15.0


@dataclass(frozen=True)
class RunningServer:
    """A server that answers.

    Attributes:
        grpc_address: "host:port" of the gRPC interface.
        rest_url: "http://host:port" of the REST interface.
        process: Its process.
        log: File that receives its stderr.
    """

    grpc_address: str
    rest_url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def launch(
    model_name: str, base_path: str | Path, *flags: str, timeout: float = 120.0
) -> Iterator[RunningServer]:
    """Serve a model on free ports of this machine, and stop at the end of the block.

    Args:
        model_name: Name under which the model is served.
        base_path: Folder with the model's numbered version folders.
        *flags: Further flags of `python -m serving.server`.
        timeout: Seconds to wait for the server to answer.

    Yields:
        The addresses and the process.

    Raises:
        ServerFault: It ended instead of answering; the message is its last line on stderr.
        TimedOut: It neither ended nor answered.
    """
    command = [sys.executable, "-m", "serving.server", "--port=0", "--rest_api_port=0"]
    command += [f"--model_name={model_name}", f"--model_base_path={base_path}"]
    command += ["--max_num_load_retries=0", *flags]  # a model that does not load is told at once
    with tempfile.TemporaryDirectory(prefix="seqzoo-server-") as folder:
        out, log = Path(folder, "stdout"), Path(folder, "stderr")
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, FOLLOWS: "1"},
            )
        try:
            address, rest = _wait(process, out, log, timeout)
            yield RunningServer(address, f"http://{rest}", process, log)
        finally:
            _stop(process)


def _wait(
    process: subprocess.Popen[bytes], out: Path, log: Path, timeout: float
) -> tuple[str, str]:
    """Return both addresses as soon as the server has printed them."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ended = process.poll()
        printed = out.read_text(errors="replace")
        grpc, rest = _GRPC.search(printed), _REST.search(printed)
        if grpc and rest:
            return grpc[1], rest[1]
        if ended is not None:
            raise ServerFault(f"the server ended with exit code {ended}: {_last_line(log)}")
        time.sleep(0.02)
    raise TimedOut(f"the server did not answer within {timeout} s: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process, by force if it does not drain in time."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdin
    process.stdin.close()
