"""The acoustic model: shapes, streaming, and that it learns to spell."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers import ctc_loss
from zoo.models import AcousticModel

RNG = np.random.default_rng(0)


def small(**options: Any) -> AcousticModel:
    return AcousticModel(**{"bins": 5, "classes": 4, "units": 7, "layers": 2, **options})


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("chunk", [3, 6, 30])
def test_chunks_give_what_the_whole_gives(cell: str, chunk: int):
    model = small(cell=cell, bidirectional=False)
    features = RNG.normal(size=(3, 20, 5)).astype(np.float32)
    lengths = np.array([20, 7, 0], np.int32)
    whole = model({"features": features, "lengths": lengths}).numpy()
    step = tf.function(model.step, reduce_retracing=True)
    state, parts = model.initial_state(3), []
    for start in range(0, 20, chunk):
        there = np.clip(lengths - start, 0, chunk).astype(np.int32)
        logits, state = step(features[:, start : start + chunk], there, state)
        parts.append(logits.numpy())
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"bidirectional": False, "front": "conv", "reduction": 2}])
def test_what_looks_ahead_cannot_be_streamed(options: dict[str, Any]):
    with pytest.raises(ConfigError, match="can be streamed, not bidirectional="):
        small(**options).initial_state(1)


def test_other_arguments_are_refused():
    with pytest.raises(ConfigError, match="layers must be at least 1, not 0"):
        small(layers=0)
    with pytest.raises(UnknownNameError, match="front 'stak'.*'stack'"):
        small(front="stak")


def test_only_training_hears_other_voices():
    model = small(warp=0.3, spec_augment={"bands": 0, "stretches": 0})
    again = AcousticModel.from_config(model.get_config())
    again.set_weights(model.get_weights())
    x = {
        "features": RNG.normal(size=(3, 20, 5)).astype(np.float32),
        "lengths": np.array([20, 7, 1], np.int32),
    }
    np.testing.assert_array_equal(again(x), model(x))
    assert np.abs(again(x, training=True) - model(x)).max() > 1e-2


def test_it_learns_to_spell():
    keras.utils.set_random_seed(0)
    model = small(front="conv", reduction=2, units=16, layers=1)
    features = RNG.normal(size=(4, 24, 5)).astype(np.float32)
    lengths, sizes = np.array([24, 24, 20, 16], np.int32), np.array([3, 3, 2, 1], np.int32)
    labels = np.array([[1, 2, 3], [3, 3, 1], [2, 1, 0], [3, 0, 0]], np.int32)
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            logits = model({"features": features, "lengths": lengths}, training=True)
            loss = tf.reduce_mean(ctc_loss(labels, logits, sizes, (lengths + 1) // 2))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    for _ in range(150):
        loss = float(step())
    assert loss < 0.1
    spelled = []
    for row in model({"features": features, "lengths": lengths}).numpy().argmax(axis=-1):
        spelled.append([int(b) for a, b in zip([0, *row], row, strict=False) if b and a != b])
    assert spelled == [[1, 2, 3], [3, 3, 1], [2, 1], [3]]
