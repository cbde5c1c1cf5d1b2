"""Forecasters without a network: by hand, through gaps, and on next to nothing."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.baselines import series
from zoo.preprocessing import WindowBatches

SEASON = np.array([10.0, 20.0, 30.0, 40.0])


def ending(*histories: np.ndarray, horizon: int = 4) -> WindowBatches:
    """Return a window behind each history."""
    values = [np.append(past, np.full(horizon, np.nan)) for past in histories]
    origins = [len(past) for past in histories]
    return WindowBatches(values, origins, origins, [len(row) for row in values], 8, horizon, 2)


def test_they_are_what_their_names_say():
    test = ending(np.tile(SEASON, 3), np.arange(12.0))
    assert series.naive(test).forecast.tolist() == [[40] * 4, [11] * 4]
    assert series.seasonal_naive(test, 4).forecast[0].tolist() == SEASON.tolist()
    np.testing.assert_allclose(series.drift(test).forecast[1], [12, 13, 14, 15])
    assert series.theta(test, 4).forecast.shape == (2, 4)


def test_a_gap_moves_no_season():
    gap = np.tile(SEASON, 3)
    gap[9] = np.nan  # 20, between 10 and 30
    late = np.append(np.tile(SEASON, 3), [np.nan, np.nan])
    test = ending(gap, late)
    assert series.seasonal_naive(test, 4).forecast[0].tolist() == SEASON.tolist()
    assert series.seasonal_naive(test, 4).forecast[1].tolist() == [30, 40, 40, 40]


@pytest.mark.parametrize("name", ["naive", "seasonal_naive", "drift", "theta", "naive2"])
def test_next_to_nothing_is_repeated(name: str):
    test = ending(np.array([7.0]), np.array([5.0, np.nan, 6.0]), np.full(6, np.nan))
    period = (4,) if name in ("seasonal_naive", "theta", "naive2") else ()
    found = getattr(series, name)(test, *period).forecast
    assert found[[0, 2]].tolist() == [[7] * 4, [0] * 4]
    np.testing.assert_allclose(found[1, 0], 6, atol=0.6)


def test_less_than_a_season_is_gone_on_with():
    found = series.seasonal_naive(ending(np.arange(1.0, 6.0), horizon=7), 7).forecast
    # Of the steps six and seven nothing is known but the last value.
    assert np.isfinite(found).all() and {*found[0].tolist()} <= {1, 2, 3, 4, 5}


def test_naive_2_takes_the_season_out_and_puts_it_back():
    found = series.naive2(ending(np.tile(SEASON, 6)), 4).forecast[0]
    np.testing.assert_allclose(found, SEASON, rtol=1e-6)
    growing = series.naive2(ending(np.arange(1.0, 25.0)), 4).forecast[0]
    np.testing.assert_allclose(growing, 24, rtol=0.1)
