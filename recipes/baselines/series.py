"""Forecasters that need no neural network, from the libraries of the field."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo.preprocessing.windows import WindowBatches, channel_rows

LONGEST = 1000
"""Last values that are looked at."""

MOST_THETA = 2000
"""Rows that Theta, which is fitted to each, forecasts at most; of more, evenly spaced ones."""

LAGS = 336
"""Past values at most that the linear model reads."""

MOST_LINEAR = 20_000
"""Training windows at most that the linear model is fitted to."""

PENALTY = 1.0

FEWEST = 4
"""Known values of a history that a method is fitted to; of fewer the last one is repeated."""


@dataclass(frozen=True)
class SeriesBaseline:
    """Point forecasts of a baseline.

    Attributes:
        forecast: `float[rows, horizon]`, a row per window and channel.
        seconds: Wall-clock time of fitting and forecasting.
        rows: Which rows of the part these are; None for all.
    """

    forecast: np.ndarray
    seconds: float
    rows: np.ndarray | None = None


def naive(test: WindowBatches) -> SeriesBaseline:
    """Repeat the last value."""
    from statsforecast.models import Naive

    return _by_model(test, Naive())


def seasonal_naive(test: WindowBatches, period: int) -> SeriesBaseline:
    """Repeat the last season."""
    from statsforecast.models import SeasonalNaive

    return _by_model(test, SeasonalNaive(season_length=period))


def drift(test: WindowBatches) -> SeriesBaseline:
    """Go on along the line from the first to the last of the values that are looked at."""
    from statsforecast.models import RandomWalkWithDrift

    return _by_model(test, RandomWalkWithDrift())


def theta(test: WindowBatches, period: int) -> SeriesBaseline:
    """The Theta method, fitted to each window.

    Source: Assimakopoulos and Nikolopoulos 2000, as statsforecast has it.
    """
    from statsforecast.models import Theta

    return _by_model(test, Theta(season_length=period), MOST_THETA)


def naive2(test: WindowBatches, period: int) -> SeriesBaseline:
    """Repeat the last value without its season, then put the season back.

    The reference forecast of the M4 competition, whose errors OWA counts in. The season is that
    of a multiplicative decomposition by statsmodels, where the autocorrelation at its lag is
    significant with 90 %.
    """
    return _by_function(test, lambda y, horizon: _naive2(y, horizon, period))


def linear(train: WindowBatches, test: WindowBatches) -> SeriesBaseline:
    """One ridge regression from the last values to all steps, relative to the last value.

    Where no training window is whole, it is the last value.
    Source: Zeng et al. 2023, arXiv:2205.13504 (NLinear), with scikit-learn's closed form.
    """
    from sklearn.linear_model import Ridge

    began = time.perf_counter()
    rows = np.random.default_rng(0).permutation(len(train))[:MOST_LINEAR]
    pasts = [*_pasts(train, np.sort(rows))]
    futures = channel_rows(train.future(np.sort(rows)))
    lags = min(LAGS, int(np.median([len(past) for past in pasts])), train.look_back)
    whole = [k for k, past in enumerate(pasts) if len(past) >= lags]
    whole = [k for k in whole if not np.isnan(futures[k]).any()]
    if not whole:
        return naive(test)
    x, last, size = _scaled([pasts[k] for k in whole], lags)
    model = Ridge(PENALTY).fit(x, (futures[whole] - last) / size)
    x, last, size = _scaled([*_pasts(test)], lags)
    return SeriesBaseline(model.predict(x) * size + last, time.perf_counter() - began)


def of_rows(baseline: SeriesBaseline, outcomes: Any) -> dict[str, float]:
    """Return the record of a baseline: its scores on the rows that it forecasts."""
    kept = outcomes
    if baseline.rows is not None:
        parts = {name: values[baseline.rows] for name, values in vars(outcomes).items()}
        kept = replace(outcomes, **parts)
    scores = {**kept.scores(baseline.forecast), "seconds": baseline.seconds}
    return scores if baseline.rows is None else {**scores, "rows": float(len(baseline.rows))}


def _by_model(test: WindowBatches, model: Any, most: int = 0) -> SeriesBaseline:
    def forecast(y: np.ndarray, horizon: int) -> np.ndarray:
        if len(y) < FEWEST:
            return np.full(horizon, y[-1])
        found = model.forecast(y=y, h=horizon)["mean"]
        # A history shorter than a season says nothing of some of its steps.
        return np.where(np.isnan(found), y[-1], found)

    return _by_function(test, forecast, most)


def _by_function(
    test: WindowBatches, forecast: Callable[[np.ndarray, int], np.ndarray], most: int = 0
) -> SeriesBaseline:
    began = time.perf_counter()
    channels = _channels(test)
    rows = None
    origins = np.arange(len(test))
    if most and len(test) * channels > most:
        origins = np.unique(np.linspace(0, len(test) - 1, max(most // channels, 1)).astype(int))
        rows = (origins[:, None] * channels + np.arange(channels)[None]).reshape(-1)
    with warnings.catch_warnings():
        # Of constants and of histories shorter than a season.
        warnings.simplefilter("ignore")
        found = [forecast(past, test.horizon) for past in _pasts(test, origins)]
    return SeriesBaseline(np.stack(found), time.perf_counter() - began, rows)


def _pasts(test: WindowBatches, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Yield the last values of each row and channel from the first known one on.

    What is missing lies on the line between its neighbours, so that every season stays whole.
    """
    for number in np.arange(len(test)) if rows is None else rows:
        past = test.past(int(number))[-LONGEST:]
        for channel in past.reshape(len(past), -1).T:
            known = np.flatnonzero(~np.isnan(channel))
            if not len(known):
                yield np.zeros(1)
                continue
            yield np.interp(np.arange(known[0], len(channel)), known, channel[known])


def _channels(batches: WindowBatches) -> int:
    return int(np.prod(batches.past(0).shape[1:]))


def _scaled(pasts: list[np.ndarray], lags: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the last values as `[rows, lags]`, less the last one and by their mean size."""
    window = np.stack(
        [np.pad(past[-lags:], (max(lags - len(past), 0), 0), "edge") for past in pasts]
    )
    last = window[:, -1:]
    size = np.abs(window).mean(axis=1, keepdims=True) + 1e-12
    return (window - last) / size, last, size


def _naive2(y: np.ndarray, horizon: int, period: int) -> np.ndarray:
    from statsmodels.tsa.seasonal import seasonal_decompose
    from statsmodels.tsa.stattools import acf

    if period == 1 or len(y) < 3 * period or y.min() <= 0 or np.ptp(y) == 0:
        return np.full(horizon, y[-1])
    lags = acf(y, nlags=period, fft=False)[1:]
    limit = 1.645 * np.sqrt((1 + 2 * np.sum(lags[:-1] ** 2)) / len(y))
    if abs(lags[-1]) <= limit:
        return np.full(horizon, y[-1])
    season = seasonal_decompose(y, model="multiplicative", period=period).seasonal
    ahead = season[len(y) - period :][np.arange(horizon) % period]
    return y[-1] / season[-1] * ahead
