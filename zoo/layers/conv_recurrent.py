"""The convolutional LSTM over frames, its input convolution taken out of the time loop."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError
from zoo.layers.told_path import ToldPath

UNROLLED_STEPS = 32
"""Up to this many steps, where their number is fixed, the time loop becomes plain operations:
a loop of TensorFlow takes 1.2 to 1.4 times as long to train."""


@keras.saving.register_keras_serializable(package="seqzoo")
class ConvLSTM2D(ToldPath, keras.layers.ConvLSTM2D):
    """`keras.layers.ConvLSTM2D` with the same arguments, weights and answers in fewer operations.

        i_t = s(W_i * x_t + U_i * h_{t-1} + b_i)        s = sigmoid, * = convolution
        f_t = s(W_f * x_t + U_f * h_{t-1} + b_f)
        g_t = tanh(W_g * x_t + U_g * h_{t-1} + b_g)
        o_t = s(W_o * x_t + U_o * h_{t-1} + b_o)
        c_t = f_t c_{t-1} + i_t g_t
        h_t = o_t tanh(c_t)

    The gates lie in the order i, f, g, o in the last axis of

        kernel            float32[rows, columns, channels, 4 * filters]
        recurrent_kernel  float32[rows, columns, filters, 4 * filters]
        bias              float32[4 * filters]

    Keras convolves eight times per step. Here W meets all steps' frames in one convolution,
    U meets the state in one per step, and in none where the state is known to be zero. A
    dropout rate gives each gate an input of its own, as in Keras: four convolutions for one.

    A masked step keeps the state and repeats the output before it; there is none before the
    first real step, so the outputs up to there are zeros, whatever the initial state.

    Input `float32[batch, time, height, width, channels]`, or channels before height where
    `data_format` says so; output alike with `filters` channels, without the time axis unless
    `return_sequences`.

    Source: Shi et al. 2015, Convolutional LSTM Network, equation 3 without the peepholes.
    """

    @property
    def path(self) -> str:
        """How the layer runs, and why; the same on every backend."""
        return (
            "fast: keras.ops, one input convolution for all steps; "
            f"unrolled up to {UNROLLED_STEPS} steps, a loop beyond"
        )

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        self._starts_at_zero = initial_state is None and not self.stateful
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def inner_loop(
        self, sequences: Any, initial_state: list[Any], mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Return the last output, all outputs and the last state; Keras calls it in `call`."""
        # Copies, since PyTorch writes the next state of a stateful layer into this one.
        state = None if self._starts_at_zero else [ops.copy(each) for each in initial_state]
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        hidden, state = self._over_time(sequences, state, mask, training)
        last = state[0]
        if mask is not None:
            mask = _frame_mask(mask)
            seen = mask if self.zero_output_for_mask else ops.cumsum(mask, axis=1) > 0
            hidden, last = ops.where(seen, hidden, 0), ops.where(seen[:, -1], last, 0)
        return last, hidden, state

    def initial_state(self, batch: Any) -> list[Any]:
        """Return the state before the first step: zeros for h and c.

        Args:
            batch: Number of rows, an int or a scalar tensor.

        Raises:
            ConfigError: The layer is not built, so that the size of a frame is unknown.
        """
        if not self.built:
            raise ConfigError(f"'{self.name}' has no state before it is built: call it once")
        return self.get_initial_state(batch)

    def step(self, x: Any, state: list[Any], mask: Any = None) -> tuple[Any, list[Any]]:
        """Go on from `state` through one or more steps, without dropout.

        Args:
            x: `float32[batch, time, height, width, channels]`.
            state: What `initial_state` or the step before returned.
            mask: `bool[batch, time]`, True = real step.

        Returns:
            The outputs of these steps, whatever `return_sequences` says, and the next state.

        Raises:
            ConfigError: The layer goes backwards, so that its first step is the last one.
        """
        if self.go_backwards:
            raise ConfigError(f"'{self.name}' cannot stream: go_backwards must be False, not True")
        x = ops.convert_to_tensor(x, self.compute_dtype)
        hidden, state = self._over_time(x, state, mask, training=False)
        if mask is not None and self.zero_output_for_mask:
            hidden = ops.where(_frame_mask(mask), hidden, 0)
        return hidden, state

    def get_config(self) -> dict[str, Any]:
        # Lists, since JSON has no tuples: the config is the same after a trip through a file.
        config = super().get_config()
        return {name: list(v) if isinstance(v, tuple) else v for name, v in config.items()}

    def _over_time(
        self, frames: Any, state: list[Any] | None, mask: Any, training: bool
    ) -> tuple[Any, list[Any]]:
        """Return h of every step, batch first, and the last state."""
        gates, time = self._project(frames, training), frames.shape[1]
        mask = None if mask is None else ops.swapaxes(_frame_mask(mask), 0, 1)
        if time is not None and (self.unroll or time <= UNROLLED_STEPS):
            masks = [None] * time if mask is None else ops.unstack(mask, time)
            states: list[Any] = [state]
            for projected, real in zip(ops.unstack(gates, time), masks, strict=True):
                states.append(self._advance(states[-1], projected, real, training))
            return ops.stack([h for h, _ in states[1:]], axis=1), states[-1]

        def body(before: list[Any], projected: Any) -> tuple[list[Any], list[Any]]:
            # The mask is looked up by t, and all of the state is an output, since TensorFlow's
            # scan takes one sequence of free length and gives what is like the state.
            h, c, t = before
            real = None if mask is None else ops.take(mask, t, axis=0)
            after = [*self._advance([h, c], projected, real, training), t + 1]
            return after, after

        state = state or self.get_initial_state(ops.shape(frames)[0])
        (h, c, _), (hidden, *_) = ops.scan(body, [*state, ops.zeros((), "int32")], gates)
        return ops.swapaxes(hidden, 0, 1), [h, c]

    def _project(self, frames: Any, training: bool) -> Any:
        """Return W * x + b of all steps at once, time first."""
        cell = self.cell
        frames = ops.swapaxes(frames, 0, 1)
        masks = cell.get_dropout_mask(frames[0]) if training and 0 < cell.dropout < 1 else None
        projected = self._convolve(
            frames,
            cell.kernel,
            masks,
            strides=cell.strides,
            padding=cell.padding,
            dilation_rate=cell.dilation_rate,
        )
        if cell.use_bias:
            behind = (1, 1) if cell.data_format == "channels_first" else ()
            projected = projected + ops.reshape(
                ops.cast(cell.bias, self.compute_dtype), (-1, *behind)
            )
        return ops.reshape(projected, (*ops.shape(frames)[:2], *projected.shape[1:]))

    def _advance(self, state: list[Any] | None, gates: Any, mask: Any, training: bool) -> list[Any]:
        """Return h and c after a step whose W * x + b is `gates`; no state stands for zeros."""
        cell = self.cell
        h, c = state or (0, 0)
        if state:
            dropped = training and 0 < cell.recurrent_dropout < 1
            masks = cell.get_recurrent_dropout_mask(h) if dropped else None
            gates = gates + self._convolve(h, cell.recurrent_kernel, masks, padding="same")
        i, f, g, o = ops.split(gates, 4, axis=self._channels)
        carry = cell.recurrent_activation(f) * c
        carry = carry + cell.recurrent_activation(i) * cell.activation(g)
        hidden = cell.recurrent_activation(o) * cell.activation(carry)
        if mask is None:
            return [hidden, carry]
        return [ops.where(mask, hidden, h), ops.where(mask, carry, c)]

    @property
    def _channels(self) -> int:
        return -3 if self.cell.data_format == "channels_first" else -1

    def _convolve(self, frames: Any, kernel: Any, masks: list[Any] | None, **how: Any) -> Any:
        """Return the convolution for all gates; axes before a frame's own three become one."""
        kernel = ops.cast(kernel, self.compute_dtype)

        def convolve(inputs: Any, part: Any) -> Any:
            inputs = ops.reshape(inputs, (-1, *inputs.shape[-3:]))
            return ops.conv(inputs, part, data_format=self.cell.data_format, **how)

        if masks is None:
            return convolve(frames, kernel)
        parts = zip(masks, ops.split(kernel, 4, axis=-1), strict=True)
        gates = [convolve(frames * mask, part) for mask, part in parts]
        return ops.concatenate(gates, axis=self._channels)


def _frame_mask(mask: Any) -> Any:
    """Return a mask `[batch, time]` or `[batch, time, 1]` as `bool[batch, time, 1, 1, 1]`."""
    return ops.reshape(ops.cast(mask, "bool"), (*ops.shape(mask)[:2], 1, 1, 1))
