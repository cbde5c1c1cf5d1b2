"""The running server, asked by the official stubs: answers, codes and messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server import RunningServer
from tests.serving.official import predict_request


@pytest.fixture(scope="module")
def channel(toy_server: RunningServer) -> Iterator[grpc.Channel]:
    """A channel to the server."""
    with grpc.insecure_channel(toy_server.grpc_address) as channel:
        yield channel


def test_official_predict(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_request("", text=["a", "long enough"])
    request.output_filter.extend(["label", "length"])
    response = stub.Predict(request)
    assert set(response.outputs) == {"label", "length"}
    assert tf.make_ndarray(response.outputs["label"]).tolist() == [b"short", "long ✓".encode()]
    assert list(response.outputs["length"].int64_val) == [1, 11], "listed, not as raw bytes"
    assert response.model_spec.name == "toy" and response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "serving_default"


def test_official_status_and_metadata(channel: grpc.Channel) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "toy"
    status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    assert [each.state for each in status.model_version_status] == [30]
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "toy"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    metadata = stub.GetModelMetadata(asked)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert metadata.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["half"].method_name == "tensorflow/serving/predict"
    assert metadata.model_spec.version.value == 1


def without_model(request: predict_pb2.PredictRequest) -> predict_pb2.PredictRequest:
    """Return the request without its model."""
    request.ClearField("model_spec")
    return request


def malformed() -> predict_pb2.PredictRequest:
    """Return a request whose tensor contradicts itself."""
    request = predict_request(x=[1.0])
    request.inputs["x"].tensor_content = b"123"
    return request


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (
            predict_pb2.PredictRequest(model_spec={"name": "nobody"}),
            "NOT_FOUND",
            "Servable not found for request: Latest(nobody)",
        ),
        (
            predict_pb2.PredictRequest(model_spec={"name": "toy", "version": {"value": 5}}),
            "NOT_FOUND",
            "Servable not found for request: Specific(toy, 5)",
        ),
        (
            predict_pb2.PredictRequest(model_spec={"name": "toy", "version_label": "best"}),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: best",
        ),
        (without_model(predict_request()), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            predict_pb2.PredictRequest(model_spec={"signature_name": "half"}),
            "INVALID_ARGUMENT",
            "ModelSpec has no name specified.",
        ),
        (
            predict_request("nothing"),
            "FAILED_PRECONDITION",
            'Serving signature key "nothing" not found.',
        ),
        (
            predict_request(),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "
            "Missing but required: {x}.",
        ),
        (
            predict_request(x=[1.0], z=[1.0]),
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
            "Missing but required: {}.",
        ),
        (
            predict_request(z=[1.0]),
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: half_x:0) not found in request and no default "
            "value provided. Inputs expected to be in the request {z}, or default input alias "
            "set: ",
        ),
        (
            predict_request(x=["a"]),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but string is provided",
        ),
        (malformed(), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (
            predict_request("pick", index=[-1]),
            "INVALID_ARGUMENT",
            "indices[0] = -1 is not in [0, 3)",
        ),
    ],
)
def test_official_errors(channel: grpc.Channel, request_: Any, code: str, message: str) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request_)
    assert (caught.value.code().name, caught.value.details()) == (code, message)


def test_official_output_filter_errors(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    for names, message in (
        (
            ["z"],
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
        (["y", "y"], "duplicate output tensor alias: y"),
    ):
        request = predict_request(x=[1.0])
        request.output_filter.extend(names)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request)
        assert caught.value.details() == message


@pytest.mark.parametrize(
    ("name", "request_", "message"),
    [
        (
            "Classify",
            classification_pb2.ClassificationRequest(model_spec={"name": "toy"}),
            "Expected one or two output Tensors, found 6",
        ),
        (
            "Regress",
            regression_pb2.RegressionRequest(model_spec={"name": "toy"}),
            "Expected one output Tensor.",
        ),
        (
            "MultiInference",
            inference_pb2.MultiInferenceRequest(),
            "ModelSpec has no name specified.",
        ),
        (
            "HandleReloadConfigRequest",
            model_management_pb2.ReloadConfigRequest(),
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        ),
    ],
)
def test_every_other_method_is_there(
    channel: grpc.Channel, name: str, request_: Any, message: str
) -> None:
    prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        getattr(prediction if hasattr(prediction, name) else stub, name)(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == message


def test_metadata_errors(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    for fields, message in (
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["weights"], "Metadata field weights is not supported"),
    ):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        request.model_spec.name = "toy"
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetModelMetadata(request)
        assert caught.value.details() == message
