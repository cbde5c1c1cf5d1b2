"""Recurrent layers whose gates do not look at the state, so that all steps train at once.

Each keeps a weighted mean of what it has seen, with weights that the inputs alone decide:

    h_t = f_t * h_{t-1} + (1 - f_t) * c_t,        0 < f_t < 1, elementwise

`zoo.layers.scan` solves that for a whole sequence in a few passes; `step` goes on from a
state with as many further steps as there are, and gives the same numbers.

Gates and states are computed in float32 at least, also where the layer computes in
bfloat16: with 8 bits a decay above 0.998 is 1, and a state stops taking up small inflows.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError
from zoo.layers.dropout import VariationalDropout
from zoo.layers.scan import recurrence


def _average(keep: Any, candidate: Any, initial: Any, mask: Any) -> Any:
    """Return every h_t; where the mask is False, h_t = h_{t-1}."""
    if mask is not None:
        keep = ops.where(ops.expand_dims(mask, -1), keep, ops.ones_like(keep))
    return recurrence(keep, (1.0 - keep) * candidate, initial)


def _hold(values: Any, initial: Any, mask: Any) -> Any:
    """Return at every step the value of the latest real step, before the first `initial`."""
    return values if mask is None else _average(ops.zeros_like(values), values, initial, mask)


class _ParallelRecurrent(keras.layers.Layer):
    """What the layers share: arguments, weights, and the whole sequence as one `step`.

    Takes `float32[batch, time, features]` and a mask `bool[batch, time]` (True = real
    step). A masked step leaves the state alone and repeats the output before it.

    Args:
        units: Size of the state.
        use_bias: Add a bias to every gate.
        kernel_initializer: Of the kernel.
        bias_initializer: Of the bias.
        forget_bias: Without an input, f_t is at first sigmoid(forget_bias): it is added to the
            bias of the gate that keeps and taken from that of the gate that writes, so that
            gradients reach far back (Gers et al. 2000). Of no effect without a bias.
        return_sequences: Give every output, not only the last one.
        return_state: Give `[output, *state]`.
        go_backwards: Go through time from the end; outputs come in that order.
        dropout: Share of the input's features that is dropped, the same at every step.
        seed: Seed of the dropout.

    Raises:
        ConfigError: `units` is less than 1.
    """

    remembers: tuple[int, ...]
    """Per gate, in the order of the kernel's columns: 1 if opening it makes the layer
    remember, -1 if it makes it forget, 0 if neither."""

    stateful, states = False, None  # keras.layers.Bidirectional asks for both.

    def __init__(
        self,
        units: int,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        forget_bias: float = 1.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if units < 1:
            raise ConfigError(f"units must be at least 1, not {units}")
        self.units, self.use_bias, self.forget_bias = units, use_bias, forget_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.dropout, self.seed = go_backwards, dropout, seed
        self.input_dropout = VariationalDropout(dropout, seed=seed, dtype=self.dtype_policy)
        self.features: int | None = None
        self.supports_masking = True

    def build(self, inputs_shape: Any, initial_state_shape: Any = None) -> None:
        self.features = inputs_shape[-1]
        columns = len(self.remembers) * self.units
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self._window_features(self.features), columns),
            initializer=self.kernel_initializer,
        )
        # Added to float32 gates, so never cast to a smaller type.
        self.bias = self.use_bias and self.add_weight(
            name="bias", shape=(columns,), initializer=self._first_bias, autocast=False
        )

    def initial_state(self, batch: Any) -> list[Any]:
        """Return the state before the first step: zeros, `float32[batch, size]` each.

        Raises:
            ConfigError: The state holds inputs, and the layer does not know their size yet.
        """
        sizes = self._state_sizes(self.features)
        if None in sizes:
            raise ConfigError(f"'{self.name}' must be built before its state, not after it")
        return [ops.zeros((batch, size), dtype=self._wide) for size in sizes]

    def step(self, x: Any, state: list[Any], mask: Any = None) -> tuple[Any, list[Any]]:
        """Go on by one or more steps.

        Args:
            x: `float32[batch, time, features]`.
            state: As `initial_state` or an earlier `step` gives it.
            mask: `bool[batch, time]`, or none if every step is real.

        Returns:
            The outputs `float32[batch, time, units]`, and the state after the last step, which
            is float32 at least.

        Raises:
            ConfigError: The layer goes backwards, so that its first step is the last one.
        """
        if self.go_backwards:
            raise ConfigError(f"'{self.name}' cannot stream: go_backwards must be False, not True")
        if not self.built:
            self.build(x.shape)
        return self._run(x, state, mask)

    def call(
        self, inputs: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        state = self.initial_state(ops.shape(inputs)[0]) if initial_state is None else initial_state
        inputs = self.input_dropout(inputs, training=training)
        if self.go_backwards:
            inputs = ops.flip(inputs, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        outputs, state = self._run(inputs, state, mask)
        outputs = outputs if self.return_sequences else outputs[:, -1]
        if not self.return_state:
            return outputs
        return [outputs, *(ops.cast(values, self.compute_dtype) for values in state)]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        mask = previous_mask if self.return_sequences else None
        if mask is not None and self.go_backwards:
            mask = ops.flip(mask, axis=1)
        return [mask, *(None for _ in self._state_sizes(0))] if self.return_state else mask

    def compute_output_shape(self, inputs_shape: Any, initial_state_shape: Any = None) -> Any:
        batch, time, features = inputs_shape
        output = (batch, time, self.units) if self.return_sequences else (batch, self.units)
        state = [(batch, size) for size in self._state_sizes(features)]
        return (output, *state) if self.return_state else output

    def get_config(self) -> dict[str, Any]:
        own = {
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "forget_bias": self.forget_bias,
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "dropout": self.dropout,
            "seed": self.seed,
        }
        return {**super().get_config(), **own}

    @property
    def _wide(self) -> str:
        """The dtype of gates and states: float32, or float64 if the layer computes in it."""
        return keras.backend.result_type(self.compute_dtype, "float32")

    def _first_bias(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        remembers = ops.repeat(ops.convert_to_tensor(self.remembers, dtype=dtype), self.units)
        return self.bias_initializer(shape, dtype=dtype) + self.forget_bias * remembers

    def _run(self, x: Any, state: list[Any], mask: Any) -> tuple[Any, list[Any]]:
        """Return outputs in the layer's dtype, and the last state in float32 at least."""
        x, *state = [ops.cast(values, self._wide) for values in (x, *state)]
        if mask is not None:
            mask = ops.cast(mask, "bool")
            # Selected before any arithmetic: what stands in the padding may be NaN.
            x = ops.where(ops.expand_dims(mask, -1), x, ops.zeros_like(x))
        outputs, state = self._advance(x, state, mask)
        return ops.cast(outputs, self.compute_dtype), state

    def _gates(self, x: Any) -> list[Any]:
        """Return W x + b gate by gate: one product each, where cutting one up would copy it."""
        count = len(self.remembers)
        kernels = ops.split(ops.cast(self.kernel, self.compute_dtype), count, axis=-1)
        x = ops.cast(x, self.compute_dtype)
        gates = [ops.cast(ops.matmul(x, kernel), self._wide) for kernel in kernels]
        if not self.use_bias:
            return gates
        biases = ops.split(ops.cast(self.bias, self._wide), count)
        return [gate + bias for gate, bias in zip(gates, biases, strict=True)]

    def _window_features(self, features: Any) -> int:
        return features

    def _state_sizes(self, features: Any) -> list[Any]:
        return [self.units]

    def _advance(self, x: Any, state: list[Any], mask: Any) -> tuple[Any, list[Any]]:
        keep, candidate = self._keep_and_candidate(*self._gates(x))
        states = _average(keep, candidate, state[0], mask)
        return states, [states[:, -1]]

    def _keep_and_candidate(self, *gates: Any) -> tuple[Any, Any]:
        raise NotImplementedError


def _positive(x: Any) -> Any:
    """Return g(x) = x + 0.5 if x >= 0, else sigmoid(x) (Feng et al., appendix B)."""
    above = ops.relu(x)
    return above + ops.sigmoid(x - above)


@keras.saving.register_keras_serializable(package="seqzoo")
class MinGRU(_ParallelRecurrent):
    """A GRU without reset gate whose update gate sees the input only.

        z_t = sigmoid(W_z x_t + b_z)
        c_t = g(W_h x_t + b_h),        g(x) = x + 0.5 if x >= 0, else sigmoid(x)
        h_t = (1 - z_t) * h_{t-1} + z_t * c_t

    The output is h. The paper scans log h, which its way of scanning needs; this layer
    scans h itself: see `zoo.layers.scan` for why that is as stable.

    Weights: kernel `[features, 2 units]` and bias `[2 units]`, columns z, h. State: `[h]`.
    Source: Feng et al. 2024, "Were RNNs All We Needed?", section 3.1 and appendix B.
    """

    remembers = (-1, 0)

    def _keep_and_candidate(self, *gates: Any) -> tuple[Any, Any]:
        update, candidate = gates
        return ops.sigmoid(-update), _positive(candidate)

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


@keras.saving.register_keras_serializable(package="seqzoo")
class MinLSTM(_ParallelRecurrent):
    """An LSTM whose gates see the input only and share out the whole of the new state.

        f_t = sigmoid(W_f x_t + b_f),   i_t = sigmoid(W_i x_t + b_i)
        c_t = g(W_h x_t + b_h),         g(x) = x + 0.5 if x >= 0, else sigmoid(x)
        h_t = f'_t * h_{t-1} + i'_t * c_t,   f' = f / (f + i),   i' = i / (f + i) = 1 - f'

    The output is h. The paper scans log h, which its way of scanning needs; this layer
    scans h itself: see `zoo.layers.scan` for why that is as stable.

    Weights: kernel `[features, 3 units]` and bias `[3 units]`, columns f, i, h. State: `[h]`.
    Source: Feng et al. 2024, "Were RNNs All We Needed?", section 3.2 and appendix B.
    """

    remembers = (1, -1, 0)

    def _keep_and_candidate(self, *gates: Any) -> tuple[Any, Any]:
        forget, write, candidate = gates
        # f / (f + i) = (1 + e^-w) / ((1 + e^-w) + (1 + e^-f)), where the powers may be infinite,
        # and so are taken times the smallest of e^f, e^w and 1: also two gates that are shut
        # share by how much.
        least = ops.minimum(ops.minimum(forget, write), 0.0)
        one = ops.exp(least)
        kept, written = one + ops.exp(least - write), one + ops.exp(least - forget)
        return kept / (kept + written), _positive(candidate)

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


@keras.saving.register_keras_serializable(package="seqzoo")
class QRNN(_ParallelRecurrent):
    """Quasi-recurrent layer: a causal convolution makes the gates, pooling is recurrent.

        X_t = [x_t, x_{t-1}, ..., x_{t-window+1}]        (zeros before the first step)
        z_t = tanh(W_z X_t + b_z),   f_t = sigmoid(W_f X_t + b_f),   o_t = sigmoid(W_o X_t + b_o)
        c_t = f_t * c_{t-1} + (1 - f_t) * z_t,       h_t = o_t * c_t

    The output is h. A masked step is no part of any X.

    Weights: kernel `[window * features, 3 units]`, rows x_t first, and bias `[3 units]`,
    columns z, f, o. State: `[h, c, x_t, ..., x_{t-window+2}]`.
    Source: Bradbury et al. 2017, "Quasi-Recurrent Neural Networks", section 2,
    equations 1, 2 and 4 (fo-pooling).

    Args:
        units: Size of h and of c.
        window: Width of the convolution in steps.
        **options: As the other layers of this file take them.

    Raises:
        ConfigError: `units` or `window` is less than 1.
    """

    remembers = (0, 1, 0)

    def __init__(self, units: int, window: int = 2, **options: Any) -> None:
        super().__init__(units, **options)
        if window < 1:
            raise ConfigError(f"window must be at least 1, not {window}")
        self.window = window

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window": self.window}

    def _window_features(self, features: Any) -> int:
        return self.window * features

    def _state_sizes(self, features: Any) -> list[Any]:
        return [self.units, self.units, *([features] * (self.window - 1))]

    def _advance(self, x: Any, state: list[Any], mask: Any) -> tuple[Any, list[Any]]:
        output, memory, *seen = state
        window, latest = [x], []
        for before in seen:
            held = _hold(window[-1], before, mask)
            window.append(ops.concatenate([ops.expand_dims(before, 1), held[:, :-1]], axis=1))
            latest.append(held[:, -1])
        candidate, keep, shown = self._gates(ops.concatenate(window, axis=-1))
        memories = _average(ops.sigmoid(keep), ops.tanh(candidate), memory, mask)
        outputs = _hold(ops.sigmoid(shown) * memories, output, mask)
        return outputs, [outputs[:, -1], memories[:, -1], *latest]
