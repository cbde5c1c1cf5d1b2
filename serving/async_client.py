"""The client for `async` code: `serving.client` with `await` before each question.

    async with AsyncClient.grpc("127.0.0.1:8500", "sentiment") as client:
        answers = await asyncio.gather(*(client.predict(text=[each]) for each in texts))

Calls run at once over connections that are kept. A call that is cancelled ends at once.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from serving.async_transports import AsyncGrpcTransport, AsyncRestTransport, AsyncTransport
from serving.errors import ServingError
from serving.flows import RETRIES, TIMEOUT, Flow, Flows, OnBadRow, Pause, Retries
from serving.tls import Tls
from serving.values import DEFAULT_SIGNATURE, Signature, VersionStatus

__all__ = ["AsyncClient", "AsyncGrpcTransport", "AsyncRestTransport", "AsyncTransport"]

T = TypeVar("T")


class AsyncClient:
    """Asks one model. To be made and used in one event loop.

    Arguments and errors are those of `serving.client.Client`.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        model: str = "sentiment",
        version: int | None = None,
        label: str | None = None,
        timeout: float = TIMEOUT,
        retries: Retries = RETRIES,
    ) -> None:
        self._transport = transport
        self._flows = Flows(model, version, label, timeout, retries)

    @classmethod
    def rest(
        cls, url: str, model: str = "sentiment", *, tls: Tls | None = None, **options: Any
    ) -> AsyncClient:
        """Return a client over REST, for example of "http://127.0.0.1:8501"."""
        return cls(AsyncRestTransport(url, tls), model, **options)

    @classmethod
    def grpc(
        cls, target: str, model: str = "sentiment", *, tls: Tls | None = None, **options: Any
    ) -> AsyncClient:
        """Return a client over gRPC, for example of "127.0.0.1:8500"."""
        return cls(AsyncGrpcTransport(target, tls), model, **options)

    async def predict(
        self,
        inputs: Any = None,
        /,
        *,
        signature: str = DEFAULT_SIGNATURE,
        on_bad_row: OnBadRow = "raise",
        timeout: float | None = None,
        **named: Any,
    ) -> dict[str, np.ndarray]:
        """Run the model on a batch; see `serving.client.Client.predict`."""
        return await self._run(self._flows.predict(inputs, named, signature, on_bad_row, timeout))

    async def metadata(self) -> dict[str, Signature]:
        """Return the model's signatures by name, fresh from the server."""
        return await self._run(self._flows.metadata())

    async def signature(self, name: str = DEFAULT_SIGNATURE) -> Signature:
        """Return one of the model's signatures; asks the server for one it does not know yet.

        Raises:
            FailedPrecondition: The model has no such signature.
        """
        return await self._run(self._flows.signature(name))

    async def status(self) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""
        return await self._run(self._flows.status())

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[T]) -> T:
        """Carry out a flow's steps and return its result."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(flow)
                    continue
                try:
                    answer = await step.put_to(self._transport)
                except ServingError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            return end.value
