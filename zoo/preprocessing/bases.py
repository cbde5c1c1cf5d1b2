"""Forecasts that a network corrects, and windows as it sees them, inside the graph.

Takes values without gaps and where they were observed, `float32[rows, look_back]` each. Gives

    features  `[rows, look_back, columns]`: scaled values, then whether they were observed
    static    what else is told of the window, a list of `[rows, numbers]`
    base      `[rows, horizon]`: the forecast
    scale     `[rows, horizon]`: the unit of its corrections
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from zoo.preprocessing.seasonality import Theta

_FAR = 3.0
"""Scaled values of "theta" are cut at this distance from the level."""

_LEAST_SCALE = 1e-3
"""What a deviation is at least, as a share of the usual size of values."""


def by_theta(theta: Theta, values: Any, observed: Any) -> dict[str, Any]:
    """Forecast by the Theta method; values are told without and with their season."""
    _, size = _sizes(values, observed)
    plain = tf.math.divide_no_nan(values, size)
    found = theta(plain, observed)
    level = tf.maximum(tf.abs(found.level), 0.1)
    scaled, seasonal = (
        tf.clip_by_value((each - found.level) / level, -_FAR, _FAR)
        for each in (found.adjusted, plain)
    )
    growth = tf.clip_by_value(found.slope / level * theta.period, -1.0, 1.0)
    season = theta.ahead(found.season)
    return {
        "features": tf.stack([scaled * observed, seasonal * observed, observed], axis=-1),
        "static": [found.season - 1, found.rate, growth],
        "base": found.forecast * season * size,
        "scale": level * season * size,
    }


def by_repeating(
    values: Any, observed: Any, horizon: int, season: int, usual: Any
) -> dict[str, Any]:
    """Repeat the last `season` values; the unit is the deviation of the window.

    Args:
        values, observed: As above.
        horizon: Steps to forecast.
        season: Values to repeat.
        usual: The usual size of each row's values, `float32[rows, 1]`; None for their mean size.
    """
    again = values[:, -season:]
    level = tf.reduce_mean(again, axis=1, keepdims=True)
    count, size = _sizes(values, observed)
    size = size if usual is None else usual
    moved = tf.math.divide_no_nan(values - level, size)
    mean = tf.reduce_sum(moved * observed, axis=1, keepdims=True) / count
    square = tf.reduce_sum(tf.square(moved - mean) * observed, axis=1, keepdims=True) / count
    scale = tf.sqrt(square) + _LEAST_SCALE
    return {
        "features": tf.stack([moved / scale * observed, observed], axis=-1),
        "static": [],
        "base": tf.gather(again, np.arange(horizon) % season, axis=1),
        "scale": tf.repeat(scale * size, horizon, axis=1),
    }


def by_counting(values: Any, observed: Any, horizon: int) -> dict[str, Any]:
    """Forecast 0; the unit is 1 + the mean of the window.

    Source: Salinas et al. 2020, arXiv:1704.04110 (DeepAR), section 3.3.
    """
    _, size = _sizes(values, observed)
    scale = 1 + size
    every = tf.repeat(scale, horizon, axis=1)
    return {
        "features": tf.stack([values / scale * observed, observed], axis=-1),
        # Small counts are spread otherwise than large ones.
        "static": [tf.math.log(scale)],
        "base": tf.zeros_like(every),
        "scale": every,
    }


def _sizes(values: Any, observed: Any) -> tuple[Any, Any]:
    """Return number and mean size of what was observed, `float32[rows, 1]` each.

    What is divided by it first can be squared: very large and very small numbers cannot.
    """
    count = tf.maximum(tf.reduce_sum(observed, axis=1, keepdims=True), 1.0)
    return count, tf.reduce_sum(tf.abs(values) * observed / count, axis=1, keepdims=True)
