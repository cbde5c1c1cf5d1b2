"""Folding of frames, and losses over them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import structural_similarity as reference

from zoo.errors import ConfigError
from zoo.layers import FrameFolding, FrameUnfolding, StandStill, frame_loss, structural_similarity

DRAW = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return DRAW.random(shape, np.float32)


class TestFolding:
    """Blocks of pixels become channels."""

    def test_a_block_is_read_row_by_row(self):
        frames = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4, 1)
        folded = FrameFolding(2)(frames).numpy()
        assert folded.shape == (1, 1, 2, 2, 4)
        assert folded[0, 0, 0, 0].tolist() == [0, 1, 4, 5]
        assert folded[0, 0, 1, 1].tolist() == [10, 11, 14, 15]

    @pytest.mark.parametrize("block", [1, 2, 4])
    def test_unfolding_undoes_it(self, block: int):
        frames = noise(2, 3, 8, 12, 3)
        again = FrameUnfolding(block)(FrameFolding(block)(frames))
        np.testing.assert_array_equal(again, frames)

    def test_sizes_that_do_not_divide_are_named(self):
        with pytest.raises(ConfigError, match="multiples of 4, not 6 and 8"):
            FrameFolding(4)(noise(1, 1, 6, 8, 1))
        with pytest.raises(ConfigError, match="multiple of a block's 4 pixels, not 6"):
            FrameUnfolding(2)(noise(1, 1, 3, 3, 6))
        with pytest.raises(ConfigError, match="block must be at least 1, not 0"):
            FrameFolding(0)

    def test_what_is_missing_to_a_block_can_be_filled_up(self):
        frames = noise(2, 1, 5, 6, 3)
        again = FrameUnfolding(4)(FrameFolding(4, fill=True)(frames)).numpy()
        assert again.shape == (2, 1, 8, 8, 3)
        np.testing.assert_array_equal(again[:, :, :5, :6], frames)
        assert not again[:, :, 5:].any() and not again[:, :, :, 6:].any()

    def test_standing_still_is_the_last_frame(self):
        frames = noise(2, 3, 4, 4, 1)
        still = StandStill(5)(frames).numpy()
        np.testing.assert_array_equal(still, np.repeat(frames[:, -1:], 5, axis=1))


class TestLosses:
    """What video models are trained on."""

    @pytest.mark.parametrize("channels", [1, 3])
    def test_similarity_is_that_of_scikit_image(self, channels: int):
        truth, predicted = noise(2, 3, 16, 20, channels), noise(2, 3, 16, 20, channels)
        predicted = 0.7 * truth + 0.3 * predicted
        expected = [
            np.mean(
                [
                    # Only whole windows count in ours, as in the paper; scikit-image crops so too.
                    reference(t, p, win_size=7, data_range=1.0, channel_axis=-1)
                    for t, p in zip(*pair, strict=True)
                ]
            )
            for pair in zip(truth, predicted, strict=True)
        ]
        received = structural_similarity(tf.constant(predicted), tf.constant(truth))
        np.testing.assert_allclose(received, expected, atol=1e-4)

    def test_equal_frames_lose_nothing(self):
        frames = tf.constant(noise(2, 3, 8, 8, 1))
        assert float(frame_loss(frames, frames, np.ones(2, "f"), 1.0, 1.0)) == pytest.approx(0)

    def test_a_loss_by_hand(self):
        truth, predicted = tf.zeros((2, 1, 8, 8, 1)), tf.fill((2, 1, 8, 8, 1), 0.5)
        assert float(frame_loss(predicted, truth, np.ones(2, "f"), 0.0)) == pytest.approx(0.25)
        assert float(frame_loss(predicted, truth, np.ones(2, "f"), 2.0)) == pytest.approx(1.25)

    def test_cross_entropy_by_hand(self):
        truth, predicted = tf.fill((2, 1, 8, 8, 1), 0.25), tf.fill((2, 1, 8, 8, 1), 0.5)
        found = float(frame_loss(predicted, truth, np.ones(2, "f"), 2.0, entropy=True))
        assert found == pytest.approx(np.log(2) + 2 * 0.25, rel=1e-5)

    def test_rows_without_weight_do_not_count(self):
        truth, predicted = noise(3, 2, 8, 8, 1), noise(3, 2, 8, 8, 1)
        whole = frame_loss(predicted[:2], truth[:2], np.ones(2, "f"), 1.0, 0.5)
        some = frame_loss(predicted, truth, np.array([1, 1, 0], "f"), 1.0, 0.5)
        assert float(some) == pytest.approx(float(whole), rel=1e-5)
        assert float(frame_loss(predicted, truth, np.zeros(3, "f"))) == 0
