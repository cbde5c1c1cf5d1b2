"""LSTM and GRU where Keras could have taken another path, and where batch and precision vary."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.zoo.layers.test_recurrent import TIME, UNITS, batch
from zoo.layers import GRU, LSTM, ChronoBias, to_keras


def test_a_gpu_is_left_to_cudnn_where_that_can_do_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zoo.layers.recurrent._has_gpu", lambda: True)
    asked = []
    monkeypatch.setattr(
        keras.layers.LSTM, "inner_loop", lambda self, *_, **__: asked.append(self) or 1 / 0
    )
    layer, (x, mask, _) = LSTM(UNITS), batch()
    assert layer.path.startswith("keras: cuDNN in training without a mask; fast: ")
    layer(x), layer(x, mask=mask, training=True)
    assert asked == []  # what is exported has no operation that only a GPU can run
    with pytest.raises(ZeroDivisionError):
        layer(x, training=True)
    assert LSTM(UNITS, use_bias=False).path.startswith("fast: TensorFlow on a CPU")


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("training", [False, True])
def test_a_mask_may_be_of_numbers_and_have_an_axis_more(shape: tuple[int, ...], training: bool):
    (x, mask, _), layer = batch(), LSTM(UNITS, return_sequences=True)
    other = np.asarray(mask, np.int32).reshape(*mask.shape, *shape)
    np.testing.assert_array_equal(
        layer(x, mask=other, training=training), layer(x, mask=mask, training=training)
    )


def test_a_function_of_ones_own_is_not_taken_for_keras_s():
    def tanh(x: Any) -> Any:
        return keras.ops.relu(x)

    layer, plain = LSTM(UNITS, activation=tanh), LSTM(UNITS, activation="relu")
    assert layer.path == "keras: activation is another tanh, not tanh"
    x, *_ = batch()
    plain.build(x.shape)
    layer.build(x.shape)
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-6)


@pytest.mark.parametrize("make", [LSTM, GRU])
def test_a_policy_by_place_is_looked_up_by_place(make: Any):
    policies = keras.dtype_policies.DTypePolicyMap()
    layer = make(UNITS, dtype=policies)
    assert layer.compute_dtype == "float32"
    layer.build((None, TIME, 3))
    policies[layer._path] = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    assert layer.compute_dtype == "bfloat16"


@pytest.mark.parametrize("make", [LSTM, GRU])
@pytest.mark.parametrize("rows", [0, 1, 3, 8, 33])
def test_rows_are_dealt_to_cores_whatever_the_batch(make: Any, rows: int):
    """In a graph that does not know the batch, as that of `fit`."""
    ours = make(UNITS, return_sequences=True)
    theirs, x = to_keras(ours), np.random.default_rng(0).normal(size=(rows, TIME, 3))
    x = x.astype(np.float32)
    theirs.build(x.shape)
    ours.build(x.shape)
    theirs.set_weights(ours.get_weights())

    def gradients(layer: Any) -> Any:
        @tf.function(input_signature=[tf.TensorSpec([None, None, 3])])
        def step(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
                loss = tf.reduce_sum(tf.gather(y, tf.range(tf.shape(x)[0]) // 2) ** 2)
            return y, tape.gradient(loss, [x, *layer.trainable_variables])

        return step(x)

    y, found = gradients(ours)
    z, expected = gradients(theirs)
    np.testing.assert_allclose(y, z, atol=1e-5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("make", [LSTM, GRU])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_a_stream_in_half_precision_is_the_whole(make: Any, policy: str):
    # Keras has no orthogonal matrix in bfloat16.
    layer = make(UNITS, return_sequences=True, recurrent_initializer="glorot_uniform", dtype=policy)
    x, *_ = batch()
    whole, state, parts = layer(x), layer.initial_state(len(x)), []
    for chunk in np.split(np.asarray(x), TIME, axis=1):
        y, state = layer.step(chunk, state)
        parts.append(np.asarray(keras.ops.cast(y, "float32")))
    np.testing.assert_allclose(
        np.concatenate(parts, 1), np.asarray(keras.ops.cast(whole, "float32")), atol=1e-6
    )


def test_chrono_biases_are_all_of_the_bias():
    layer = LSTM(4, bias_initializer=ChronoBias(20, seed=1))
    layer.build((None, TIME, 3))
    np.testing.assert_allclose(layer.cell.bias, ChronoBias(20, seed=1)((16,)))
    assert not LSTM.from_config(layer.get_config()).unit_forget_bias


@pytest.mark.parametrize("steps", [1, 5])
def test_large_batches_are_served_as_small_ones_are(steps: int, monkeypatch: pytest.MonkeyPatch):
    """Beyond `SMALL` states there is a loop for each of two parts of the batch."""
    for make in (LSTM, GRU):
        layer = make(UNITS, return_sequences=True)
        (x, mask, _) = batch()
        x, mask = x[:, :steps], mask[:, :steps]
        expected = layer(x, mask=mask)
        monkeypatch.setattr("zoo.layers.recurrence.stock.SMALL", 0)
        np.testing.assert_allclose(layer(x, mask=mask), expected, atol=1e-6)
        monkeypatch.undo()
