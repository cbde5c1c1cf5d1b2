"""Cells against twins that go through the steps one by one, and against Keras's own cells.

A twin takes the module of its functions: NumPy for values, TensorFlow for gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError
from zoo.layers import RNN, ElmanCell, LayerNormLSTMCell, PeepholeLSTMCell, ProjectedLSTMCell

BATCH, TIME, FEATURES, UNITS = 4, 7, 3, 5
LENGTHS = (7, 4, 0, 1)
MASK = np.arange(TIME) < np.array(LENGTHS)[:, None]

Weights = SimpleNamespace
TENSORFLOW: Any = SimpleNamespace(
    exp=tf.exp, tanh=tf.tanh, sqrt=tf.sqrt, mean=tf.reduce_mean, where=tf.where, stack=tf.stack
)


def quarters(z: Any) -> list[Any]:
    return [z[:, start : start + UNITS] for start in range(0, 4 * UNITS, UNITS)]


def logistic(m: ModuleType, z: Any) -> Any:
    return 1 / (1 + m.exp(-z))


def normal(m: ModuleType, z: Any) -> Any:
    shift = z - m.mean(z, -1)[:, None]
    return shift / m.sqrt(m.mean(shift * shift, -1)[:, None] + 1e-5)


def elman(m: ModuleType, w: Weights, x: Any, h: Any) -> tuple[Any, ...]:
    return (m.tanh(x @ w.kernel + h @ w.recurrent_kernel + w.bias),)


def layer_norm(m: ModuleType, w: Weights, x: Any, h: Any, c: Any) -> tuple[Any, ...]:
    from_x = w.kernel_gain * normal(m, x @ w.kernel)
    i, f, g, o = quarters(from_x + w.recurrent_gain * normal(m, h @ w.recurrent_kernel) + w.bias)
    c = logistic(m, f) * c + logistic(m, i) * m.tanh(g)
    return logistic(m, o) * m.tanh(w.cell_gain * normal(m, c) + w.cell_shift), c


def peephole(m: ModuleType, w: Weights, x: Any, h: Any, c: Any) -> tuple[Any, ...]:
    i, f, g, o = quarters(x @ w.kernel + h @ w.recurrent_kernel + w.bias)
    input_gate = logistic(m, i + w.peephole_i * c)
    forget_gate = logistic(m, f + w.peephole_f * c)
    c = forget_gate * c + input_gate * m.tanh(g)
    return logistic(m, o + w.peephole_o * c) * m.tanh(c), c


def projected(m: ModuleType, w: Weights, x: Any, h: Any, c: Any) -> tuple[Any, ...]:
    i, f, g, o = quarters(x @ w.kernel + h @ w.recurrent_kernel + w.bias)
    c = logistic(m, f) * c + logistic(m, i) * m.tanh(g)
    return (logistic(m, o) * m.tanh(c)) @ w.projection, c


MAKE: dict[str, Callable[..., keras.layers.Layer]] = {
    "elman": partial(ElmanCell, UNITS),
    "layer_norm": partial(LayerNormLSTMCell, UNITS),
    "peephole": partial(PeepholeLSTMCell, UNITS),
    "projected": partial(ProjectedLSTMCell, UNITS, 2),
}
TWINS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "elman": elman,
    "layer_norm": layer_norm,
    "peephole": peephole,
    "projected": projected,
}

each_cell = pytest.mark.parametrize("name", MAKE)
each_lstm = pytest.mark.parametrize("name", ["layer_norm", "peephole", "projected"])


@pytest.fixture(autouse=True)
def fixed_weights() -> None:
    keras.utils.set_random_seed(5)


@pytest.fixture
def sequence() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(BATCH, TIME, FEATURES)).astype(np.float32)


def layer_of(cell: Any, **options: Any) -> RNN:
    """Return a layer whose weights are all away from their first values."""
    layer = RNN(cell, return_sequences=True, **options)
    layer.build((None, None, FEATURES))
    rng = np.random.default_rng(1)
    layer.set_weights([w + rng.normal(0, 0.4, w.shape) for w in layer.get_weights()])
    return layer


def weights_of(cell: keras.layers.Layer, convert: Callable[[np.ndarray], Any]) -> Weights:
    weights = {weight.name: convert(weight.numpy()) for weight in cell.trainable_weights}
    return SimpleNamespace(**{"bias": 0.0, **weights})


def run_twin(
    m: Any, name: str, weights: Weights, sequence: Any, mask: np.ndarray, states: Sequence[Any]
) -> tuple[Any, Sequence[Any]]:
    """Return the outputs and the last states. A masked step carries the states through."""
    outputs = []
    for time in range(TIME):
        after = TWINS[name](m, weights, sequence[:, time], *states)
        real = mask[:, time, None]
        states = [m.where(real, new, old) for new, old in zip(after, states, strict=True)]
        outputs.append(states[0])
    return m.stack(outputs, 1), states


def zeros_of(cell: keras.layers.Layer) -> list[np.ndarray]:
    return [np.zeros((BATCH, size), np.float32) for size in np.atleast_1d(cell.state_size)]


class TestTwins:
    """The equations, step by step."""

    @each_cell
    @pytest.mark.parametrize("use_bias", [True, False], ids=["bias", "no bias"])
    @pytest.mark.parametrize("compile_", [lambda layer: layer, tf.function], ids=["eager", "graph"])
    def test_outputs_and_states(
        self, name: str, use_bias: bool, compile_: Callable[..., Any], sequence: np.ndarray
    ):
        layer = layer_of(MAKE[name](use_bias=use_bias), return_state=True)
        names = {weight.name for weight in layer.cell.trainable_weights}
        assert ("bias" in names) == use_bias
        weights = weights_of(layer.cell, np.asarray)
        outputs, *states = compile_(layer)(tf.constant(sequence), mask=tf.constant(MASK))
        first = zeros_of(layer.cell)
        expected, expected_states = run_twin(np, name, weights, sequence, MASK, first)
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
        for state, twin in zip(states, expected_states, strict=True):
            np.testing.assert_allclose(state, twin, rtol=0, atol=1e-5)

    @each_cell
    def test_gradients(self, name: str, sequence: np.ndarray):
        layer = layer_of(MAKE[name]())
        inputs = tf.constant(sequence)
        wanted = np.random.default_rng(2).normal(size=layer(inputs).shape)

        @tf.function
        def gradients() -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                loss = tf.reduce_sum(layer(inputs, mask=tf.constant(MASK)) * wanted)
            return tape.gradient(loss, [inputs, *layer.trainable_weights])

        weights = weights_of(layer.cell, tf.constant)
        sources = [inputs, *(getattr(weights, each.name) for each in layer.trainable_weights)]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs, _ = run_twin(TENSORFLOW, name, weights, inputs, MASK, zeros_of(layer.cell))
            loss = tf.reduce_sum(outputs * wanted)
        for received, expected in zip(gradients(), tape.gradient(loss, sources), strict=True):
            assert np.any(expected)
            scale = np.max(np.abs(expected))
            np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5 * scale)

    @each_cell
    def test_a_given_state_is_begun_with(self, name: str, sequence: np.ndarray):
        layer = layer_of(MAKE[name]())
        first = [state + np.float32(0.3) for state in zeros_of(layer.cell)]
        weights = weights_of(layer.cell, np.asarray)
        everything = np.ones_like(MASK)
        expected, _ = run_twin(np, name, weights, sequence, everything, first)
        received = layer(sequence, initial_state=[tf.constant(state) for state in first])
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)


DROPOUTS = [(0.0, 0.0), (0.3, 0.0), (0.3, 0.4)]


class TestKeras:
    """Where a cell of Keras computes the same, the weights and the answers are the same."""

    def assert_equal(self, ours: Any, stock: Any, extra: list[np.ndarray], x: np.ndarray) -> None:
        ours, stock = RNN(ours), keras.layers.RNN(stock)
        expected = stock(x)
        ours.build(x.shape)
        shared = len(stock.weights)
        assert [w.name for w in ours.weights][:shared] == [w.name for w in stock.weights]
        ours.set_weights([*stock.get_weights(), *extra])
        np.testing.assert_allclose(ours(x), expected, atol=1e-6)
        np.testing.assert_allclose(ours(x, training=True), stock(x, training=True), atol=1e-6)

    @pytest.mark.parametrize(("dropout", "recurrent_dropout"), DROPOUTS)
    def test_equal_cells(self, dropout: float, recurrent_dropout: float, sequence: np.ndarray):
        options = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "seed": 3}
        lstm, zeros = keras.layers.LSTMCell, np.zeros(UNITS)
        no_peephole, identity = [zeros, zeros, zeros], [np.eye(UNITS)]
        plain = keras.layers.SimpleRNNCell(UNITS, **options)
        self.assert_equal(ElmanCell(UNITS, **options), plain, [], sequence)
        ours: keras.layers.Layer = PeepholeLSTMCell(UNITS, **options)
        self.assert_equal(ours, lstm(UNITS, **options), no_peephole, sequence)
        ours = ProjectedLSTMCell(UNITS, UNITS, **options)
        self.assert_equal(ours, lstm(UNITS, **options), identity, sequence)

    @pytest.mark.parametrize("unit_forget_bias", [True, False])
    def test_the_first_weights_are_the_same(self, unit_forget_bias: bool):
        options = {
            "kernel_initializer": keras.initializers.GlorotUniform(seed=1),
            "recurrent_initializer": keras.initializers.Orthogonal(seed=2),
            "bias_initializer": keras.initializers.Constant(0.5),
            "unit_forget_bias": unit_forget_bias,
        }
        stock, ours = keras.layers.LSTMCell(UNITS, **options), PeepholeLSTMCell(UNITS, **options)
        for cell in (stock, ours):
            cell.build((None, FEATURES))
        for received, expected in zip(ours.get_weights()[:3], stock.get_weights(), strict=True):
            np.testing.assert_array_equal(received, expected)

    @each_lstm
    def test_regularizers_and_constraints_are_kept(self, name: str):
        parts = ("kernel", "recurrent", "bias")
        losses = {f"{part}_regularizer": keras.regularizers.L2(0.1) for part in parts}
        constraints = {f"{part}_constraint": "non_neg" for part in parts}
        cell = layer_of(MAKE[name](**losses, **constraints)).cell
        kept = [w for w in cell.weights if w.name in {"kernel", "recurrent_kernel", "bias"}]
        assert all(isinstance(weight.constraint, keras.constraints.NonNeg) for weight in kept)
        expected = sum(0.1 * np.sum(weight.numpy() ** 2) for weight in kept)
        assert len(kept) == 3
        assert float(sum(cell.losses)) == pytest.approx(expected, rel=1e-5)

    @each_cell
    def test_a_stock_layer_runs_it(self, name: str, sequence: np.ndarray):
        layer = layer_of(MAKE[name]())
        stock = keras.layers.RNN(layer.cell, return_sequences=True)
        expected = layer(sequence, mask=MASK)
        np.testing.assert_array_equal(stock(sequence, mask=MASK), expected)

    @each_cell
    def test_cells_stack(self, name: str, sequence: np.ndarray):
        lower, upper = layer_of(MAKE[name]()), RNN(MAKE[name](), return_sequences=True)
        expected = upper(lower(sequence, mask=MASK), mask=MASK)
        both = RNN([lower.cell, upper.cell], return_sequences=True)
        np.testing.assert_allclose(both(sequence, mask=MASK), expected, atol=1e-6)

    @each_cell
    def test_both_directions(self, name: str, sequence: np.ndarray):
        both = keras.layers.Bidirectional(RNN(MAKE[name](), return_sequences=True))
        received = both(sequence)
        forward, backward = RNN(MAKE[name](), return_sequences=True), RNN(MAKE[name]())
        for layer, half in ((forward, both.forward_layer), (backward, both.backward_layer)):
            layer.build(sequence.shape)
            layer.set_weights(half.get_weights())
        size = layer.cell.output_size
        np.testing.assert_allclose(received[..., :size], forward(sequence), atol=1e-6)
        np.testing.assert_allclose(received[:, 0, size:], backward(sequence[:, ::-1]), atol=1e-6)


class TestTheCellsThemselves:
    """What sets each cell apart."""

    def test_layer_norm_does_not_see_the_scale_of_its_kernels(self, sequence: np.ndarray):
        layer = layer_of(MAKE["layer_norm"]())
        before = layer(sequence)
        for kernel in (layer.cell.kernel, layer.cell.recurrent_kernel):
            kernel.assign(8 * kernel)
        np.testing.assert_allclose(layer(sequence), before, atol=1e-4)

    def test_layer_norm_takes_an_epsilon(self, sequence: np.ndarray):
        narrow, wide = layer_of(MAKE["layer_norm"]()), layer_of(MAKE["layer_norm"](epsilon=0.5))
        wide.set_weights(narrow.get_weights())
        assert np.max(np.abs(narrow(sequence) - wide(sequence))) > 1e-2

    def test_the_projection_sets_the_size_of_the_output(self, sequence: np.ndarray):
        cell = ProjectedLSTMCell(UNITS, 2)
        outputs, h, c = RNN(cell, return_state=True)(sequence)
        assert (outputs.shape, h.shape, c.shape) == ((BATCH, 2), (BATCH, 2), (BATCH, UNITS))
        assert cell.recurrent_kernel.shape == (2, 4 * UNITS)

    def test_a_projection_to_nothing_is_refused(self):
        with pytest.raises(ConfigError, match="projection_units must be at least 1, not 0"):
            ProjectedLSTMCell(UNITS, 0)

    @each_lstm
    def test_dropout_acts_in_training_only(self, name: str, sequence: np.ndarray):
        layer = layer_of(MAKE[name](dropout=0.4, recurrent_dropout=0.4))
        np.testing.assert_array_equal(layer(sequence), layer(sequence))
        once, again = layer(sequence, training=True), layer(sequence, training=True)
        assert not np.allclose(once, layer(sequence))
        assert not np.allclose(once, again)


STREAMED: dict[str, Callable[[], Any]] = {
    **MAKE,
    "gru of Keras": lambda: keras.layers.GRUCell(UNITS),
    "stack": lambda: [ProjectedLSTMCell(UNITS, 2), ElmanCell(UNITS), PeepholeLSTMCell(UNITS)],
}


class TestStreaming:
    """Any chunks give what the whole sequence gives."""

    @pytest.mark.parametrize("name", STREAMED)
    @pytest.mark.parametrize(
        ("chunks", "masked"), [((1,) * TIME, True), ((2, 1, 4), True), ((3, 4), False)], ids=str
    )
    def test_chunks_equal_the_whole(
        self, name: str, chunks: tuple[int, ...], masked: bool, sequence: np.ndarray
    ):
        layer = layer_of(STREAMED[name](), return_state=True)
        mask = MASK if masked else None
        expected, *expected_state = layer(sequence, mask=mask)
        state, outputs = layer.initial_state(BATCH), []
        for end in np.cumsum(chunks):
            steps = slice(sum(each.shape[1] for each in outputs), end)
            part = mask[:, steps] if masked else None
            chunk, state = layer.step(sequence[:, steps], state, mask=part)
            outputs.append(chunk)
        np.testing.assert_allclose(np.concatenate(outputs, 1), expected, rtol=0, atol=1e-5)
        for received, twin in zip(state, keras.tree.flatten(expected_state), strict=True):
            np.testing.assert_allclose(received, twin, rtol=0, atol=1e-5)

    def test_masked_steps_may_come_out_as_zeros(self, sequence: np.ndarray):
        layer = layer_of(MAKE["peephole"](), zero_output_for_mask=True)
        state, outputs = layer.initial_state(BATCH), []
        for steps in (slice(0, 3), slice(3, TIME)):
            chunk, state = layer.step(sequence[:, steps], state, mask=MASK[:, steps])
            outputs.append(chunk)
        expected = layer(sequence, mask=MASK)
        assert not np.any(expected[~MASK])
        np.testing.assert_allclose(np.concatenate(outputs, 1), expected, rtol=0, atol=1e-5)

    def test_a_graph_for_chunks_of_any_size(self, sequence: np.ndarray):
        layer = layer_of(MAKE["layer_norm"]())
        tensor = tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None, None), "bool")

        @tf.function(input_signature=tensor)
        def twice(x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
            state = layer.initial_state(tf.shape(x)[0])
            first, state = layer.step(x[:, :2], state, mask=mask[:, :2])
            return tf.concat([first, layer.step(x[:, 2:], state, mask=mask[:, 2:])[0]], 1)

        received = twice(tf.constant(sequence), tf.constant(MASK))
        np.testing.assert_allclose(received, layer(sequence, mask=MASK), rtol=0, atol=1e-5)

    def test_a_stream_goes_on_from_the_state_of_a_call(self, sequence: np.ndarray):
        layer = layer_of(MAKE["projected"](), return_state=True)
        whole, *_ = layer(sequence)
        _, *state = layer(sequence[:, :5])
        received, _ = layer.step(sequence[:, 5:], state)
        np.testing.assert_allclose(received, whole[:, 5:], rtol=0, atol=1e-5)

    def test_a_stream_builds_the_cell_and_leaves_nothing_behind(self, sequence: np.ndarray):
        layer = RNN(PeepholeLSTMCell(UNITS, name="cell"), name="memory")
        layer.step(sequence[:, :1], layer.initial_state(BATCH))
        paths = [weight.path for weight in layer.weights]
        layer(sequence)
        assert [weight.path for weight in layer.weights] == paths
        assert paths[0] == "memory/cell/kernel"

    def test_a_stream_drops_nothing(self, sequence: np.ndarray):
        layer = layer_of(MAKE["peephole"](dropout=0.5, recurrent_dropout=0.5))
        received, _ = layer.step(sequence, layer.initial_state(BATCH))
        np.testing.assert_allclose(received, layer(sequence), rtol=0, atol=1e-5)

    def test_the_state_has_the_dtype_of_the_arithmetic(self, sequence: np.ndarray):
        cell = PeepholeLSTMCell(UNITS, dtype="mixed_bfloat16")
        layer = RNN(cell, dtype="mixed_bfloat16")
        state = layer.initial_state(BATCH)
        outputs, after = layer.step(sequence, state, mask=MASK)
        assert {each.dtype for each in (outputs, *state, *after)} == {tf.bfloat16}

    def test_a_layer_that_reads_backwards_cannot(self, sequence: np.ndarray):
        layer = RNN(MAKE["elman"](), go_backwards=True, name="memory")
        with pytest.raises(ConfigError, match="'memory' cannot stream: go_backwards must be False"):
            layer.step(sequence, layer.initial_state(BATCH))
