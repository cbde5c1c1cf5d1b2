"""MinGRU, MinLSTM and QRNN against loops that go through rows and steps one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow.experimental.numpy as tnp

from zoo.errors import ConfigError
from zoo.layers import QRNN, MinGRU, MinLSTM

ROWS, TIME, FEATURES, UNITS = 4, 70, 3, 5
"""More time steps than one chunk of the scan has."""

CASES: dict[str, tuple[type[keras.layers.Layer], dict[str, Any]]] = {
    "min-gru": (MinGRU, {}),
    "min-lstm": (MinLSTM, {}),
    "qrnn": (QRNN, {}),
}
VARIANTS: dict[str, tuple[type[keras.layers.Layer], dict[str, Any]]] = {
    **CASES,
    "qrnn-1": (QRNN, {"window": 1}),
    "qrnn-4": (QRNN, {"window": 4}),
    "no-bias": (MinLSTM, {"use_bias": False}),
}
MASKS = {
    "no-mask": None,
    "right": np.arange(TIME) < np.array([[TIME], [66], [0], [1]]),
    "gaps": np.random.default_rng(5).random((ROWS, TIME)) < 0.6,
}

each_case = pytest.mark.parametrize("case", CASES)
each_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


def made(case: str, **options: Any) -> Any:
    """Return a built layer that gives all it can give; weights and biases are random."""
    make, always = VARIANTS[case]
    layer = make(UNITS, **{"return_sequences": True, "return_state": True, **always, **options})
    layer.build((None, None, FEATURES))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=each.shape) for each in layer.weights])
    return layer


def batch(steps: int = TIME) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(ROWS, steps, FEATURES)).astype(np.float32)


def state_of(layer: Any) -> list[np.ndarray]:
    """Return a state that is not zero."""
    rng = np.random.default_rng(3)
    return [rng.random(each.shape).astype(np.float32) for each in layer.initial_state(ROWS)]


def one_step(layer: Any, math: Any, weights: list[Any], x: Any, state: list[Any]) -> list[Any]:
    """Return the state after one real step; its first part is the output.

    `math` is NumPy, or TensorFlow under the names of NumPy where gradients are asked for.
    """

    def sigmoid(values: Any) -> Any:
        return 1 / (1 + math.exp(-values))

    def positive(values: Any) -> Any:
        return math.where(values >= 0, values + 0.5, sigmoid(values))

    gates = math.matmul(math.concatenate([x, *state[2:]]), weights[0]) + sum(weights[1:])
    first, second, third = (gates[part * UNITS : (part + 1) * UNITS] for part in range(3))
    if isinstance(layer, MinGRU):
        update = sigmoid(first)
        return [(1 - update) * state[0] + update * positive(second)]
    if isinstance(layer, MinLSTM):
        forget, write = sigmoid(first), sigmoid(second)
        kept, written = forget / (forget + write), write / (forget + write)
        return [kept * state[0] + written * positive(third)]
    forget = sigmoid(second)
    memory = forget * state[1] + (1 - forget) * math.tanh(first)
    return [sigmoid(third) * memory, memory, *[x, *state[2:]][: len(state) - 2]]


def twin(
    layer: Any, math: Any, weights: list[Any], x: Any, states: list[Any], mask: Any = None
) -> list[Any]:
    """Return `[outputs, *state]`, row by row and step by step."""
    rows = []
    for row in range(ROWS):
        state, outputs = [each[row] for each in states], []
        for step in range(x.shape[1]):
            if mask is None or mask[row, step]:
                state = one_step(layer, math, weights, x[row, step], state)
            outputs.append(state[0])
        rows.append([math.stack(outputs), *state])
    return [math.stack(each) for each in zip(*rows, strict=True)]


def array_twin(layer: Any, x: Any, states: list[Any], mask: Any = None) -> list[np.ndarray]:
    wide = [np.asarray(each, np.float64) for each in (x, *states)]
    weights = [each.astype(np.float64) for each in layer.get_weights()]
    return twin(layer, np, weights, wide[0], wide[1:], mask)


def assert_all_close(received: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    for got, wanted in zip(received, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


def streamed(layer: Any, x: Any, state: list[Any], mask: Any, cuts: list[int]) -> list[Any]:
    """Return `[outputs, *state]` of a sequence that comes in pieces."""
    outputs = []
    for start, end in zip([0, *cuts], [*cuts, x.shape[1]], strict=True):
        piece = None if mask is None else mask[:, start:end]
        output, state = layer.step(x[:, start:end], state, mask=piece)
        outputs.append(output)
    return [tf.concat(outputs, axis=1), *state]


@each_mask
class TestOneAnswer:
    """The paper's equations, on every path."""

    @each_case
    def test_it_equals_its_twin(self, case: str, mask: np.ndarray | None):
        layer, x = made(case), batch()
        state = state_of(layer)
        expected = array_twin(layer, x, state, mask)
        assert_all_close(layer(x, initial_state=state, mask=mask), expected)
        graph = tf.function(lambda x, state: layer(x, initial_state=state, mask=mask))
        assert_all_close(graph(x, state), expected)

    @each_case
    def test_pieces_equal_the_whole(self, case: str, mask: np.ndarray | None):
        layer, x = made(case), batch()
        state = state_of(layer)
        whole = layer(x, initial_state=state, mask=mask)
        for cuts in ([1, 2, 35], [*range(1, TIME)]):
            assert_all_close(streamed(layer, x, state, mask, cuts), whole, atol=1e-6)

    @each_case
    def test_backwards_is_forwards_over_the_reversed(self, case: str, mask: np.ndarray | None):
        layer, x = made(case, go_backwards=True), batch()
        reversed_mask = None if mask is None else mask[:, ::-1]
        expected = array_twin(layer, x[:, ::-1], layer.initial_state(ROWS), reversed_mask)
        assert_all_close(layer(x, mask=mask), expected)


@pytest.mark.parametrize("case", sorted(VARIANTS.keys() - CASES.keys()))
def test_variants_equal_their_twins(case: str):
    layer, x, mask = made(case), batch(), MASKS["gaps"]
    state = state_of(layer)
    whole = layer(x, initial_state=state, mask=mask)
    assert_all_close(whole, array_twin(layer, x, state, mask))
    assert_all_close(streamed(layer, x, state, mask, [1, 2, 40]), whole, atol=1e-6)


@each_case
@pytest.mark.parametrize("mask", [None, MASKS["gaps"][:, -7:]], ids=["no-mask", "gaps"])
def test_gradients_equal_those_of_a_loop(case: str, mask: np.ndarray | None):
    layer = made(case)
    state = [tf.constant(each) for each in state_of(layer)]
    x, weights = tf.constant(batch(7)), [each.value for each in layer.weights]
    sources = [x, *state, *weights]

    def gradients(run: Callable[[], Any]) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(sources)
            loss = sum(tf.reduce_sum(tf.sin(2.0 * each)) for each in run())
        return tape.gradient(loss, sources, unconnected_gradients="zero")

    expected = gradients(lambda: twin(layer, tnp, weights, x, state, mask))
    graph = tf.function(lambda: gradients(lambda: layer(x, initial_state=state, mask=mask)))
    assert_all_close(graph(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 64, 65])
def test_any_length_fits_one_graph(steps: int):
    layer, x = made("min-lstm"), batch(steps)
    graph = tf.function(layer, [tf.TensorSpec((None, None, FEATURES))])
    assert_all_close(graph(x), array_twin(layer, x, layer.initial_state(ROWS)))


@each_case
@pytest.mark.parametrize("strength", [5.0, 300.0])
def test_shut_and_open_gates_over_4096_steps(case: str, strength: float):
    """At 300, gates are 0 or 1 in float32, and both gates of a MinLSTM are shut at once."""
    layer, x = made(case), np.round(4 * batch(4096)) / 4
    # Rounded, so that products are exact on every path and gates do not differ by them.
    layer.set_weights([strength * np.round(4 * each) / 4 for each in layer.get_weights()])

    @tf.function(jit_compile=strength > 100)
    def trained(x: tf.Tensor) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            whole = layer(x)
            loss = tf.reduce_mean(tf.square(whole[0]))
        return [whole, tape.gradient(loss, [x, *(each.value for each in layer.weights)])]

    whole, gradients = trained(tf.constant(x))
    assert all(np.all(np.isfinite(each)) for each in (*whole, *gradients))
    pieces = streamed(layer, x[:, :100], layer.initial_state(ROWS), None, [*range(1, 100)])
    assert_all_close(pieces[:1], [whole[0][:, :100]], atol=1e-5 * np.abs(whole[0]).max())
    halves = streamed(layer, x, layer.initial_state(ROWS), None, [1999, 2001])
    assert_all_close(halves, whole, atol=1e-5 * np.abs(whole[0]).max())


@each_case
@pytest.mark.parametrize("forget_bias", [0.0, 1.0, 4.0])
def test_without_an_input_the_forget_bias_says_how_much_is_kept(case: str, forget_bias: float):
    layer = CASES[case][0](UNITS, forget_bias=forget_bias)
    x = np.zeros((ROWS, 1, FEATURES), np.float32)
    memory = 1 if case == "qrnn" else 0
    zeros, ones = (made(case).initial_state(ROWS) for _ in range(2))
    ones[memory] += 1
    kept = layer.step(x, ones)[1][memory] - layer.step(x, zeros)[1][memory]
    np.testing.assert_allclose(kept, 1 / (1 + np.exp(-forget_bias)), atol=1e-5)


def test_the_forget_bias_carries_a_gradient_over_200_steps():
    def reach(forget_bias: float) -> float:
        layer = MinLSTM(1, forget_bias=forget_bias)
        x = tf.random.stateless_normal((1, 200, FEATURES), seed=(1, 2))
        with tf.GradientTape() as tape:
            tape.watch(x)
            last = layer(x)
        return float(tf.norm(tape.gradient(last, x)[:, 0]))

    assert reach(0.0) < 1e-20 < 1e-6 < reach(7.0)


class TestOptions:
    """What comes out is what was asked for."""

    @each_case
    @pytest.mark.parametrize("sequences", [True, False])
    def test_outputs_and_masks_have_the_declared_form(self, case: str, sequences: bool):
        x, mask = batch(6), tf.constant(MASKS["right"][:, :6])
        outputs, *state = made(case)(x, mask=mask)
        last = outputs if sequences else outputs[:, -1]
        for states, expected in ((True, [last, *state]), (False, [last])):
            layer = made(case, return_sequences=sequences, return_state=states)
            received = layer(x, mask=mask)
            assert_all_close(received if states else [received], expected, rtol=0, atol=0)
            shapes = layer.compute_output_shape(x.shape)
            assert [tuple(each.shape) for each in expected] == [*(shapes if states else [shapes])]
            masks = layer.compute_mask(x, mask)
            first, *others = masks if states else [masks]
            assert first is (mask if sequences else None)
            assert others == [None] * (len(expected) - 1)

    def test_a_backward_layer_turns_its_mask_round(self):
        mask = tf.constant(MASKS["right"])
        layer = MinGRU(2, return_sequences=True, go_backwards=True)
        np.testing.assert_array_equal(layer.compute_mask(batch(), mask), MASKS["right"][:, ::-1])

    @each_case
    def test_in_both_directions(self, case: str):
        make, always = VARIANTS[case]
        wrapped = keras.layers.Bidirectional(make(UNITS, return_sequences=True, **always))
        x, mask = batch(), MASKS["right"]
        outputs = wrapped(x, mask=tf.constant(mask))
        there, back = wrapped.forward_layer, wrapped.backward_layer
        zeros = there.initial_state(ROWS)
        expected = [
            array_twin(there, x, zeros, mask)[0],
            array_twin(back, x[:, ::-1], zeros, mask[:, ::-1])[0][:, ::-1],
        ]
        np.testing.assert_allclose(outputs, np.concatenate(expected, -1), atol=1e-5)

    @each_case
    def test_nan_behind_the_mask_reaches_nothing(self, case: str):
        layer, mask = made(case), MASKS["gaps"]
        x = tf.constant(np.where(mask[..., None], batch(), np.float32("nan")))
        with tf.GradientTape() as tape:
            tape.watch(x)
            received = layer(x, mask=mask)
            loss = sum(tf.reduce_sum(each) for each in received)
        gradients = tape.gradient(loss, [x, *(each.value for each in layer.weights)])
        assert all(np.all(np.isfinite(each)) for each in (*received, *gradients))
        assert_all_close(received, layer(batch(), mask=mask), rtol=0, atol=0)

    def test_dropout_drops_features_of_the_whole_row_while_training(self):
        layer = MinGRU(UNITS, dropout=0.5, seed=1, return_sequences=True)
        x = np.ones((ROWS, 6, 8), np.float32)
        np.testing.assert_array_equal(layer(x), layer(x, training=False))
        received = layer(x, training=True).numpy()
        assert not np.allclose(received, layer(x))
        # One mask for all steps: a constant input gives a constant candidate.
        gates = received[:, 1:] - received[:, :-1]
        assert np.all(gates[:, 1:] / gates[:, :-1] > 0)

    @pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16"])
    def test_gates_and_states_are_at_least_float32(self, policy: str):
        layer = made("qrnn", dtype=policy)
        x = tf.cast(batch(), layer.compute_dtype)
        expected = array_twin(layer, tf.cast(x, "float64"), layer.initial_state(ROWS))
        received = layer(x)
        assert {each.dtype.name for each in received} == {layer.compute_dtype}
        atol = 1e-12 if policy == "float64" else 2e-2
        assert_all_close([tf.cast(each, "float64") for each in received], expected, 0, atol)

    @each_case
    def test_a_stream_in_half_precision_is_the_whole(self, case: str):
        layer = made(case, dtype="mixed_bfloat16")
        # Of a state that decays by less than bfloat16 has digits for.
        layer.bias.assign(layer._first_bias(layer.bias.shape, "float32") * 8)
        x = tf.cast(batch(), "bfloat16")
        state, parts = layer.initial_state(ROWS), []
        for step in range(TIME):
            y, state = layer.step(x[:, step : step + 1], state)
            parts.append(tf.cast(y, "float32"))
        whole = tf.cast(layer(x)[0], "float32")
        assert {each.dtype for each in state} == {tf.float32}
        np.testing.assert_allclose(tf.concat(parts, 1), whole, rtol=0.01, atol=1e-3)

    def test_gates_that_are_shut_both_share_by_how_much(self):
        layer = MinLSTM(1)
        keep, _ = layer._keep_and_candidate(*map(tf.constant, ([[-50.0]], [[-45.0]], [[0.0]])))
        np.testing.assert_allclose(keep, [[1 / (1 + np.exp(5.0))]], rtol=1e-5)

    @pytest.mark.parametrize("case", ["min-gru", "qrnn"])
    def test_what_makes_no_sense_is_refused(self, case: str):
        make = CASES[case][0]
        with pytest.raises(ConfigError, match="units must be at least 1, not 0"):
            make(0)
        with pytest.raises(ConfigError, match="'back' cannot stream"):
            make(2, go_backwards=True, name="back").step(batch(), [])

    def test_a_window_needs_a_step_and_a_size(self):
        with pytest.raises(ConfigError, match="window must be at least 1, not 0"):
            QRNN(2, window=0)
        with pytest.raises(ConfigError, match="'young' must be built before its state"):
            QRNN(2, name="young").initial_state(1)


@each_case
def test_an_exported_step_gives_the_whole_sequence(case: str, tmp_path: Path):
    layer, x = made(case), batch(12)
    state = layer.initial_state(ROWS)

    def step(x_t: tf.Tensor, state: list[tf.Tensor]) -> dict[str, Any]:
        y, state = layer.step(x_t, state)
        return {"y": y, **{f"state_{number}": each for number, each in enumerate(state)}}

    archive = keras.export.ExportArchive()
    archive.track(layer)
    specs = [tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in state]
    archive.add_endpoint("step", step, [tf.TensorSpec((None, 1, FEATURES)), specs])
    archive.write_out(str(tmp_path), verbose=False)
    reloaded = tf.saved_model.load(str(tmp_path))
    graph = reloaded.signatures["step"].graph
    assert not [
        each for each in graph.get_operations() if "While" in each.type or "Xla" in each.type
    ]
    outputs = []
    for moment in range(x.shape[1]):
        answer = reloaded.step(x[:, moment : moment + 1], state)
        state = [answer[f"state_{number}"] for number in range(len(state))]
        outputs.append(answer["y"])
    assert_all_close([tf.concat(outputs, 1), *state], layer(x), atol=1e-6)
