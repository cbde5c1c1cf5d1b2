"""Masked losses, worked by hand; what stands in the padding never counts."""

from __future__ import annotations

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import ctc_loss, masked_cross_entropy, masked_mean

THIRDS = np.log(np.array([[1.0, 2.0], [3.0, 1.0]], np.float32))
"""Two rows of scores with the probabilities (1/3, 2/3) and (3/4, 1/4)."""


def test_the_mean_is_taken_over_the_weights():
    values = np.array([[1.0, 2.0], [6.0, 100.0]], np.float32)
    assert float(masked_mean(values, np.array([[1, 1], [1, 0]]))) == pytest.approx(3.0)
    assert float(masked_mean(values, np.array([[True, False], [True, False]]))) == 3.5
    assert float(masked_mean(values, np.array([[0.5, 0], [1.5, 0]]))) == pytest.approx(4.75)


@pytest.mark.parametrize("value", [1.0, np.nan, np.inf])
def test_the_mean_of_nothing_is_0(value: float):
    values = np.full((2, 3), value, np.float32)
    assert float(masked_mean(values, np.zeros((2, 3)))) == 0.0


def test_nan_in_the_padding_does_not_reach_the_mean():
    values = np.array([1.0, np.nan, 3.0, -np.inf], np.float32)
    assert float(masked_mean(values, np.array([1, 0, 1, 0]))) == 2.0


def test_cross_entropy_of_class_ids_worked_by_hand():
    loss = masked_cross_entropy(np.array([1, 1]), THIRDS, np.ones(2))
    assert float(loss) == pytest.approx((math.log(3 / 2) + math.log(4)) / 2)


def test_cross_entropy_of_probabilities_worked_by_hand():
    targets = np.array([[0.5, 0.5], [0.0, 1.0]], np.float32)
    first = 0.5 * math.log(3) + 0.5 * math.log(3 / 2)
    loss = masked_cross_entropy(targets, THIRDS, np.array([1.0, 3.0]))
    assert float(loss) == pytest.approx((first + 3 * math.log(4)) / 4)


def test_smoothing_spreads_the_target_over_all_classes():
    smoothed = masked_cross_entropy(np.array([1, 0]), THIRDS, np.ones(2), smoothing=0.2)
    spread = masked_cross_entropy(
        np.array([[0.1, 0.9], [0.9, 0.1]], np.float32), THIRDS, np.ones(2)
    )
    assert float(smoothed) == pytest.approx(float(spread))


def test_more_padding_changes_no_loss():
    rng = np.random.default_rng(0)
    targets, logits = rng.integers(0, 5, (2, 3)), rng.normal(size=(2, 3, 5)).astype(np.float32)
    weights = np.array([[1, 1, 1], [1, 0, 0]], np.float32)
    loss = masked_cross_entropy(targets, logits, weights)
    longer = masked_cross_entropy(
        np.pad(targets, [(0, 1), (0, 4)], constant_values=-1),
        np.pad(logits, [(0, 1), (0, 4), (0, 0)], constant_values=99),
        np.pad(weights, [(0, 1), (0, 4)]),
    )
    assert float(longer) == pytest.approx(float(loss), rel=1e-6)


def test_cross_entropy_of_nothing_is_0():
    assert float(masked_cross_entropy(np.array([0, 1]), THIRDS, np.zeros(2))) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_stands_in_the_padding_reaches_neither_loss_nor_gradient(value: float):
    logits = tf.Variable([THIRDS[0], [value, value]])
    with tf.GradientTape() as tape:
        loss = masked_cross_entropy(tf.constant([1, 0]), logits, tf.constant([1.0, 0.0]))
    gradient = tf.convert_to_tensor(tape.gradient(loss, logits)).numpy()
    assert float(loss) == pytest.approx(math.log(3 / 2))
    np.testing.assert_allclose(gradient, [[1 / 3, -1 / 3], [0, 0]], rtol=1e-5)


def test_bfloat16_scores_are_summed_in_float32():
    loss = masked_cross_entropy(np.array([1, 0]), tf.cast(THIRDS, tf.bfloat16), np.ones(2))
    assert loss.dtype == tf.float32


def alignments(logits: np.ndarray, labels: list[int]) -> float:
    """Return minus the log of the summed probability of all paths that spell the labels."""
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        spelled = [one for one, _ in itertools.groupby(path) if one]
        if spelled == labels:
            total += math.prod(probabilities[step, one] for step, one in enumerate(path))
    return -math.log(total)


def test_ctc_sums_over_all_alignments():
    logits = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    labels = np.array([[1, 2, 0], [2, 2, 1], [1, 0, 0]], np.int32)
    losses = ctc_loss(labels, logits, np.array([2, 3, 1]), np.array([4, 5, 2])).numpy()
    expected = [
        alignments(logits[0, :4], [1, 2]),
        alignments(logits[1], [2, 2, 1]),
        alignments(logits[2, :2], [1]),
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_ctc_has_the_gradient_of_keras():
    rng = np.random.default_rng(1)
    logits = tf.Variable(rng.normal(size=(2, 9, 4)).astype(np.float32))
    labels, sizes = np.array([[1, 1, 3], [2, 0, 0]], np.int32), np.array([3, 1])
    steps = np.array([9, 6])
    with tf.GradientTape(persistent=True) as tape:
        ours = tf.reduce_sum(ctc_loss(labels, logits, sizes, steps))
        theirs = tf.reduce_sum(keras.ops.ctc_loss(labels, logits, sizes, steps, mask_index=0))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    gradient = tape.gradient(ours, logits).numpy()
    np.testing.assert_allclose(gradient, tape.gradient(theirs, logits), atol=1e-5)
    assert not gradient[1, 6:].any()


def test_ctc_of_labels_that_do_not_fit_costs_nothing():
    logits = tf.Variable(np.zeros((3, 2, 3), np.float32))
    labels, sizes = np.array([[1, 1, 0], [1, 2, 0], [1, 2, 1]]), np.array([2, 2, 3])
    with tf.GradientTape() as tape:
        losses = ctc_loss(labels, logits, sizes, np.array([2, 2, 2]))
    np.testing.assert_allclose(losses, [0, 2 * math.log(3), 0], rtol=1e-5)
    assert not tape.gradient(losses, logits).numpy()[[0, 2]].any()


def test_ctc_of_no_labels_is_the_cost_of_silence():
    logits = np.zeros((2, 4, 2), np.float32)
    losses = ctc_loss(np.zeros((2, 3), np.int32), logits, np.array([0, 0]), np.array([3, 0]))
    np.testing.assert_allclose(losses, [3 * math.log(2), 0], rtol=1e-6)
