"""TF Serving's gRPC interface without I/O: what to send, and how to read what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from serving import errors, protocol
from serving.protocol import messages
from serving.values import Call, ModelRef, Signature, VersionStatus, signatures_of

T = TypeVar("T")

METHODS = (
    messages.PREDICT,
    messages.GET_MODEL_METADATA,
    messages.GET_MODEL_STATUS,
    messages.HANDLE_RELOAD_CONFIG,
)


@dataclass(frozen=True)
class Exchange(Generic[T]):
    """A request and the way to read its answer.

    Attributes:
        method: Path of the method.
        request: The serialized request.
        response: Class of the answer's message.
        convert: Turns that message into the answer's Python form.
    """

    method: str
    request: bytes
    response: Any
    convert: Callable[[Any], T]

    def read(self, content: bytes) -> T:
        """Return what the server answered, from the serialized message.

        Raises:
            ServerFault: It is malformed.
        """
        try:
            return self.convert(self.response.FromString(content))
        except (DecodeError, ValueError, KeyError) as error:
            raise errors.ServerFault(f"{self.method} sent a malformed answer: {error}") from error


def predict(call: Call) -> Exchange[dict[str, np.ndarray]]:
    """Run a model once."""
    request = messages.PredictRequest(model_spec=_spec(call.model, call.signature_name))
    for name, array in call.inputs.items():
        protocol.to_proto(array, request.inputs[name])
    content = request.SerializeToString()
    return Exchange(messages.PREDICT, content, messages.PredictResponse, _outputs)


def metadata(model: ModelRef) -> Exchange[dict[str, Signature]]:
    """Ask for a model's signatures."""
    request = messages.GetModelMetadataRequest(
        model_spec=_spec(model), metadata_field=["signature_def"]
    )
    content, response = request.SerializeToString(), messages.GetModelMetadataResponse
    return Exchange(messages.GET_MODEL_METADATA, content, response, _signatures)


def version(model: ModelRef) -> Exchange[int]:
    """Ask which version answers: the latest one, or the one that a label stands for."""
    asked = metadata(model)
    return Exchange(
        asked.method, asked.request, asked.response, lambda answer: answer.model_spec.version.value
    )


def status(model: ModelRef) -> Exchange[list[VersionStatus]]:
    """Ask how a model's versions are doing."""
    request = messages.GetModelStatusRequest(model_spec=_spec(model))
    content, response = request.SerializeToString(), messages.GetModelStatusResponse
    return Exchange(messages.GET_MODEL_STATUS, content, response, _versions)


def _outputs(response: Any) -> dict[str, np.ndarray]:
    return {name: protocol.from_proto(proto) for name, proto in sorted(response.outputs.items())}


def _signatures(response: Any) -> dict[str, Signature]:
    # The message inside names TensorFlow's package, so it is parsed as ours by hand.
    content = response.metadata["signature_def"].value
    return signatures_of(messages.SignatureDefMap.FromString(content).signature_def)


def _versions(response: Any) -> list[VersionStatus]:
    return [
        VersionStatus(
            each.version,
            messages.State.values_by_number[each.state].name,
            messages.Code.values_by_number[each.status.error_code].name,
            each.status.error_message,
        )
        for each in response.model_version_status
    ]


def _spec(model: ModelRef, signature_name: str = "") -> Any:
    """Return the ModelSpec message of a model."""
    spec = messages.ModelSpec(name=model.name, signature_name=signature_name)
    if model.version is not None:
        spec.version.value = model.version
    elif model.label is not None:
        spec.version_label = model.label
    return spec
