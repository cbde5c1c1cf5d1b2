"""Paths follow the distribution that was learned, and likelihood is that of the library."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers import LikelihoodLoss, SampledPaths

LEVELS = (0.1, 0.5, 0.9)


def constant(distribution: str, **options: Any) -> SampledPaths:
    """A layer whose next value has centre 2 and spread 3, whatever it sees."""
    layer = SampledPaths(3, 0, LEVELS, units=4, depth=1, distribution=distribution, **options)
    layer.build([(None, 5, 2), (None, 1)])
    raw = np.log(np.expm1(3 - 1e-3))
    layer.score.set_weights([np.zeros((4, 2)), np.array([2.0, raw])])
    return layer


def window(rows: int = 2) -> list[Any]:
    values = np.random.default_rng(0).normal(size=(rows, 5)).astype(np.float32)
    return [tf.stack([values, tf.ones_like(values)], axis=-1), tf.ones([rows, 1])]


@pytest.mark.parametrize(
    ("distribution", "expected"), [("gaussian", stats.norm(2, 3)), ("student_t", stats.t(5, 2, 3))]
)
class TestDistribution:
    def test_paths_have_its_quantiles(self, distribution: str, expected: Any):
        found = constant(distribution, paths=500)(window()).numpy()
        np.testing.assert_allclose(found[..., 0], 2, atol=0.01)
        want = np.tile(expected.ppf(LEVELS), (2, 3, 1))
        np.testing.assert_allclose(found[..., 1:], want, atol=0.1)

    def test_the_likelihood_is_that_of_scipy(self, distribution: str, expected: Any):
        inputs, future = window(), np.array([[1.0, 7.0, 0.0], [4.0, np.nan, np.nan]], np.float32)
        known = np.isfinite(future)
        got = constant(distribution).log_likelihood(inputs, future, known, np.ones(2, np.float32))
        values = np.concatenate([inputs[0][:, 1:, 0].numpy().reshape(-1), future[known]])
        assert float(got) == pytest.approx(expected.logpdf(values).mean(), rel=1e-4)


def test_what_is_drawn_is_seen_by_the_next_step():
    keras.utils.set_random_seed(0)
    layer = SampledPaths(6, 0, LEVELS, units=8, depth=2, paths=20)
    first = layer(window(1))
    # The same noise and the same row: the same paths, in any company.
    np.testing.assert_allclose(layer(window(3))[:1], first, atol=1e-6)
    layer.score.set_weights([each * 3 for each in layer.score.get_weights()])
    assert np.abs(layer(window(1)) - first).max() > 0.1


def test_rows_that_do_not_count_change_no_loss():
    layer = constant("gaussian")
    inputs = window(2)

    class Model:
        def get_layer(self, name: str) -> SampledPaths:
            assert name == "paths"
            return layer

    features = {"features": inputs[0], "static": inputs[1]}
    features |= {"base": tf.fill([2, 3], 10.0), "scale": tf.fill([2, 3], 2.0)}
    future = tf.constant([[12.0, 14.0, np.nan], [1e6, 1e6, 1e6]])
    loss = LikelihoodLoss()(Model(), features, future, tf.constant([1.0, 0.0]))
    values = np.append(inputs[0][0, 1:, 0].numpy(), [1.0, 2.0])
    assert float(loss) == pytest.approx(-stats.norm(2, 3).logpdf(values).mean(), rel=1e-4)


def test_names_and_sizes_are_checked():
    with pytest.raises(UnknownNameError, match="student_t"):
        SampledPaths(3, distribution="student")
    with pytest.raises(ConfigError, match="paths must be at least 1"):
        SampledPaths(3, paths=0)
