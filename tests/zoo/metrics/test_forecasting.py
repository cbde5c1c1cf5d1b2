"""Errors and interval scores on cases worked by hand."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from zoo import metrics
from zoo.errors import ConfigError

TRUTH = np.array([[10.0, 20.0], [0.0, np.nan]])
FORECAST = np.array([[12.0, 15.0], [0.0, 7.0]])


def test_errors_of_known_outcomes_alone_count():
    assert metrics.mean_absolute_error(TRUTH, FORECAST) == pytest.approx(7 / 3)
    assert metrics.mean_squared_error(TRUTH, FORECAST) == pytest.approx(29 / 3)


def test_smape_is_a_share_of_both_and_0_where_both_are_0():
    assert metrics.smape(TRUTH, FORECAST) == pytest.approx((200 * 2 / 22 + 200 * 5 / 35 + 0) / 3)


def test_mase_leaves_out_rows_without_a_scale():
    assert metrics.mase(TRUTH, FORECAST, np.array([2.0, 0.0])) == pytest.approx((1 + 2.5) / 2)


def test_owa_of_naive_2_itself_is_1():
    assert metrics.owa(18.0, 2.0, 18.0, 2.0) == 1.0
    assert metrics.owa(9.0, 2.0, 18.0, 2.0) == 0.75
    assert np.isnan(metrics.owa(0.0, np.nan, 0.0, np.nan))


def test_pinball_weighs_misses_by_side():
    truth, quantiles = np.array([[10.0]]), np.array([[[8.0, 13.0]]])
    expected = (0.1 * 2 + 0.1 * 3) / 2
    assert metrics.pinball(truth, quantiles, (0.1, 0.9)) == pytest.approx(expected)
    with pytest.raises(ConfigError, match="2 quantiles need as many levels, not 1"):
        metrics.pinball(truth, quantiles, (0.5,))


@pytest.mark.parametrize("levels", [(0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975), (0.25, 0.5, 0.75)])
def test_crps_of_a_normal_distribution_is_known(levels: tuple[float, ...]):
    normal = NormalDist()
    truth = np.array([[normal.inv_cdf((k + 0.5) / 20_000)] for k in range(20_000)])
    quantiles = np.tile([normal.inv_cdf(level) for level in levels], (20_000, 1, 1))
    # Of a forecast that is right it is 1 over the root of pi; few quantiles make it less.
    share = metrics.crps(truth, quantiles, levels) * np.pi**0.5
    assert 0.8 < share < 1
    many = tuple(np.linspace(0.005, 0.995, 100))
    quantiles = np.tile([normal.inv_cdf(level) for level in many], (20_000, 1, 1))
    assert metrics.crps(truth, quantiles, many) * np.pi**0.5 == pytest.approx(1, abs=0.002)


def test_coverage_counts_what_is_known():
    low, high = TRUTH * 0 - 1, np.array([[10.0, 19.0], [5.0, 5.0]])
    assert metrics.coverage(TRUTH, np.nan_to_num(low), high) == pytest.approx(2 / 3)


def test_msis_adds_a_fine_for_what_is_outside():
    truth = np.array([[1.0, 5.0]])
    low, high = np.zeros((1, 2)), np.full((1, 2), 2.0)
    # Widths of 2, and once 3 outside, which costs 2 / 0.05 each.
    expected = (2 + 2 + 40 * 3) / 2 / 4
    assert metrics.msis(truth, low, high, 0.95, np.array([4.0])) == pytest.approx(expected)
