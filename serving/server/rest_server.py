"""The REST interface on its socket: uvicorn, uvloop and httptools around `RestApi`."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import uvicorn
from starlette.types import Receive, Scope, Send

from serving import errors
from serving.server import metrics
from serving.server.core import ServerCore
from serving.server.engine import CALLS
from serving.server.rest_api import ORIGINS, RestApi, error_text

T = TypeVar("T")

COMPRESSED_FROM = 1024
"""Bytes from which an answer is worth compressing."""

_BACKLOG = 1000
"""Connections that may wait to be accepted."""

_KEPT_SECONDS = 75
"""That a connection without a request stays open: longer than the pools of clients keep one."""

Headers = Mapping[bytes, bytes]


@dataclass(frozen=True)
class RestOptions:
    """How the interface answers.

    Attributes:
        threads: Calls that run at once; 0 for `CALLS`.
        timeout_ms: Milliseconds for a piece of a request to come, and for its answer to be made.
        cors: Let scripts of other origins in.
        metrics_path: Where the metrics are; None for nowhere.
        max_body_bytes: Longest body, as it was sent and unpacked.
    """

    threads: int = 0
    timeout_ms: int = 30000
    cors: bool = False
    metrics_path: str | None = None
    max_body_bytes: int = 2**30


class _Answer(NamedTuple):
    status: int
    content: bytes
    media_type: str = "application/json"

    @classmethod
    def refusal(cls, status: int, message: str) -> _Answer:
        """Return an answer that is an error."""
        return cls(status, error_text(message).encode())


class _Refused(Exception):
    """A request that ends before anybody looked at what it asks for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = _Answer.refusal(status, message)


class _Gone(Exception):
    """Nobody is left to answer."""


class Application:
    """The interface as an ASGI application.

    Args:
        core: The models.
        options: How it answers.
    """

    def __init__(self, core: ServerCore, options: RestOptions) -> None:
        self._api, self._options = RestApi(core), options
        self._pool = ThreadPoolExecutor(options.threads or CALLS, thread_name_prefix="rest")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        try:
            answer = await self._answer(scope, headers, receive)
        except _Refused as refused:
            answer = refused.answer
        except _Gone:
            return
        written = [(b"content-type", answer.media_type.encode())]
        if self._options.cors:
            written += ((name.encode(), value.encode()) for name, value in ORIGINS.items())
        content = answer.content
        if len(content) >= COMPRESSED_FROM and _takes_gzip(headers):
            content = await self._elsewhere(gzip.compress, content, 1, mtime=0)
            written.append((b"content-encoding", b"gzip"))
        written.append((b"content-length", str(len(content)).encode()))
        start = {"type": "http.response.start", "status": answer.status, "headers": written}
        await send(start)
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> _Answer:
        """Return the answer to a request, which may be that of no interface at all."""
        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        if path == self._options.metrics_path:
            return _Answer(200, metrics.exposition(), "text/plain; version=0.0.4")
        if not path.lower().startswith("/v1/"):
            return _Answer(404, b"", "text/plain")
        if method == "OPTIONS":
            known = re.match(rb"https?://", headers.get(b"origin", b""))
            return _Answer(200 if known else 400, b"")
        if query := scope["query_string"]:
            path = f"{path}?{query.decode('latin-1')}"
        seconds = self._options.timeout_ms / 1000
        body = await self._body(receive, headers, seconds)
        call = self._elsewhere(self._api.answer, method, path, body)
        status, text = await _within(seconds, call, 504, "the answer was not made")
        return _Answer(status, text.encode(errors="surrogateescape"))

    async def _elsewhere(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Do what takes time in a thread: meanwhile all other requests would wait."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(work, *arguments, **options))

    async def _body(self, receive: Receive, headers: Headers, seconds: float) -> bytes:
        """Return the body of a request, unpacked; so many seconds are waited for each piece."""
        limit, pieces, length = self._options.max_body_bytes, [], 0
        more = True
        while more:
            message = await _within(seconds, receive(), 408, "the request did not come")
            if message["type"] == "http.disconnect":
                raise _Gone
            pieces.append(message.get("body", b""))
            length += len(pieces[-1])
            if length > limit:
                raise _Refused(413, f"the body is longer than {limit} bytes")
            more = message.get("more_body", False)
        body = b"".join(pieces)
        if b"gzip" not in headers.get(b"content-encoding", b"").lower():
            return body
        return await self._elsewhere(_unpacked, body, limit)


async def _within(seconds: float, work: Awaitable[T], status: int, failure: str) -> T:
    """Wait for work, but not longer than so many seconds."""
    try:
        return await asyncio.wait_for(work, seconds)
    except TimeoutError as error:
        raise _Refused(status, f"{failure} within {seconds:g} s") from error


def _unpacked(body: bytes, limit: int) -> bytes:
    """Return a body without its compression."""
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16: with the header of gzip
    try:
        unpacked = unpacking.decompress(body, limit + 1)
    except zlib.error as error:
        raise _Refused(400, f"the body is not in gzip format: {error}") from error
    if len(unpacked) > limit:
        raise _Refused(413, f"the body unpacked is longer than {limit} bytes")
    if not unpacking.eof:
        raise _Refused(400, "the body in gzip format has no end")
    return unpacked


def _takes_gzip(headers: Headers) -> bool:
    """Say whether the client takes compressed answers."""
    choices: Iterable[str] = headers.get(b"accept-encoding", b"").decode("latin-1").split(",")
    wanted = (choice.replace(" ", "").lower().partition(";q=") for choice in choices)
    return any(name == "gzip" and q not in ("0", "0.0", "0.00", "0.000") for name, _, q in wanted)


class RestServer:
    """The interface in a thread of its own.

    Args:
        core: The models.
        listener: Socket that holds the address.
        options: How it answers.

    Attributes:
        port: The port that it listens on.

    Raises:
        InternalFault: It ended instead of starting; the log says why.
    """

    def __init__(
        self, core: ServerCore, listener: socket.socket, options: RestOptions | None = None
    ) -> None:
        self.port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            Application(core, options or RestOptions()),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEPT_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="rest", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        if not self._server.started:
            raise errors.InternalFault("the REST interface did not start")

    def stop(self, grace: float) -> None:
        """Take no new connections, let running calls finish for so many seconds, and end."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True
        self._thread.join(grace + 1)
