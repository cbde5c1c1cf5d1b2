"""The scan against a loop over steps, and against the paper's scan in log space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers.scan import CHUNK, linear_scan, recurrence

TIMES = [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7]

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def problem(time: int, seed: int = 0) -> Arrays:
    """Return decays, inflows and the first state."""
    rng = np.random.default_rng(seed)
    decay = 1 / (1 + np.exp(-4 * rng.normal(size=(3, time, 5))))
    arrays = decay, rng.normal(size=decay.shape), rng.normal(size=(3, 5))
    return tuple(array.astype(np.float32) for array in arrays)


def loop(decay: Any, inflow: Any, initial: Any) -> list[Any]:
    """Return h_1, h_2, ... of arrays or tensors."""
    states = [initial]
    for step in range(decay.shape[1]):
        states.append(decay[:, step] * states[-1] + inflow[:, step])
    return states[1:]


def gradients(scan: Callable[..., Any], arrays: Arrays) -> list[np.ndarray]:
    """Return the gradients of a loss that weighs every state differently."""
    tensors = [tf.constant(array) for array in arrays]
    weights = np.random.default_rng(9).normal(size=arrays[0].shape).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = tf.reduce_sum(weights * scan(*tensors))
    return [gradient.numpy() for gradient in tape.gradient(loss, tensors)]


def free(scan: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return a graph for any batch and any time."""
    sequence = tf.TensorSpec((None, None, 5))
    return tf.function(scan, [sequence, sequence, tf.TensorSpec((None, 5))], **options)


SCANS = {
    "recurrence": recurrence,
    "linear_scan": linear_scan,
}

each_scan = pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())


@each_scan
@pytest.mark.parametrize("time", TIMES)
def test_states_equal_a_loop(time: int, scan: Callable[..., Any]):
    arrays = problem(time)
    expected = np.stack(loop(*(array.astype(np.float64) for array in arrays)), axis=1)
    for way in (scan, tf.function(scan), free(scan)):
        np.testing.assert_allclose(way(*arrays), expected, rtol=1e-5, atol=1e-6)


@each_scan
@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows_or_none(rows: int, scan: Callable[..., Any]):
    arrays = tuple(array[:rows] for array in problem(CHUNK + 3))
    expected = np.stack(loop(*arrays), axis=1)
    for way in (scan, free(scan)):
        np.testing.assert_allclose(way(*arrays), expected, rtol=1e-5, atol=1e-6)
        assert [each.shape for each in gradients(way, arrays)] == [each.shape for each in arrays]


@each_scan
@pytest.mark.parametrize("time", TIMES)
def test_gradients_equal_those_of_a_loop(time: int, scan: Callable[..., Any]):
    arrays = problem(time)
    expected = gradients(lambda *tensors: tf.stack(loop(*tensors), axis=1), arrays)
    for way in (scan, free(scan)):
        for received, wanted in zip(gradients(way, arrays), expected, strict=True):
            np.testing.assert_allclose(received, wanted, rtol=1e-4, atol=1e-5)


def test_compiled_it_is_the_same():
    arrays = problem(2 * CHUNK + 3)

    @tf.function(jit_compile=True)
    def compiled(*tensors: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            states = linear_scan(*tensors)
        return [states, *tape.gradient(states, tensors)]

    tensors = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        states = linear_scan(*tensors)
    expected = [states, *tape.gradient(states, tensors)]
    for received, wanted in zip(compiled(*tensors), expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=1e-4, atol=1e-5)


def test_the_gradient_has_a_gradient():
    arrays = problem(7)

    def squared(scan: Callable[..., Any]) -> Callable[..., Any]:
        def slope(*tensors: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                loss = tf.reduce_sum(scan(*tensors) ** 2)
            return tf.square(tape.gradient(loss, tensors)[1])

        return slope

    expected = gradients(squared(lambda *tensors: tf.stack(loop(*tensors), axis=1)), arrays)
    for received, wanted in zip(gradients(squared(linear_scan), arrays), expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=1e-3, atol=1e-3)


def test_decays_that_multiply_to_nothing_do_no_harm():
    """Every tenth decay is 0 or next to it; the product of all underflows within a chunk."""
    decay, inflow, initial = problem(4096)
    decay[:, ::10], decay[:, 5::10] = 1e-30, 0.0
    decay[:, 1::10] = 1.0
    expected = np.stack(loop(decay.astype(np.float64), inflow, initial), axis=1)
    np.testing.assert_allclose(linear_scan(decay, inflow, initial), expected, rtol=1e-5, atol=1e-6)
    for gradient in gradients(linear_scan, (decay, inflow, initial)):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("strength", [1.0, 30.0])
def test_it_equals_the_scan_in_log_space(strength: float):
    """Feng et al. 2024, appendix B: log h = a* + logcumsumexp(log b - a*), in float64."""
    rng = np.random.default_rng(4)
    log_odds = strength * rng.normal(size=(2, 4096, 3))
    log_decay = -np.logaddexp(0, log_odds)
    log_inflow = -np.logaddexp(0, -log_odds) + strength * rng.normal(size=log_odds.shape) / 10
    log_initial = rng.normal(size=(2, 3))
    total = np.cumsum(log_decay, axis=1)
    terms = np.concatenate([log_initial[:, None], log_inflow - total], axis=1)
    expected = np.exp(total + np.logaddexp.accumulate(terms, axis=1)[:, 1:])
    arrays = [np.exp(values).astype(np.float32) for values in (log_decay, log_inflow, log_initial)]
    np.testing.assert_allclose(linear_scan(*arrays), expected, rtol=1e-5)


def test_one_step_needs_no_loop():
    graph = tf.function(recurrence).get_concrete_function(
        tf.TensorSpec((None, 1, 5)), tf.TensorSpec((None, 1, 5)), tf.TensorSpec((None, 5))
    )
    operations = {operation.type for operation in graph.graph.get_operations()}
    assert operations <= {"Placeholder", "Const", "ExpandDims", "Mul", "AddV2", "Identity"}
