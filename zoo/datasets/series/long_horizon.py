"""Long series of several channels, with the parts that long-term forecasting is compared on.

ETT: two years of seven readings of electricity transformers, hourly or every 15 minutes, 12, 4
and 4 months for the three parts. Exchange: daily rates of eight currencies from 1990 on, 70, 10
and 20 %. Source of the protocol: Zhou et al. 2021, arXiv:2012.07436; Wu et al. 2021,
arXiv:2106.13008.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from zoo.datasets import cache
from zoo.datasets.examples import Source
from zoo.datasets.series.examples import SeriesExamples

HORIZON = 96
_ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/"
_EXCHANGE = "https://raw.githubusercontent.com/laiguokun/multivariate-time-series-data/7f402f185cc2435b5e66aed13a3b560ed142e023/exchange_rate/"
FILES = {
    "ett-h1": cache.DataFile(
        "ett/ETTh1.csv",
        "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
        _ETT + "ETTh1.csv",
    ),
    "ett-h2": cache.DataFile(
        "ett/ETTh2.csv",
        "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b",
        _ETT + "ETTh2.csv",
    ),
    "ett-m1": cache.DataFile(
        "ett/ETTm1.csv",
        "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
        _ETT + "ETTm1.csv",
    ),
    "exchange": cache.DataFile(
        "exchange_rate/exchange_rate.txt.gz",
        "6a4fbb561dcdee43f071a83badbeec9223a335552278348656738b556f1c2e9d",
        _EXCHANGE + "exchange_rate.txt.gz",
    ),
}
NAMES = tuple(FILES)
_MONTH = 30 * 24
_SOURCES = {
    "ett": Source(
        url="https://github.com/zhouhaoyi/ETDataset",
        licence="CC BY-ND 4.0",
        citation="H. Zhou et al. (2021), Informer: Beyond Efficient Transformer for Long Sequence "
        "Time-Series Forecasting, AAAI",
    ),
    "exchange": Source(
        url="https://github.com/laiguokun/multivariate-time-series-data",
        licence="not stated",
        citation="G. Lai et al. (2018), Modeling Long- and Short-Term Temporal Patterns with Deep "
        "Neural Networks, SIGIR",
    ),
}


def load(name: str) -> SeriesExamples:
    """Return one series of several channels, its borders those of the protocol.

    Raises:
        DataUnavailableError: The file is neither in the cache nor to be downloaded.
    """
    file = cache.fetch(FILES[name])
    if name == "exchange":
        (values, channels), times = _exchange(file), None
        size, frequency = len(values), "daily"
        # The test part begins a fifth before the end, whatever rounding leaves between.
        borders = int(0.7 * size), size - int(0.2 * size)
    else:
        values, channels, clock = _ett(file)
        per_hour = 4 if name.startswith("ett-m") else 1
        frequency = "quarter-hourly" if per_hour == 4 else "hourly"
        borders = 12 * _MONTH * per_hour, 16 * _MONTH * per_hour
        size = 20 * _MONTH * per_hour
        values, times = values[:size], (clock[:size],)
    source = _SOURCES["exchange" if name == "exchange" else "ett"]
    return SeriesExamples(
        name, (name,), (values,), frequency, HORIZON, 0, borders, channels, source, times
    )


def _ett(file: Path) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    with file.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    times = np.array([row[0] for row in rows], "datetime64[s]").astype(np.int64)
    return np.array([row[1:] for row in rows], float), tuple(header[1:]), times


def _exchange(file: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        values = np.loadtxt(stream, delimiter=",")
    countries = ("Australia", "Britain", "Canada", "Switzerland", "China", "Japan")
    return values, (*countries, "New Zealand", "Singapore")
