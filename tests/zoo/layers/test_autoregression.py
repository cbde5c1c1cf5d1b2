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


def counting(mean: float, shape: float, scale: float, **options: Any) -> SampledPaths:
    """A layer whose next count has this mean and shape in windows of this scale."""
    layer = SampledPaths(
        3, 0, LEVELS, units=4, depth=1, distribution="negative_binomial", **options
    )
    layer.build([(None, 5, 2), (None, 1), (None, 3)])
    wanted = np.array([mean / scale, np.sqrt(scale) / shape])
    raw = wanted + np.log(-np.expm1(-wanted))
    layer.score.set_weights([np.zeros((4, 2)), raw])
    return layer


def window(rows: int = 2) -> list[Any]:
    values = np.random.default_rng(0).normal(size=(rows, 5)).astype(np.float32)
    features = tf.stack([values, tf.ones_like(values)], axis=-1)
    return [features, tf.ones([rows, 1])]


def counted(counts: Any, scale: float) -> list[Any]:
    values = np.asarray(counts, np.float32) / np.float32(scale)
    features = tf.stack([values, tf.ones_like(values)], axis=-1)
    return [features, tf.ones([len(values), 1]), tf.fill([len(values), 3], scale)]


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


MEANS_AND_SHAPES = [(0.3, 0.1), (0.3, 30.0), (5.0, 0.5), (40.0, 2.0), (2e3, 1e5), (1e6, 5.0)]


@pytest.mark.parametrize(("mean", "shape"), MEANS_AND_SHAPES)
@pytest.mark.parametrize("scale", [1.0, 50.0])
class TestCounts:
    """The negative binomial distribution, whose twin is that of scipy."""

    def expected(self, mean: float, shape: float) -> Any:
        return stats.nbinom(shape, shape / (shape + mean))

    def test_the_likelihood_is_that_of_scipy(self, mean: float, shape: float, scale: float):
        twin = self.expected(mean, shape)
        draws = twin.rvs(size=(2, 8), random_state=np.random.default_rng(0))
        inputs, future = counted(draws[:, :5], scale), draws[:, 5:].astype(np.float32) / scale
        layer = counting(mean, shape, scale)
        known, weights = np.array([[True] * 3, [True, False, False]]), np.ones(2, np.float32)
        got = layer.log_likelihood(inputs, future.astype(np.float32), known, weights)
        seen = np.concatenate([draws[:, 1:5].reshape(-1), draws[:, 5:][known]])
        assert float(got) == pytest.approx(twin.logpmf(seen).mean(), rel=2e-3, abs=2e-3)

    def test_paths_are_counts_with_its_quantiles(self, mean: float, shape: float, scale: float):
        twin = self.expected(mean, shape)
        layer = counting(mean, shape, scale, paths=2000)
        found = layer(counted(np.ones((2, 5)), scale)).numpy() * scale
        np.testing.assert_allclose(found[..., 0], mean, rtol=0.15)
        quantiles = np.round(found[..., 1:])
        np.testing.assert_allclose(found[..., 1:], quantiles, rtol=1e-5, atol=1e-4)
        # A count is a quantile of all levels that its step of the distribution spans.
        below, upto = twin.cdf(quantiles - 1), twin.cdf(quantiles)
        assert (below <= np.array(LEVELS) + 0.02).all()
        assert (upto >= np.array(LEVELS) - 0.02).all()


def test_counts_of_millions_have_a_likelihood_in_float32():
    twin = stats.nbinom(1e6, 0.5)
    counts = np.array([[999_000, 1_000_000, 1_003_000, 996_000, 1_000_001]])
    layer = counting(1e6, 1e6, 1e6)
    known, weights = np.zeros((1, 3), bool), np.ones(1, np.float32)
    future = np.zeros((1, 3), np.float32)
    got = layer.log_likelihood(counted(counts, 1e6), future, known, weights)
    assert float(got) == pytest.approx(twin.logpmf(counts[:, 1:]).mean(), abs=0.05)


def test_what_is_drawn_is_seen_by_the_next_step():
    keras.utils.set_random_seed(0)
    layer = SampledPaths(6, 0, LEVELS, units=8, depth=2, paths=20)
    first = layer(window(1))
    # The same noise and the same row: the same paths, in any company.
    np.testing.assert_allclose(layer(window(3))[:1], first, atol=1e-6)
    # Blind to values, it reads a past of zeros as before, and what it draws behind that not.
    past = [window(1)[0] * [0.0, 1.0], tf.ones([1, 1])]
    seeing = layer(past).numpy()
    kernel = layer.stack[0].cell.kernel
    kernel.assign(kernel * (np.arange(kernel.shape[0]) != 0)[:, None])
    blind = layer(past).numpy()
    np.testing.assert_allclose(blind[:, 0], seeing[:, 0], atol=1e-6)
    assert (np.abs(blind - seeing)[:, 1:].max(axis=-1) > 1e-3).all()


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
