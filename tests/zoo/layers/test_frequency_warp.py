"""FrequencyWarp: what moves where, and when."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from zoo.errors import ConfigError
from zoo.layers import FrequencyWarp


def warped(layer: FrequencyWarp, spectrum: np.ndarray) -> np.ndarray:
    """Return what the layer makes of `float32[batch, frames, bins]` in training."""
    return keras.ops.convert_to_numpy(layer(spectrum, training=True))


def test_nothing_moves_outside_training():
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    np.testing.assert_array_equal(FrequencyWarp(0.5)(x), x)


def test_a_ramp_is_read_at_a_factor_of_its_row():
    ramp = np.tile(np.arange(20, dtype=np.float32), (400, 3, 1))
    found = warped(FrequencyWarp(0.2, seed=1), ramp)
    factors = found[:, 0, 10] / 10
    expected = np.minimum(factors[:, None] * np.arange(20), 19)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)
    np.testing.assert_array_equal(found, found[:, :1].repeat(3, 1))  # frames of a row move alike
    assert 0.8 <= factors.min() < 0.81 and 1.19 < factors.max() <= 1.2
    assert abs(factors.mean() - 1) < 0.02


def test_a_share_of_0_changes_nothing():
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(warped(FrequencyWarp(0.0), x), x, atol=1e-6)


def test_it_is_saved_with_its_arguments():
    layer = FrequencyWarp(0.3, seed=2)
    again = FrequencyWarp.from_config(layer.get_config())
    assert (again.share, again.seed) == (0.3, 2)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(share: float):
    with pytest.raises(ConfigError, match=f"share must be at least 0 and below 1, not {share}"):
        FrequencyWarp(share)
