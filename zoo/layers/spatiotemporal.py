"""The spatiotemporal LSTM of PredRNN: a second memory that travels through the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="seqzoo")
class STLSTMCell(keras.layers.Layer):
    """One layer of PredRNN at one time step.

        i  = s(W_i  * x + U_i * h + b_i)            s = sigmoid, * = convolution
        f  = s(W_f  * x + U_f * h + b_f)
        g  = tanh(W_g  * x + U_g * h + b_g)
        c' = f c + i g
        i~ = s(W_i~ * x + V_i * m + b_i~)
        f~ = s(W_f~ * x + V_f * m + b_f~)
        g~ = tanh(W_g~ * x + V_g * m + b_g~)
        m' = f~ m + i~ g~
        o  = s(W_o * x + U_o * h + Q * [c', m'] + b_o)
        h' = o tanh(R * [c', m'])                   R is a 1x1 convolution

    The temporal memory c stays in its layer, the spatiotemporal memory m zigzags: layer l at
    step t takes m from layer l - 1 at step t, and the bottom layer takes it from the top
    layer at step t - 1. All convolutions have stride 1 and padding "same", so a frame keeps
    its height and width. The gates lie in the order i, f, g, i~, f~, g~, o in W and b,
    i, f, g, o in U, and i, f, g in V:

        kernel             W  float32[size, size, channels, 7 * filters]
        recurrent_kernel   U  float32[size, size, filters, 4 * filters]
        memory_kernel      V  float32[size, size, filters, 3 * filters]
        output_kernel      Q  float32[size, size, 2 * filters, filters]
        fusion_kernel      R  float32[1, 1, 2 * filters, filters]
        bias               b  float32[7 * filters], 1 for f and f~ at the beginning, else 0

    A stack calls `project` and `step` per layer and step. Alone, the cell runs
    in `keras.layers.RNN`, with the state `[h, c, m]`; that layer tells the shape of its
    output as if it were vectors, so in a functional model override `compute_output_shape`.

    Source: Wang et al. 2017 and 2022, PredRNN, the equations of the ST-LSTM unit, where
    Q * [c', m'] is written as W_co * c' + W_mo * m'.

    Args:
        filters: Channels of h, c and m.
        kernel_size: Height and width of the kernels.
    """

    def __init__(self, filters: int, kernel_size: int = 5, **options: Any) -> None:
        super().__init__(**options)
        self.filters = filters
        self.kernel_size = kernel_size
        self.state_size = [filters] * 3
        self.output_size = filters

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        *_, self._height, self._width, channels = input_shape
        size, filters = (self.kernel_size, self.kernel_size), self.filters
        self.kernel = self.add_weight((*size, channels, 7 * filters), name="kernel")
        self.recurrent_kernel = self.add_weight(
            (*size, filters, 4 * filters), name="recurrent_kernel"
        )
        self.memory_kernel = self.add_weight((*size, filters, 3 * filters), name="memory_kernel")
        self.output_kernel = self.add_weight((*size, 2 * filters, filters), name="output_kernel")
        self.fusion_kernel = self.add_weight((1, 1, 2 * filters, filters), name="fusion_kernel")
        self.bias = self.add_weight((7 * filters,), initializer=_forget_bias, name="bias")

    def call(self, x: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        h, c, m = self.step(self.project(x), states)
        return h, [h, c, m]

    def project(self, frames: Any) -> Any:
        """Return W * x + b of any number of frames at once.

        Args:
            frames: `float32[..., height, width, channels]`.

        Returns:
            `float32[..., height, width, 7 * filters]`, what `step` takes.
        """
        frames = ops.convert_to_tensor(frames, self.compute_dtype)
        flat = ops.reshape(frames, (-1, *frames.shape[-3:]))
        projected = _convolve(flat, self.kernel) + ops.cast(self.bias, self.compute_dtype)
        return ops.reshape(projected, (*ops.shape(frames)[:-1], 7 * self.filters))

    def step(self, projected: Any, states: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Return h, c and m after one step.

        Args:
            projected: `float32[batch, height, width, 7 * filters]`, from `project`.
            states: h, c and m, each `float32[batch, height, width, filters]`.
        """
        h, c, m = states
        xi, xf, xg, xi_m, xf_m, xg_m, xo = ops.split(projected, 7, axis=-1)
        hi, hf, hg, ho = ops.split(_convolve(h, self.recurrent_kernel), 4, axis=-1)
        mi, mf, mg = ops.split(_convolve(m, self.memory_kernel), 3, axis=-1)
        c = ops.sigmoid(xf + hf) * c + ops.sigmoid(xi + hi) * ops.tanh(xg + hg)
        m = ops.sigmoid(xf_m + mf) * m + ops.sigmoid(xi_m + mi) * ops.tanh(xg_m + mg)
        memories = ops.concatenate([c, m], axis=-1)
        o = ops.sigmoid(xo + ho + _convolve(memories, self.output_kernel))
        return o * ops.tanh(_convolve(memories, self.fusion_kernel)), c, m

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """Return zeros for h, c and m; the cell must be built."""
        shape = (batch_size, self._height, self._width, self.filters)
        return [ops.zeros(shape, self.compute_dtype) for _ in self.state_size]

    def get_config(self) -> dict[str, Any]:
        config = {"filters": self.filters, "kernel_size": self.kernel_size}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="seqzoo")
class STLSTMStack(keras.layers.Layer):
    """Layers of ST-LSTM cells that predict frame after frame, and see what they predict.

    Takes `float32[batch, time, height, width, channels]` and gives the `horizon` frames behind it.
    A frame is a 1 x 1 convolution of what the last layer says, and a sigmoid: what is predicted and
    seen again stays between 0 and 1, however many frames follow.
    Source: Wang et al. 2017, PredRNN, figure 2.

    Args:
        horizon: Frames that are predicted.
        filters: Channels of each layer's states.
        layers: Number of cells.
        kernel_size: Height and width of the kernels.
        seed: Of what is shown in training.
    """

    def __init__(
        self,
        horizon: int,
        filters: int,
        layers: int = 2,
        kernel_size: int = 5,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.horizon, self.filters, self.kernel_size = horizon, filters, kernel_size
        self.seed = seed
        # A variable of the model, so that a checkpoint has it.
        self._draws = keras.random.SeedGenerator(seed)
        self.cells = [
            STLSTMCell(filters, kernel_size, name=f"cell_{number}", dtype=self.dtype_policy)
            for number in range(layers)
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        batch, _, *size, channels = input_shape
        for number, cell in enumerate(self.cells):
            cell.build((batch, *size, self.filters if number else channels))
        # A frame is told in full precision, whatever the layers compute in.
        self.to_frame = keras.layers.Dense(
            channels, activation="sigmoid", dtype="float32", name="pixels"
        )
        self.to_frame.build((batch, *size, self.filters))

    def call(self, frames: Any) -> Any:
        return self.rollout(frames, self.horizon)

    def rollout(self, frames: Any, count: int) -> Any:
        """Return the `count` frames behind these, `float32[batch, count, ...]`."""
        predicted, state = self.read(frames, self.initial_state(ops.shape(frames)[0]))
        written = [predicted]
        for _ in range(count - 1):
            predicted, state = self.advance(predicted, state)
            written.append(predicted)
        return ops.stack(written, axis=1)

    def taught(self, frames: Any, seen: int, known: Any) -> Any:
        """Return what is predicted of every frame but the first, `[batch, time - 1, ...]`.

        Args:
            frames: A whole clip.
            seen: Its first frames, which are always shown.
            known: A scalar: the share of the others that are shown in the place of predictions.
        """
        state = self.initial_state(ops.shape(frames)[0])
        written: list[Any] = []
        shape = (ops.shape(frames)[0], 1, 1, 1)
        for place, frame in enumerate(ops.unstack(frames, axis=1)[:-1]):
            if place >= seen:
                shown = ops.cast(keras.random.uniform(shape, seed=self._draws) < known, frame.dtype)
                frame = shown * frame + (1 - shown) * ops.cast(written[-1], frame.dtype)
            predicted, state = self.advance(frame, state)
            written.append(predicted)
        return ops.stack(written, axis=1)

    def read(self, frames: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return what is expected behind frames, `float32[batch, ...]`, and the state."""
        predicted, after = None, [*state]
        for frame in ops.unstack(frames, axis=1):
            predicted, after = self.advance(frame, after)
        return predicted, after

    def advance(self, frame: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return the frame expected behind one, and the state: h and c by layer, and m."""
        x, after, memory = frame, [], state[-1]
        for number, cell in enumerate(self.cells):
            h, c = state[2 * number : 2 * number + 2]
            x, c, memory = cell.step(cell.project(x), (h, c, memory))
            after += [x, c]
        return self.to_frame(x), [*after, memory]

    def initial_state(self, batch: Any) -> list[Any]:
        """Return zeros for h and c of each layer, and for m."""
        zeros, *_ = self.cells[0].get_initial_state(batch)
        return [zeros] * (2 * len(self.cells) + 1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.horizon, *input_shape[2:])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "horizon": self.horizon,
            "filters": self.filters,
            "layers": len(self.cells),
            "kernel_size": self.kernel_size,
            "seed": self.seed,
        }


def _convolve(frames: Any, kernel: Any) -> Any:
    # Cast here, since outside of `call` Keras does not.
    return ops.conv(frames, ops.cast(kernel, frames.dtype), padding="same")


def _forget_bias(shape: tuple[int], dtype: Any = None) -> Any:
    """Return ones for the two forget gates and zeros for the other five."""
    gates = ops.convert_to_tensor([0, 1, 0, 0, 1, 0, 0], dtype)
    return ops.repeat(gates, shape[0] // 7)
