"""How far forecasts are from what came, and how well intervals hold.

Rows are windows, `float[rows, horizon]`; an outcome that is NaN counts for nothing.
Sources: Hyndman and Koehler 2006, Another look at measures of forecast accuracy (MASE);
Makridakis et al. 2020, The M4 Competition (sMAPE, OWA, MSIS); Gneiting and Raftery 2007, Strictly
proper scoring rules (pinball, CRPS, interval score).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo.errors import ConfigError


def mean_absolute_error(truth: np.ndarray, forecast: np.ndarray) -> float:
    """Return the mean of |truth - forecast|, in the units of both."""
    return _mean(np.abs(truth - forecast))


def mean_squared_error(truth: np.ndarray, forecast: np.ndarray) -> float:
    """Return the mean of (truth - forecast)²."""
    return _mean(np.square(truth - forecast))


def smape(truth: np.ndarray, forecast: np.ndarray) -> float:
    """Return the mean of 200 |truth - forecast| / (|truth| + |forecast|), from 0 to 200.

    Where both are 0 the error is 0.
    """
    size = np.abs(truth) + np.abs(forecast)
    errors = 200 * np.abs(truth - forecast)
    return _mean(np.divide(errors, size, out=errors * 0, where=size > 0))


def mase(truth: np.ndarray, forecast: np.ndarray, scale: np.ndarray) -> float:
    """Return the mean absolute error in units of each row's scale.

    Args:
        truth, forecast: `float[rows, horizon]`.
        scale: `float[rows]`, the mean absolute error of the seasonal naive forecast over the
            history; rows where it is 0 or unknown are left out.
    """
    return _mean(np.abs(truth - forecast) / _scale(scale))


def owa(smape_of: float, mase_of: float, smape_naive2: float, mase_naive2: float) -> float:
    """Return the mean of sMAPE and MASE, each as a share of that of the forecast Naive 2.

    NaN where that one is without any error, as on constants.
    """
    if not smape_naive2 or not mase_naive2:
        return float("nan")
    return (smape_of / smape_naive2 + mase_of / mase_naive2) / 2


def pinball(truth: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> float:
    """Return the mean pinball loss over all levels.

    Args:
        truth: `float[rows, horizon]`.
        quantiles: `float[rows, horizon, levels]`.
        levels: Of the quantiles.
    """
    return _mean(_pinball(truth, quantiles, levels))


def crps(truth: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> float:
    """Return the continuous ranked probability score, in the units of the outcomes.

    Twice the integral of the pinball loss over all levels from 0 to 1, at both of which it is 0,
    by the trapezoidal rule: with seven levels it is some percent too small.
    """
    losses = _pinball(truth, quantiles, levels)
    means = [_mean(losses[..., place]) for place in range(len(levels))]
    return 2 * float(np.trapezoid([0.0, *means, 0.0], [0.0, *levels, 1.0]))


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Return the share of outcomes from `low` to `high`."""
    known = ~np.isnan(truth)
    return float(np.mean(((truth >= low) & (truth <= high))[known]))


def msis(
    truth: np.ndarray, low: np.ndarray, high: np.ndarray, share: float, scale: np.ndarray
) -> float:
    """Return the mean scaled interval score: width, and a fine for each outcome outside.

    Args:
        truth, low, high: `float[rows, horizon]`.
        share: Of the outcomes that the interval is to hold, such as 0.95.
        scale: As of `mase`.
    """
    fine = 2 / (1 - share)
    score = high - low
    score = score + fine * (np.maximum(low - truth, 0) + np.maximum(truth - high, 0))
    return _mean(score / _scale(scale))


def _pinball(truth: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return the loss of each quantile, `float[rows, horizon, levels]`."""
    if quantiles.shape[-1] != len(levels):
        raise ConfigError(f"{quantiles.shape[-1]} quantiles need as many levels, not {len(levels)}")
    error = truth[..., None] - quantiles
    at = np.asarray(levels)
    return np.maximum(at * error, (at - 1) * error)


def _mean(values: np.ndarray) -> float:
    """Return the mean of what is known, NaN if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _scale(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, scale, np.nan)[:, None]
