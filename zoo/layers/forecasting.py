"""From scaled corrections to forecasts in the units of the data, and their losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers.losses import masked_mean


@keras.saving.register_keras_serializable(package="seqzoo")
class ConformalScaling(keras.layers.Layer):
    """Add corrections to a base forecast, and to each quantile what calibration found missing.

    Takes `[corrections, base, scale, spread]`: `float32[rows, horizon, 1 + quantiles]`, of which
    the first is the point forecast, and `float32[rows, horizon]` thrice. Gives
    `float32[rows, horizon, 1 + quantiles]`: base + scale * correction, and as far from the point
    forecast as spread (correction - that of the point + offset) the quantiles, in rising order.
    In training all are base + scale * correction. The offsets are weights that are not trained but
    set by `zoo.decoding.fit_offsets`, since quantiles that a network learned are too narrow on
    what it has not seen; the spread lets them be wider where a series has become restless.
    Source: Romano et al. 2019, arXiv:1905.03222 (conformalised quantile regression); Lei et al.
    2018, arXiv:1604.04173, section 5.2 (scores in units of a spread).

    Args:
        lowest: No forecast is below it, outside of training; None for no such border.
    """

    def __init__(self, lowest: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.lowest = lowest

    def build(self, input_shape: Any) -> None:
        _, horizon, columns = input_shape[0]
        self.offsets = self.add_weight(
            name="offsets", shape=(horizon, columns - 1), initializer="zeros", trainable=False
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        corrections, base, scale, spread = inputs
        if training:
            # Each column is one quantile's, whatever it says.
            return base[:, :, None] + scale[:, :, None] * corrections
        point = base[:, :, None] + scale[:, :, None] * corrections[:, :, :1]
        offsets = ops.cast(self.offsets, corrections.dtype)
        apart = ops.sort(corrections[:, :, 1:] - corrections[:, :, :1] + offsets, axis=-1)
        answers = ops.concatenate([point, point + spread[:, :, None] * apart], axis=-1)
        return answers if self.lowest is None else ops.maximum(answers, self.lowest)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "lowest": self.lowest}


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


class ForecastLoss:
    """The error of the point forecast and the pinball loss of the quantiles, for a trainer.

    Args:
        kind: What an error is counted in: "relative", the size of outcome and base forecast, as
            in sMAPE; "absolute" or, squared, "squared", the usual size of the values.
        levels: Of the quantiles.
        usual: The usual size of each channel's values, which `static` then begins with the
            number of, one-hot; without it, the scale of the window.
        log: Values are logarithms, whose errors are shares as they are.

    Raises:
        UnknownNameError: There is no such kind.
    """

    KINDS = ("relative", "absolute", "squared")

    def __init__(
        self, kind: str, levels: Sequence[float], usual: Sequence[float] = (), log: bool = False
    ) -> None:
        if kind not in self.KINDS:
            raise UnknownNameError("loss", kind, self.KINDS)
        self._kind, self._levels, self._usual = kind, tuple(levels), tuple(usual)
        self._log = log

    def __call__(self, model: Any, features: Any, future: Any, weights: Any) -> Any:
        """Return the loss of a batch.

        Args:
            model: Takes `features`, gives `float32[rows, horizon, 1 + levels]`.
            features: `static`, `base`, `scale` and others by name, a row per channel.
            future: `float32[batch, horizon]` or `[batch, horizon, channels]`; NaN = unknown.
            weights: `float32[batch]`, 0 for rows that do not count.
        """
        base, scale = features["base"], features["scale"]
        if len(future.shape) == 3:
            future = ops.reshape(ops.transpose(future, (0, 2, 1)), (-1, base.shape[1]))
        rows = ops.shape(base)[0] // ops.shape(weights)[0]
        known = ops.logical_and(ops.isfinite(future), scale > 0)
        counts = ops.repeat(weights, rows)[:, None] * ops.cast(known, "float32")
        truth = ops.where(known, future, base)
        unit = ops.where(known, self._unit(truth, features), 1.0)
        errors = (truth[:, :, None] - model(features, training=True)) / unit[:, :, None]
        point = ops.square if self._kind == "squared" else ops.abs
        spread = ops.mean(pinball_loss(errors[:, :, 1:], self._levels), axis=-1)
        return masked_mean(point(errors[:, :, 0]) + spread, counts)

    def _unit(self, truth: Any, features: Any) -> Any:
        """Return what an error is counted in, `float32[rows, horizon]` or `[rows, 1]`."""
        if self._kind == "relative" and self._log:
            return ops.ones_like(truth)
        if self._kind == "relative":
            size = (ops.abs(truth) + ops.abs(features["base"])) / 2
            # Near 0 a share says nothing.
            return ops.maximum(size, ops.abs(features["scale"]) / 10)
        if self._usual:
            channel = features["static"][:, : len(self._usual)]
            return ops.matmul(channel, ops.convert_to_tensor(self._usual, "float32")[:, None])
        return features["scale"]
