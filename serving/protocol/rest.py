"""TF Serving's REST interface without I/O: what to send, and how to read what comes back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import numpy as np

from serving import errors
from serving.protocol import messages
from serving.values import Call, ModelRef, Signature, TensorSpec, VersionStatus, signatures_of

T = TypeVar("T")

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Where a server puts its metrics unless it is told another place."""


@dataclass(frozen=True)
class Exchange(Generic[T]):
    """A request and the way to read its answer.

    Attributes:
        method: "GET" or "POST".
        url: Where to.
        content: Body of the request, JSON; None for none.
        key: Where the answer's JSON object holds what was asked for.
        convert: Turns that into the answer's Python form.
    """

    method: str
    url: str
    content: bytes | None
    key: str
    convert: Callable[[Any], T]

    def read(self, status: int, content: bytes) -> T:
        """Return what the server answered.

        Args:
            status: HTTP status.
            content: Body of the answer.

        Raises:
            ServingError: The server refused, failed, or is none.
        """
        # The reference server writes strings as they are, valid UTF-8 or not.
        text = content.decode(errors="surrogateescape")
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if status == 200 and isinstance(answer, dict) and self.key in answer:
            try:
                return self.convert(answer[self.key])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise errors.ServerFault(
                    f"{self.url} sent a malformed '{self.key}': {error}"
                ) from error
        if isinstance(answer, dict) and "error" in answer:
            raise errors.from_http(status, str(answer["error"]))
        raise errors.from_http(
            status, f"{self.url} answered {status} and no '{self.key}': {text[:200]!r}"
        )


def predict(base: str, call: Call) -> Exchange[dict[str, np.ndarray]]:
    """Run a model once, in the column form, which keeps every shape.

    Args:
        base: Where the server listens, for example "http://127.0.0.1:8501".
        call: What to ask.
    """
    body = {
        "signature_name": call.signature_name,
        "inputs": {name: _to_json(array) for name, array in call.inputs.items()},
    }
    content = json.dumps(body, ensure_ascii=False).encode()
    url = f"{base}{_path(call.model)}:predict"
    return Exchange("POST", url, content, "outputs", lambda outputs: _outputs(outputs, call))


def metadata(base: str, model: ModelRef) -> Exchange[dict[str, Signature]]:
    """Ask for a model's signatures."""
    return Exchange("GET", f"{base}{_path(model)}/metadata", None, "metadata", _signatures)


def status(base: str, model: ModelRef) -> Exchange[list[VersionStatus]]:
    """Ask how a model's versions are doing."""
    return Exchange("GET", f"{base}{_path(model)}", None, "model_version_status", _versions)


def _outputs(outputs: Any, call: Call) -> dict[str, np.ndarray]:
    specs = call.signature.outputs
    if len(specs) == 1:
        outputs = {next(iter(specs)): outputs}
    if set(outputs) != set(specs):
        raise errors.ServerFault(
            f"signature '{call.signature_name}' has the outputs {sorted(specs)}, but "
            f"{sorted(outputs)} came back"
        )
    return {name: _from_json(outputs[name], spec) for name, spec in specs.items()}


def _signatures(answer: Any) -> dict[str, Signature]:
    from google.protobuf import json_format

    definitions = messages.SignatureDefMap()
    try:
        json_format.ParseDict(answer["signature_def"], definitions, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error
    return signatures_of(definitions.signature_def)


def _versions(answer: Any) -> list[VersionStatus]:
    return [
        VersionStatus(
            int(each["version"]),
            each["state"],
            each["status"]["error_code"],
            each["status"]["error_message"],
        )
        for each in answer
    ]


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
        encoded[index] = text_or_base64(item)
    return encoded.tolist()


def text_or_base64(item: str | bytes) -> str | dict[str, str]:
    """Return a string as JSON can hold it: bytes that are not UTF-8 as {"b64": ...}."""
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
