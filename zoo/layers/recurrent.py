"""LSTM and GRU: the layers of Keras, run faster on a CPU.

Same arguments, weights, names and config as `keras.layers.LSTM` and `keras.layers.GRU`, so
that weights move both ways by `set_weights` and `.weights.h5`, and a model is converted by
`keras.models.clone_model` in either direction. What differs is how they run, which
`layer.path` tells:

- TensorFlow on a CPU: in training as loops that XLA compiles (`recurrence.compiled`),
  otherwise out of TensorFlow's own operations (`recurrence.stock`), in Python as in an
  exported model.
- A GPU: Keras' own way, which is cuDNN, in training without a mask; and else the same two, for
  cuDNN refuses masks that are none of right padding, and no CPU could run what it exports.
- Another backend, or a setting that the equations do not know: Keras' own way.

Gradients are those of first order: the compiled loops have no gradients of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers.cells import RNN
from zoo.layers.initializers import ChronoBias
from zoo.layers.told_path import ToldPath


class _FastRecurrent(ToldPath, keras.layers.RNN):
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
        if self._may_take_cudnn():
            return "keras: cuDNN in training without a mask; fast: stock operations otherwise"
        return "fast: TensorFlow on a CPU, compiled in training and stock operations otherwise"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if not self._why_keras():
            # The loops compile themselves, one per core; inside a step that is compiled as a
            # whole they would share one core.
            self.supports_jit = False

    def initial_state(self, batch: int | Any) -> list[Any]:
        """Return the states before the first step: zeros `float32[batch, units]`."""
        first = self.get_initial_state(batch_size=batch)
        return first if self._why_keras() else [ops.cast(state, "float32") for state in first]

    def step(self, x: Any, state: Sequence[Any], mask: Any = None) -> tuple[Any, list[Any]]:
        """Take the next steps of a stream.

        Args:
            x: `float32[batch, time, features]`, one step or more.
            state: From `initial_state` or the last `step`.
            mask: `bool[batch, time]`, True = real step.

        Returns:
            Outputs `float32[batch, time, units]` of these steps, and the states after them,
            which are float32 under every policy: what one loses by rounding, it loses again at
            every step.

        Raises:
            ConfigError: The layer goes backwards, so that its first step is the last one.
        """
        if self.go_backwards:
            raise ConfigError(f"'{self.name}' cannot stream: go_backwards must be False, not True")
        if not self.built:
            self.build(x.shape)
        if self._why_keras():
            by_keras = RNN(
                self.cell,
                zero_output_for_mask=self.zero_output_for_mask,
                dtype=self.dtype_policy,
            )
            return by_keras.step(x, list(state), mask)
        mask = _flat_mask(mask)
        y, state = self._run(x, mask, state, training=False)
        if self.zero_output_for_mask and mask is not None:
            y = self._behind_mask(y, mask)
        return ops.cast(y, self.compute_dtype), list(state)

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Run over all steps; called by `keras.layers.RNN.call`.

        Returns:
            Output of the last step, outputs of all steps, last states.
        """
        by_cudnn = training and mask is None and self._may_take_cudnn()
        if by_cudnn or self._why_keras():
            return super().inner_loop(sequences, initial_state, mask, training=training)
        mask = _flat_mask(mask)
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

        # Rounded as the policy has it also where Keras does not do so, outside of a call.
        x, *weights = [
            ops.cast(ops.cast(ops.convert_to_tensor(values), self.compute_dtype), "float32")
            for values in (x, self.cell.kernel, self.cell.recurrent_kernel, self._bias())
        ]
        states = [ops.cast(ops.convert_to_tensor(state), "float32") for state in states]
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
            received = getattr(self.cell, name)
            # By identity: a function of one's own may have any name.
            if received not in (getattr(keras.activations, known), getattr(ops, known)):
                shown = getattr(received, "__name__", type(received).__name__)
                shown = f"another {known}" if shown == known else shown
                return f"{name} is {shown}, not {known}"
        if self.cell.implementation != 2:
            return "recurrent_dropout takes one product per gate"
        if self.unroll:
            return "unroll=True"
        if self.compute_dtype == "float64":
            return "float64 is more than the fast loop has"
        return ""

    def _may_take_cudnn(self) -> bool:
        """Say whether Keras would take cuDNN, which is faster than all else where it is."""
        known = self.use_bias and getattr(self, "reset_after", True)
        return bool(known and self.use_cudnn in ("auto", True) and _has_gpu())


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

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if isinstance(self.cell.bias_initializer, ChronoBias):
            self.cell.unit_forget_bias = False  # it sets the bias of the forget gate itself

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

    `keras.models.clone_model(model, clone_function=from_keras)` converts a whole model, and with
    `recursive=True` the models inside of it; weights then move by `set_weights`.
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
    elif isinstance(layer, keras.layers.Wrapper):
        config["layer"] = keras.saving.serialize_keras_object(_converted(layer.layer, classes))
    return classes.get(type(layer), type(layer)).from_config(config)


def _has_gpu() -> bool:
    # Imported here: other backends have no TensorFlow.
    from zoo.layers.recurrence.compiled import has_gpu

    return has_gpu()


def _flat_mask(mask: Any) -> Any:
    """Return a mask as `bool[batch, time]`, in whatever form of those that Keras takes it came."""
    if mask is None:
        return None
    mask = ops.cast(ops.convert_to_tensor(keras.tree.flatten(mask)[0]), "bool")
    return ops.squeeze(mask, -1) if mask.shape.rank == 3 else mask
