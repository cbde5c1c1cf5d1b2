"""SpecAugment: what is hidden, how much of it, and when."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from zoo.errors import ConfigError
from zoo.layers import SpecAugment


def hidden(layer: SpecAugment, lengths: list[int], bins: int = 20) -> np.ndarray:
    """Return `bool[batch, frames, bins]`, where the layer sets ones to 0."""
    ones = np.ones((len(lengths), max(lengths), bins), np.float32)
    out = layer([ones, np.array(lengths, np.int32)], training=True)
    return keras.ops.convert_to_numpy(out) == 0


def runs(row: np.ndarray) -> int:
    """Return how many stretches of True there are."""
    return int((np.diff(np.r_[False, row].astype(int)) == 1).sum())


def test_nothing_is_hidden_outside_training():
    x = np.ones((2, 5, 4), np.float32)
    np.testing.assert_array_equal(SpecAugment()([x, np.array([5, 2], np.int32)]), x)


def test_bands_run_through_all_frames_and_are_no_wider_than_told():
    layer = SpecAugment(bands=1, band_width=4, stretches=0, seed=1)
    widths = set()
    for _ in range(60):
        gone = hidden(layer, [9])[0]
        assert (gone == gone[0]).all()
        assert runs(gone[0]) <= 1
        widths.add(int(gone[0].sum()))
    assert widths == {0, 1, 2, 3, 4}


def test_stretches_run_through_all_bins_and_stay_within_the_row():
    layer = SpecAugment(bands=0, stretches=1, stretch_width=6, stretch_share=0.5, seed=1)
    short, long = set(), set()
    for _ in range(80):
        gone = hidden(layer, [4, 30])
        assert (gone == gone[:, :, :1]).all()
        assert not gone[0, 4:].any()
        short.add(int(gone[0, :, 0].sum()))
        long.add(int(gone[1, :, 0].sum()))
    assert short == {0, 1, 2}  # half of the row
    assert long == set(range(7))


def test_every_place_is_hidden_as_often():
    layer = SpecAugment(bands=1, band_width=3, stretches=0, seed=2)
    gone = hidden(layer, [1] * 4000, bins=6)[:, 0]
    # Bins inside can be covered by more spans than those at the ends.
    share = gone.mean(axis=0)
    np.testing.assert_allclose(share, share[::-1], atol=0.03)
    assert share.min() > 0.1


def test_rows_and_calls_differ_and_the_seed_decides():
    first, second = (SpecAugment(seed=3) for _ in range(2))
    one, again = hidden(first, [50] * 8), hidden(first, [50] * 8)
    assert (one != again).any()
    assert (one[0] != one[1]).any()
    np.testing.assert_array_equal(one, hidden(second, [50] * 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bands": -1}, "bands must be at least 0, not -1"),
        ({"stretch_width": -2}, "stretch_width must be at least 0, not -2"),
        ({"stretch_share": 1.5}, "stretch_share must be from 0 to 1, not 1.5"),
    ],
)
def test_other_arguments_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        SpecAugment(**arguments)
