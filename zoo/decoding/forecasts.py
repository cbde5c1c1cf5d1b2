"""Forecasts as they are answered, and the calibration of their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from zoo.errors import ConfigError
from zoo.ports import Port, Ports

LARGEST_LOG = 88.0
"""Of a float32 number."""


class ForecastDecoder(tf.Module):
    """A model's forecasts to the answer; the `finish` of a forecasting pipeline.

    Takes `float32[batch * channels, horizon, 1 + levels]` in the units of the data, or their
    logarithms, and `status: string[batch]`. Gives

        mean       the point forecast, `float32[batch, horizon]`
        quantiles  `float32[batch, horizon, levels]`
        levels     `float32[batch, levels]`, which quantiles these are
        status     as it came

    With channels, `[batch, horizon, channels]` and `[batch, horizon, channels, levels]`. A row
    whose status is not '' is 0 throughout.

    Args:
        horizon: Steps.
        levels: Of the quantiles, rising.
        channels: Series observed together; 0 for one without an axis of its own.
        log: The model forecasts logarithms.

    Raises:
        ConfigError: The levels do not rise, or are not between 0 and 1.
    """

    def __init__(
        self, horizon: int, levels: Sequence[float], channels: int = 0, log: bool = False
    ) -> None:
        super().__init__()
        if list(levels) != sorted(set(levels)) or not all(0 < level < 1 for level in levels):
            raise ConfigError(f"levels must rise and be between 0 and 1, not {list(levels)}")
        self.horizon, self.levels = horizon, tuple(levels)
        self.channels, self.log = channels, log

    @property
    def outputs(self) -> Ports:
        """What an answer consists of."""
        shape = (self.horizon, self.channels) if self.channels else (self.horizon,)
        return Ports(
            mean=Port(shape, "float32", "the forecast, in the units of the history"),
            quantiles=Port((*shape, len(self.levels)), "float32", "as many quantiles per step"),
            levels=Port((len(self.levels),), "float32", "the share of outcomes below each"),
            status=Port((), "string", "'' if the history was understood, else why not"),
        )

    def __call__(self, output: Any, status: Any) -> dict[str, Any]:
        batch, columns = tf.shape(status)[0], 1 + len(self.levels)
        if self.channels:
            output = tf.reshape(output, [batch, self.channels, self.horizon, columns])
            output = tf.transpose(output, [0, 2, 1, 3])
        if self.log:
            output = tf.exp(tf.minimum(output, LARGEST_LOG))
        good = tf.reshape(status == "", [batch] + [1] * (len(output.shape) - 1))
        output = tf.where(good, output, 0.0)
        levels = tf.tile(tf.constant([self.levels]), [batch, 1])
        return {
            "mean": output[..., 0],
            "quantiles": output[..., 1:],
            "levels": levels,
            "status": status,
        }

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this decoder, as JSON values."""
        return {
            "horizon": self.horizon,
            "levels": list(self.levels),
            "channels": self.channels,
            "log": self.log,
        }

    def save_assets(self, folder: Path) -> None:
        """Write nothing: the configuration is all there is."""

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> Self:
        """Rebuild from `get_config`."""
        return cls(**config)


def fit_offsets(
    truth: np.ndarray,
    quantiles: np.ndarray,
    levels: Sequence[float],
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return what to add to quantiles so that as many outcomes lie below as their levels say.

    Source: Romano et al. 2019, arXiv:1905.03222; with weights Barber et al. 2023,
    arXiv:2202.13415, which lets what is recent count for more than what is long ago.

    Args:
        truth: `float[rows, horizon]`, outcomes that the model was not trained on, in units of
            the window; NaN where there is none. Where there are too few for a level, as 39 are
            for 2.5 %, its quantile may move outwards alone, to the outermost of them.
        quantiles: `float[rows, horizon, levels]` in the same units.
        levels: Of the quantiles.
        weights: `float[rows]`, how much each row counts; 1 is the weight of a row to come.

    Returns:
        `float32[horizon, levels]`; 0 where there is no outcome at all.
    """
    counts = np.ones(len(truth)) if weights is None else weights
    missing = truth[:, :, None] - quantiles
    offsets = np.zeros(missing.shape[1:], np.float32)
    for step in range(missing.shape[1]):
        known = ~np.isnan(truth[:, step])
        if known.any():
            errors, each = missing[known, step], counts[known]
            offsets[step] = [
                _quantile(column, each, level)
                for column, level in zip(errors.T, levels, strict=True)
            ]
    return offsets


def _quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """Return the weighted quantile, as if one more value of weight 1 lay beyond it."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    if level < 0.5:
        # The value to come is the smallest: seen from above it is the same.
        return -_quantile(-values, weights, 1 - level)
    place = int(np.searchsorted(below, level * (below[-1] + 1)))
    if place == len(values):
        return max(float(values[order[-1]]), 0.0)
    return float(values[order[place]])
