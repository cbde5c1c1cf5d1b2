"""Season and trend of many series at once, in the graph: the Theta method.

Rows are windows that end at the last observation, `float32[rows, time]`, with ones in
`observed` where there is one and its predecessor's value where there is not.
Source: Assimakopoulos and Nikolopoulos 2000, The theta model, International Journal of
Forecasting 16; as an exponential smoothing with drift: Hyndman and Billah 2003.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

RATES = np.linspace(0.02, 0.98, 25, dtype=np.float32)
"""Smoothing rates; each series takes the one with the least squared error one step ahead."""

_QUANTILE = 1.645
"""Of the normal distribution: a season is believed where its lag correlates with 90 %."""

_LEAST_INDEX = 0.05
"""A seasonal index below that is no factor to divide by: the series is left as it is."""

_TINY = 1e-20


class Decomposition(NamedTuple):
    """What the Theta method finds in each window.

    Attributes:
        adjusted: `float32[rows, time]`, the series without its season.
        season: `float32[rows, period]`, the factor of each place in the season, the first one
            that of the step behind the window; ones where there is no season.
        level: `float32[rows, 1]`, where smoothing ends.
        slope: `float32[rows, 1]`, growth per step of a straight line through the series.
        rate: `float32[rows, 1]`, the smoothing rate that was chosen.
        forecast: `float32[rows, horizon]`, without the season.
    """

    adjusted: Any
    season: Any
    level: Any
    slope: Any
    rate: Any
    forecast: Any


class Theta:
    """Forecasts by season, level and half of the trend.

    Args:
        time: Steps of a window.
        horizon: Steps to forecast.
        period: Steps of a season, 1 for none.
    """

    def __init__(self, time: int, horizon: int, period: int) -> None:
        self.time, self.horizon, self.period = time, horizon, period
        self._smoothing = tf.constant(_smoothing(time))

    def __call__(self, values: Any, observed: Any) -> Decomposition:
        """Decompose windows whose values are near 1 in size."""
        season = self._season(values, observed)
        adjusted = values / tf.gather(season, self._places(-self.time, 0), axis=1)
        # What stands before the first observation is that observation, season aside.
        first = tf.argmax(observed, axis=1, output_type=tf.int32)
        adjusted = tf.where(
            tf.range(self.time)[None] < first[:, None],
            tf.gather(adjusted, first, batch_dims=1)[:, None],
            adjusted,
        )
        count = tf.reduce_sum(observed, axis=1, keepdims=True)
        slope = _slope(adjusted, observed, count)
        rate, level = self._smooth(adjusted, observed)
        ahead = tf.range(self.horizon, dtype=tf.float32)[None]
        drift = ahead + (1 - tf.pow(1 - rate, count)) / rate
        return Decomposition(adjusted, season, level, slope, rate, level + slope / 2 * drift)

    def ahead(self, season: Any) -> Any:
        """Return the factors of the steps to come, `float32[rows, horizon]`."""
        return tf.gather(season, self._places(0, self.horizon), axis=1)

    def _places(self, start: int, end: int) -> np.ndarray:
        return np.arange(start, end) % self.period

    def _season(self, values: Any, observed: Any) -> Any:
        """Return the factors of a classical decomposition, ones where they mean nothing."""
        period, half = self.period, self.period // 2
        ones = tf.ones([tf.shape(values)[0], period])
        if period == 1 or self.time < 2 * period:
            return ones
        weights = np.ones(2 * half + 1, np.float32)
        if period % 2 == 0:
            weights[[0, -1]] = 0.5
        kernel = (weights / period)[:, None, None]
        trend = tf.nn.conv1d(values[:, :, None], kernel, 1, "VALID")[:, :, 0]
        # Both ends of the moving average must be observed.
        inside = observed[:, : self.time - 2 * half]
        ratio = tf.math.divide_no_nan(values[:, half : self.time - half], trend)
        place = tf.one_hot(self._places(half - self.time, -half), period)
        counts = tf.matmul(inside, place)
        season = tf.math.divide_no_nan(tf.matmul(ratio * inside, place), counts)
        season = tf.math.divide_no_nan(season, tf.reduce_mean(season, axis=1, keepdims=True))
        holds = self._correlates(values, observed)
        for condition in (counts >= 1, season > _LEAST_INDEX, values > 0):
            holds &= tf.reduce_all(condition, axis=1, keepdims=True)
        return tf.where(holds, season, ones)

    def _correlates(self, values: Any, observed: Any) -> Any:
        """Say whether values a period apart go together, `bool[rows, 1]`."""
        count = tf.reduce_sum(observed, axis=1, keepdims=True)
        mean = tf.math.divide_no_nan(tf.reduce_sum(values * observed, 1, keepdims=True), count)
        centred = (values - mean) * observed
        power = tf.reduce_sum(tf.square(centred), axis=1) + _TINY
        lags = [
            tf.reduce_sum(centred[:, lag:] * centred[:, : self.time - lag], axis=1) / power
            for lag in range(1, self.period + 1)
        ]
        spread = 1 + 2 * sum(tf.square(lag) for lag in lags[:-1])
        limit = _QUANTILE * tf.sqrt(tf.math.divide_no_nan(spread, count[:, 0]))
        return (tf.abs(lags[-1]) > limit)[:, None]

    def _smooth(self, adjusted: Any, observed: Any) -> tuple[Any, Any]:
        """Return rate and last level, `float32[rows, 1]`, of the best exponential smoothing."""
        levels = tf.einsum("bk,atk->bat", adjusted, self._smoothing)
        error = adjusted[:, None, 1:] - levels[:, :, :-1]
        counts = (observed[:, 1:] * observed[:, :-1])[:, None]
        best = tf.argmin(tf.reduce_sum(tf.square(error) * counts, axis=2), axis=1)
        rate = tf.gather(tf.constant(RATES), best)[:, None]
        return rate, tf.gather(levels[:, :, -1], best, batch_dims=1)[:, None]


def _smoothing(time: int) -> np.ndarray:
    """Return `float32[rates, time, time]`: the level at each step as weights of the values."""
    age = np.arange(time)[:, None] - np.arange(time)[None]
    rates = RATES[:, None, None]
    weights = np.where(age >= 0, rates * (1 - rates) ** np.maximum(age, 0), 0)
    # The first value is the first level.
    weights[:, :, 0] = (1 - RATES[:, None]) ** np.arange(time)
    return weights.astype(np.float32)


def _slope(values: Any, observed: Any, count: Any) -> Any:
    """Return the slope of the least squares line through the observed values."""
    time = tf.range(tf.shape(values)[1], dtype=tf.float32)[None]
    mean_time = tf.math.divide_no_nan(tf.reduce_sum(time * observed, 1, keepdims=True), count)
    mean = tf.math.divide_no_nan(tf.reduce_sum(values * observed, 1, keepdims=True), count)
    centred = (time - mean_time) * observed
    return tf.math.divide_no_nan(
        tf.reduce_sum(centred * (values - mean), 1, keepdims=True),
        tf.reduce_sum(tf.square(centred), 1, keepdims=True),
    )
