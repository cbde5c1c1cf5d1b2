"""Ways to reach a model for `AsyncClient`: what `serving.transports` does, awaited.

An async transport belongs to the event loop that it was made in.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar

import numpy as np

from serving.protocol import rest, rpc
from serving.tls import Tls
from serving.transports import GRPC_OPTIONS, grpc_failures, http_failures, http_options
from serving.values import Call, ModelRef, Signature, VersionStatus

T = TypeVar("T")


class AsyncTransport(Protocol):
    """What `AsyncClient` needs of a way to reach a model. Timeouts are in seconds."""

    async def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Run the model once."""

    async def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name."""

    async def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""

    async def close(self) -> None:
        """Give back connections."""


class AsyncRestTransport:
    """TF Serving's REST interface; see `serving.transports.RestTransport`."""

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        import httpx

        self._url = url.rstrip("/")
        self._http = httpx.AsyncClient(**http_options(url, tls))

    async def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Run the model once, in the column form, which keeps every shape."""
        return await self._send(rest.predict(self._url, call), timeout)

    async def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name."""
        return await self._send(rest.metadata(self._url, model), timeout)

    async def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""
        return await self._send(rest.status(self._url, model), timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(self, exchange: rest.Exchange[T], timeout: float) -> T:
        """Send one request and return its answer, or raise its error."""
        with http_failures(exchange.url, timeout):
            async with asyncio.timeout(timeout):
                response = await self._http.request(
                    exchange.method, exchange.url, content=exchange.content, timeout=None
                )
        return exchange.read(response.status_code, response.content)


class AsyncGrpcTransport:
    """TF Serving's gRPC interface; see `serving.transports.GrpcTransport`."""

    def __init__(self, target: str, tls: Tls | None = None) -> None:
        from grpc import aio

        self._target = target
        self._channel = (
            aio.insecure_channel(target, GRPC_OPTIONS)
            if tls is None
            else aio.secure_channel(target, tls.grpc_credentials(), GRPC_OPTIONS)
        )
        self._methods = {path: self._channel.unary_unary(path) for path in rpc.METHODS}

    async def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Run the model once."""
        return await self._send(rpc.predict(call), timeout)

    async def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name."""
        return await self._send(rpc.metadata(model), timeout)

    async def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""
        return await self._send(rpc.status(model), timeout)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _send(self, exchange: rpc.Exchange[T], timeout: float) -> T:
        """Make one call and return its answer, or raise what its code stands for."""
        with grpc_failures(self._target):
            content = await self._methods[exchange.method](exchange.request, timeout=timeout)
        return exchange.read(content)
