"""Convolutional LSTM against NumPy twins and the layer of Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError
from zoo.layers import ConvLSTM2D
from zoo.layers.conv_recurrent import UNROLLED_STEPS

FILTERS = 3
MASK = np.array(
    [[True, True, True, True, True], [False, True, False, True, False], [False] * 5]
)  # whole, with gaps, nothing but padding

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "same": {"padding": "same", "return_sequences": True},
    "strides": {"strides": 2, "padding": "same", "return_state": True},
    "strides-valid": {"strides": (2, 1), "kernel_size": (2, 3), "return_sequences": True},
    "dilation": {"dilation_rate": 2, "return_sequences": True},
    "channels-first": {"data_format": "channels_first", "return_state": True},
    "no-bias": {"use_bias": False, "activation": "relu", "recurrent_activation": "hard_sigmoid"},
    "backwards": {"go_backwards": True, "return_sequences": True, "return_state": True},
    "zero-output": {"zero_output_for_mask": True, "return_sequences": True},
    "zero-last-output": {"zero_output_for_mask": True, "return_state": True},
    "unrolled": {"unroll": True, "return_state": True},
    "dropout": {"dropout": 0.4, "seed": 3, "return_sequences": True},
    "recurrent-dropout": {"dropout": 0.2, "recurrent_dropout": 0.4, "seed": 3},
}


@pytest.fixture(autouse=True)
def fixed_weights() -> None:
    keras.utils.set_random_seed(1)


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 5, 6, 7, 2)).astype(np.float32)


def pair(frames: np.ndarray, **options: Any) -> tuple[Any, Any]:
    """Return the layer of Keras and ours with the same random weights."""
    options = {"filters": FILTERS, "kernel_size": 3, **options}
    stock, ours = keras.layers.ConvLSTM2D(**options), ConvLSTM2D(**options)
    for layer in stock, ours:
        layer.build(frames.shape)
    rng = np.random.default_rng(2)
    weights = [rng.normal(0, 0.3, weight.shape) for weight in stock.trainable_weights]
    for layer in stock, ours:
        for variable, weight in zip(layer.trainable_weights, weights, strict=True):
            variable.assign(weight)
    return stock, ours


def any_state(layer: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.normal(size=zeros.shape).astype(np.float32) for zeros in layer.get_initial_state(3)]


def convolve(frames: np.ndarray, kernel: np.ndarray, padding: str, stride: int = 1) -> np.ndarray:
    """Return the convolution of `[rows, height, width, channels]`, one position at a time."""
    size, span = kernel.shape[0], np.array(frames.shape[1:3])
    if padding == "same":
        missing = np.maximum((-(-span // stride) - 1) * stride + size - span, 0)
        around = [(0, 0), *((each // 2, each - each // 2) for each in missing), (0, 0)]
        frames, span = np.pad(frames, around), span + missing
    height, width = (span - size) // stride + 1
    result = np.zeros((len(frames), height, width, kernel.shape[-1]))
    for y in range(height):
        for x in range(width):
            window = frames[:, y * stride : y * stride + size, x * stride : x * stride + size]
            result[:, y, x] = np.tensordot(window, kernel, axes=3)
    return result


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def twin(
    layer: Any, frames: np.ndarray, mask: np.ndarray, state: list[np.ndarray]
) -> list[np.ndarray]:
    """Return the outputs of all steps and the last h and c."""
    kernel, recurrent_kernel, bias = layer.get_weights()
    h, c = state
    output, outputs = np.zeros_like(h), []
    for x, real in zip(np.moveaxis(frames, 1, 0), mask.T, strict=True):
        gates = convolve(x, kernel, layer.padding, layer.strides[0]) + bias
        i, f, g, o = np.split(gates + convolve(h, recurrent_kernel, "same"), 4, axis=-1)
        carry = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(carry)
        real = real[:, None, None, None]
        h, c = np.where(real, hidden, h), np.where(real, carry, c)
        output = np.where(real, hidden, output)
        outputs.append(output)
    return [np.stack(outputs, axis=1), h, c]


def gradients(
    layer: Any, frames: np.ndarray, graph: bool = False, **arguments: Any
) -> list[np.ndarray]:
    """Return answers, and gradients by weights, frames and state of a loss with odd weights."""
    state = [tf.constant(each) for each in arguments.pop("initial_state", None) or []]
    sources = [*(weight.value for weight in layer.trainable_weights), tf.constant(frames), *state]

    def differentiate() -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(sources)
            x = sources[len(layer.trainable_weights)]
            answers = layer(x, initial_state=state or None, **arguments)
            answers = list(answers) if isinstance(answers, tuple | list) else [answers]
            flat = tf.concat([tf.reshape(answer, [-1]) for answer in answers], axis=0)
            loss = tf.reduce_sum(flat * tf.sin(tf.range(tf.size(flat), dtype=tf.float32)))
        return [*answers, *tape.gradient(loss, sources)]

    run = tf.function(differentiate, autograph=False) if graph else differentiate
    return [each.numpy() for each in run()]


def assert_alike(received: list[np.ndarray], expected: list[np.ndarray], relative: float) -> None:
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=relative * max(1, np.abs(other).max()))


@pytest.mark.parametrize("case", ["same", "strides", "plain"])
@pytest.mark.parametrize("given", [False, True], ids=["from-zeros", "from-a-state"])
def test_it_equals_its_twin(frames: np.ndarray, case: str, given: bool):
    options = OPTIONS[case] | {"return_sequences": True, "return_state": True}
    _, layer = pair(frames, **options)
    state = any_state(layer)
    expected = twin(layer, frames, MASK, state if given else [np.zeros_like(h) for h in state])
    arguments = {"mask": tf.constant(MASK), "initial_state": state if given else None}
    assert_alike(layer(frames, **arguments), expected, 1e-5)
    graph = tf.function(lambda x: layer(x, **arguments), autograph=False)
    assert_alike(graph(frames), expected, 1e-5)


@pytest.mark.parametrize(
    ("masked", "given"), [(False, False), (True, True)], ids=["plain", "mask-and-state"]
)
@pytest.mark.parametrize("case", OPTIONS)
def test_answers_and_gradients_are_those_of_keras(
    frames: np.ndarray, case: str, masked: bool, given: bool
):
    if "data_format" in OPTIONS[case]:
        frames = np.moveaxis(frames, -1, 2)
    stock, ours = pair(frames, **OPTIONS[case])
    arguments: dict[str, Any] = {"training": True, "mask": tf.constant(MASK) if masked else None}
    arguments["initial_state"] = any_state(stock) if given else None
    expected = gradients(stock, frames, **arguments)
    assert_alike(gradients(ours, frames, **arguments), expected, 1e-5)
    assert all(each.any() for each in expected[1:])


@pytest.mark.parametrize("masked", [False, True], ids=["no-mask", "mask"])
@pytest.mark.parametrize("steps", [5, UNROLLED_STEPS + 3], ids=["unrolled", "loop"])
def test_in_a_graph_too_of_few_steps_or_many(steps: int, masked: bool):
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(2, steps, 4, 4, 2)).astype(np.float32)
    mask = tf.constant(rng.random((2, steps)) < 0.7) if masked else None
    stock, ours = pair(frames, padding="same", return_sequences=True)
    expected = gradients(stock, frames, graph=True, mask=mask)
    assert_alike(gradients(ours, frames, graph=True, mask=mask), expected, 1e-5)


def test_rows_and_steps_may_be_known_only_when_it_runs(frames: np.ndarray):
    stock, ours = pair(frames, return_sequences=True)
    free = [tf.TensorSpec((None, None, *frames.shape[2:])), tf.TensorSpec((None, None), tf.bool)]
    graph = tf.function(lambda x, mask: ours(x, mask=mask), input_signature=free, autograph=False)
    for steps in (1, 2, 5):
        x, mask = frames[:, :steps], MASK[:, :steps]
        np.testing.assert_allclose(graph(x, mask), stock(x, mask=mask), atol=1e-5)


def operations(function: Any, *signature: tf.TensorSpec) -> list[str]:
    """Return the kinds of all operations of a graph, those inside its loops included."""
    graph = tf.function(function, input_signature=signature, autograph=False)
    definition = graph.get_concrete_function().graph.as_graph_def()
    assert "_XlaMustCompile" not in str(definition)
    inner = [node for each in definition.library.function for node in each.node_def]
    return [node.op for node in [*definition.node, *inner]]


@pytest.mark.parametrize("steps", [5, None], ids=["unrolled", "loop"])
def test_there_is_one_input_convolution_for_all_steps(frames: np.ndarray, steps: int | None):
    _, layer = pair(frames)
    spec = tf.TensorSpec((3, steps, *frames.shape[2:]))
    # Unrolled, the first step has none of its own: its state is zero.
    recurrent = steps - 1 if steps else 1
    kinds = operations(layer, spec)
    assert kinds.count("Conv2D") == 1 + recurrent
    assert any("While" in kind for kind in kinds) == (steps is None)
    assert layer.path.startswith("fast: keras.ops, one input convolution for all steps")


def test_before_the_first_real_step_the_output_is_zeros_and_the_state_stays(frames: np.ndarray):
    _, layer = pair(frames, return_sequences=True, return_state=True)
    state = any_state(layer)
    outputs, h, c = layer(frames, mask=MASK, initial_state=state)
    assert not outputs[2].numpy().any()
    assert not outputs[1, 0].numpy().any()
    np.testing.assert_array_equal(outputs[1, 2], outputs[1, 1])
    np.testing.assert_array_equal(h[2], state[0][2])
    np.testing.assert_array_equal(c[2], state[1][2])


def test_masked_frames_count_for_nothing_and_get_no_gradient(frames: np.ndarray):
    _, layer = pair(frames, return_sequences=True)
    noise = np.where(MASK[..., None, None, None], frames, np.float32(1e3))
    mask = tf.constant(MASK)
    np.testing.assert_array_equal(layer(noise, mask=mask), layer(frames, mask=mask))
    by_frames = gradients(layer, frames, mask=mask)[-1]
    assert not by_frames[~MASK].any()
    assert by_frames[MASK].any()


def test_a_stateful_layer_goes_on_as_in_keras(frames: np.ndarray):
    stock, ours = pair(frames, stateful=True, return_sequences=True)
    for _ in range(2):
        assert_alike(gradients(ours, frames), gradients(stock, frames), 1e-5)
    for layer in stock, ours:
        layer.reset_state()
    np.testing.assert_allclose(ours(frames), stock(frames), atol=1e-5)


def a_model(make: type[keras.layers.Layer]) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((5, 6, 7, 2)),
            make(FILTERS, 3, padding="same", return_sequences=True, name="first"),
            make(FILTERS, (3, 2), name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )


def test_training_runs_along_the_curve_of_keras(frames: np.ndarray):
    stock, ours = a_model(keras.layers.ConvLSTM2D), a_model(ConvLSTM2D)
    ours.set_weights(stock.get_weights())
    curves = []
    for model in stock, ours:
        model.compile(keras.optimizers.SGD(0.1), "mse")
        history = model.fit(frames, np.array([[1], [-1], [0.5]]), epochs=5, verbose=0)
        curves.append(history.history["loss"])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
    assert curves[0][-1] < 0.9 * curves[0][0]


@pytest.mark.parametrize(
    ("old", "new"),
    [(keras.layers.ConvLSTM2D, ConvLSTM2D), (ConvLSTM2D, keras.layers.ConvLSTM2D)],
    ids=["from-keras", "to-keras"],
)
def test_a_model_is_converted_both_ways(
    frames: np.ndarray, tmp_path: Path, old: type[keras.layers.Layer], new: type[keras.layers.Layer]
):
    def convert(layer: keras.layers.Layer) -> keras.layers.Layer:
        return (new if type(layer) is old else type(layer)).from_config(layer.get_config())

    model = a_model(old)
    converted = keras.models.clone_model(model, clone_function=convert)
    assert [type(layer) for layer in converted.layers[:2]] == [new, new]
    assert [w.path for w in converted.weights] == [w.path for w in model.weights]
    converted.set_weights(model.get_weights())
    np.testing.assert_allclose(converted(frames), model(frames), atol=1e-5)
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    model.save_weights(tmp_path / "model.weights.h5")
    converted.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(converted(frames), model(frames), atol=1e-5)


class TestStreaming:
    """Any chunks of a sequence give the answers of the whole."""

    @pytest.mark.parametrize("zero_output", [False, True], ids=["repeat", "zeros"])
    @pytest.mark.parametrize("masked", [False, True], ids=["no-mask", "mask"])
    @pytest.mark.parametrize("chunks", [(5,), (1, 1, 1, 1, 1), (2, 3), (3, 1, 1)], ids=str)
    def test_chunks(
        self, frames: np.ndarray, chunks: tuple[int, ...], masked: bool, zero_output: bool
    ):
        options = {"zero_output_for_mask": zero_output, "dropout": 0.5, "return_state": True}
        _, layer = pair(frames, return_sequences=True, padding="same", **options)
        whole, *after = layer(frames, mask=tf.constant(MASK) if masked else None)
        state, outputs, start = layer.initial_state(tf.constant(3)), [], 0
        for end in np.cumsum(chunks):
            mask = MASK[:, start:end] if masked else None
            received, state = layer.step(frames[:, start:end], state, mask)
            outputs.append(received)
            start = end
        assert_alike([np.concatenate(outputs, axis=1), *state], [whole, *after], 1e-5)

    def test_a_chunk_of_any_length_in_one_graph(self, frames: np.ndarray):
        _, layer = pair(frames, return_sequences=True)
        free = tf.TensorSpec((3, None, *frames.shape[2:]))
        step = tf.function(layer.step, input_signature=[free, [tf.TensorSpec((3, 4, 5, 3))] * 2])
        first, state = step(frames[:, :2], layer.initial_state(3))
        second, _ = step(frames[:, 2:], state)
        np.testing.assert_allclose(np.concatenate([first, second], 1), layer(frames), atol=1e-5)

    def test_it_streams_in_bfloat16(self, frames: np.ndarray):
        layer = ConvLSTM2D(FILTERS, 3, dtype="mixed_bfloat16", return_sequences=True)
        whole = layer(frames)
        received, _ = layer.step(frames, layer.initial_state(3))
        assert received.dtype == whole.dtype == tf.bfloat16
        np.testing.assert_array_equal(received.numpy(), whole.numpy())

    def test_what_cannot_stream_is_refused(self, frames: np.ndarray):
        with pytest.raises(ConfigError, match="'early' has no state before it is built"):
            ConvLSTM2D(FILTERS, 3, name="early").initial_state(3)
        _, layer = pair(frames, go_backwards=True, name="last_first")
        with pytest.raises(ConfigError, match="'last_first' cannot stream: go_backwards must be"):
            layer.step(frames, layer.initial_state(3))
