"""Time series data sets by name, and tables of the user's own.

examples = series.load("m3-monthly")
train, validation, test = series.split_series(examples)
"""

from __future__ import annotations

from zoo.datasets.series import competitions, long_horizon, m4, synthetic
from zoo.datasets.series.examples import (
    HORIZONS,
    PERIODS,
    SeriesExamples,
    SeriesPart,
    SeriesSplit,
    check_values,
    split_series,
    together,
)
from zoo.datasets.series.own_table import read_series
from zoo.errors import UnknownNameError

NAMES: tuple[str, ...] = (
    *competitions.NAMES,
    *long_horizon.NAMES,
    *m4.NAMES,
    "synthetic",
)


def load(name: str) -> SeriesExamples:
    """Return a data set of the table.

    Raises:
        UnknownNameError: The table has no such name.
        DataError: The package that brings it is not installed.
        DataUnavailableError: Its files are neither in the cache nor to be downloaded.
    """
    if name not in NAMES:
        raise UnknownNameError("series data set", name, NAMES)
    for module in (competitions, long_horizon, m4):
        if name in module.NAMES:
            return module.load(name)
    return synthetic.load()


__all__ = [
    "HORIZONS",
    "NAMES",
    "PERIODS",
    "SeriesExamples",
    "SeriesPart",
    "SeriesSplit",
    "check_values",
    "load",
    "read_series",
    "split_series",
    "together",
]
