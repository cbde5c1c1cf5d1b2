"""Forecasts as they are answered, and the calibration of their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from zoo.errors import ConfigError
from zoo.ports import Port, Ports


class ForecastDecoder(tf.Module):
    """A model's forecasts to the answer; the `finish` of a forecasting pipeline.

    Takes `float32[batch * channels, horizon, 1 + levels]` in the units of the data, and
    `status: string[batch]`. Gives

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

    Raises:
        ConfigError: The levels do not rise, or are not between 0 and 1.
    """

    def __init__(self, horizon: int, levels: Sequence[float], channels: int = 0) -> None:
        super().__init__()
        if list(levels) != sorted(set(levels)) or not all(0 < level < 1 for level in levels):
            raise ConfigError(f"levels must rise and be between 0 and 1, not {list(levels)}")
        self.horizon, self.levels, self.channels = horizon, tuple(levels), channels

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
        return {"horizon": self.horizon, "levels": list(self.levels), "channels": self.channels}

    def save_assets(self, folder: Path) -> None:
        """Write nothing: the configuration is all there is."""

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> Self:
        """Rebuild from `get_config`."""
        return cls(**config)


def fit_offsets(truth: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return what to add to quantiles so that as many outcomes lie below as their levels say.

    Args:
        truth: `float[rows, horizon]`, outcomes that the model was not trained on, in units of
            the window's scale; NaN where there is none.
        quantiles: `float[rows, horizon, levels]` in the same units.
        levels: Of the quantiles.

    Returns:
        `float32[horizon, levels]`; 0 where there is no outcome at all.
    """
    missing = truth[:, :, None] - quantiles
    offsets = np.zeros(missing.shape[1:], np.float32)
    for step in range(missing.shape[1]):
        known = missing[~np.isnan(truth[:, step]), step]
        for column, level in enumerate(levels):
            if len(known):
                # One more outcome than there are, beyond the quantile: that to come.
                share = (len(known) + 1) * level - (0 if level > 0.5 else 1)
                share = np.clip(share / max(len(known), 1), 0, 1)
                offsets[step, column] = np.quantile(known[:, column], share)
    return offsets
