"""Windows are numbered through all series and cut where they say."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.errors import ConfigError
from zoo.preprocessing import WindowBatches, channel_rows

SERIES = [np.arange(10.0), 100 + np.arange(6.0)]


def windows(most: int = 0, **options: object) -> WindowBatches:
    return WindowBatches(SERIES, [3, 2], [5, 3], [8, 6], 4, 3, batch_size=2, most=most)


def test_rows_run_through_the_origins_of_every_series():
    series, origins = windows().origins(np.arange(5))
    assert series.tolist() == [0, 0, 0, 1, 1]
    assert origins.tolist() == [3, 4, 5, 2, 3]
    assert len(windows()) == 5


def test_histories_end_at_the_origin_and_are_as_long_as_they_can_be():
    raw = windows().raw(np.array([0, 2, 3]))
    np.testing.assert_array_equal(raw["history"][0], [0, 1, 2, 0])
    np.testing.assert_array_equal(raw["history"][1], [1, 2, 3, 4])
    np.testing.assert_array_equal(raw["history"][2], [100, 101, 0, 0])
    assert raw["length"].tolist() == [3, 4, 2]
    assert windows().past(4).tolist() == [100, 101, 102]


def test_what_a_series_is_goes_with_each_of_its_rows():
    kinds = {"static_kind": np.array([b"a", b"b"], dtype=object)}
    found = WindowBatches(SERIES, [3, 2], [5, 3], [8, 6], 4, 3, 2, statics=kinds)
    raw = found.raw(np.array([4, 0, 2]))
    assert raw["static_kind"].tolist() == [b"b", b"a", b"a"]


def test_outcomes_end_where_the_part_does():
    future = windows().future(np.array([0, 2, 4]))
    np.testing.assert_array_equal(future[0], [3, 4, 5])
    np.testing.assert_array_equal(future[1], [5, 6, 7])
    np.testing.assert_array_equal(future[2], [103, 104, 105])
    np.testing.assert_array_equal(
        WindowBatches(SERIES, [3, 2], [5, 3], [6, 6], 4, 3, 2).future(np.array([2])),
        [[5, np.nan, np.nan]],
    )


def test_an_epoch_holds_every_row_once_and_is_the_same_again():
    first, again = windows().epoch(3), windows().epoch(3)
    rows = np.concatenate([batch.rows[batch.weights > 0] for batch in first])
    assert sorted(rows) == [0, 1, 2, 3, 4]
    assert all((a.rows == b.rows).all() for a, b in zip(first, again, strict=True))
    assert any((a.rows != b.rows).any() for a, b in zip(first, windows().epoch(4), strict=True))


def test_an_epoch_may_be_a_sample():
    batches = windows(most=4).epoch(0)
    assert sum(batch.weights.sum() for batch in batches) == 4


def test_no_origin_at_all_is_refused():
    with pytest.raises(ConfigError, match="no series is long enough"):
        WindowBatches(SERIES, [3, 3], [2, 2], [9, 9], 4, 3, 2)


def test_a_channel_becomes_a_row():
    values = np.arange(12).reshape(2, 3, 2)
    rows = channel_rows(values)
    assert rows.tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    assert channel_rows(rows) is rows
