"""Batches: every row once per epoch, in few shapes, in an order that can be repeated."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from zoo.errors import ConfigError
from zoo.preprocessing import Batch, BucketedBatches, padded_lengths
from zoo.preprocessing.batching import MOST_SHAPES

LENGTHS = [3, 1, 7, 7, 2, 19, 4, 4, 1, 12, 30]


def rows(lengths: list[int]) -> list[np.ndarray]:
    """Return one sequence per length; the values tell row and step."""
    return [
        100 * row + np.arange(1, length + 1, dtype=np.int32) for row, length in enumerate(lengths)
    ]


def plan(batches: list[Batch]) -> list[list[int]]:
    return [batch.rows.tolist() for batch in batches]


@pytest.fixture
def batches() -> BucketedBatches:
    return BucketedBatches(rows(LENGTHS), batch_size=4, shapes=3, seed=5)


@given(
    lengths=some.lists(some.integers(1, 40), min_size=1, max_size=60),
    batch_size=some.integers(1, 9),
    shapes=some.integers(1, MOST_SHAPES),
    epoch=some.integers(0, 3),
)
def test_an_epoch_holds_every_row_exactly_once(
    lengths: list[int], batch_size: int, shapes: int, epoch: int
):
    bucketed = BucketedBatches(rows(lengths), batch_size, shapes)
    for part in (bucketed.epoch(epoch), bucketed.in_order()):
        counted: Counter[int] = Counter()
        for batch in part:
            assert len(batch.rows) == len(batch.weights) == batch_size
            assert {*batch.weights} <= {0.0, 1.0}
            assert batch.weights[0] == 1
            assert max(lengths[row] for row in batch.rows) <= batch.length
            counted.update(batch.rows[batch.weights == 1].tolist())
        assert counted == Counter(range(len(lengths)))
        assert len({batch.length for batch in part}) <= shapes


def test_the_order_is_a_function_of_seed_and_epoch(batches: BucketedBatches):
    again = BucketedBatches(rows(LENGTHS), batch_size=4, shapes=3, seed=5)
    again.epoch(3)  # what was asked before does not matter
    assert plan(batches.epoch(1)) == plan(again.epoch(1))


def test_every_epoch_and_every_seed_has_an_order_of_its_own(batches: BucketedBatches):
    other = BucketedBatches(rows(LENGTHS), batch_size=4, shapes=3, seed=6)
    orders = [plan(batches.epoch(0)), plan(batches.epoch(1)), plan(other.epoch(0))]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


def test_batches_in_order_go_from_short_to_long(batches: BucketedBatches):
    parts = batches.in_order()
    taken = [LENGTHS[row] for part in parts for row in part.rows[part.weights == 1]]
    assert taken == sorted(LENGTHS)


def test_a_batch_that_is_not_full_repeats_its_first_row_with_weight_0():
    (batch,) = BucketedBatches(rows([2, 2, 2]), batch_size=5).in_order()
    assert batch.rows.tolist() == [0, 1, 2, 0, 0]
    assert batch.weights.tolist() == [1, 1, 1, 0, 0]
    assert batch.weights.dtype == np.float32


def test_padding_is_zeros_on_the_right():
    bucketed = BucketedBatches(rows([1, 3]), batch_size=2, shapes=1)
    (batch,) = bucketed.in_order()
    padded = bucketed.pad(batch)
    assert padded.tolist() == [[1, 0, 0], [101, 102, 103]]
    assert padded.dtype == np.int32


def test_padding_keeps_the_axes_behind_time():
    frames = [np.ones((2, 5, 3), np.float32), np.ones((4, 5, 3), np.float32)]
    bucketed = BucketedBatches(frames, batch_size=2, shapes=1)
    padded = bucketed.pad(bucketed.in_order()[0])
    assert (padded.shape, padded.dtype) == ((2, 4, 5, 3), np.float32)
    assert padded.sum(axis=(1, 2, 3)).tolist() == [30, 60]


def test_map_answers_in_the_order_of_the_rows(batches: BucketedBatches):
    sums = batches.map(lambda padded: padded.sum(axis=1))
    assert sums.tolist() == [int(row.sum()) for row in rows(LENGTHS)]


def test_map_stacks_answers_of_any_shape(batches: BucketedBatches):
    ends = batches.map(lambda padded: np.stack([padded[:, 0], padded.max(axis=1)], axis=1))
    assert ends.tolist() == [[row[0], row[-1]] for row in rows(LENGTHS)]


def test_one_row_alone_fills_a_batch():
    bucketed = BucketedBatches(rows([6]), batch_size=3)
    (batch,) = bucketed.epoch(0)
    assert batch.rows.tolist() == [0, 0, 0]
    assert batch.length == 6
    assert bucketed.map(lambda padded: padded[:, -1]).tolist() == [6]


def test_rows_of_equal_length_share_one_shape():
    bucketed = BucketedBatches(rows([4] * 10), batch_size=4, shapes=8)
    assert bucketed.lengths.tolist() == [4]
    assert [batch.length for batch in bucketed.epoch(0)] == [4, 4, 4]


@pytest.mark.parametrize("shapes", range(1, MOST_SHAPES + 1))
def test_padded_lengths_ascend_to_the_longest_row(shapes: int):
    steps = np.random.default_rng(0).geometric(0.05, 500)
    lengths = padded_lengths(steps, shapes)
    assert len(lengths) <= shapes
    assert lengths[-1] == steps.max()
    assert np.all(np.diff(lengths) > 0)
    assert {*lengths} <= {*steps}


def test_more_shapes_mean_less_padding():
    steps = np.random.default_rng(0).geometric(0.05, 500)

    def padded(shapes: int) -> int:
        lengths = padded_lengths(steps, shapes)
        return int(lengths[np.searchsorted(lengths, steps)].sum())

    sizes = [padded(shapes) for shapes in (1, 2, 4, 8)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1.4 * steps.sum() < sizes[0] / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": 1, "shapes": 0}, "shapes must be from 1 to 8, not 0"),
        ({"batch_size": 1, "shapes": 9}, "shapes must be from 1 to 8, not 9"),
    ],
)
def test_impossible_batches_are_refused(arguments: dict[str, int], message: str):
    with pytest.raises(ConfigError, match=message):
        BucketedBatches(rows([1]), **arguments)
