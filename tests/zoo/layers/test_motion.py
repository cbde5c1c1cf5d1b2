"""A frame that moves: by whole pixels, by parts of them, over the border, and how it is learnt."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import MovedFrame

HEIGHT, WIDTH = 6, 8


def clip(channels: int = 2) -> np.ndarray:
    """Return two frames of two rows, of which the first does not matter."""
    return np.random.default_rng(0).random((2, 2, HEIGHT, WIDTH, channels)).astype(np.float32)


def constant(
    down: float, right: float, steps: int = 3, grid: tuple[int, int] = (3, 4)
) -> np.ndarray:
    return np.broadcast_to(np.float32([down, right]), (2, steps, *grid, 2))


def moved(frame: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return a frame moved by whole pixels, its border repeated."""
    rows = np.clip(np.arange(HEIGHT) - down, 0, HEIGHT - 1)
    columns = np.clip(np.arange(WIDTH) - right, 0, WIDTH - 1)
    return frame[:, rows][:, :, columns]


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 0), (0, -1), (2, 1), (-9, 20)])
def test_whole_pixels(down: int, right: int):
    frames = clip()
    received = MovedFrame()([frames, constant(down, right)]).numpy()
    assert received.shape == (2, 3, HEIGHT, WIDTH, 2)
    for step in (1, 2, 3):
        expected = moved(frames[:, -1], step * down, step * right)
        np.testing.assert_allclose(received[:, step - 1], expected, atol=1e-6)


def test_between_pixels_it_is_linear():
    frames = clip()
    received = MovedFrame()([frames, constant(0.25, 0, steps=1)]).numpy()[:, 0]
    whole = [moved(frames[:, -1], down, 0) for down in (0, 1)]
    np.testing.assert_allclose(received, 0.75 * whole[0] + 0.25 * whole[1], atol=1e-6)


def test_every_place_has_a_motion_of_its_own():
    motion = np.zeros((2, 1, HEIGHT, WIDTH, 2), np.float32)
    motion[:, :, :, 4:, 1] = 1
    frames = clip()
    received = MovedFrame()([frames, motion]).numpy()[:, 0]
    np.testing.assert_allclose(received[:, :, :4], frames[:, -1, :, :4])
    np.testing.assert_allclose(received[:, :, 4:], frames[:, -1, :, 3:7])


def test_a_motion_is_found_by_its_gradient():
    row = np.exp(-((np.arange(WIDTH) - 3.0) ** 2) / 4)
    frames = tf.constant(np.broadcast_to(row[:, None], (1, 1, HEIGHT, WIDTH, 1)), tf.float32)
    target = MovedFrame()([frames, tf.constant([0.0, 1.5], shape=(1, 1, 1, 1, 2))])
    motion, layer = tf.Variable(tf.zeros((1, 1, 1, 1, 2))), MovedFrame()

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer([frames, motion]) - target))
        motion.assign_sub(10.0 * tape.gradient(loss, motion))

    for _ in range(200):
        step()
    np.testing.assert_allclose(motion.numpy().ravel(), [0, 1.5], atol=0.05)


def test_in_a_graph_of_any_size_of_batch():
    layer = MovedFrame()
    specs = [
        tf.TensorSpec([None, None, HEIGHT, WIDTH, 2]),
        tf.TensorSpec([None, None, 3, 4, 2]),
    ]
    received = tf.function(lambda *inputs: layer([*inputs]), specs)(clip(), constant(0.5, 1))
    np.testing.assert_allclose(received, layer([clip(), constant(0.5, 1)]), atol=1e-6)
