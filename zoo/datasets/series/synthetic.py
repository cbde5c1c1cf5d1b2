"""Series with a season and a trend, for tests: forecast well in seconds, made without any file."""

from __future__ import annotations

import numpy as np

from zoo.datasets.examples import Source
from zoo.datasets.series.examples import SeriesExamples

HORIZON, PERIOD = 4, 4
SOURCE = Source(url="made on the spot", licence="none needed", citation="none")


def load() -> SeriesExamples:
    """Return 60 quarterly series of 32 to 48 steps."""
    return make(60, 32, 48)


def make(count: int, shortest: int, longest: int) -> SeriesExamples:
    """Return so many series, each of a length between these two."""
    generator = np.random.default_rng(0)
    sizes = generator.integers(shortest, longest + 1, size=count)
    values = tuple(_series(generator, int(size)) for size in sizes)
    ids = tuple(f"s{place}" for place in range(count))
    return SeriesExamples("synthetic", ids, values, "quarterly", HORIZON, PERIOD, source=SOURCE)


def _series(generator: np.random.Generator, size: int) -> np.ndarray:
    level, growth = generator.uniform(10, 1000), generator.uniform(-0.005, 0.02)
    season = 1 + generator.uniform(0.05, 0.3) * np.array([1.0, -0.5, 0.3, -0.8])
    step = np.arange(size)
    noise = 1 + 0.02 * generator.standard_normal(size)
    return level * np.exp(growth * step) * season[step % PERIOD] * noise
