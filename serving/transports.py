"""Ways to reach a model: REST, gRPC, in this process, or a function in its place.

A transport takes a `Call` of NumPy arrays that already fit the signature, and gives NumPy
arrays back, strings as object arrays of `bytes`: the same from each. It turns whatever goes
wrong into the classes of `serving.errors`. Each imports its library when it is made, so that
nobody waits for the others'.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np

from serving import errors, protocol
from serving.protocol import messages
from serving.values import ModelRef, Signature, TensorSpec, VersionStatus, signatures_of

# A model server stands in the caller's own network, so proxies for the open web that the
# environment names are not for it.
_GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True)
class Call:
    """One question to a model.

    Attributes:
        model: Which model and version.
        signature_name: Name of the signature to run.
        signature: That signature, as the model's metadata describes it.
        inputs: An array per input, of the signature's type; text as `str` or `bytes`.
    """

    model: ModelRef
    signature_name: str
    signature: Signature
    inputs: Mapping[str, np.ndarray]


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
    """

    def __init__(self, url: str) -> None:
        import httpx

        self._url = url.rstrip("/")
        self._http = httpx.Client(trust_env=False)

    def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Run the model once, in the column form, which keeps every shape."""
        body = {
            "signature_name": call.signature_name,
            "inputs": {name: _to_json(array) for name, array in call.inputs.items()},
        }
        content = json.dumps(body, ensure_ascii=False).encode()
        path = f"{_path(call.model)}:predict"
        outputs = self._ask("POST", path, "outputs", timeout, content)
        specs = call.signature.outputs
        if len(specs) == 1:
            outputs = {next(iter(specs)): outputs}
        if set(outputs) != set(specs):
            raise errors.ServerFault(
                f"signature '{call.signature_name}' has the outputs {sorted(specs)}, but "
                f"{sorted(outputs)} came back"
            )
        return {name: _from_json(outputs[name], spec) for name, spec in specs.items()}

    def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name."""
        from google.protobuf import json_format

        metadata = self._ask("GET", f"{_path(model)}/metadata", "metadata", timeout)
        definitions = messages.SignatureDefMap()
        json_format.ParseDict(metadata["signature_def"], definitions, ignore_unknown_fields=True)
        return signatures_of(definitions.signature_def)

    def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""
        versions = self._ask("GET", _path(model), "model_version_status", timeout)
        return [
            VersionStatus(
                int(each["version"]),
                each["state"],
                each["status"]["error_code"],
                each["status"]["error_message"],
            )
            for each in versions
        ]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(
        self, method: str, path: str, key: str, timeout: float, content: bytes | None = None
    ) -> Any:
        """Send one request and return what its answer holds under a key, or raise its error."""
        import httpx

        url = f"{self._url}{path}"
        try:
            response = self._http.request(method, url, content=content, timeout=timeout)
        except httpx.TimeoutException as error:
            raise errors.TimedOut(f"no answer from {url} within {timeout} s") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise errors.Unreachable(f"cannot reach {url}: {error}") from error
        # The reference server writes strings as they are, valid UTF-8 or not.
        text = response.content.decode(errors="surrogateescape")
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if response.is_success and isinstance(answer, dict) and key in answer:
            return answer[key]
        if isinstance(answer, dict) and "error" in answer:
            raise errors.from_http(response.status_code, str(answer["error"]))
        raise errors.from_http(
            response.status_code,
            f"{url} answered {response.status_code} and no '{key}': {text[:200]!r}",
        )


class GrpcTransport:
    """TF Serving's gRPC interface.

    Args:
        target: Where the server listens, for example "127.0.0.1:8500".
    """

    def __init__(self, target: str) -> None:
        import grpc

        self._target = target
        self._channel = grpc.insecure_channel(target, options=_GRPC_OPTIONS)
        self._predict = self._method(messages.PREDICT, messages.PredictResponse)
        self._metadata = self._method(
            messages.GET_MODEL_METADATA, messages.GetModelMetadataResponse
        )
        self._status = self._method(messages.GET_MODEL_STATUS, messages.GetModelStatusResponse)

    def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        """Run the model once."""
        request = messages.PredictRequest(model_spec=_spec(call.model, call.signature_name))
        for name, array in call.inputs.items():
            protocol.to_proto(array, request.inputs[name])
        response = self._ask(self._predict, request, timeout)
        try:
            return {
                name: protocol.from_proto(proto) for name, proto in sorted(response.outputs.items())
            }
        except ValueError as error:
            raise errors.ServerFault(f"{self._target} sent a malformed tensor: {error}") from error

    def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        """Return the model's signatures by name."""
        request = messages.GetModelMetadataRequest(
            model_spec=_spec(model), metadata_field=["signature_def"]
        )
        response = self._ask(self._metadata, request, timeout)
        # The message inside names TensorFlow's package, so it is parsed as ours by hand.
        content = response.metadata["signature_def"].value
        return signatures_of(messages.SignatureDefMap.FromString(content).signature_def)

    def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        """Return how the model's versions are doing, the newest first."""
        request = messages.GetModelStatusRequest(model_spec=_spec(model))
        response = self._ask(self._status, request, timeout)
        return [
            VersionStatus(
                each.version,
                messages.State.values_by_number[each.state].name,
                messages.Code.values_by_number[each.status.error_code].name,
                each.status.error_message,
            )
            for each in response.model_version_status
        ]

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _method(self, path: str, response: Any) -> Any:
        return self._channel.unary_unary(
            path,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def _ask(self, method: Any, request: Any, timeout: float) -> Any:
        """Make one call and return its answer, or raise what its code stands for."""
        import grpc

        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            number = error.code().value[0]
            refused = errors.from_code(number, error.details() or error.code().name)
            if isinstance(refused, errors.TransportError):
                refused.args = (f"{self._target}: {refused}",)
            raise refused from error


class InProcessTransport:
    """A SavedModel loaded into this process. Imports TensorFlow when it is made.

    Args:
        saved_model_dir: A version folder (`saved_model.pb` in it), or its parent: then the
            latest version is taken.

    Raises:
        NotFound: The folder holds no SavedModel.
    """

    def __init__(self, saved_model_dir: str | Path) -> None:
        from serving.server.servable import Servable
        from serving.server.versions import latest_version

        folder = Path(saved_model_dir)
        if not (folder / "saved_model.pb").is_file():
            version = latest_version(folder)
            if version is None:
                raise errors.NotFound(f"'{folder}' holds neither saved_model.pb nor a version")
            folder = version.folder
        self._servable = Servable(folder)
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


def _spec(model: ModelRef, signature_name: str = "") -> Any:
    """Return the ModelSpec message of a model."""
    spec = messages.ModelSpec(name=model.name, signature_name=signature_name)
    if model.version is not None:
        spec.version.value = model.version
    elif model.label is not None:
        spec.version_label = model.label
    return spec


def _path(model: ModelRef) -> str:
    """Return the path of a model under the REST interface."""
    path = f"/v1/models/{quote(model.name, safe='')}"
    if model.version is not None:
        return f"{path}/versions/{model.version}"
    return path if model.label is None else f"{path}/labels/{quote(model.label, safe='')}"


def _to_json(array: np.ndarray) -> Any:
    """Return nested lists; bytes that are not UTF-8 as {"b64": ...}."""
    if array.dtype.kind not in "OSUT":
        return array.tolist()
    encoded = np.empty(array.shape, object)
    for index, item in np.ndenumerate(array):
        encoded[index] = _text_or_base64(item)
    return encoded.tolist()


def _text_or_base64(item: str | bytes) -> str | dict[str, str]:
    if isinstance(item, str):
        return item
    try:
        return item.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(item).decode()}


def _from_json(value: Any, spec: TensorSpec) -> np.ndarray:
    """Return nested lists as an array of the spec's type."""
    with np.errstate(over="ignore"):
        array = np.array(value, dtype=spec.dtype)
    if array.size == 0 and spec.shape is not None and array.ndim < len(spec.shape):
        # JSON's [] has lost the sizes of the axes after the first empty one.
        lost = spec.shape[array.ndim :]
        array = array.reshape(array.shape + tuple(size or 0 for size in lost))
    if array.dtype == object:
        for index, item in np.ndenumerate(array):
            array[index] = (
                base64.b64decode(item["b64"])
                if isinstance(item, dict)
                else item.encode(errors="surrogateescape")
            )
    return array
