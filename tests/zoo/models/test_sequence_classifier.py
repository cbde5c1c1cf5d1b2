"""One label for a whole sequence: its parts, its errors, and that it can learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers import masked_cross_entropy
from zoo.models import SequenceClassifier

TOKENS = np.array([[4, 5, 6, 0], [6, 5, 4, 0], [7, 0, 0, 0]], np.int32)

Build = Callable[..., SequenceClassifier]


@pytest.fixture
def build() -> Build:
    """Make a small classifier with given options."""

    def make(**options: Any) -> SequenceClassifier:
        keras.utils.set_random_seed(0)
        sizes = {"vocabulary_size": 9, "classes": 3, "embedding_units": 4, "units": 5}
        return SequenceClassifier(**{**sizes, **options})

    return make


def logits(model: SequenceClassifier, training: bool = False) -> np.ndarray:
    return keras.ops.convert_to_numpy(model({"tokens": TOKENS}, training=training))


@pytest.mark.parametrize(("cell", "gates", "biases"), [("lstm", 4, 4), ("gru", 3, 6)])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_number_of_weights_worked_by_hand(
    build: Build, cell: str, gates: int, biases: int, layers: int
):
    def direction(inputs: int) -> int:
        return gates * 5 * (inputs + 5) + biases * 5

    stack = sum(2 * direction(4 if index == 0 else 10) for index in range(layers))
    model = build(cell=cell, layers=layers, pooling="max+mean")
    assert model.count_params() == 9 * 4 + stack + (2 * 10 + 1) * 3


def test_several_poolings_are_joined_in_their_order(build: Build):
    model = build(pooling="mean+attention+max")
    pooled = model.get_layer("pooled")
    assert [tensor._keras_history.operation.name for tensor in pooled.input] == [
        "mean",
        "attention",
        "max",
    ]
    assert pooled.output.shape == (None, 30)


@pytest.mark.parametrize("pooling", ["max", "mean", "attention"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_order_of_the_tokens_matters(build: Build, cell: str, pooling: str):
    first, reversed_, _ = logits(build(cell=cell, pooling=pooling))
    assert np.abs(first - reversed_).max() > 1e-5


def test_both_directions_read(build: Build):
    forward, backward = (
        getattr(build().get_layer("bidirectional_0"), f"{name}_layer")
        for name in ("forward", "backward")
    )
    assert (forward.go_backwards, backward.go_backwards) == (False, True)


@pytest.mark.parametrize("kind", ["word_dropout", "embedding_dropout", "dropout"])
def test_each_dropout_acts_in_training_alone(build: Build, kind: str):
    model = build(**{kind: 0.5}, layers=2)
    np.testing.assert_array_equal(logits(model), logits(model))
    assert np.any(logits(model, training=True) != logits(model, training=True))


def test_the_global_seed_decides_the_weights(build: Build):
    np.testing.assert_array_equal(logits(build()), logits(build()))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": 0}, ConfigError, "layers must be at least 1, not 0"),
        ({"cell": "gro"}, UnknownNameError, "unknown recurrent layer 'gro'; did you mean 'gru'"),
        ({"pooling": "max+men"}, UnknownNameError, "unknown pooling 'men'; did you mean 'mean'"),
        ({"pooling": ""}, UnknownNameError, "unknown pooling ''"),
        ({"word_dropout": 2.0}, ConfigError, "rate must be from 0 to 1, not 2.0"),
    ],
)
def test_what_cannot_be_built_is_named(
    build: Build, options: dict[str, Any], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        build(**options)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_learns_which_of_two_tokens_came_first(build: Build, cell: str):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 32)
    tokens = rng.integers(3, 9, (32, 8))
    for row, label in enumerate(targets):
        places = np.sort(rng.choice(8, 2, replace=False))
        tokens[row, places] = [1, 2] if label else [2, 1]
    model = build(cell=cell, classes=2, units=16, embedding_units=8, pooling="max+attention")
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            scores = model({"tokens": tf.constant(tokens, tf.int32)}, training=True)
            loss = masked_cross_entropy(tf.constant(targets), scores, tf.ones(32))
        weights = [weight.value for weight in model.trainable_weights]
        optimizer.apply(tape.gradient(loss, weights), model.trainable_weights)
        return loss

    losses = [float(step()) for _ in range(120)]
    assert losses[0] == pytest.approx(np.log(2), abs=0.1)
    assert losses[-1] < 0.02
