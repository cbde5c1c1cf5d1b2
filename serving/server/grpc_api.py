"""What the gRPC interface answers: PredictionService and ModelService as TF Serving has them.

Every call takes the bytes of a request and gives those of a response, so that nothing here
knows which kind of gRPC server asks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import errors, protocol
from serving.server import inference, metrics
from serving.server.core import ServerCore
from serving.server.servable import check_inputs
from serving.values import DEFAULT_SIGNATURE, ModelRef, Signature, VersionStatus

log = logging.getLogger(__name__)

METADATA_FIELD = "signature_def"
"""The one kind of metadata that can be asked for."""


class Method(NamedTuple):
    """One call of a service."""

    request: Any
    """Class of the message that it takes."""
    response: Any
    """Class of the message that it gives."""
    respond: Callable[[ServerCore, Any], Any]
    """Makes the one out of the other; raises a `ServingError` where it cannot."""
    counted: bool = False
    """Whether the metrics know it: those that the reference counts."""


def answer(core: ServerCore, name: str, method: Method, content: bytes) -> bytes:
    """Answer one call.

    Args:
        core: The models.
        name: The method's name, under which the metrics know it.
        method: What is called.
        content: The serialized request.

    Returns:
        The serialized response.

    Raises:
        ServingError: The call is refused, or failed.
    """
    try:
        request = method.request.FromString(content)
    except DecodeError as error:
        kind = method.request.DESCRIPTOR.full_name
        raise errors.InvalidArgument(f"the request is not a message of type {kind}") from error
    began, failure = time.perf_counter(), None
    try:
        return method.respond(core, request).SerializeToString()
    except errors.ServingError as error:
        failure = error
        raise
    except Exception as error:
        log.exception("a gRPC call failed")
        failure = errors.InternalFault("internal error; see the server's log")
        raise failure from error
    finally:
        if method.counted:
            model = request.model_spec.name
            metrics.answered(model, name, "GRPC", failure, time.perf_counter() - began)


def predict(core: ServerCore, request: Any) -> Any:
    """Run a signature on the tensors of a PredictRequest."""
    ref = model_ref(request)
    number, servable = core.get(ref)
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    inputs = _arrays(servable.signature(name), request.inputs)
    outputs = servable.predict(name, inputs, list(request.output_filter))
    response = predict_pb2.PredictResponse()
    _set_spec(response.model_spec, ref.name, number, name)
    for key, array in outputs.items():
        protocol.to_proto(array, response.outputs[key], servable.options.tensor_content)
    return response


def classify(core: ServerCore, request: Any) -> Any:
    """Run a signature that classifies on the Examples of a ClassificationRequest."""
    ref = model_ref(request)
    number, servable = core.get(ref)
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    response = classification_pb2.ClassificationResponse()
    answers = inference.classify(servable, name, inference.examples_of(request.input))
    _set_classes(response.result, answers)
    _set_spec(response.model_spec, ref.name, number, name)
    return response


def regress(core: ServerCore, request: Any) -> Any:
    """Run a signature that regresses on the Examples of a RegressionRequest."""
    ref = model_ref(request)
    number, servable = core.get(ref)
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    response = regression_pb2.RegressionResponse()
    values = inference.regress(servable, name, inference.examples_of(request.input))
    _set_values(response.result, values)
    _set_spec(response.model_spec, ref.name, number, name)
    return response


def multi_inference(core: ServerCore, request: Any) -> Any:
    """Run several signatures of one model on the same Examples."""
    # The first task says which model and version is meant, for all of them.
    ref = _ref_of(request.tasks[0].model_spec) if request.tasks else ModelRef("")
    number, servable = core.get(ref)
    tasks = [
        inference.Task(task.model_spec.name, task.model_spec.signature_name, task.method_name)
        for task in request.tasks
    ]
    answers = inference.multi_inference(servable, tasks, inference.examples_of(request.input))
    response = inference_pb2.MultiInferenceResponse()
    for task, each in zip(tasks, answers, strict=True):
        result = response.results.add()
        if task.method_name == inference.CLASSIFY:
            _set_classes(result.classification_result, each)
        else:
            _set_values(result.regression_result, each)
        _set_spec(result.model_spec, ref.name, number, task.signature_name or DEFAULT_SIGNATURE)
    return response


def model_metadata(core: ServerCore, request: Any) -> Any:
    """Answer a GetModelMetadataRequest.

    Raises:
        InvalidArgument: It asks for anything but signatures, or for nothing.
        NotFound: There is no such model or version.
    """
    ref = model_ref(request)
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


def model_status(core: ServerCore, request: Any) -> Any:
    """Return the states of a model's versions; a label in the request is not looked at."""
    return status_response(core.status(model_ref(request)))


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


def reload_config(core: ServerCore, request: Any) -> Any:
    """Serve the models of another configuration.

    Raises:
        InvalidArgument: It is not a list of models, or one that cannot be served.
        ServingError: The old configuration stays in force for another reason.
    """
    if request.config.WhichOneof("config") != "model_config_list":
        raise errors.InvalidArgument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    core.reload(request.config)
    response = model_management_pb2.ReloadConfigResponse()
    response.status.SetInParent()  # there, and OK
    return response


SERVICES: Mapping[str, Mapping[str, Method]] = {
    "tensorflow.serving.PredictionService": {
        "Classify": Method(
            classification_pb2.ClassificationRequest,
            classification_pb2.ClassificationResponse,
            classify,
            counted=True,
        ),
        "GetModelMetadata": Method(
            get_model_metadata_pb2.GetModelMetadataRequest,
            get_model_metadata_pb2.GetModelMetadataResponse,
            model_metadata,
        ),
        "MultiInference": Method(
            inference_pb2.MultiInferenceRequest,
            inference_pb2.MultiInferenceResponse,
            multi_inference,
        ),
        "Predict": Method(
            predict_pb2.PredictRequest, predict_pb2.PredictResponse, predict, counted=True
        ),
        "Regress": Method(
            regression_pb2.RegressionRequest,
            regression_pb2.RegressionResponse,
            regress,
            counted=True,
        ),
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": Method(
            get_model_status_pb2.GetModelStatusRequest,
            get_model_status_pb2.GetModelStatusResponse,
            model_status,
        ),
        "HandleReloadConfigRequest": Method(
            model_management_pb2.ReloadConfigRequest,
            model_management_pb2.ReloadConfigResponse,
            reload_config,
        ),
    },
}
"""The services by full name, and their methods by name."""


def model_ref(request: Any) -> ModelRef:
    """Return which model a request is meant for.

    Raises:
        InvalidArgument: It does not say.
    """
    if not request.HasField("model_spec"):
        raise errors.InvalidArgument("Missing ModelSpec")
    return _ref_of(request.model_spec)


def _ref_of(spec: Any) -> ModelRef:
    choice = spec.WhichOneof("version_choice")
    return ModelRef(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def _arrays(signature: Signature, protos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read the tensors of a request."""
    arrays = {}
    for key, proto in protos.items():
        try:
            arrays[key] = protocol.from_proto(proto)
        except ValueError as error:
            if set(protos) != set(signature.inputs):  # names come first, so they are refused
                check_inputs(signature, dict.fromkeys(protos, np.empty(0)))
            raise errors.InvalidArgument(f"tensor parsing error: {key}") from error
    return arrays


def _set_spec(spec: Any, model: str, version: int, signature_name: str) -> None:
    """Say in a response who answered."""
    spec.name, spec.signature_name = model, signature_name
    spec.version.value = version


def _set_classes(result: Any, answers: list[inference.Classes]) -> None:
    """Fill a ClassificationResult."""
    for classes in answers:
        listed = result.classifications.add().classes
        for label, score in classes:
            listed.add(label=label, score=score)


def _set_values(result: Any, values: list[float]) -> None:
    """Fill a RegressionResult."""
    for value in values:
        result.regressions.add(value=value)
