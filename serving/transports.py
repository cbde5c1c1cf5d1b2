"""Ways to reach a model: REST, gRPC, in this process, or a function in its place.

A transport takes a `Call` of NumPy arrays that already fit the signature, and gives NumPy
arrays back, strings as object arrays of `bytes`: the same from each. It turns whatever goes
wrong into the classes of `serving.errors`. Each imports its library when it is made, so that
nobody waits for the others'. One transport serves any number of threads, over connections
that it keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from serving import errors
from serving.protocol import rest, rpc
from serving.tls import Tls
from serving.values import Call, ModelRef, Signature, VersionStatus

T = TypeVar("T")

CONNECTIONS = 100
"""Connections that a REST transport opens at most; further calls wait for one of them."""

# A model server stands in the caller's own network, so proxies for the open web that the
# environment names are not for it. A channel that lost its server tries again as often as
# the client does, or else the client's retries would all meet one failed attempt.
GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Transport(Protocol):
    """What `Client` needs of a way to reach a model. Timeouts are in seconds."""

    def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Run the model once."""

    def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name."""

    def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""

    def close(self) -> None:
        """Give back connections and memory."""


class RestTransport:
    """TF Serving's REST interface.

    Args:
        url: Where the server listens, for example "http://127.0.0.1:8501".
        tls: Certificates for "https://"; None for the authorities that httpx trusts.

    Raises:
        InvalidArgument: A file of `tls` cannot be used.
        ValueError: `tls` is given, but the URL is not "https://".
    """

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        import httpx

        self._url = url.rstrip("/")
        self._http = httpx.Client(**http_options(url, tls))

    def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Run the model once, in the column form, which keeps every shape."""
        return self._send(rest.predict(self._url, call), timeout)

    def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name."""
        return self._send(rest.metadata(self._url, model), timeout)

    def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""
        return self._send(rest.status(self._url, model), timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(self, exchange: rest.Exchange[T], timeout: float) -> T:
        """Send one request and return its answer, or raise its error."""
        end = time.monotonic() + timeout
        where = exchange.method, exchange.url
        with (
            http_failures(exchange.url, timeout),
            self._http.stream(*where, content=exchange.content, timeout=timeout) as response,
        ):
            # httpx counts its timeout anew for each piece.
            content = b"".join(_until(end, response.iter_bytes()))
        return exchange.read(response.status_code, content)


class GrpcTransport:
    """TF Serving's gRPC interface.

    Args:
        target: Where the server listens, for example "127.0.0.1:8500" or "unix:/tmp/socket".
        tls: Certificates; None for a connection that is not encrypted.

    Raises:
        InvalidArgument: A file of `tls` cannot be used.
    """

    def __init__(self, target: str, tls: Tls | None = None) -> None:
        import grpc

        self._target = target
        self._channel = (
            grpc.insecure_channel(target, GRPC_OPTIONS)
            if tls is None
            else grpc.secure_channel(target, tls.grpc_credentials(), GRPC_OPTIONS)
        )
        self._methods = {path: self._channel.unary_unary(path) for path in rpc.METHODS}

    def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Run the model once."""
        return self.send(rpc.predict(call), timeout)

    def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name."""
        return self.send(rpc.metadata(model), timeout)

    def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""
        return self.send(rpc.status(model), timeout)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def send(self, exchange: rpc.Exchange[T], timeout: float) -> T:
        """Make one call and return its answer, or raise what its code stands for."""
        with grpc_failures(self._target):
            content = self._methods[exchange.method](exchange.request, timeout=timeout)
        return exchange.read(content)


class InProcessTransport:
    """A SavedModel loaded into this process. Imports TensorFlow when it is made.

    Args:
        saved_model_dir: A version folder (`saved_model.pb` in it), or its parent: then the
            latest version is taken.

    Raises:
        NotFound: The folder holds no SavedModel.
    """

    def __init__(self, saved_model_dir: str | Path) -> None:
        from serving.server.engine import EngineOptions
        from serving.server.servable import Servable
        from serving.server.versions import latest_version

        folder = Path(saved_model_dir)
        if not (folder / "saved_model.pb").is_file():
            version = latest_version(folder)
            if version is None:
                raise errors.NotFound(f"'{folder}' holds neither saved_model.pb nor a version")
            folder = version.folder
        self._servable = Servable(folder, EngineOptions(warm_up=False))
        self._version = int(folder.name) if folder.name.isdigit() else 1

    def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Run the model once, to its end: a graph cannot be stopped by a timeout."""
        self._check(call.model)
        return self._servable.predict(call.signature_name, call.inputs)

    def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name."""
        self._check(model)
        return dict(self._servable.signatures)

    def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return the one version that is loaded."""
        self._check(model)
        return [VersionStatus(self._version, "AVAILABLE")]

    def close(self) -> None:
        """Let go of the model."""
        del self._servable

    def _check(self, model: ModelRef) -> None:
        """Refuse another version than the loaded one; labels are a server's."""
        if model.label is not None:
            raise errors.InvalidArgument(f"Unrecognized servable version label: {model.label}")
        if model.version not in (None, self._version):
            raise errors.NotFound(
                f"Servable not found for request: Specific({model.name}, {model.version})"
            )


class MockTransport:
    """A function in a model's place, for tests of code that uses a client.

    Args:
        handler: Takes the `Call`, returns an array per output (text as `str` or `bytes`), or
            raises an error of `serving.errors`.
        signatures: What the stand-in claims to offer.
    """

    def __init__(
        self,
        handler: Callable[[Call], Mapping[str, np.ndarray]],
        signatures: Mapping[str, Signature],
    ) -> None:
        self._handler = handler
        self._signatures = signatures

    def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Ask the handler."""
        return dict(self._handler(call))

    def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the signatures that were given."""
        return dict(self._signatures)

    def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return one version that is available."""
        return [VersionStatus(model.version or 1, "AVAILABLE")]

    def close(self) -> None:
        """Nothing is held."""


def http_options(url: str, tls: Tls | None) -> dict[str, Any]:
    """Return how the client of httpx is made, sync or async.

    Raises:
        InvalidArgument: A file of `tls` cannot be used.
        ValueError: `tls` is given, but the URL is not "https://".
    """
    import httpx

    if tls is not None and not url.lower().startswith("https://"):
        raise ValueError(f"tls is for a URL that begins with https://, not '{url}'")
    return {
        "trust_env": False,
        "limits": httpx.Limits(
            max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=60
        ),
        **({} if tls is None else {"verify": tls.ssl_context()}),
    }


@contextmanager
def http_failures(url: str, timeout: float) -> Iterator[None]:
    """Turn what httpx raises into the project's errors."""
    import httpx

    try:
        yield
    except (httpx.TimeoutException, TimeoutError) as error:
        raise errors.TimedOut(f"no answer from {url} within {timeout:.3g} s") from error
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise errors.Unreachable(f"cannot reach {url}: {error}") from error
    except httpx.DecodingError as error:
        raise errors.ServerFault(f"{url} sent what cannot be unpacked: {error}") from error


@contextmanager
def grpc_failures(target: str) -> Iterator[None]:
    """Turn what gRPC raises, sync or async, into the project's errors."""
    import grpc

    try:
        yield
    except grpc.RpcError as error:
        number = error.code().value[0]
        refused = errors.from_code(number, error.details() or error.code().name)
        if isinstance(refused, errors.TransportError):
            refused.args = (f"{target}: {refused}",)
        raise refused from error


def _until(end: float, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces of an answer; raise `TimeoutError` when one comes after the end."""
    for piece in pieces:
        if time.monotonic() > end:
            raise TimeoutError
        yield piece
