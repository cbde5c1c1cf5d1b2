"""The gRPC interface: PredictionService and ModelService as TF Serving publishes them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import errors, protocol
from serving.server.addresses import join
from serving.server.core import ServerCore
from serving.values import DEFAULT_SIGNATURE, ModelRef, VersionStatus

log = logging.getLogger(__name__)

METADATA_FIELD = "signature_def"

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_OPTIONS = (
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.max_send_message_length", 2**31 - 1),
    # Otherwise a second server on the same port starts, and takes every other connection.
    ("grpc.so_reuseport", 0),
)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata. The other methods are answered as unimplemented."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Run a signature on the tensors of the request."""
        return _answer(context, lambda: self._predict(request))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Return the model's signatures."""
        return _answer(context, lambda: model_metadata(self._core, request))

    def _predict(self, request: Any) -> Any:
        ref = _ref(request)
        number, servable = self._core.get(ref)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        servable.signature(name)  # refused before the tensors are read
        inputs = {}
        for key, proto in request.inputs.items():
            try:
                inputs[key] = protocol.from_proto(proto)
            except ValueError as error:
                raise errors.InvalidArgument(f"tensor parsing error: {key}") from error
        outputs = servable.predict(name, inputs, request.output_filter)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = ref.name
        response.model_spec.signature_name = name
        response.model_spec.version.value = number
        for key, array in outputs.items():
            protocol.to_proto(array, response.outputs[key], content=False)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus. The other methods are answered as unimplemented."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Return the states of the model's versions."""
        return _answer(context, lambda: status_response(self._core.status(_ref(request))))


def model_metadata(core: ServerCore, request: Any) -> Any:
    """Answer a GetModelMetadataRequest.

    Raises:
        InvalidArgument: It asks for anything but signatures, or for nothing.
        NotFound: There is no such model or version.
    """
    ref = _ref(request)
    if not request.metadata_field:
        raise errors.InvalidArgument(
            "GetModelMetadataRequest must specify at least one metadata_field"
        )
    for field in request.metadata_field:
        if field != METADATA_FIELD:
            raise errors.InvalidArgument(f"Metadata field {field} is not supported")
    number, servable = core.get(ref)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = ref.name
    response.model_spec.version.value = number
    definitions = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in servable.signature_defs.items():
        definitions.signature_def[name].CopyFrom(definition)
    response.metadata[METADATA_FIELD].Pack(definitions)
    return response


def status_response(versions: list[VersionStatus]) -> Any:
    """Return the states of versions as a GetModelStatusResponse."""
    response = get_model_status_pb2.GetModelStatusResponse()
    states = get_model_status_pb2.ModelVersionStatus.State
    codes = protocol.messages.Code.values_by_name
    for version in versions:
        each = response.model_version_status.add(
            version=version.version, state=states.Value(version.state)
        )
        each.status.error_code = codes[version.code].number
        each.status.error_message = version.message
    return response


def start(core: ServerCore, host: str, port: int) -> tuple[grpc.Server, int]:
    """Start the interface.

    Args:
        core: The models.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.

    Returns:
        The running server and its port.

    Raises:
        Unreachable: The address cannot be had.
    """
    # The reference's own default: four threads for each processor.
    pool = ThreadPoolExecutor(4 * (os.cpu_count() or 1), thread_name_prefix="grpc")
    server = grpc.server(pool, options=_OPTIONS)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(core), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), server)
    try:
        bound = server.add_insecure_port(join(host, port))
    except RuntimeError as error:
        raise errors.Unreachable(f"cannot listen on {join(host, port)}: {error}") from error
    server.start()
    return server, bound


def _ref(request: Any) -> ModelRef:
    """Return which model a request is meant for."""
    if not request.HasField("model_spec"):
        raise errors.InvalidArgument("Missing ModelSpec")
    spec = request.model_spec
    choice = spec.WhichOneof("version_choice")
    return ModelRef(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def _answer(context: grpc.ServicerContext, respond: Callable[[], Any]) -> Any:
    """Return a response, or end the call with the code that its error stands for."""
    try:
        return respond()
    except errors.ServingError as error:
        context.abort(_CODES[errors.row_of(error).code], errors.message_of(error))
    except Exception:
        log.exception("a gRPC call failed")
        context.abort(grpc.StatusCode.INTERNAL, "internal error; see the server's log")
