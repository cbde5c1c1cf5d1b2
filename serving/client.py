"""A client for models behind TF Serving's protocol: NumPy in, NumPy out.

    with Client.grpc("127.0.0.1:8500", "sentiment") as client:
        answer = client.predict(text=["a joy", "a bore"])
        print(answer["label"], answer["probabilities"])

The same call gives the same arrays over each transport. Needs neither TensorFlow nor the
code that the model was trained with.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from serving.errors import (
    FailedPrecondition,
    InvalidArgument,
    RequestRefused,
    RowError,
    ServerFault,
)
from serving.transports import (
    Call,
    GrpcTransport,
    InProcessTransport,
    MockTransport,
    RestTransport,
    Transport,
)
from serving.values import DEFAULT_SIGNATURE, ModelRef, Signature, TensorSpec, VersionStatus

__all__ = [
    "Call",
    "Client",
    "GrpcTransport",
    "InProcessTransport",
    "MockTransport",
    "RestTransport",
    "Signature",
    "TensorSpec",
    "Transport",
    "VersionStatus",
]

TIMEOUT = 60.0
"""Seconds to wait for an answer, unless told otherwise."""


class Client:
    """Asks one model.

    Args:
        transport: How to reach it; the client closes it.
        model: Name under which it is served.
        version: A version of it; the latest if neither version nor label is given.
        label: A label that the server gave to a version.
        timeout: Seconds to wait for an answer.

    Raises:
        ValueError: Both a version and a label are given.
    """

    def __init__(
        self,
        transport: Transport,
        model: str = "sentiment",
        version: int | None = None,
        label: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        if version is not None and label is not None:
            raise ValueError(f"give a version ({version}) or a label ('{label}'), not both")
        self._transport = transport
        self._model = ModelRef(model, version, label)
        self._timeout = timeout
        self._signatures: dict[str, Signature] | None = None

    @classmethod
    def rest(cls, url: str, model: str = "sentiment", **options: Any) -> Client:
        """Return a client over REST, for example of "http://127.0.0.1:8501"."""
        return cls(RestTransport(url), model, **options)

    @classmethod
    def grpc(cls, target: str, model: str = "sentiment", **options: Any) -> Client:
        """Return a client over gRPC, for example of "127.0.0.1:8500"."""
        return cls(GrpcTransport(target), model, **options)

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
        on_bad_row: Literal["raise", "return"] = "raise",
        **named: Any,
    ) -> dict[str, np.ndarray]:
        """Run the model on a batch.

        Args:
            inputs: A mapping of input names to arrays or lists; or, for a signature with one
                input, its array or list.
            signature: Which of the model's signatures to run.
            on_bad_row: Whether to raise when the model's `status` output marks rows as bad.
            **named: Inputs by name, instead of `inputs`.

        Returns:
            An array per output; text as `str` objects, and as `bytes` where it is not UTF-8.

        Raises:
            InvalidArgument: Inputs that do not fit the signature.
            RowError: Some rows cannot be used, and `on_bad_row` is "raise".
            ServingError: See `serving.errors` for the rest.
        """
        if on_bad_row not in ("raise", "return"):
            raise ValueError(f"on_bad_row must be 'raise' or 'return', not '{on_bad_row}'")
        chosen = self._signature(signature)
        arrays = _arrays(_by_name(inputs, named, chosen), chosen)
        call = Call(self._model, signature, chosen, arrays)
        try:
            outputs = self._transport.predict(call, self._timeout)
        except (RequestRefused, ServerFault):
            self._signatures = None  # a new version may have come with other signatures
            raise
        answer = {name: _with_text(array) for name, array in outputs.items()}
        if on_bad_row == "raise":
            _raise_for_rows(answer, arrays)
        return answer

    def metadata(self) -> dict[str, Signature]:
        """Return the model's signatures by name, fresh from the server."""
        self._signatures = self._transport.metadata(self._model, self._timeout)
        return self._signatures

    def status(self) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""
        return self._transport.status(self._model, self._timeout)

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

    def _signature(self, name: str) -> Signature:
        """Return a signature from the cache, asking the server for what is not in it."""
        known = self._signatures if self._signatures is not None else {}
        if name not in known:
            known = self.metadata()
        if name not in known:
            raise FailedPrecondition(
                f"model '{self._model.name}' has no signature '{name}'{_nearest(name, known)}"
            )
        return known[name]


def _by_name(inputs: Any, named: dict[str, Any], signature: Signature) -> Mapping[str, Any]:
    """Return the inputs as a mapping whose names are those of the signature."""
    if inputs is None:
        inputs = named
    elif named:
        raise InvalidArgument(f"inputs are given twice: as one argument, and as {sorted(named)}")
    elif not isinstance(inputs, Mapping):
        if len(signature.inputs) != 1:
            raise InvalidArgument(f"name the inputs: there are {sorted(signature.inputs)}")
        inputs = {next(iter(signature.inputs)): inputs}
    for name in inputs:
        if name not in signature.inputs:
            raise InvalidArgument(f"unknown input '{name}'{_nearest(name, signature.inputs)}")
    missing = sorted(set(signature.inputs) - set(inputs))
    if missing:
        raise InvalidArgument(f"missing input '{missing[0]}' (given: {sorted(inputs)})")
    return inputs


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    """Return the tail of a message about an unknown name."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{hint} (known: {', '.join(sorted(known))})"


def _arrays(inputs: Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    return {name: _cast(name, value, signature.inputs[name]) for name, value in inputs.items()}


def _cast(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    """Return an input as an array of the signature's type.

    Numbers may become wider in kind (bool, integer, real, complex) and less precise, but a
    real number never becomes an integer, and an integer never another one.
    """
    if spec.dtype == object:
        return _text(name, value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidArgument(f"input '{name}' is not rectangular: {error}") from error
    kinds = "buifc"
    order = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    given = "f" if array.size == 0 or array.dtype.name == "bfloat16" else array.dtype.kind
    wanted = "f" if spec.dtype.name == "bfloat16" else spec.dtype.kind
    if array.size and (given not in kinds or order[given] > order[wanted]):
        raise InvalidArgument(
            f"input '{name}' takes {spec.type_name}, which {array.dtype} does not turn into"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(spec.dtype, copy=False)
    if wanted in "iu" and not np.array_equal(cast, array):
        raise InvalidArgument(f"input '{name}' takes {spec.type_name}, but a value is beyond it")
    return cast


def _text(name: str, value: Any) -> np.ndarray:
    """Return text as an object array of `str` and `bytes`."""
    # Not through NumPy's own text types: they drop zero bytes at an element's end.
    array = np.asarray(value, dtype=object)
    for item in array.flat:
        if not isinstance(item, str | bytes):
            raise InvalidArgument(
                f"input '{name}' takes text (str or bytes, in rectangular lists), but an "
                f"element is a {type(item).__name__}"
            )
        if isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise InvalidArgument(f"input '{name}' is not valid text: {error}") from error
    return array


def _with_text(array: np.ndarray) -> np.ndarray:
    """Return an output with its bytes as `str` wherever they are valid UTF-8."""
    if array.dtype != object:
        return array
    text = np.empty(array.shape, object)
    for index, item in np.ndenumerate(array):
        text[index] = _decoded(item)
    return text


def _decoded(item: str | bytes) -> str | bytes:
    if isinstance(item, str):
        return item
    try:
        return item.decode()
    except UnicodeDecodeError:
        return item


def _raise_for_rows(answer: dict[str, np.ndarray], inputs: Mapping[str, np.ndarray]) -> None:
    """Raise if the output `status`, one text per row of the batch, marks rows as bad."""
    status = answer.get("status")
    sizes = {array.shape[0] for array in inputs.values() if array.ndim}
    if status is None or status.dtype != object or status.ndim != 1 or len(status) not in sizes:
        return
    rows = {index: str(reason) for index, reason in enumerate(status) if reason}
    if rows:
        raise RowError(rows, answer)
