"""Offsets move the quantiles, and losses count what is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers import ConformalScaling, ForecastLoss, pinball_loss

LEVELS = (0.1, 0.9)


def test_corrections_are_scaled_and_quantiles_moved_and_sorted():
    layer = ConformalScaling()
    corrections = tf.constant([[[1.0, -1.0, 2.0]]])
    inputs = [corrections, tf.constant([[10.0]]), *[tf.constant([[5.0]])] * 2]
    assert layer(inputs).numpy().tolist() == [[[15, 5, 20]]]
    layer.offsets.assign([[4.0, -4.0]])
    # Now 3 and -2, which cross: answers rise; training knows no offsets.
    assert layer(inputs).numpy().tolist() == [[[15, 0, 25]]]
    assert layer(inputs, training=True).numpy().tolist() == [[[15, 5, 20]]]
    assert layer.trainable_weights == []


def test_quantiles_are_as_far_from_the_point_as_the_spread_says():
    layer = ConformalScaling()
    corrections = tf.constant([[[1.0, 0.0, 3.0]]])
    inputs = [corrections, tf.constant([[10.0]]), tf.constant([[5.0]]), tf.constant([[20.0]])]
    assert layer(inputs).numpy().tolist() == [[[15, -5, 55]]]
    layer.offsets.assign([[0.5, 0.0]])
    assert layer(inputs).numpy().tolist() == [[[15, 5, 55]]]
    assert layer(inputs, training=True).numpy().tolist() == [[[15, 10, 25]]]


def test_no_answer_is_below_the_lowest():
    corrections = tf.constant([[[-1.0, -3.0, 2.0]]])
    inputs = [corrections, tf.constant([[1.0]]), *[tf.constant([[2.0]])] * 2]
    assert ConformalScaling(lowest=0.0)(inputs).numpy().tolist() == [[[0, 0, 5]]]
    assert ConformalScaling(lowest=0.0)(inputs, training=True).numpy()[0, 0, 0] == -1


def test_pinball_loss_is_least_at_the_quantile():
    draws = np.random.default_rng(0).normal(size=(4001, 1)).astype(np.float32)
    grid = np.linspace(-2, 2, 81).astype(np.float32)
    losses = np.stack([pinball_loss(draws - at, (0.9,)).numpy().mean() for at in grid])
    assert grid[losses.argmin()] == pytest.approx(np.quantile(draws, 0.9), abs=0.06)
    with pytest.raises(ConfigError, match="levels must be between 0 and 1"):
        pinball_loss(tf.zeros([1, 1]), (1.0,))


class TestForecastLoss:
    def loss(self, kind: str, forecast: Any, future: Any, usual: Any = (), **more: Any) -> float:
        rows = len(forecast)
        features = {
            "base": tf.constant(more.get("base", np.full((rows, 2), 10.0)), tf.float32),
            "scale": tf.constant(more.get("scale", np.full((rows, 2), 2.0)), tf.float32),
            "static": tf.eye(max(len(usual), 1), batch_shape=[rows])[:, 0],
        }
        if usual:
            features["static"] = tf.tile(tf.eye(len(usual)), [rows // len(usual), 1])
        weights = tf.constant(more.get("weights", np.ones(len(future))), tf.float32)

        def model(features: Any, training: bool) -> Any:
            assert training
            return tf.constant(forecast, tf.float32)

        future = tf.constant(future, tf.float32)
        return float(ForecastLoss(kind, LEVELS, usual)(model, features, future, weights))

    def test_a_perfect_forecast_costs_nothing(self):
        forecast = np.full((1, 2, 3), 7.0)
        for kind in ForecastLoss.KINDS:
            assert self.loss(kind, forecast, [[7.0, 7.0]]) == 0

    def test_each_kind_counts_in_its_own_unit(self):
        forecast = np.tile([14.0, 10.0, 10.0], (1, 2, 1))
        future = [[10.0, 10.0]]
        assert self.loss("relative", forecast, future) == pytest.approx(4 / 10)
        assert self.loss("absolute", forecast, future) == pytest.approx(4 / 2)
        assert self.loss("squared", forecast, future) == pytest.approx(4)
        channels = np.tile(forecast, (2, 1, 1))
        both = np.full((1, 2, 2), 10.0)
        expected = (4 / 8 + 4 / 1) / 2
        assert self.loss("absolute", channels, both, (8.0, 1.0)) == pytest.approx(expected)

    def test_what_is_unknown_or_weighs_nothing_does_not_count(self):
        forecast = np.tile([14.0, 10.0, 10.0], (2, 2, 1))
        future = [[10.0, np.nan], [99.0, 99.0]]
        assert self.loss("absolute", forecast, future, weights=[1, 0]) == pytest.approx(2)
        assert self.loss("absolute", forecast, future, scale=np.zeros((2, 2))) == 0

    def test_an_unknown_kind_is_named(self):
        with pytest.raises(UnknownNameError, match="absolute"):
            ForecastLoss("absolut", LEVELS)
