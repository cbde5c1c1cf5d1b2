"""The spatiotemporal LSTM cell against a NumPy twin and a formulation gate by gate."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import STLSTMCell

FILTERS = 3
MASK = np.array([[True, True, True, True], [False, True, False, True], [False] * 4])


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 4, 5, 6, 2)).astype(np.float32)


@pytest.fixture
def cell(frames: np.ndarray) -> STLSTMCell:
    cell = STLSTMCell(FILTERS, kernel_size=3)
    cell.build(frames[:, 0].shape)
    rng = np.random.default_rng(2)
    cell.set_weights([rng.normal(0, 0.3, weight.shape) for weight in cell.get_weights()])
    return cell


def convolve(frames: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    margin = kernel.shape[0] // 2
    padded = np.pad(frames, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
    return np.einsum("nhwcij,ijcf->nhwf", windows, kernel)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def twin(weights: list[np.ndarray], x: np.ndarray, states: list[np.ndarray]) -> list[np.ndarray]:
    """Return h, c and m after one step."""
    kernel, recurrent_kernel, memory_kernel, output_kernel, fusion_kernel, bias = weights
    h, c, m = states
    x1, x2, x3, x4, x5, x6, x7 = np.split(convolve(x, kernel) + bias, 7, axis=-1)
    h1, h2, h3, h7 = np.split(convolve(h, recurrent_kernel), 4, axis=-1)
    m4, m5, m6 = np.split(convolve(m, memory_kernel), 3, axis=-1)
    c = sigmoid(x2 + h2) * c + sigmoid(x1 + h1) * np.tanh(x3 + h3)
    m = sigmoid(x5 + m5) * m + sigmoid(x4 + m4) * np.tanh(x6 + m6)
    both = np.concatenate([c, m], axis=-1)
    o = sigmoid(x7 + h7 + convolve(both, output_kernel))
    return [o * np.tanh(convolve(both, fusion_kernel)), c, m]


def gate_by_gate(weights: list[tf.Tensor], x: tf.Tensor, states: list[tf.Tensor]) -> list[Any]:
    """Return h, c and m after one step, each convolution of the paper by itself."""
    kernel, recurrent_kernel, memory_kernel, output_kernel, fusion_kernel, bias = weights
    h, c, m = states

    def through(frames: tf.Tensor, kernel: tf.Tensor, gate: int) -> tf.Tensor:
        part = kernel[..., gate * FILTERS : (gate + 1) * FILTERS]
        return tf.nn.conv2d(frames, part, strides=1, padding="SAME")

    def from_x(gate: int) -> tf.Tensor:
        return through(x, kernel, gate) + bias[gate * FILTERS : (gate + 1) * FILTERS]

    i, f = (tf.sigmoid(from_x(gate) + through(h, recurrent_kernel, gate)) for gate in (0, 1))
    c = f * c + i * tf.tanh(from_x(2) + through(h, recurrent_kernel, 2))
    i, f = (tf.sigmoid(from_x(3 + gate) + through(m, memory_kernel, gate)) for gate in (0, 1))
    m = f * m + i * tf.tanh(from_x(5) + through(m, memory_kernel, 2))
    from_c = through(c, output_kernel[:, :, :FILTERS], 0)
    from_m = through(m, output_kernel[:, :, FILTERS:], 0)
    o = tf.sigmoid(from_x(6) + through(h, recurrent_kernel, 3) + from_c + from_m)
    return [o * tf.tanh(through(tf.concat([c, m], -1), fusion_kernel, 0)), c, m]


def test_in_a_layer_of_keras_it_equals_its_twin(cell: STLSTMCell, frames: np.ndarray):
    layer = keras.layers.RNN(cell, return_sequences=True, return_state=True)
    states, expected = [np.zeros((3, 5, 6, FILTERS)) for _ in range(3)], []
    for step in range(4):
        real = MASK[:, step, None, None, None]
        after = twin(cell.get_weights(), frames[:, step], states)
        pairs = zip(after, states, strict=True)
        states = [np.where(real, new, old) for new, old in pairs]
        expected.append(states[0])
    mask = tf.constant(MASK)
    for run in layer, tf.function(layer, autograph=False):
        outputs, *last = run(frames, mask=mask)
        np.testing.assert_allclose(outputs, np.stack(expected, axis=1), atol=1e-5)
        for received, state in zip(last, states, strict=True):
            np.testing.assert_allclose(received, state, atol=1e-5)


def zigzag(step: Any, layers: list[Any], frames: tf.Tensor) -> tf.Tensor:
    """Return the top layer's h of every step: m goes up the stack, and from its top to the next
    step's bottom; `step(layer, x, t, states)` gives h, c and m."""
    zeros = tf.zeros((3, 5, 6, FILTERS))
    h, c, m, outputs = [zeros] * len(layers), [zeros] * len(layers), zeros, []
    for t in range(4):
        x = frames[:, t]
        for index, layer in enumerate(layers):
            h[index], c[index], m = step(layer, x, t, [h[index], c[index], m])
            x = h[index]
        outputs.append(x)
    return tf.stack(outputs, axis=1)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_a_stack_that_projects_the_bottom_at_once_has_the_gradients_of_the_paper(
    cell: STLSTMCell, frames: np.ndarray, graph: bool
):
    top = STLSTMCell(FILTERS, kernel_size=3)
    top.build((3, 5, 6, FILTERS))
    cells, x = [cell, top], tf.constant(frames)
    weights = [[weight.value for weight in each.weights] for each in cells]

    def ours() -> tf.Tensor:
        bottom = cell.project(x)

        def step(layer: STLSTMCell, x: tf.Tensor, t: int, states: list[Any]) -> Any:
            return layer.step(bottom[:, t] if layer is cell else layer.project(x), states)

        return zigzag(step, cells, x)

    def naive() -> tf.Tensor:
        return zigzag(lambda parts, x, t, states: gate_by_gate(parts, x, states), weights, x)

    def differentiate(forward: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = forward()
            loss = tf.reduce_sum(tf.square(outputs))
        return [outputs, *tape.gradient(loss, [x, *weights[0], *weights[1]])]

    run = tf.function(differentiate, autograph=False) if graph else differentiate
    for received, expected in zip(run(ours), run(naive), strict=True):
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * max(scale, 1))


def test_frames_are_projected_along_any_leading_axes(cell: STLSTMCell, frames: np.ndarray):
    together = cell.project(frames)
    assert together.shape == (3, 4, 5, 6, 7 * FILTERS)
    np.testing.assert_allclose(together[:, 2], cell.project(frames[:, 2]), atol=1e-5)


def test_forget_gates_begin_open():
    cell = STLSTMCell(2)
    cell.build((None, 5, 6, 1))
    assert cell.bias.numpy().tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert cell.kernel.shape == (5, 5, 1, 14)
    assert [state.shape for state in cell.get_initial_state(tf.constant(4))] == [(4, 5, 6, 2)] * 3
