"""LSTM and GRU: the layers of Keras, run faster on a CPU.

Same arguments, weights, names and config as `keras.layers.LSTM` and `keras.layers.GRU`, so
that weights move both ways by `set_weights` and `.weights.h5`, and a model is converted by
`keras.models.clone_model` in either direction. What differs is how they run, which
`layer.path` tells:

- TensorFlow on a CPU: in training as loops that XLA compiles (`recurrence.compiled`),
  otherwise out of TensorFlow's own operations (`recurrence.stock`), in Python as in an
  exported model.
- A GPU, another backend, or a setting that the equations do not know: Keras' own way.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers.cells import RNN


class _FastRecurrent(keras.layers.RNN):
    """What `LSTM` and `GRU` share: the choice of the path, and streaming.

    `super()` is the layer of Keras, which holds arguments, weights and config.
    """

    cell: Any

    @property
    def path(self) -> str:
        """How the layer runs, and why: "fast: ..." or "keras: ..."."""
        reason = self._why_keras()
        if reason:
            return f"keras: {reason}"
        return "fast: TensorFlow on a CPU, compiled in training and stock operations otherwise"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if not self._why_keras():
            # The loops compile themselves, one per core; inside a step that is compiled as a
            # whole they would share one core.
            self.supports_jit = False

    def initial_state(self, batch: int | Any) -> list[Any]:
        """Return the states before the first step: zeros `float32[batch, units]`."""
        return self.get_initial_state(batch_size=batch)

    def step(self, x: Any, state: Sequence[Any], mask: Any = None) -> tuple[Any, list[Any]]:
        """Take the next steps of a stream.

        Args:
            x: `float32[batch, time, features]`, one step or more.
            state: From `initial_state` or the last `step`.
            mask: `bool[batch, time]`, True = real step.

        Returns:
            Outputs `float32[batch, time, units]` of these steps, and the states after them.

        Raises:
            ConfigError: The layer goes backwards, so that its first step is the last one.
        """
        if self.go_backwards:
            raise ConfigError(f"'{self.name}' cannot stream: go_backwards must be False, not True")
        if not self.built:
            self.build(x.shape)
        if self._why_keras():
            by_keras = RNN(self.cell, zero_output_for_mask=self.zero_output_for_mask)
            return by_keras.step(x, list(state), mask)
        mask = None if mask is None else ops.convert_to_tensor(mask, "bool")
        y, state = self._run(x, mask, state, training=False)
        if self.zero_output_for_mask and mask is not None:
            y = self._behind_mask(y, mask)
        return ops.cast(y, self.compute_dtype), [ops.cast(s, self.compute_dtype) for s in state]

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Run over all steps; called by `keras.layers.RNN.call`.

        Returns:
            Output of the last step, outputs of all steps, last states.
        """
        if self._why_keras():
            return super().inner_loop(sequences, initial_state, mask, training=training)
        mask = keras.tree.flatten(mask)[0] if mask is not None else None
        if training and self.cell.dropout:
            sequences *= self.cell.get_dropout_mask(sequences[:, 0, :])[:, None, :]
        states = keras.tree.flatten(initial_state)
        asked = self.return_state or self.stateful
        y, states = self._run(sequences, mask, states, training, last_states=asked)
        if mask is not None:
            y = self._behind_mask(y, mask)
        return y[:, -1], y, states

    def _run(
        self, x: Any, mask: Any, states: Sequence[Any], training: bool, last_states: bool = True
    ) -> tuple[Any, list[Any]]:
        """Return the outputs of all steps and the last states, in float32.

        Without `last_states`, what is given for them need not be all of them.

        The loop is in float32 under every policy: what a state loses by rounding, it loses
        again at every step.
        """
        # Imported here: other backends have no TensorFlow.
        from zoo.layers.recurrence import compiled, stock

        weights = [self.cell.kernel, self.cell.recurrent_kernel, self._bias()]
        x, states, weights = keras.tree.map_structure(
            lambda values: ops.cast(ops.convert_to_tensor(values), "float32"),
            (x, list(states), weights),
        )
        inputs = (self._recurrence(), x, mask, states, weights, self.go_backwards)
        if training:
            return compiled.run(*inputs)
        return stock.run(*inputs, last_states=last_states)

    def _behind_mask(self, y: Any, mask: Any) -> Any:
        """Return the outputs as Keras gives them where there is no real step.

        The last real step's output is repeated, and before the first one there are zeros,
        whatever the initial state; with `zero_output_for_mask` there are zeros in all cases.
        """
        real = ops.flip(mask, 1) if self.go_backwards else mask
        if not self.zero_output_for_mask:
            real = ops.cumsum(ops.cast(real, "int32"), 1) > 0
        return ops.where(real[..., None], y, ops.zeros_like(y))

    def _bias(self) -> Any:
        if self.cell.use_bias:
            return self.cell.bias
        gates = self.cell.kernel.shape[-1]
        return ops.zeros((2, gates) if getattr(self.cell, "reset_after", False) else (gates,))

    def _why_keras(self) -> str:
        """Return why Keras' own way is taken, or ''."""
        if keras.backend.backend() != "tensorflow":
            return f"the backend is {keras.backend.backend()}"
        for name, known in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
            received = keras.activations.serialize(getattr(self.cell, name))
            if received != known:
                return f"{name} is {received}, not {known}"
        if self.cell.implementation != 2:
            return "recurrent_dropout takes one product per gate"
        if self.unroll:
            return "unroll=True"
        if self.compute_dtype == "float64":
            return "float64 is more than the fast loop has"
        return "there is a GPU, which has cuDNN" if _has_gpu() else ""


@keras.saving.register_keras_serializable(package="seqzoo")
class LSTM(_FastRecurrent, keras.layers.LSTM):
    """Long short-term memory, as `keras.layers.LSTM` in all but speed.

        i, f, o = sigmoid(x W + h U + b)    g = tanh(x W_g + h U_g + b_g)
        c' = f c + i g                      h' = o tanh(c')

    Takes `float32[batch, time, features]` and a mask `bool[batch, time]`, gives
    `float32[batch, units]`, or `float32[batch, time, units]` with `return_sequences`. Gates
    stand in the order i, f, g, o in `kernel` `[features, 4 units]`, `recurrent_kernel`
    `[units, 4 units]` and `bias` `[4 units]`. Arguments are those of `keras.layers.LSTM`;
    by default the recurrent kernel is orthogonal and the bias of the forget gate 1, the
    remedies for vanishing gradients that cost nothing.

    Source: Hochreiter and Schmidhuber 1997, Long Short-Term Memory; forget gate: Gers et
    al. 2000, Learning to Forget; its bias: Jozefowicz et al. 2015.
    """

    def _recurrence(self) -> Any:
        from zoo.layers.recurrence.equations import LSTMRecurrence

        return LSTMRecurrence()


@keras.saving.register_keras_serializable(package="seqzoo")
class GRU(_FastRecurrent, keras.layers.GRU):
    """Gated recurrent unit, as `keras.layers.GRU` in all but speed.

        z, r = sigmoid(x W + h U + b)       h' = z h + (1 - z) n
        n = tanh(x W_n + b_n + r (h U_n + b'_n))      with reset_after, the default
        n = tanh(x W_n + b_n + (r h) U_n)             without

    Takes and gives what `LSTM` does. Gates stand in the order z, r, n in `kernel`
    `[features, 3 units]`, `recurrent_kernel` `[units, 3 units]` and `bias` `[2, 3 units]`
    (of the inputs, of the state), or `[3 units]` without `reset_after`. Arguments are those
    of `keras.layers.GRU`.

    Source: Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder.
    """

    def _recurrence(self) -> Any:
        from zoo.layers.recurrence.equations import GRURecurrence, ResetBeforeGRURecurrence

        return GRURecurrence() if self.reset_after else ResetBeforeGRURecurrence()


RECURRENT = {"gru": GRU, "lstm": LSTM}


def recurrent(cell: str, units: int, **options: Any) -> keras.layers.Layer:
    """Return the recurrent layer called `cell` ("lstm" or "gru").

    Args:
        cell: A key of `RECURRENT`.
        units: Size of the state.
        **options: Passed to the layer's constructor.

    Raises:
        UnknownNameError: There is no such layer.
    """
    if cell not in RECURRENT:
        raise UnknownNameError("recurrent layer", cell, RECURRENT)
    return RECURRENT[cell](units, **options)


def from_keras(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a copy of a layer without its weights, LSTM and GRU replaced by the zoo's.

    `keras.models.clone_model(model, clone_function=from_keras)` converts a whole model, whose
    weights then move by `set_weights`.
    """
    return _converted(layer, {keras.layers.LSTM: LSTM, keras.layers.GRU: GRU})


def to_keras(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a copy of a layer without its weights, LSTM and GRU replaced by those of Keras."""
    return _converted(layer, {LSTM: keras.layers.LSTM, GRU: keras.layers.GRU})


def _converted(
    layer: keras.layers.Layer, classes: dict[type, type[keras.layers.Layer]]
) -> keras.layers.Layer:
    config = layer.get_config()
    if isinstance(layer, keras.layers.Bidirectional):
        for part in ("layer", "backward_layer"):
            inner = layer.forward_layer if part == "layer" else layer.backward_layer
            config[part] = keras.saving.serialize_keras_object(_converted(inner, classes))
    return classes.get(type(layer), type(layer)).from_config(config)


@functools.cache
def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
