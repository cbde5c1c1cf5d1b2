"""From scaled corrections to forecasts in the units of the data, and their losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError


@keras.saving.register_keras_serializable(package="seqzoo")
class ConformalScaling(keras.layers.Layer):
    """Add corrections to a base forecast, and to each quantile what calibration found missing.

    Takes `[corrections, base, scale]`: `float32[rows, horizon, 1 + quantiles]`, of which the
    first is the point forecast, and `float32[rows, horizon]` twice. Gives
    `float32[rows, horizon, 1 + quantiles]`, base + scale (correction + offset), the quantiles in
    rising order. The offsets are weights that are not trained but set by
    `zoo.decoding.fit_offsets`, since quantiles that a network learned are too narrow on what it
    has not seen. The point forecast has none.
    Source: Romano et al. 2019, arXiv:1905.03222 (conformalised quantile regression).
    """

    def build(self, input_shape: Any) -> None:
        _, horizon, columns = input_shape[0]
        self.offsets = self.add_weight(
            name="offsets", shape=(horizon, columns - 1), initializer="zeros", trainable=False
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        corrections, base, scale = inputs
        offsets = ops.cast(self.offsets, corrections.dtype)
        quantiles = corrections[:, :, 1:] + offsets
        # In training each column is one quantile's, whatever it says.
        if not training:
            quantiles = ops.sort(quantiles, axis=-1)
        every = ops.concatenate([corrections[:, :, :1], quantiles], axis=-1)
        return base[:, :, None] + scale[:, :, None] * every

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]


def pinball_loss(errors: Any, levels: Sequence[float]) -> Any:
    """Return the loss whose least value is at the quantile of each level.

    Args:
        errors: `float32[..., levels]`, truth minus forecast.
        levels: Between 0 and 1.

    Returns:
        `float32[..., levels]`; at level 0.5 it is half of the absolute error.

    Raises:
        ConfigError: A level is not between 0 and 1.
    """
    if not all(0 < level < 1 for level in levels):
        raise ConfigError(f"levels must be between 0 and 1, not {list(levels)}")
    at = ops.convert_to_tensor(list(levels), errors.dtype)
    return ops.maximum(at * errors, (at - 1) * errors)
