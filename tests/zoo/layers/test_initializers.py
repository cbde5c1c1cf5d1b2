"""Chrono initialization: the values, and the memory that they give."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers import ChronoBias

UNITS, MAX_LAG = 500, 100


def kept_cell(bias: dict[str, object], steps: int) -> np.ndarray:
    """Return what is left of a cell of ones after steps that bring nothing in."""
    layer = keras.layers.LSTM(UNITS, recurrent_initializer="zeros", return_state=True, **bias)
    nothing = np.zeros((1, steps, 1), np.float32)
    state = [np.zeros((1, UNITS), np.float32), np.ones((1, UNITS), np.float32)]
    return layer(nothing, initial_state=state)[2].numpy()[0]


def test_lstm_biases_are_logarithms_of_even_lags():
    i, f, c, o = np.split(ChronoBias(MAX_LAG, seed=0)((4 * UNITS,)).numpy(), 4)
    np.testing.assert_array_equal(i, -f)
    assert not c.any() and not o.any()
    lags = np.exp(f)
    assert lags.min() >= 1 and lags.max() < MAX_LAG - 1 + 1e-3
    # Uniform: the quantiles lie on the line from 1 to T_max - 1, to sampling error.
    quantiles = np.quantile(lags, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, 1 + 98 * np.array([0.1, 0.5, 0.9]), atol=6)


@pytest.mark.parametrize("shape", [(3 * UNITS,), (2, 3 * UNITS)])
def test_gru_biases_favour_the_old_state(shape: tuple[int, ...]):
    bias = ChronoBias(MAX_LAG, cell="gru", seed=0)(shape).numpy()
    assert bias.shape == shape
    inputs, recurrent = (bias, np.zeros(1)) if len(shape) == 1 else bias
    z, r, h = np.split(inputs, 3)
    assert z.min() >= 0 and z.max() < np.log(MAX_LAG - 1) + 1e-5 and z.std() > 0.5
    assert not r.any() and not h.any() and not recurrent.any()


def test_the_shortest_lag_gives_open_and_closed_gates_alike():
    assert not ChronoBias(2)((8,)).numpy().any()


def test_the_seed_decides_the_values():
    first, again = ChronoBias(MAX_LAG, seed=3), ChronoBias(MAX_LAG, seed=3)
    np.testing.assert_array_equal(first((8,)), again((8,)))
    np.testing.assert_array_equal(first((8,)), first((8,)))
    assert np.any(first((8,)) != ChronoBias(MAX_LAG, seed=4)((8,)))
    unseeded = ChronoBias(MAX_LAG)
    assert np.any(unseeded((8,)) != unseeded((8,)))


def test_the_type_is_that_asked_for():
    assert ChronoBias(MAX_LAG)((8,)).dtype == "float32"
    assert ChronoBias(MAX_LAG)((8,), dtype="float64").dtype == "float64"


def test_it_is_rebuilt_from_its_configuration():
    config = keras.initializers.serialize(ChronoBias(MAX_LAG, cell="gru", seed=5))
    assert config["registered_name"] == "seqzoo>ChronoBias"
    assert config["config"] == {"max_lag": MAX_LAG, "cell": "gru", "seed": 5}
    rebuilt = keras.initializers.deserialize(config)
    np.testing.assert_array_equal(rebuilt((6,)), ChronoBias(MAX_LAG, cell="gru", seed=5)((6,)))


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LSTM(8, bias_initializer=ChronoBias(100), unit_forget_bias=False),
        keras.layers.GRU(8, bias_initializer=ChronoBias(100, cell="gru")),
        keras.layers.GRU(8, bias_initializer=ChronoBias(100, cell="gru"), reset_after=False),
    ],
    ids=["lstm", "gru", "gru_reset_before"],
)
def test_a_layer_with_it_trains_and_is_saved(layer: keras.layers.Layer, tmp_path: Path):
    x = np.random.default_rng(0).normal(size=(32, 10, 2)).astype(np.float32)
    model = keras.Sequential([keras.Input((10, 2)), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.03), "mse")
    losses = model.fit(x, x[:, 0, :1], epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    path = tmp_path / "model.keras"
    model.save(path)
    np.testing.assert_array_equal(keras.models.load_model(path)(x), model(x))


def test_a_cell_remembers_over_the_lags_it_is_told():
    chrono = {"bias_initializer": ChronoBias(MAX_LAG, seed=0), "unit_forget_bias": False}
    f = ChronoBias(MAX_LAG, seed=0)((4 * UNITS,)).numpy()[UNITS : 2 * UNITS]
    left = kept_cell(chrono, 50)
    np.testing.assert_allclose(left, (1 / (1 + np.exp(-f))) ** 50, rtol=1e-4, atol=1e-6)
    assert left.mean() > 0.25
    assert kept_cell({"unit_forget_bias": True}, 50).max() < 1e-6


@pytest.mark.parametrize(
    ("cell", "shape"), [("lstm", (6,)), ("lstm", (2, 8)), ("gru", (8,)), ("gru", (3, 6))]
)
def test_a_shape_that_is_no_bias_of_the_cell_is_refused(cell: str, shape: tuple[int, ...]):
    with pytest.raises(ConfigError, match=f"not that of {cell} gates"):
        ChronoBias(MAX_LAG, cell=cell)(shape)


def test_a_lag_below_two_steps_is_refused():
    with pytest.raises(ConfigError, match="max_lag must be at least 2, not 1"):
        ChronoBias(1)


def test_an_unknown_cell_is_refused():
    with pytest.raises(UnknownNameError, match="unknown cell 'gruu'; did you mean 'gru'"):
        ChronoBias(MAX_LAG, cell="gruu")
