"""Fronts: many short frames to few steps, and padding that says blank."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from zoo.errors import ConfigError
from zoo.layers import BlankPadding, ConvFront, FrameStacking

RNG = np.random.default_rng(0)


def frames(*lengths: int, bins: int = 6) -> list[np.ndarray]:
    """Return `[features, lengths]` with noise behind each row's length."""
    shape = (len(lengths), max(lengths), bins)
    return [RNG.normal(size=shape).astype(np.float32), np.array(lengths, np.int32)]


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Return relu of a 3x3 convolution of `[frames, bins, depth]`, every other bin, in loops."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    steps, bins = -(-len(x) // stride), -(-x.shape[1] // 2)
    out = np.zeros((steps, bins, kernel.shape[-1]))
    for step in range(steps):
        for place in range(bins):
            patch = padded[step * stride :, 2 * place :][:3, :3]
            out[step, place] = np.einsum("tfd,tfdo->o", patch, kernel) + bias
    return np.maximum(out, 0)


class TestFrameStacking:
    def test_frames_stand_side_by_side_and_what_is_missing_is_zero(self):
        x, lengths = frames(7, 3)
        steps = keras.ops.convert_to_numpy(FrameStacking(3)([x, lengths]))
        assert steps.shape == (2, 3, 18)
        np.testing.assert_array_equal(steps[0, 1], x[0, 3:6].ravel())
        np.testing.assert_array_equal(steps[0, 2], [*x[0, 6], *np.zeros(12)])
        np.testing.assert_array_equal(steps[1, 0], x[1, :3].ravel())
        assert not steps[1, 1:].any()

    def test_a_reduction_below_one_is_refused(self):
        with pytest.raises(ConfigError, match="reduction must be at least 1, not 0"):
            FrameStacking(0)


class TestConvFront:
    @pytest.mark.parametrize("reduction", [2, 4])
    @pytest.mark.parametrize("length", [1, 6, 7, 8])
    def test_it_equals_convolutions_in_loops(self, reduction: int, length: int):
        front = ConvFront(reduction, channels=3)
        x, lengths = frames(length, 9)
        got = keras.ops.convert_to_numpy(front([x, lengths]))
        (first, bias), (second, other) = (layer.get_weights() for layer in front.convolutions)
        expected = convolved(x[0, :length, :, None], first, bias, 2)
        expected = convolved(expected, second, other, reduction // 2)
        flat = expected.reshape(len(expected), -1)
        assert len(flat) == -(-length // reduction)
        np.testing.assert_allclose(got[0, : len(flat)], flat, atol=1e-5)

    @pytest.mark.parametrize(
        "arguments", [{"reduction": 3}, {"reduction": 4, "channels": 0}], ids=str
    )
    def test_other_arguments_are_refused(self, arguments: dict[str, int]):
        with pytest.raises(ConfigError, match=f"{[*arguments][-1]} must be"):
            ConvFront(**arguments)


@pytest.mark.parametrize("front", [FrameStacking(3), ConvFront(2), ConvFront(4)])
def test_steps_and_mask_follow_the_lengths(front: keras.layers.Layer):
    x, lengths = frames(1, 4, 9, 12)
    y = front([x, lengths])
    mask = keras.ops.convert_to_numpy(y._keras_mask)
    expected = -(-lengths // front.reduction)
    np.testing.assert_array_equal(mask.sum(axis=1), expected)
    assert mask.shape == tuple(y.shape[:2])
    assert all(row[:steps].all() for row, steps in zip(mask, expected, strict=True))


def test_padding_says_blank_with_certainty():
    logits = RNG.normal(size=(2, 3, 4)).astype(np.float32)
    mask = np.array([[True, True, False], [True, False, False]])
    said = keras.ops.convert_to_numpy(keras.ops.softmax(BlankPadding()(logits, mask=mask)))
    np.testing.assert_allclose(
        said[0, :2], keras.ops.convert_to_numpy(keras.ops.softmax(logits[0, :2])), rtol=1e-6
    )
    np.testing.assert_array_equal(said[~mask], [[1, 0, 0, 0]] * 3)
