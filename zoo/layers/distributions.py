"""Distributions of the next value: what a network says of it, how likely a value is, and draws.

Values are in units of a scale, that of their window; counts are counted again by it. Draws are
functions of noise that is fixed, so that an answer depends on its row alone.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from keras import ops
from scipy import stats

FREEDOM = 5.0
"""Degrees of freedom of "student_t"."""

_LEAST_SPREAD = 1e-3
_LEAST = 1e-6
_SHIFT = 8
"""The logarithm of the gamma function is taken so far from 0."""

_MORE_SHAPE = 4
"""Shape that is added before a gamma quantile is approximated, and taken off again exactly."""

_FEW, _MOST_OF_FEW = 12.0, 32
"""Poisson rates below are drawn from the sums of their first probabilities."""


class Distribution(Protocol):
    """What `SampledPaths` needs of a distribution with two parameters."""

    def noise(self, paths: int, horizon: int) -> np.ndarray:
        """Return `float32[paths, horizon, numbers]`: what draws are made of."""
        ...

    def parameters(self, raw: Any, scale: Any) -> tuple[Any, Any]:
        """Return two parameters, `float32[...]`, from any numbers `float32[..., 2]`."""
        ...

    def log_density(self, values: Any, one: Any, other: Any, scale: Any) -> Any:
        """Return the logarithm of the density of values; of counts, of their probability."""
        ...

    def draw(self, one: Any, other: Any, scale: Any, noise: Any) -> Any:
        """Return a value for each noise, `float32[..., numbers]`."""
        ...


class Located:
    """A distribution with a centre and a spread.

    Args:
        family: The distribution with centre 0 and spread 1, of scipy.
        freedom: Degrees of freedom of Student's t; 0 for a Gaussian.
    """

    def __init__(self, family: Any, freedom: float = 0.0) -> None:
        self._family, self._freedom = family, freedom

    def noise(self, paths: int, horizon: int) -> np.ndarray:
        """Return quantiles at even distances, shuffled at each step."""
        return self._family.ppf(_even(paths, horizon, 1)).astype(np.float32)

    def parameters(self, raw: Any, scale: Any) -> tuple[Any, Any]:
        """Return centre and spread, in units of the scale."""
        return raw[..., 0], ops.softplus(raw[..., 1]) + _LEAST_SPREAD

    def log_density(self, values: Any, one: Any, other: Any, scale: Any) -> Any:
        """Return the logarithm of the density in units of the scale."""
        x, most = (values - one) / other, float(self._family.logpdf(0))
        if self._freedom:
            part = (self._freedom + 1) / 2 * ops.log1p(ops.square(x) / self._freedom)
        else:
            part = 0.5 * ops.square(x)
        return most - part - ops.log(other)

    def draw(self, one: Any, other: Any, scale: Any, noise: Any) -> Any:
        """Return centre + spread * noise."""
        return one + other * noise[..., 0]


class NegativeBinomial:
    """Counts, whose variance is mean + mean² / shape.

    The scale of the window enters as in the source: the mean grows with it, and one by the shape
    falls with its root, so that the spread of large counts is learned from small ones.
    Source: Salinas et al. 2020, arXiv:1704.04110, sections 3.1 and 3.3.

    The probability is written in differences that float32 keeps for counts of millions, where
    logarithms of gamma functions are too large to be subtracted: Loader 2000, Fast and accurate
    computation of binomial probabilities. A draw is a Poisson count whose rate is a draw from a
    gamma distribution.
    """

    def noise(self, paths: int, horizon: int) -> np.ndarray:
        """Return noise of the rate, a normal quantile and logarithms of shares, and of the count.

        The count's is a share, and the normal quantile of it.
        """
        shares = _even(paths, horizon, _MORE_SHAPE + 2)
        rate = [stats.norm.ppf(shares[..., :1]), np.log(shares[..., 1:-1])]
        count = [shares[..., -1:], stats.norm.ppf(shares[..., -1:])]
        return np.concatenate([*rate, *count], axis=-1).astype(np.float32)

    def parameters(self, raw: Any, scale: Any) -> tuple[Any, Any]:
        """Return mean and shape of the counts."""
        mean = scale * (ops.softplus(raw[..., 0]) + _LEAST)
        return mean, ops.sqrt(scale) / (ops.softplus(raw[..., 1]) + _LEAST)

    def log_density(self, values: Any, one: Any, other: Any, scale: Any) -> Any:
        """Return the logarithm of the probability of each count."""
        mean, shape = one, other
        counts = ops.round(values * scale)
        k = ops.maximum(counts, 1.0)
        apart, size = k - mean, k + shape
        far = shape * ops.log1p(apart / (mean + shape))
        far -= k * ops.log1p(shape * apart / (mean * size))
        usual = 0.5 * ops.log(shape / (size * k)) - 0.5 * float(np.log(2 * np.pi))
        rest = _stirling_rest(size) - _stirling_rest(shape) - _stirling_rest(k)
        return ops.where(counts < 1, -shape * ops.log1p(mean / shape), far + usual + rest)

    def draw(self, one: Any, other: Any, scale: Any, noise: Any) -> Any:
        """Return counts in units of the scale; their gradient is that of the rate."""
        rate = one * _gamma(other, noise[..., : _MORE_SHAPE + 1]) / other
        count = _poisson(ops.stop_gradient(rate), noise[..., -2], noise[..., -1])
        return (rate + ops.stop_gradient(count - rate)) / scale


DISTRIBUTIONS: dict[str, Distribution] = {
    "gaussian": Located(stats.norm()),
    "student_t": Located(stats.t(FREEDOM), FREEDOM),
    "negative_binomial": NegativeBinomial(),
}


def _even(paths: int, horizon: int, numbers: int) -> np.ndarray:
    """Return shares at even distances from 0 to 1, shuffled at each step and for each number."""
    generator = np.random.default_rng(0)
    shares = (np.arange(paths) + 0.5) / paths
    columns = [generator.permutation(shares) for _ in range(horizon * numbers)]
    return np.stack(columns, axis=1).reshape(paths, horizon, numbers)


def _stirling_rest(x: Any) -> Any:
    """Return log Γ(x) - (x - ½) log x + x - ½ log 2π, for x above 0."""
    large = ops.maximum(x, float(_SHIFT))
    near = ops.minimum(x, float(_SHIFT))
    moved = near + _SHIFT
    # log Γ(x) is that of x + 8, less the logarithms of what lies between.
    between = sum(ops.log(near + step) for step in range(1, _SHIFT))
    from_moved = (
        (moved - 0.5) * ops.log(moved)
        - _SHIFT
        - between
        - (near + 0.5) * ops.log(near)
        + _stirling_series(moved)
    )
    return ops.where(x < _SHIFT, from_moved, _stirling_series(large))


def _stirling_series(x: Any) -> Any:
    square = ops.square(1 / x)
    return (1 / 12 - square * (1 / 360 - square / 1260)) / x


def _gamma(shape: Any, noise: Any) -> Any:
    """Return a draw of a gamma distribution with scale 1.

    Approximated is that of a larger shape, to 0.001 of its share, from which powers of shares
    lead down. Source: Wilson and Hilferty 1931; Marsaglia and Tsang 2000, section 6.
    """
    larger = shape + _MORE_SHAPE
    root = 1 - 1 / (9 * larger) + noise[..., 0] / (3 * ops.sqrt(larger))
    down = sum(noise[..., 1 + step] / (shape + step) for step in range(_MORE_SHAPE))
    return larger * ops.power(ops.maximum(root, 0.0), 3) * ops.exp(down)


def _poisson(rate: Any, share: Any, normal: Any) -> Any:
    """Return the least count below or at which there is a share of a Poisson distribution.

    Of large rates by Cornish and Fisher's expansion around the normal quantile of the share.
    """
    few = ops.clip(rate, 1e-30, _FEW)[..., None]
    counts = np.arange(_MOST_OF_FEW, dtype=np.float32)
    factorials = np.cumsum(np.log(np.maximum(counts, 1)))
    below = ops.cumsum(ops.exp(counts * ops.log(few) - few - factorials), axis=-1)
    small = ops.sum(ops.cast(below < share[..., None], "float32"), axis=-1)
    root = ops.sqrt(ops.maximum(rate, _FEW))
    around = (ops.square(normal) - 1) / 6 + (normal - ops.power(normal, 3)) / (72 * root)
    large = ops.ceil(rate + root * normal + around - 0.5)
    return ops.where(rate < _FEW, small, ops.maximum(large, 0.0))
