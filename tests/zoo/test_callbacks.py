"""The gradient per lag against Jacobians that TensorFlow computes one row at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from zoo.callbacks import GradientPerLag
from zoo.errors import ConfigError, UnknownNameError
from zoo.layers import LSTM, ChronoBias

TIME, FEATURES, UNITS = 9, 2, 4
LENGTHS = [9, 5, 0, 1]


def padded() -> np.ndarray:
    """Return `float32[4, time, features]` with `LENGTHS` real steps, zeros behind them."""
    x = np.random.default_rng(0).normal(size=(len(LENGTHS), TIME, FEATURES)).astype(np.float32)
    return np.where(np.arange(TIME)[:, None] < np.reshape(LENGTHS, (-1, 1, 1)), x, np.float32(0))


def model_with(layer: keras.layers.Layer, masked: bool = True) -> keras.Model:
    """Return a model that reads `layer` behind a named mask and a scaling."""
    x = inputs = keras.Input((None, FEATURES))
    if masked:
        x = keras.layers.Masking(name="mask")(x)
    x = layer(keras.layers.Rescaling(2.0)(x))
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def profile(model: keras.Model, batch: Any, layer: str, folder: Path, **options: Any) -> dict:
    """Return the norms of the untrained model."""
    callback = GradientPerLag(batch, layer, folder, **options)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0)
    callback.on_train_end()
    return callback.norms


def twin(layer: keras.layers.Layer, x: np.ndarray, lengths: list[int]) -> dict[int, float]:
    """Return the same norms from the full Jacobian of each row, cut to its real steps."""
    v = tf.random.stateless_normal((len(x), UNITS), [0, 0]).numpy()
    norms: dict[int, list[float]] = {}
    for row, length, direction in zip(x, lengths, v, strict=True):
        if not length:
            continue
        steps = tf.constant(2 * row[None, :length])
        with tf.GradientTape() as tape:
            tape.watch(steps)
            outputs = layer(steps)
            last = outputs[0] if outputs.shape.rank == 2 else outputs[0, -1]
        jacobian = tape.jacobian(last, steps)[:, 0].numpy()
        for k in {0, 1, 2, 4, 8} & {*range(length)}:
            vector = direction @ jacobian[:, length - 1 - k]
            norms.setdefault(k, []).append(float(np.linalg.norm(vector)))
    return {k: float(np.mean(np.square(each)) ** 0.5) for k, each in sorted(norms.items())}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [
            (event.step, float(tf.make_ndarray(event.tensor_proto)))
            for event in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
    }


@pytest.mark.parametrize(
    ("kind", "sequences"),
    [
        (keras.layers.LSTM, False),
        (keras.layers.LSTM, True),
        (keras.layers.GRU, True),
        (LSTM, True),
        pytest.param(keras.layers.GRU, False, marks=pytest.mark.slow),
        pytest.param(LSTM, False, marks=pytest.mark.slow),
    ],
)
def test_it_equals_the_jacobian_of_each_row(
    kind: type[keras.layers.Layer], sequences: bool, tmp_path: Path
):
    layer = kind(UNITS, return_sequences=sequences, dropout=0.5, name="memory")
    norms = profile(model_with(layer), padded(), "memory", tmp_path)
    expected = twin(layer, padded(), LENGTHS)
    assert [*norms] == [*expected] == [0, 1, 2, 4, 8]
    np.testing.assert_allclose([*norms.values()], [*expected.values()], rtol=1e-4)


def test_without_a_mask_every_step_is_real(tmp_path: Path):
    layer = keras.layers.LSTM(UNITS, name="memory")
    norms = profile(model_with(layer, masked=False), padded(), "memory", tmp_path)
    expected = twin(layer, padded(), len(LENGTHS) * [TIME])
    np.testing.assert_allclose([*norms.values()], [*expected.values()], rtol=1e-4)


def test_of_two_directions_the_forward_one_is_measured(tmp_path: Path):
    layer = keras.layers.Bidirectional(keras.layers.LSTM(UNITS, return_sequences=True), name="both")
    norms = profile(model_with(layer), padded(), "both", tmp_path)
    expected = twin(layer.forward_layer, padded(), LENGTHS)
    np.testing.assert_allclose([*norms.values()], [*expected.values()], rtol=1e-4)


def test_a_batch_may_be_named_and_a_layer_may_return_its_state(tmp_path: Path):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    embedded = keras.layers.Embedding(5, FEATURES, mask_zero=True)(tokens)
    outputs, _, _ = keras.layers.LSTM(UNITS, return_state=True, name="memory")(embedded)
    model = keras.Model({"tokens": tokens}, outputs)
    batch = {"tokens": np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])}
    assert [*profile(model, batch, "memory", tmp_path)] == [0, 1, 2]


def test_over_many_rows_it_is_the_frobenius_norm(tmp_path: Path):
    layer = keras.layers.LSTM(UNITS, name="memory")
    model, x = model_with(layer, masked=False), padded()[:1]
    norms = profile(model, np.repeat(x, 2000, axis=0), "memory", tmp_path, seed=7)
    steps = tf.constant(2 * x)
    with tf.GradientTape() as tape:
        tape.watch(steps)
        last = layer(steps)
    jacobian = tape.jacobian(last, steps)[0, :, 0].numpy()
    expected = [np.linalg.norm(jacobian[:, TIME - 1 - k]) for k in norms]
    np.testing.assert_allclose([*norms.values()], expected, rtol=0.06)


def test_gradients_too_small_for_a_square_in_float32_are_told_from_none(tmp_path: Path):
    layer = keras.layers.LSTM(UNITS, unit_forget_bias=False, name="memory")
    model = model_with(layer, masked=False)
    layer.cell.recurrent_kernel.assign(np.zeros((UNITS, 4 * UNITS)))
    layer.cell.bias.assign(np.repeat(np.float32([0, -8, 0, 0]), UNITS))
    norms = profile(model, padded()[:1], "memory", tmp_path)
    assert 0 < norms[8] < 1e-20


def test_a_long_memory_keeps_the_gradient_that_a_short_one_loses(tmp_path: Path):
    keras.utils.set_random_seed(1)  # of the odd draw less than a fiftieth is left
    x = np.random.default_rng(1).normal(size=(4, 65, FEATURES)).astype(np.float32)
    forgetful = keras.layers.LSTM(16, unit_forget_bias=False, name="memory")
    chrono = keras.layers.LSTM(
        16, bias_initializer=ChronoBias(100, seed=0), unit_forget_bias=False, name="memory"
    )
    models = [model_with(layer, masked=False) for layer in (forgetful, chrono)]
    forgetful.cell.bias.assign(np.repeat(np.float32([0, -5, 0, 0]), 16))
    short, long = (profile(model, x, "memory", tmp_path) for model in models)
    assert [*short] == [*long] == [0, 1, 2, 4, 8, 16, 32, 64]
    assert short[64] < 1e-12 * short[0]
    assert long[64] > 0.02 * long[0]


def test_training_writes_the_scalars_of_every_second_epoch(tmp_path: Path):
    x = padded()
    model = model_with(keras.layers.LSTM(UNITS, name="memory"))
    model.compile("sgd", "mse")
    callback = GradientPerLag(x, "memory", tmp_path, every=2)
    model.fit(x, np.zeros((len(x), 1)), epochs=5, verbose=0, callbacks=[callback])
    written = scalars(tmp_path)
    assert [*written] == [f"gradient_per_lag/memory/lag_{k:04d}" for k in (0, 1, 2, 4, 8)]
    assert [step for step, _ in written["gradient_per_lag/memory/lag_0008"]] == [2, 4]
    last = [values[-1][1] for values in written.values()]
    np.testing.assert_allclose(last, [*callback.norms.values()], rtol=1e-6)
    assert written["gradient_per_lag/memory/lag_0001"][0][1] != callback.norms[1]


def test_an_unknown_layer_is_refused(tmp_path: Path):
    callback = GradientPerLag(padded(), "memry", tmp_path)
    with pytest.raises(UnknownNameError, match="unknown layer 'memry'; did you mean 'memory'"):
        callback.set_model(model_with(keras.layers.LSTM(UNITS, name="memory")))


def test_a_layer_that_reads_backwards_is_refused(tmp_path: Path):
    layer = keras.layers.LSTM(UNITS, go_backwards=True, name="memory")
    with pytest.raises(ConfigError, match="'memory' must read forwards"):
        GradientPerLag(padded(), "memory", tmp_path).set_model(model_with(layer))


def test_a_layer_that_takes_a_state_is_refused(tmp_path: Path):
    x, state = keras.Input((None, FEATURES)), keras.Input((UNITS,))
    outputs = keras.layers.GRU(UNITS, name="memory")(x, initial_state=state)
    callback = GradientPerLag([padded(), np.zeros((4, UNITS))], "memory", tmp_path)
    with pytest.raises(ConfigError, match="'memory' must take no initial state"):
        callback.set_model(keras.Model([x, state], outputs))


def test_no_epochs_between_measurements_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="every must be at least 1, not 0"):
        GradientPerLag(padded(), "memory", tmp_path, every=0)
