"""A client for models behind TF Serving's protocol: NumPy in, NumPy out.

    with Client.grpc("127.0.0.1:8500", "sentiment") as client:
        answer = client.predict(text=["a joy", "a bore"])
        print(answer["label"], answer["probabilities"])

The same call gives the same arrays over each transport. Needs neither TensorFlow nor the
code that the model was trained with. `serving.async_client` has the same for `async` code.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from serving.errors import ServingError
from serving.flows import RETRIES, TIMEOUT, Flow, Flows, OnBadRow, Pause, Retries
from serving.tls import Tls
from serving.transports import (
    GrpcTransport,
    InProcessTransport,
    MockTransport,
    RestTransport,
    Transport,
)
from serving.values import DEFAULT_SIGNATURE, Call, Signature, TensorSpec, VersionStatus

__all__ = [
    "Call",
    "Client",
    "GrpcTransport",
    "InProcessTransport",
    "MockTransport",
    "RestTransport",
    "Retries",
    "Signature",
    "TensorSpec",
    "Tls",
    "Transport",
    "VersionStatus",
]

T = TypeVar("T")


class Client:
    """Asks one model. May be used from many threads at once.

    Args:
        transport: How to reach it; the client closes it.
        model: Name under which it is served.
        version: A version of it; the latest if neither version nor label is given.
        label: A label that the server gave to a version.
        timeout: Seconds to wait for an answer, all attempts and pauses included.
        retries: How often to ask again when the server cannot be reached, or is not ready.

    Raises:
        ValueError: Both a version and a label are given, or the timeout is not positive.
    """

    def __init__(
        self,
        transport: Transport,
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
    ) -> Client:
        """Return a client over REST, for example of "http://127.0.0.1:8501"."""
        return cls(RestTransport(url, tls), model, **options)

    @classmethod
    def grpc(
        cls, target: str, model: str = "sentiment", *, tls: Tls | None = None, **options: Any
    ) -> Client:
        """Return a client over gRPC, for example of "127.0.0.1:8500"."""
        return cls(GrpcTransport(target, tls), model, **options)

    @classmethod
    def in_process(cls, folder: str | Path, model: str = "sentiment", **options: Any) -> Client:
        """Return a client of a SavedModel that it loads into this process."""
        return cls(InProcessTransport(folder), model, **options)

    def predict(
        self,
        inputs: Any = None,
        /,
        *,
        signature: str = DEFAULT_SIGNATURE,
        on_bad_row: OnBadRow = "raise",
        timeout: float | None = None,
        **named: Any,
    ) -> dict[str, np.ndarray]:
        """Run the model on a batch.

        Args:
            inputs: A mapping of input names to arrays or lists; or, for a signature with one
                input, its array or list.
            signature: Which of the model's signatures to run.
            on_bad_row: Whether to raise when the model's `status` output marks rows as bad.
            timeout: Seconds to wait for this answer, instead of the client's.
            **named: Inputs by name, instead of `inputs`.

        Returns:
            An array per output; text as `str` objects, and as `bytes` where it is not UTF-8.

        Raises:
            InvalidArgument: Inputs that do not fit the signature.
            RowError: Some rows cannot be used, and `on_bad_row` is "raise".
            ServingError: See `serving.errors` for the rest.
        """
        return self._run(self._flows.predict(inputs, named, signature, on_bad_row, timeout))

    def metadata(self) -> dict[str, Signature]:
        """Return the model's signatures by name, fresh from the server."""
        return self._run(self._flows.metadata())

    def signature(self, name: str = DEFAULT_SIGNATURE) -> Signature:
        """Return one of the model's signatures; asks the server for one it does not know yet.

        Raises:
            FailedPrecondition: The model has no such signature.
        """
        return self._run(self._flows.signature(name))

    def status(self) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""
        return self._run(self._flows.status())

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        """Carry out a flow's steps and return its result."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = next(flow)
                    continue
                try:
                    answer = step.put_to(self._transport)
                except ServingError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            return end.value
