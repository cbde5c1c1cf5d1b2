"""Pooling against NumPy twins that go through rows and steps one by one."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import UnknownNameError
from zoo.layers import POOLING, MaskedAttentionPooling, MaskedMaxPooling, MaskedMeanPooling
from zoo.layers.pooling import pooling

MASK = np.array([[True, True, False, False], [True, True, True, True], [True, False, True, False]])


@pytest.fixture
def sequence() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)


def real_steps(sequence: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    return [row[steps] for row, steps in zip(sequence, mask, strict=True)]


def attention_twin(layer: MaskedAttentionPooling, steps: np.ndarray) -> np.ndarray:
    """Return equations 5 to 7 for one row."""
    kernel, bias, query = (weight.numpy() for weight in layer.weights)
    scores = [float(np.tanh(step @ kernel + bias) @ query[:, 0]) for step in steps]
    weights = np.exp(scores) / np.sum(np.exp(scores))
    return sum(weight * step for weight, step in zip(weights, steps, strict=True))


def test_max_and_mean_worked_by_hand():
    sequence = np.array([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]], np.float32)
    mask = np.array([[True, True, False]])
    assert MaskedMaxPooling()(sequence, mask=mask).numpy().tolist() == [[3, -2]]
    assert MaskedMeanPooling()(sequence, mask=mask).numpy().tolist() == [[2, -3]]


@pytest.mark.parametrize(
    ("layer", "twin"),
    [
        (MaskedMaxPooling(), lambda steps: steps.max(axis=0)),
        (MaskedMeanPooling(), lambda steps: steps.mean(axis=0)),
    ],
    ids=["max", "mean"],
)
def test_a_pooling_equals_its_twin(
    sequence: np.ndarray, layer: keras.layers.Layer, twin: Callable[[np.ndarray], np.ndarray]
):
    expected = [twin(steps) for steps in real_steps(sequence, MASK)]
    np.testing.assert_allclose(layer(sequence, mask=MASK), expected, rtol=1e-5)
    np.testing.assert_allclose(
        tf.function(layer)(sequence, mask=tf.constant(MASK)), expected, rtol=1e-5
    )


def test_attention_equals_its_twin(sequence: np.ndarray):
    layer = MaskedAttentionPooling(units=7)
    pooled = layer(sequence, mask=MASK)
    layer.set_weights([weight + 0.3 for weight in layer.get_weights()])
    assert not np.allclose(pooled, layer(sequence, mask=MASK))
    expected = [attention_twin(layer, steps) for steps in real_steps(sequence, MASK)]
    np.testing.assert_allclose(layer(sequence, mask=MASK), expected, rtol=1e-4)


def test_attention_survives_scores_of_any_size(sequence: np.ndarray):
    layer = MaskedAttentionPooling(units=7)
    layer(sequence)
    layer.set_weights([1e4 * weight for weight in layer.get_weights()])
    assert np.all(np.isfinite(layer(sequence, mask=MASK)))


@pytest.mark.parametrize("name", POOLING)
def test_without_a_mask_every_step_counts(sequence: np.ndarray, name: str):
    layer = pooling(name)
    everything = np.ones(sequence.shape[:2], bool)
    np.testing.assert_array_equal(layer(sequence), layer(sequence, mask=everything))


@pytest.mark.parametrize("name", POOLING)
def test_a_row_without_a_real_step_gives_zeros(sequence: np.ndarray, name: str):
    mask = MASK.copy()
    mask[1] = False
    pooled = pooling(name)(sequence, mask=mask).numpy()
    assert not pooled[1].any()
    assert pooled[[0, 2]].all()


@pytest.mark.parametrize("name", POOLING)
def test_what_stands_in_the_padding_does_not_count(sequence: np.ndarray, name: str):
    layer = pooling(name)
    other = np.where(MASK[..., None], sequence, np.float32(1e6))
    np.testing.assert_array_equal(layer(sequence, mask=MASK), layer(other, mask=MASK))


def test_the_largest_of_very_small_values_is_a_real_one():
    sequence = np.array([[[-3e30], [-2e30], [0.0]]], np.float32)
    mask = np.array([[True, True, False]])
    assert MaskedMaxPooling()(sequence, mask=mask).numpy() == np.float32(-2e30)


@pytest.mark.parametrize("name", POOLING)
def test_pooling_uses_the_mask_up(name: str):
    sequence = keras.layers.Embedding(5, 3, mask_zero=True)(np.array([[1, 2, 0]]))
    assert keras.src.backend.get_keras_mask(sequence) is not None
    pooled = pooling(name)(sequence)
    assert getattr(pooled, "_keras_mask", None) is None


@pytest.mark.parametrize("name", POOLING)
def test_the_time_axis_is_gone(name: str):
    layer = pooling(name)
    assert layer.compute_output_shape((None, None, 5)) == (None, 5)
    assert (layer.name, type(layer)) == (name, POOLING[name])


def test_an_unknown_pooling_is_refused():
    with pytest.raises(UnknownNameError, match="unknown pooling 'maxi'; did you mean 'max'"):
        pooling("maxi")
