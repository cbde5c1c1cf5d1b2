"""Recurrent cells, and the layer that runs any cell over a sequence or a stream.

A cell computes one step; `RNN`, `keras.layers.RNN`, `StackedRNNCells` and `Bidirectional`
run it over time. The LSTM cells here are `keras.layers.LSTMCell` with other equations: they
take its arguments, regularizers, constraints, `dropout` and `recurrent_dropout` included,
and lay out its weights alike, gates in the order i, f, c, o:

    kernel            float32[features, 4 units]      W
    recurrent_kernel  float32[size of h, 4 units]     U
    bias              float32[4 units]                b, 1 for f at the beginning

Below, `*` is elementwise, s is `recurrent_activation` (the logistic function), and W,
U or b with a gate's letter is that gate's quarter of the columns.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError


@keras.saving.register_keras_serializable(package="seqzoo")
class RNN(keras.layers.RNN):
    """`keras.layers.RNN` that can also be fed chunk by chunk.

    The state is what `return_state=True` gives, as a flat list: that of each cell in turn.
    The first state of a cell must be its output, as it is in every cell of Keras and here.

        state = layer.initial_state(batch)
        for chunk in chunks:
            outputs, state = layer.step(chunk, state)

    Args:
        cell: A cell, or a list of cells that stand on each other.
        return_sequences: Give `float32[batch, time, units]`, not the last step's output.
        return_state: Give the states after the last step, too.
        go_backwards: Begin with the last step.
        stateful: Begin a batch with the states that the batch before ended with.
        unroll: Spell the loop out; the number of steps must then be known.
        zero_output_for_mask: Give zeros for masked steps, not the output before.
    """

    def initial_state(self, batch: Any) -> list[Any]:
        """Return the state before the first step, zeros for `batch` rows."""
        return keras.tree.flatten(self.get_initial_state(batch))

    def step(self, x: Any, state: list[Any], mask: Any = None) -> tuple[Any, list[Any]]:
        """Return the outputs of a chunk of steps, and the state after it.

        Args:
            x: `float32[batch, time, features]`, one step or more.
            state: From `initial_state` or from the step before.
            mask: `bool[batch, time]`, True = real step.

        Returns:
            `float32[batch, time, units]` and the state.

        Raises:
            ConfigError: The layer reads backwards, so that the end would have to come first.
        """
        if self.go_backwards:
            raise ConfigError(f"'{self.name}' cannot stream: go_backwards must be False, not True")
        chunk = keras.layers.RNN(
            self.cell,
            return_sequences=True,
            return_state=True,
            unroll=x.shape[1] == 1,  # One step needs no loop.
            zero_output_for_mask=self.zero_output_for_mask,
            dtype=self.dtype_policy,
            name=self.name,
        )
        before = keras.tree.pack_sequence_as(self.state_size, state)
        outputs, *after = chunk(x, initial_state=before, mask=mask, training=False)
        if mask is not None and not self.zero_output_for_mask:
            # Keras knows of no output before the chunk, and repeats zeros up to a real step.
            stacked = isinstance(self.cell, keras.layers.StackedRNNCells)
            previous = keras.tree.flatten(before[-1] if stacked else before)[0]
            begun = ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0
            outputs = ops.where(begun[..., None], outputs, previous[:, None])
        return outputs, keras.tree.flatten(after)


@keras.saving.register_keras_serializable(package="seqzoo")
class ElmanCell(keras.layers.SimpleRNNCell):
    """The plain recurrent cell, `keras.layers.SimpleRNNCell` by its author's name.

        h_t = tanh(x_t W + h_{t-1} U + b)

    Maps `float32[batch, features]` to `float32[batch, units]`. kernel W is
    `float32[features, units]`, recurrent_kernel U `float32[units, units]`, bias b
    `float32[units]`. Source: Elman 1990, Finding Structure in Time.
    """


class _LSTMCell(keras.layers.LSTMCell):
    """What the LSTM cells share: all but the equations, which `_advance` holds."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        gates = 4 * self.units
        self.kernel = self.add_weight(
            (input_shape[-1], gates),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.recurrent_kernel = self.add_weight(
            (self.output_size, gates),
            self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
            name="recurrent_kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (gates,),
                self._first_bias,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def call(self, inputs: Any, states: list[Any], training: bool = False) -> tuple[Any, list[Any]]:
        h, c = states
        input_drop = recurrent_drop = None
        if training:
            input_drop = self.get_dropout_mask(inputs)
            recurrent_drop = self.get_recurrent_dropout_mask(h)
        x = _product(inputs, self.kernel, input_drop)
        h, c = self._advance(x, _product(h, self.recurrent_kernel, recurrent_drop), c)
        return h, [h, c]

    def _advance(self, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        """Return h_t and c_t, from x_t W, h_{t-1} U (both `[batch, 4 units]`) and c_{t-1}."""
        raise NotImplementedError

    def _split(self, gates: Any) -> list[Any]:
        """Add the bias and return what goes into i, f, c and o."""
        return ops.split(gates if self.bias is None else gates + self.bias, 4, axis=1)

    def _first_bias(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        i, f, c, o = ops.split(self.bias_initializer(shape, dtype=dtype), 4)
        return ops.concatenate([i, ops.ones_like(f) if self.unit_forget_bias else f, c, o])


def _product(values: Any, kernel: Any, drop: Any) -> Any:
    """Return `values @ kernel` under a dropout mask, or under one for each gate, or under none."""
    if drop is None:
        return ops.matmul(values, kernel)
    masks = drop if isinstance(drop, list) else [drop]
    parts = zip(masks, ops.split(kernel, len(masks), axis=1), strict=True)
    return ops.concatenate([ops.matmul(values * mask, part) for mask, part in parts], axis=1)


@keras.saving.register_keras_serializable(package="seqzoo")
class LayerNormLSTMCell(_LSTMCell):
    """An LSTM that normalises what enters its gates, and its cell state on the way out.

        [i f g o] = N(x_t W) * kernel_gain + N(h_{t-1} U) * recurrent_gain + b
        c_t = s(f) * c_{t-1} + s(i) * tanh(g)
        h_t = s(o) * tanh(N(c_t) * cell_gain + cell_shift)

    N(v) = (v - mean(v)) / sqrt(variance(v) + epsilon), over all 4 units columns for the gates.
    The shifts that the source adds to the two products are one with b. The gains are
    `float32[4 units]`, `float32[4 units]` and `float32[units]`, ones at the beginning;
    cell_shift is `float32[units]`, zeros.

    Maps `float32[batch, features]` to `float32[batch, units]`.
    Source: Ba et al. 2016, Layer Normalization, arXiv:1607.06450, equations 20 to 22.

    Args:
        units: Size of h and c.
        epsilon: Keeps the denominator of N from zero.
        **options: Of `keras.layers.LSTMCell`.
    """

    def __init__(self, units: int, *, epsilon: float = 1e-5, **options: Any) -> None:
        super().__init__(units, **options)
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        gates, units = (4 * self.units,), (self.units,)
        self.kernel_gain = self.add_weight(gates, "ones", name="kernel_gain")
        self.recurrent_gain = self.add_weight(gates, "ones", name="recurrent_gain")
        self.cell_gain = self.add_weight(units, "ones", name="cell_gain")
        self.cell_shift = self.add_weight(units, "zeros", name="cell_shift")

    def _advance(self, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        s, tanh = self.recurrent_activation, self.activation
        i, f, g, o = self._split(
            self._normalise(x, self.kernel_gain) + self._normalise(h, self.recurrent_gain)
        )
        c = s(f) * c + s(i) * tanh(g)
        return s(o) * tanh(self._normalise(c, self.cell_gain, self.cell_shift)), c

    def _normalise(self, values: Any, gain: Any, shift: Any = None) -> Any:
        return ops.layer_normalization(values, gain, shift, epsilon=self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="seqzoo")
class PeepholeLSTMCell(_LSTMCell):
    """An LSTM whose gates see the cell state, each unit its own.

        i_t = s(x_t W_i + h_{t-1} U_i + p_i * c_{t-1} + b_i)
        f_t = s(x_t W_f + h_{t-1} U_f + p_f * c_{t-1} + b_f)
        c_t = f_t * c_{t-1} + i_t * tanh(x_t W_c + h_{t-1} U_c + b_c)
        o_t = s(x_t W_o + h_{t-1} U_o + p_o * c_t + b_o)
        h_t = o_t * tanh(c_t)

    p_i, p_f and p_o are the weights peephole_i, peephole_f and peephole_o, `float32[units]`.
    They are zeros at the beginning, and with zeros this is `keras.layers.LSTMCell`.

    Maps `float32[batch, features]` to `float32[batch, units]`.
    Source: Gers and Schmidhuber 2000, Recurrent Nets that Time and Count; Gers et al. 2002,
    Learning Precise Timing with LSTM Recurrent Networks, section 3.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.peephole_i, self.peephole_f, self.peephole_o = (
            self.add_weight((self.units,), "zeros", name=f"peephole_{gate}") for gate in "ifo"
        )

    def _advance(self, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        s, tanh = self.recurrent_activation, self.activation
        i, f, g, o = self._split(x + h)
        i = s(i + self.peephole_i * c)
        f = s(f + self.peephole_f * c)
        c = f * c + i * tanh(g)
        o = s(o + self.peephole_o * c)
        return o * tanh(c), c


@keras.saving.register_keras_serializable(package="seqzoo")
class ProjectedLSTMCell(_LSTMCell):
    """An LSTM (LSTMP) that gives out, and feeds back, fewer values than it remembers.

        [i f g o] = x_t W + h_{t-1} U + b
        c_t = s(f) * c_{t-1} + s(i) * tanh(g)
        h_t = (s(o) * tanh(c_t)) P

    P is the weight projection, `float32[units, projection_units]`, drawn as the kernel is.
    With the identity as P this is `keras.layers.LSTMCell`.

    Maps `float32[batch, features]` to `float32[batch, projection_units]`.
    Source: Sak et al. 2014, Long Short-Term Memory Based Recurrent Neural Network
    Architectures, arXiv:1402.1128, section 2.2, without peepholes and without the second,
    non-recurrent projection.

    Args:
        units: Size of c.
        projection_units: Size of h.
        **options: Of `keras.layers.LSTMCell`.

    Raises:
        ConfigError: projection_units is below 1.
    """

    def __init__(self, units: int, projection_units: int, **options: Any) -> None:
        super().__init__(units, **options)
        if projection_units < 1:
            raise ConfigError(f"projection_units must be at least 1, not {projection_units}")
        self.projection_units = self.output_size = projection_units
        self.state_size = [projection_units, units]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        shape = (self.units, self.projection_units)
        self.projection = self.add_weight(shape, self.kernel_initializer, name="projection")

    def _advance(self, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        s, tanh = self.recurrent_activation, self.activation
        i, f, g, o = self._split(x + h)
        c = s(f) * c + s(i) * tanh(g)
        return ops.matmul(s(o) * tanh(c), self.projection), c

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "projection_units": self.projection_units}
