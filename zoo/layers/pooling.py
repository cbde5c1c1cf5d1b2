"""A sequence to one vector, taking only real steps into account.

Each layer maps `float32[batch, time, features]` and a mask `bool[batch, time]` (True =
real step) to `float32[batch, features]`. A row without any real step gives zeros, not NaN.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import UnknownNameError


class _MaskedPooling(keras.layers.Layer):
    """What the pooling layers share: they use the mask up."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        # Spelled out: what Keras makes up for a class without it leaves out the name.
        return super().get_config()

    def _mask(self, inputs: Any, mask: Any) -> Any:
        """Return the mask as `bool[batch, time, 1]`."""
        if mask is None:
            mask = ops.ones(ops.shape(inputs)[:2], dtype="bool")
        return ops.expand_dims(ops.cast(mask, "bool"), -1)


@keras.saving.register_keras_serializable(package="seqzoo")
class MaskedMaxPooling(_MaskedPooling):
    """The largest value of each feature over the real steps."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        mask = self._mask(inputs, mask)
        largest = ops.max(ops.where(mask, inputs, -float("inf")), axis=1)
        return ops.where(ops.any(mask, axis=1), largest, ops.zeros_like(largest))


@keras.saving.register_keras_serializable(package="seqzoo")
class MaskedMeanPooling(_MaskedPooling):
    """The mean of each feature over the real steps."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        weights = ops.cast(self._mask(inputs, mask), inputs.dtype)
        count = ops.maximum(ops.sum(weights, axis=1), 1)
        return ops.sum(inputs * weights, axis=1) / count


@keras.saving.register_keras_serializable(package="seqzoo")
class MaskedAttentionPooling(_MaskedPooling):
    """A weighted mean whose weights a learned query gives.

        u_t = tanh(W h_t + b),   a = softmax over real t of (v . u_t),   y = sum_t a_t h_t

    Source: Yang et al. 2016, Hierarchical Attention Networks, equations 5 to 7.

    Args:
        units: Size of u.
    """

    def __init__(self, units: int = 64, **options: Any) -> None:
        super().__init__(**options)
        self.units = units
        self.project = keras.layers.Dense(units, activation="tanh", name="project")
        self.score = keras.layers.Dense(1, use_bias=False, name="score")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.project.build(input_shape)
        self.score.build((*input_shape[:-1], self.units))
        self.built = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        mask = self._mask(inputs, mask)
        scores = ops.cast(self.score(self.project(inputs)), "float32")
        scores = ops.where(mask, scores, -1e9)
        # Real steps only, also where there is none: 0 / max(0, 1).
        weights = ops.exp(scores - ops.max(scores, axis=1, keepdims=True))
        weights = weights * ops.cast(mask, "float32")
        weights = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1e-9)
        return ops.sum(inputs * ops.cast(weights, inputs.dtype), axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


POOLING = {
    "attention": MaskedAttentionPooling,
    "max": MaskedMaxPooling,
    "mean": MaskedMeanPooling,
}


def pooling(name: str) -> keras.layers.Layer:
    """Return the pooling layer called `name` ("attention", "max" or "mean").

    Raises:
        UnknownNameError: There is no such layer.
    """
    if name not in POOLING:
        raise UnknownNameError("pooling", name, POOLING)
    return POOLING[name](name=name)
