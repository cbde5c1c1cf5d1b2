"""Dropout of whole words, and with one mask for all steps."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from zoo.errors import ConfigError
from zoo.layers import VariationalDropout, WordDropout

TOKENS = np.tile(np.array([5, 6, 7, 8, 0], np.int32), (400, 20))
STATES = np.ones((200, 6, 50), np.float32)


class TestWordDropout:
    """Tokens replaced by another id."""

    @pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.9, False)])
    def test_nothing_happens_at_rate_0_or_outside_training(self, rate: float, training: bool):
        dropped = WordDropout(rate)(TOKENS, training=training)
        np.testing.assert_array_equal(dropped, TOKENS)

    def test_outside_training_is_the_default(self):
        np.testing.assert_array_equal(WordDropout(0.9)(TOKENS), TOKENS)

    def test_the_expected_share_is_replaced_and_padding_kept(self):
        dropped = WordDropout(0.3, replacement=2, seed=0)(TOKENS, training=True).numpy()
        replaced = dropped == 2
        np.testing.assert_array_equal(dropped[~replaced], TOKENS[~replaced])
        assert not dropped[TOKENS == 0].any()
        assert replaced[TOKENS != 0].mean() == pytest.approx(0.3, abs=0.01)
        assert dropped.dtype == np.int32

    def test_a_rate_of_1_replaces_every_real_token(self):
        dropped = WordDropout(1.0)(TOKENS, training=True).numpy()
        np.testing.assert_array_equal(dropped, TOKENS != 0)

    def test_the_seed_decides_and_every_call_differs(self):
        first, same, other = (WordDropout(0.5, seed=seed) for seed in (1, 1, 2))
        once = first(TOKENS, training=True).numpy()
        np.testing.assert_array_equal(once, same(TOKENS, training=True))
        assert np.any(once != other(TOKENS, training=True))
        assert np.any(once != first(TOKENS, training=True))

    @pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
    def test_a_rate_outside_0_to_1_is_refused(self, rate: float):
        with pytest.raises(ConfigError, match=f"rate must be from 0 to 1, not {rate}"):
            WordDropout(rate)

    def test_the_shape_stays(self):
        assert WordDropout(0.5).compute_output_shape((None, 7)) == (None, 7)


class TestVariationalDropout:
    """Features dropped from a whole row."""

    @pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.9, False)])
    def test_nothing_happens_at_rate_0_or_outside_training(self, rate: float, training: bool):
        dropped = VariationalDropout(rate)(STATES, training=training)
        np.testing.assert_array_equal(dropped, STATES)

    def test_the_mask_is_the_same_at_every_step_and_another_in_every_row(self):
        dropped = VariationalDropout(0.5, seed=0)(STATES, training=True).numpy()
        np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1], dropped.shape))
        assert len(np.unique(dropped[:, 0], axis=0)) == len(dropped)

    def test_the_expected_share_is_dropped_and_the_rest_scaled_up(self):
        dropped = VariationalDropout(0.3, seed=0)(STATES, training=True).numpy()
        assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.015)
        np.testing.assert_allclose(dropped[dropped != 0], 1 / 0.7, rtol=1e-6)

    def test_the_seed_decides_and_every_call_differs(self):
        first, same = (VariationalDropout(0.5, seed=1) for _ in range(2))
        once = first(STATES, training=True).numpy()
        np.testing.assert_array_equal(once, same(STATES, training=True))
        assert np.any(once != first(STATES, training=True))

    @pytest.mark.parametrize("rate", [-0.1, 1.1])
    def test_a_rate_outside_0_to_1_is_refused(self, rate: float):
        with pytest.raises(ValueError, match="between 0 and 1"):
            VariationalDropout(rate)


@pytest.mark.parametrize("layer", [WordDropout(0.5), VariationalDropout(0.5)], ids=type)
def test_the_mask_of_real_steps_passes_through(layer: keras.layers.Layer):
    mask = np.array([[True, False]])
    assert layer.compute_mask(np.ones((1, 2, 3)), mask) is mask
