"""A load client: a closed loop with many calls in flight, in a process of its own.

`run` starts `python -m serving.load`, hands it a `Task` and reads what it saw. The requests
are serialized beforehand, and answers are not read beyond their status, so that the client takes
as little of the machine as possible from the server. Milliseconds of the client's own processor
time per call, with 32 calls in flight, on two cores that it shared with the server:

    gRPC    grpc.aio 0.10, callbacks of futures 0.16, a thread per call in flight 0.19
    REST    asyncio's streams 0.04, a protocol on httptools 0.04, httpx 3.1

uvloop changed none of them by more than a tenth, so both transports run on plain asyncio: one
process makes up to 10,000 gRPC or 25,000 REST calls per second.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from serving.errors import ServerFault, TimedOut
from serving.protocol import messages, rest

Ask = Callable[[bytes], Awaitable[None]]
"""Sends one request and waits for its answer; raises if that is no success."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_SLACK = 60.0
"""Seconds that the process may take beside those of its task, to start and to end."""


@dataclass(frozen=True)
class Task:
    """What a load client does.

    Attributes:
        transport: "grpc" or "rest".
        target: "host:port" of the server's interface.
        requests: What is sent, in rotation: messages, or whole HTTP requests.
        concurrency: Number of calls in flight.
        warm_up: Seconds at least before anything is counted; each call in flight has then been
            answered once.
        seconds: Seconds that are counted.
    """

    transport: str
    target: str
    requests: tuple[bytes, ...]
    concurrency: int
    warm_up: float
    seconds: float


@dataclass
class Outcome:
    """What a load client saw.

    Attributes:
        latencies: Seconds from sending to receiving, of each call that succeeded.
        errors: Number of calls that did not.
        first_error: What the first of them said.
        seconds: Seconds in which that happened.
        busy: Share of that time in which the client's process was computing; near 1 it was
            the client, and not the server, that could do no more.
    """

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""
    seconds: float = 0.0
    busy: float = 0.0


def run(tasks: Sequence[Task]) -> list[Outcome]:
    """Carry tasks out at the same time, each in a process of its own.

    Raises:
        ServerFault: A process failed.
        TimedOut: Calls are not answered at all.
    """
    with ExitStack() as stack:
        processes = [stack.enter_context(_started(task)) for task in tasks]
        return [_outcome(*each) for each in zip(tasks, processes, strict=True)]


@contextmanager
def _started(task: Task) -> Iterator[subprocess.Popen[bytes]]:
    """Start a client, and end it with the block."""
    command = [sys.executable, "-m", "serving.load"]
    with tempfile.TemporaryFile() as stdin:
        pickle.dump(task, stdin)
        stdin.seek(0)
        # A session of its own: Ctrl-C is for the one who waits here, who then ends the client.
        process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, start_new_session=True
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _outcome(task: Task, process: subprocess.Popen[bytes]) -> Outcome:
    """Wait for what a client saw."""
    try:
        answer, _ = process.communicate(timeout=task.warm_up + task.seconds + _SLACK)
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{task.target} left calls unanswered for {_SLACK:.0f} s") from error
    if process.returncode:
        raise ServerFault(f"the load client ended with exit code {process.returncode}")
    return pickle.loads(answer)


def http_request(exchange: rest.Exchange[Any]) -> bytes:
    """Return the bytes of a whole HTTP request."""
    where, content = urlsplit(exchange.url), exchange.content or b""
    head = (
        f"{exchange.method} {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode("ascii") + content


async def carry_out(task: Task) -> Outcome:
    """Keep the calls in flight until time is up, and return what was seen."""
    counter = _Counter(task)
    in_flight = [asyncio.create_task(counter.loop()) for _ in range(task.concurrency)]
    await counter.count()
    await asyncio.gather(*in_flight)
    counter.outcome.seconds = time.perf_counter() - counter.begin
    return counter.outcome


class _Counter:
    """Makes calls, and counts those that are sent from `begin` to `end`."""

    def __init__(self, task: Task) -> None:
        self.outcome = Outcome()
        self.begin = self.end = math.inf
        self._task = task
        self._connected = {"grpc": _grpc, "rest": _rest}[task.transport]
        self._requests = itertools.cycle(task.requests)
        self._warm = asyncio.Semaphore(0)

    async def count(self) -> None:
        """Wait until the server is warm, then count for the task's time."""
        await asyncio.sleep(self._task.warm_up)
        for _ in range(self._task.concurrency):
            await self._warm.acquire()
        self.begin, busy = time.perf_counter(), time.process_time()
        self.end = self.begin + self._task.seconds
        await asyncio.sleep(self._task.seconds)
        self.outcome.busy = (time.process_time() - busy) / self._task.seconds

    async def loop(self) -> None:
        """Send one request after the other; the first answer says that the server is warm."""
        async with self._connected(self._task.target) as ask:
            await self._send(ask)
            self._warm.release()
            while time.perf_counter() < self.end:
                await self._send(ask)

    async def _send(self, ask: Ask) -> None:
        """Send a request, and note how it is answered."""
        sent = time.perf_counter()
        try:
            await ask(next(self._requests))
        except Exception as error:  # whatever it is, it is no answer
            await asyncio.sleep(0)  # so that failures at once do not keep the others waiting
            if sent >= self.begin:
                self.outcome.errors += 1
                self.outcome.first_error = self.outcome.first_error or _said(error)
        else:
            if sent >= self.begin:
                self.outcome.latencies.append(time.perf_counter() - sent)


@asynccontextmanager
async def _grpc(target: str) -> AsyncIterator[Ask]:
    """Yield a function that sends a serialized PredictRequest."""
    from grpc import aio

    from serving.transports import GRPC_OPTIONS

    # Channels to one target share one connection, as the calls of one client do.
    async with aio.insecure_channel(target, GRPC_OPTIONS) as channel:
        yield channel.unary_unary(messages.PREDICT)


@asynccontextmanager
async def _rest(target: str) -> AsyncIterator[Ask]:
    """Yield a function that sends an HTTP request over a connection of its own."""
    connection = _Connection(*target.rsplit(":", 1))
    try:
        yield connection.ask
    finally:
        connection.close()


class _Connection:
    """A connection to an HTTP server, opened anew after a failure."""

    def __init__(self, host: str, port: str) -> None:
        self._host, self._port = host.strip("[]"), int(port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> None:
        """Send a request and wait for the answer 200."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if length is None:
                raise ServerFault(f"an answer without its length: {head!r}")
            body = await reader.readexactly(int(length[1]))
        except BaseException:
            self.close()
            raise
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ServerFault(f"{head.splitlines()[0]!r}: {body[:200]!r}")

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _said(error: Exception) -> str:
    details = getattr(error, "details", None)
    return str(details() if callable(details) else error) or type(error).__name__


def main() -> None:
    """Carry out the task that comes on stdin, and write its outcome to stdout."""
    task = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps(asyncio.run(carry_out(task))))


if __name__ == "__main__":
    # As `run` knows the classes, not as those of `__main__`.
    from serving.load import main as run_main

    run_main()
