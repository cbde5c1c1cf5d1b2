"""LSTM and GRU do what the papers and Keras say, on every path."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers import GRU, LSTM, RECURRENT, from_keras, to_keras
from zoo.layers.recurrent import recurrent

ROWS, TIME, FEATURES, UNITS = 18, 6, 4, 5
"""Enough rows for two shards, one larger than the other if the machine has two cores."""

LAYERS = {
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "gru-reset-before": (GRU, {"reset_after": False}),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "backwards": {"go_backwards": True},
    "no-bias": {"use_bias": False},
    "zeros-behind-mask": {"zero_output_for_mask": True},
}

each_layer = pytest.mark.parametrize("name", LAYERS)
each_option = pytest.mark.parametrize("option", OPTIONS)
each_way = pytest.mark.parametrize("training", [True, False], ids=["compiled", "stock"])


def made(name: str, **options: Any) -> tuple[LSTM | GRU, keras.layers.Layer]:
    """Return a layer of ours and one of Keras with the same weights, none of them zero."""
    make, always = LAYERS[name]
    options = {"return_sequences": True, "return_state": True, **always, **options}
    ours = make(UNITS, **options)
    theirs = to_keras(ours)
    assert type(theirs) in (keras.layers.LSTM, keras.layers.GRU)
    rng = np.random.default_rng(1)
    for layer in (ours, theirs):
        layer.build((ROWS, TIME, FEATURES))
    for mine, other in zip(ours.trainable_weights, theirs.trainable_weights, strict=True):
        mine.assign(rng.normal(size=mine.shape) * 0.5)
        other.assign(mine)
    return ours, theirs


def batch(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return inputs, a mask with right padding and rows of nothing else, and states."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(rows, TIME, FEATURES)).astype(np.float32)
    lengths = np.arange(rows) % (TIME + 1)
    states = [rng.normal(size=(rows, UNITS)).astype(np.float32) for _ in range(2)]
    return x, np.arange(TIME) < lengths[:, None], states


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def numpy_step(name: str, x: np.ndarray, states: list[np.ndarray], weights: list[np.ndarray]):
    """Return the states after one step, in the words of the papers."""
    kernel, recurrent_kernel, *bias = weights
    h = states[0]
    if name == "lstm":
        z = x @ kernel + h @ recurrent_kernel + (bias[0] if bias else 0)
        i, f, g, o = np.split(z, 4, axis=1)
        c = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]
    inner, outer = (bias[0] if bias[0].ndim == 2 else (bias[0], 0)) if bias else (0, 0)
    x_z, x_r, x_n = np.split(x @ kernel + inner, 3, axis=1)
    u_z, u_r, u_n = np.split(recurrent_kernel, 3, axis=1)
    b_z, b_r, b_n = np.split(outer, 3) if np.ndim(outer) else (0, 0, 0)
    z, r = sigmoid(x_z + h @ u_z + b_z), sigmoid(x_r + h @ u_r + b_r)
    inner = (r * h) @ u_n if name == "gru-reset-before" else r * (h @ u_n + b_n)
    return [z * h + (1 - z) * np.tanh(x_n + inner)]


def numpy_twin(name: str, layer: LSTM | GRU, x: np.ndarray, mask: Any, states: list[np.ndarray]):
    """Return outputs and last states, step by step in float64."""
    weights = [weight.astype(np.float64) for weight in layer.get_weights()]
    states = [state.astype(np.float64) for state in states]
    real = np.ones(x.shape[:2], bool) if mask is None else mask
    y, outputs = np.zeros_like(states[0]), []
    for t in reversed(range(x.shape[1])) if layer.go_backwards else range(x.shape[1]):
        here = real[:, t : t + 1]
        after = numpy_step(name, x[:, t].astype(np.float64), states, weights)
        states = [np.where(here, new, old) for new, old in zip(after, states, strict=True)]
        y = np.where(here, states[0], 0 if layer.zero_output_for_mask else y)
        outputs.append(y)
    return [np.stack(outputs, 1), *states]


def eager(function: Callable[[], Any]) -> Any:
    return function()


def graph(function: Callable[[], Any]) -> Any:
    return tf.function(function)()


each_mode = pytest.mark.parametrize("mode", [eager, graph])


@each_mode
@each_way
@each_layer
def test_it_equals_its_numpy_twin(name: str, training: bool, mode: Any):
    assert_twin(name, "plain", training, mode)


@each_way
@pytest.mark.parametrize("option", [each for each in OPTIONS if each != "plain"])
@each_layer
def test_it_equals_its_numpy_twin_with_options(name: str, option: str, training: bool):
    assert_twin(name, option, training, graph)


def assert_twin(name: str, option: str, training: bool, mode: Any) -> None:
    layer, _ = made(name, **OPTIONS[option])
    x, padding, states = batch()
    states = states[: 2 if name == "lstm" else 1]
    zeros = [np.zeros_like(state) for state in states]
    ways = ((None, None), (padding, None), (padding, states))
    every = mode(
        lambda: [
            layer(x, mask=mask, initial_state=start, training=training) for mask, start in ways
        ]
    )
    for (mask, start), received in zip(ways, every, strict=True):
        expected = numpy_twin(name, layer, x, mask, start or zeros)
        for values, twin in zip(received, expected, strict=True):
            np.testing.assert_allclose(values, twin, atol=1e-5)


@each_way
@each_option
@each_layer
def test_its_gradients_are_those_of_keras(name: str, option: str, training: bool):
    ours, _ = made(name, **OPTIONS[option])
    received = gradients(name, ours, training)
    for mine, other in zip(received, keras_gradients(name, option), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4 * np.abs(other).max())


@functools.cache
def keras_gradients(name: str, option: str) -> list[Any]:
    """Return what Keras' layer gives, which is the same in training."""
    _, theirs = made(name, **OPTIONS[option])
    return gradients(name, theirs, training=True)


def gradients(name: str, layer: keras.layers.Layer, training: bool) -> list[Any]:
    """Return the gradients of inputs, first states and weights."""
    x, mask, states = batch()
    tensors = [tf.constant(values) for values in (x, *states[: 2 if name == "lstm" else 1])]

    def found() -> list[Any]:
        weights = [weight.value for weight in layer.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            y, *last = layer(tensors[0], mask=mask, initial_state=tensors[1:], training=training)
            scale = tf.range(1.0, UNITS + 1)
            loss = tf.reduce_sum(y**2 * scale) + sum(tf.reduce_sum(tf.sin(s)) for s in last)
        return tape.gradient(loss, [*tensors, *weights])

    return graph(found)


@pytest.mark.parametrize("rows", [1, 3, 17])
@each_layer
def test_the_number_of_rows_need_not_be_known(name: str, rows: int):
    ours, theirs = made(name)
    x, mask, _ = batch(rows)

    @tf.function(input_signature=[tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec(None, bool)])
    def train(x: Any, mask: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = ours(x, mask=mask, training=True)
        return outputs, tape.gradient(outputs, x)

    outputs, gradient = train(x, mask)
    for received, expected in zip(outputs, theirs(x, mask=mask), strict=True):
        np.testing.assert_allclose(received, expected, atol=1e-5)
    assert gradient.shape == x.shape


@pytest.mark.parametrize("chunks", [(1,) * TIME, (2, 4), (5, 1), (TIME,)], ids=str)
@each_layer
def test_a_stream_in_chunks_equals_the_whole_sequence(name: str, chunks: tuple[int, ...]):
    layer, _ = made(name)
    x, mask, _ = batch()
    expected = layer(x, mask=mask)
    state, outputs = layer.initial_state(ROWS), []
    for part, real in zip(
        *(np.split(v, np.cumsum(chunks)[:-1], 1) for v in (x, mask)), strict=True
    ):
        y, state = layer.step(part, state, real)
        outputs.append(y)
    for received, whole in zip([np.concatenate(outputs, 1), *state], expected, strict=True):
        np.testing.assert_allclose(received, whole, atol=1e-5)


@pytest.mark.parametrize("option", [{"unroll": True}, {"zero_output_for_mask": True}], ids=str)
def test_a_stream_does_as_its_layer_is_set(option: dict[str, Any]):
    layer, _ = made("gru", **option)
    x, mask, _ = batch()
    y, state = layer.step(x, layer.initial_state(ROWS), mask)
    expected, last = layer(x, mask=mask)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(state[0], last, atol=1e-5)


def test_a_layer_that_goes_backwards_has_no_stream():
    layer = LSTM(3, go_backwards=True, name="reader")
    with pytest.raises(ConfigError, match="'reader' cannot stream: go_backwards must be False"):
        layer.step(np.zeros((1, 1, 2), np.float32), layer.initial_state(1))


@each_layer
def test_a_stateful_layer_goes_on_where_it_stopped(name: str):
    ours, theirs = made(name, stateful=True)
    x, _, _ = batch()
    for _ in range(2):
        for received, expected in zip(ours(x), theirs(x), strict=True):
            np.testing.assert_allclose(received, expected, atol=1e-5)


def stack(
    both: type[keras.layers.Layer], behind: type[keras.layers.Layer], **options: Any
) -> keras.Model:
    """Return a small classifier with one layer in both directions, and another behind it."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(11, 6, mask_zero=True)(tokens)
    x = keras.layers.Bidirectional(both(5, return_sequences=True, **options))(x)
    return keras.Model(tokens, keras.layers.Dense(2)(behind(4, **options)(x)))


@pytest.mark.parametrize(
    "kinds",
    [
        (keras.layers.LSTM, keras.layers.GRU),
        pytest.param((keras.layers.GRU, keras.layers.LSTM), marks=pytest.mark.slow),
    ],
)
def test_a_converted_model_answers_and_learns_as_before(kinds: Any):
    keras.utils.set_random_seed(4)
    before = stack(*kinds, dropout=0.2, seed=5)
    after = keras.models.clone_model(before, clone_function=from_keras)
    after.set_weights(before.get_weights())
    ours = {keras.layers.LSTM: LSTM, keras.layers.GRU: GRU}
    assert type(after.layers[2].forward_layer) is ours[kinds[0]]
    assert type(after.layers[3]) is ours[kinds[1]]
    rng = np.random.default_rng(6)
    tokens = rng.integers(1, 11, (24, 7)) * (np.arange(7) < rng.integers(1, 8, (24, 1)))
    labels = rng.integers(0, 2, 24)
    np.testing.assert_allclose(after(tokens), before(tokens), atol=1e-6)
    curves = []
    for model in (before, after):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.05), loss)
        history = model.fit(tokens, labels, batch_size=8, epochs=5, shuffle=False, verbose=0)
        curves.append(history.history["loss"])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
    assert curves[1][-1] < curves[1][0] - 0.01
    back = keras.models.clone_model(after, clone_function=to_keras)
    assert [type(layer) for layer in back.layers] == [type(layer) for layer in before.layers]
    back.set_weights(after.get_weights())
    np.testing.assert_allclose(back(tokens), after(tokens), atol=1e-6)


def test_weights_move_to_keras_and_back_by_file(tmp_path: Path):
    ours, theirs = stack(LSTM, GRU), stack(keras.layers.LSTM, keras.layers.GRU)
    tokens = np.arange(1, 11).reshape(2, 5)
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_allclose(theirs(tokens), ours(tokens), atol=1e-6)
    theirs.set_weights([weight + 0.1 for weight in theirs.get_weights()])
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    np.testing.assert_allclose(ours(tokens), theirs(tokens), atol=1e-6)


def operations(graph_def: Any) -> set[str]:
    nodes = [*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)]
    compiled = {f"compiled {n.name}" for n in nodes if n.attr["_XlaMustCompile"].b}
    marked = {f.signature.name for f in graph_def.library.function if f.attr["_XlaMustCompile"].b}
    return {n.op for n in nodes} | compiled | marked


@each_layer
def test_an_exported_model_needs_no_xla(name: str, tmp_path: Path):
    make, options = LAYERS[name]
    model = keras.Sequential([keras.Input((None, FEATURES)), make(UNITS, **options)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3, FEATURES)), np.ones((4, UNITS)), verbose=0)
    model.export(tmp_path, verbose=False)
    saved = tf.saved_model.load(tmp_path).signatures["serving_default"]
    graph_def = saved.graph.as_graph_def()
    found = operations(graph_def)
    assert {"BlockLSTM", "StatelessWhile"} & found
    assert not {each for each in found if "xla" in each.lower()}
    x = np.ones((2, 5, FEATURES), np.float32)
    (received,) = saved(tf.constant(x)).values()
    np.testing.assert_allclose(received, model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "fast: TensorFlow on a CPU, compiled in training and stock operations otherwise"),
        ({"activation": "relu"}, "keras: activation is relu, not tanh"),
        ({"recurrent_activation": None}, "keras: recurrent_activation is linear, not sigmoid"),
        ({"recurrent_dropout": 0.1}, "keras: recurrent_dropout takes one product per gate"),
        ({"unroll": True}, "keras: unroll=True"),
        ({"dtype": "float64"}, "keras: float64 is more than the fast loop has"),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [LSTM, GRU])
def test_the_path_says_which_and_why(make: Any, options: dict[str, Any], path: str):
    layer = make(UNITS, **options)
    assert layer.path == path
    theirs = to_keras(layer)
    x, mask, _ = batch()
    theirs.build(x.shape)
    layer.build(x.shape)
    layer.set_weights(theirs.get_weights())
    np.testing.assert_allclose(layer(x, mask=mask), theirs(x, mask=mask), atol=1e-5)


@each_layer
def test_dropout_needs_training_and_hits_all_steps_alike(name: str):
    make, options = LAYERS[name]
    layer = make(UNITS, dropout=0.5, seed=3, return_sequences=True, **options)
    x = np.ones((40, TIME, 1), np.float32)
    np.testing.assert_array_equal(layer(x), layer(x))
    dropped = keras.ops.convert_to_numpy(layer(x, training=True))
    kinds = np.unique(dropped.round(4).reshape(40, -1), axis=0)
    assert len(kinds) == 2, "the only feature is there at all steps, or at none"


@pytest.mark.parametrize("cell", RECURRENT)
def test_a_layer_of_the_table_has_the_asked_size_and_options(cell: str):
    layer = recurrent(cell, 3, return_sequences=True, name="reader")
    assert type(layer) is RECURRENT[cell]
    assert layer.name == "reader"
    assert layer(np.zeros((2, 5, 4), np.float32)).shape == (2, 5, 3)


def test_a_name_outside_the_table_is_refused():
    with pytest.raises(UnknownNameError) as refused:
        recurrent("lsmt", 3)
    assert str(refused.value) == (
        "unknown recurrent layer 'lsmt'; did you mean 'lstm'? (known: gru, lstm)"
    )
