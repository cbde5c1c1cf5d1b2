"""Public files of series, where a cache folder has them."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.datasets import series
from zoo.errors import DataUnavailableError

pytestmark = pytest.mark.usefixtures("real_data")


def load(name: str) -> series.SeriesExamples:
    try:
        return series.load(name)
    except DataUnavailableError:
        pytest.skip(f"{name} is not in the cache")


@pytest.mark.parametrize(("name", "per_hour"), [("ett-h1", 1), ("ett-h2", 1), ("ett-m1", 4)])
def test_ett_has_the_parts_of_the_protocol(name: str, per_hour: int):
    examples = load(name)
    split = series.split_series(examples)
    months = 30 * 24 * per_hour
    assert len(examples.channels) == 7
    assert split.test.first == (16 * months,)
    assert len(split.validation) == len(split.test) == 4 * months - 96 + 1
    assert examples.times is not None
    assert np.unique(np.diff(examples.times[0])).tolist() == [3600 // per_hour]


def test_exchange_has_seven_tenths_to_train_on():
    (train, validation, test) = series.split_series(load("exchange"))
    assert train.ends == (5311,)
    assert test.first == (7588 - 1517,)
    assert len(test.examples.channels) == 8


@pytest.mark.parametrize(
    ("name", "count", "horizon"), [("m4-hourly", 414, 48), ("m4-weekly", 359, 13)]
)
def test_m4_joins_training_and_test_steps(name: str, count: int, horizon: int):
    examples = load(name)
    assert (len(examples), examples.horizon) == (count, horizon)
    assert not any(np.isnan(values).any() for values in examples.values)
    split = series.split_series(examples)
    assert len(split.test) == count
