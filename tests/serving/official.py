"""Requests made with the published messages, as another client would make them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2


def predict_request(signature: str = "half", **inputs: Any) -> predict_pb2.PredictRequest:
    """Return a request to the toy model."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request
