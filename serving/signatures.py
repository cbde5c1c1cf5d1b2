"""The functions that an exported model serves, made from a pipeline's endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.pipeline import Pipeline
from zoo.ports import Endpoint


def signatures(pipeline: Pipeline) -> dict[str, Callable[..., Any]]:
    """Return a `tf.function` per signature name, with the specs of its input ports.

    Each takes its inputs by name, as a loaded SavedModel's signatures do.
    """
    return {name: _function(endpoint) for name, endpoint in pipeline.endpoints().items()}


def _function(endpoint: Endpoint) -> Callable[..., Any]:
    import tensorflow as tf

    def serve(raw: dict[str, Any]) -> dict[str, Any]:
        answer = endpoint.call(raw)
        # The name that a client sees is that of the port, whatever op made the tensor.
        return {name: tf.identity(answer[name], name=name) for name in endpoint.outputs}

    return tf.function(serve, input_signature=[endpoint.inputs.tensor_specs()])
