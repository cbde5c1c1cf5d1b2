"""Hourly and weekly series of the M4 competition: 414 with a test of 48 steps, 359 with 13."""

from __future__ import annotations

import csv

import numpy as np

from zoo.datasets import cache
from zoo.datasets.examples import Source
from zoo.datasets.series.examples import SeriesExamples

_ROOT = "https://raw.githubusercontent.com/Mcompetitions/M4-methods/6c1067e5a57161249b17289a565178dc7a3fb3ca/Dataset/"
FILES = {
    "m4-hourly": (
        cache.DataFile(
            "m4/Hourly-train.csv",
            "ea59b7783573c49077a835ab6465c7d66f1474783360f310988a9a737fbca62f",
            _ROOT + "Train/Hourly-train.csv",
        ),
        cache.DataFile(
            "m4/Hourly-test.csv",
            "71a57fccb15e534d973626ada4fb87febf789e9317715b7cc6dd3b5f90db6f42",
            _ROOT + "Test/Hourly-test.csv",
        ),
    ),
    "m4-weekly": (
        cache.DataFile(
            "m4/Weekly-train.csv",
            "d478d3f6ed673e6ed3c2cb0fbed5425f72eedd51318ebebeb0b5ecfcefc37714",
            _ROOT + "Train/Weekly-train.csv",
        ),
        cache.DataFile(
            "m4/Weekly-test.csv",
            "3b2bc4be8e636e802260dcd843ca3c5da40536a1fbe1ecb3229a97dae4f44688",
            _ROOT + "Test/Weekly-test.csv",
        ),
    ),
}
NAMES = tuple(FILES)
PERIODS = {"m4-hourly": 24, "m4-weekly": 1}
"""Those that the competition scales errors by."""

SOURCE = Source(
    url="https://github.com/Mcompetitions/M4-methods",
    licence="not stated",
    citation="S. Makridakis et al. (2020), The M4 Competition: 100,000 time series and 61 "
    "forecasting methods, International Journal of Forecasting 36",
)


def load(name: str) -> SeriesExamples:
    """Return the series of one frequency, training and test steps joined.

    Raises:
        DataUnavailableError: A file is neither in the cache nor to be downloaded.
    """
    train, test = (_rows(file) for file in FILES[name])
    horizon = len(next(iter(test.values())))
    return SeriesExamples(
        name,
        tuple(train),
        tuple(np.concatenate([train[each], test[each]]) for each in train),
        name.removeprefix("m4-"),
        horizon,
        PERIODS[name],
        source=SOURCE,
    )


def _rows(file: cache.DataFile) -> dict[str, np.ndarray]:
    """Return values by name; shorter rows are filled up with empty cells."""
    with cache.fetch(file).open(encoding="utf-8", newline="") as stream:
        _, *rows = csv.reader(stream)
    return {row[0]: np.array([cell for cell in row[1:] if cell], float) for row in rows}
