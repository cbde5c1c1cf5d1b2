"""Requests in the published messages, and what is expected of answers and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from tests.serving.conformance.process import PATIENCE, Server

AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
LOADING = get_model_status_pb2.ModelVersionStatus.LOADING
END = get_model_status_pb2.ModelVersionStatus.END


def spec(
    model: str, signature: str = "", version: int | None = None, label: str = ""
) -> model_pb2.ModelSpec:
    """Return what a request is about."""
    message = model_pb2.ModelSpec(name=model, signature_name=signature)
    if version is not None:
        message.version.value = version
    if label:
        message.version_label = label
    return message


def predict_request(
    about: model_pb2.ModelSpec | str, output_filter: Sequence[str] = (), **inputs: Any
) -> predict_pb2.PredictRequest:
    """Return a request with tensors made of plain values; a TensorProto is taken as it is.

    Python's decimals become 32-bit ones, its integers int32.
    """
    about = spec(about) if isinstance(about, str) else about
    request = predict_pb2.PredictRequest(model_spec=about, output_filter=output_filter)
    for name, value in inputs.items():
        is_message = isinstance(value, type(request.inputs[name]))
        request.inputs[name].CopyFrom(value if is_message else tf.make_tensor_proto(value))
    return request


def predict(
    server: Server, about: model_pb2.ModelSpec | str, *, timeout: float = PATIENCE, **inputs: Any
) -> dict[str, np.ndarray]:
    """Send a request and return the outputs."""
    response = server.predictor.Predict(predict_request(about, **inputs), timeout=timeout)
    return outputs_of(response)


def outputs_of(response: predict_pb2.PredictResponse) -> dict[str, np.ndarray]:
    """Return the outputs as arrays."""
    return {name: tf.make_ndarray(each) for name, each in response.outputs.items()}


def half(server: Server, about: model_pb2.ModelSpec | str = "half", x: float = 2.0) -> float:
    """Return what the default signature makes of one number: half of it plus the bias."""
    return float(predict(server, about, x=[x])["y"][0])


def code_of(server: Server, about: model_pb2.ModelSpec | str) -> grpc.StatusCode:
    """Return the status with which a model answers one number."""
    try:
        half(server, about)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def status(server: Server, about: model_pb2.ModelSpec | str) -> list[Any]:
    """Return the states of a model's versions."""
    about = spec(about) if isinstance(about, str) else about
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=about)
    return [*server.models.GetModelStatus(request, timeout=PATIENCE).model_version_status]


def states(server: Server, about: model_pb2.ModelSpec | str) -> dict[int, int]:
    """Return the state of each version of a model; nothing for a model that is not known."""
    try:
        return {each.version: each.state for each in status(server, about)}
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.NOT_FOUND, error
        return {}


def reload(server: Server, *configs: Any, timeout: float = PATIENCE) -> Any:
    """Send a new list of models, and return the answer."""
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.extend(configs)
    return server.models.HandleReloadConfigRequest(request, timeout=timeout)


@contextmanager
def refused(code: grpc.StatusCode, text: str = "", *, part: str = "") -> Iterator[None]:
    """Expect a refusal with a code and a text, or with a text that has some part."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    error: Any = caught.value
    assert error.code() is code, f"{error.code()}: {error.details()}"
    assert part in error.details(), error.details()
    assert text in ("", error.details()), error.details()


def assert_refused(response: httpx.Response, code: int, text: str = "", *, part: str = "") -> None:
    """Expect an HTTP refusal with a code and a text, or with a text that has some part."""
    assert response.status_code == code, response.text
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert [*answer] == ["error"], response.text
    assert part in answer["error"], answer["error"]
    assert text in ("", answer["error"]), answer["error"]


def answer(response: httpx.Response) -> Any:
    """Return the JSON of a successful answer."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return json.loads(response.text)
