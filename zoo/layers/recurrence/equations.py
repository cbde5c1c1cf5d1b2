"""One step of each cell and of its gradient, written on projected inputs.

The inputs of all steps are projected at once, outside of any loop:

    z = x W + b        float32[time, batch, gates * units]

A cell then says what one step makes of `z_t` and of the states before it (`step`), and
what one step back makes of the states' gradients (`step_back`). What a step back needs of
its step is the step's `trace`, a tuple of `float32[batch, units]`. Gradients of the
weights are no business of the loop: they are products over all steps at once, made from
the gradients of the pre-activations.

Gate order and weight layout are those of `keras.layers.LSTM` and `keras.layers.GRU`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Tensors = Sequence[Any]
Step = tuple[tuple[Any, ...], tuple[Any, ...]]


@dataclass(frozen=True)
class Recurrence(ABC):
    """A recurrent cell as its equations.

    Attributes:
        states: Number of states; the first one is the output h.
        traces: Number of tensors in a step's trace, and of gradients of pre-activations.
    """

    states = 1
    traces = 1

    def split(self, kernel: Any) -> tuple[Any, ...]:
        """Return the parts of the recurrent kernel that are multiplied apart."""
        return (kernel,)

    def input_bias(self, bias: Any) -> Any:
        """Return the part of the bias that is added to the projected inputs."""
        return bias

    def step_bias(self, bias: Any) -> tuple[Any, ...]:
        """Return the part of the bias that a step itself adds, if there is one."""
        return ()

    @abstractmethod
    def step(self, z: Any, before: Tensors, weights: Tensors) -> Step:
        """Return the states after a step, and its trace.

        Args:
            z: Projected inputs of this step.
            before: The states before it.
            weights: The parts of the recurrent kernel, then the bias of a step.
        """

    @abstractmethod
    def step_back(
        self, trace: Tensors, before: Tensors, after: Tensors, d: Tensors, transposed: Tensors
    ) -> Step:
        """Return the gradients of the pre-activations, and of the states before the step.

        Args:
            trace: What `step` left.
            before: The states before the step.
            after: The states after it.
            d: Gradients of the states after it.
            transposed: The parts of the recurrent kernel, each transposed.
        """

    def input_gradient(self, d: Tensors) -> Any:
        """Return the gradient of z from those of the pre-activations, for all steps."""
        return tf.concat(d, -1)

    def recurrent_gradients(self, h: Any, trace: Tensors, d: Tensors) -> tuple[Any, ...]:
        """Return the gradient of the recurrent kernel, and of a bias beside z if there is one.

        Args:
            h: The outputs before each step, `float32[rows, units]`.
            trace: The traces of all steps.
            d: Gradients of the pre-activations of all steps.
        """
        return (tf.matmul(h, tf.concat(d, -1), transpose_a=True),)


@dataclass(frozen=True)
class LSTMRecurrence(Recurrence):
    """Long short-term memory, gates in the order i, f, g, o.

        i, f, o = sigmoid(z + h U)      g = tanh(z_g + h U_g)
        c' = f c + i g                  h' = o tanh(c')

    Source: Hochreiter and Schmidhuber 1997, Long Short-Term Memory; forget gate: Gers et
    al. 2000, Learning to Forget.
    """

    states = 2
    traces = 4

    def step(self, z: Any, before: Tensors, weights: Tensors) -> Step:
        h, c = before
        return self.through_gates(tf.split(z + tf.matmul(h, weights[0]), 4, axis=-1), c)

    def through_gates(self, gates: Tensors, c: Any) -> Step:
        """Return what `step` returns, from the pre-activations of the gates i, f, g, o."""
        i, f, g, o = gates
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c = f * c + i * g
        return (o * tf.tanh(c), c), (i, f, g, o)

    def step_back(
        self, trace: Tensors, before: Tensors, after: Tensors, d: Tensors, transposed: Tensors
    ) -> Step:
        (i, f, g, o), (_, c_before), (_, c), (dh, dc) = trace, before, after, d
        squashed = tf.tanh(c)
        dc += dh * o * (1 - squashed * squashed)
        gates = (
            dc * g * i * (1 - i),
            dc * c_before * f * (1 - f),
            dc * i * (1 - g * g),
            dh * squashed * o * (1 - o),
        )
        return gates, (tf.matmul(tf.concat(gates, -1), transposed[0]), dc * f)


@dataclass(frozen=True)
class GRURecurrence(Recurrence):
    """Gated recurrent unit, reset gate after the product; gates in the order z, r, n.

        z, r = sigmoid(z + h U)         n = tanh(z_n + r (h U_n + b'_n))
        h' = z h + (1 - z) n

    The second bias b' of the gates z and r is added where the first is.

    Source: Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder; the
    form with the reset gate after the product is the one of cuDNN.
    """

    traces = 4

    def input_bias(self, bias: Any) -> Any:
        for_z, for_r, for_n = tf.split(bias[1], 3)
        return bias[0] + tf.concat([for_z, for_r, tf.zeros_like(for_n)], 0)

    def step_bias(self, bias: Any) -> tuple[Any, ...]:
        return (tf.split(bias[1], 3)[2],)

    def step(self, z: Any, before: Tensors, weights: Tensors) -> Step:
        (h,), (kernel, bias) = before, weights
        x_z, x_r, x_n = tf.split(z, 3, axis=-1)
        h_z, h_r, h_n = tf.split(tf.matmul(h, kernel), 3, axis=-1)
        z, r, h_n = tf.sigmoid(x_z + h_z), tf.sigmoid(x_r + h_r), h_n + bias
        n = tf.tanh(x_n + r * h_n)
        return (n + z * (h - n),), (z, r, n, h_n)

    def step_back(
        self, trace: Tensors, before: Tensors, after: Tensors, d: Tensors, transposed: Tensors
    ) -> Step:
        (z, r, n, h_n), (h,), (dh,) = trace, before, d
        dz = dh * (h - n) * z * (1 - z)
        dn = dh * (1 - z) * (1 - n * n)
        dr = dn * h_n * r * (1 - r)
        through_gates = tf.matmul(tf.concat([dz, dr, dn * r], -1), transposed[0])
        return (dz, dr, dn, dn * r), (dh * z + through_gates,)

    def input_gradient(self, d: Tensors) -> Any:
        return tf.concat(d[:3], -1)

    def recurrent_gradients(self, h: Any, trace: Tensors, d: Tensors) -> tuple[Any, ...]:
        dz, dr, _, dn_through_reset = d
        gates = tf.concat([dz, dr, dn_through_reset], -1)
        return tf.matmul(h, gates, transpose_a=True), tf.reduce_sum(gates, 0)


@dataclass(frozen=True)
class ResetBeforeGRURecurrence(Recurrence):
    """Gated recurrent unit, reset gate before the product; gates in the order z, r, n.

        z, r = sigmoid(z + h U)         n = tanh(z_n + (r h) U_n)
        h' = z h + (1 - z) n

    Source: Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder,
    equations 5 to 8.
    """

    traces = 3

    def split(self, kernel: Any) -> tuple[Any, ...]:
        units = tf.shape(kernel)[0]
        return kernel[:, : 2 * units], kernel[:, 2 * units :]

    def step(self, z: Any, before: Tensors, weights: Tensors) -> Step:
        (h,), (for_gates, for_candidate) = before, weights
        x_z, x_r, x_n = tf.split(z, 3, axis=-1)
        h_z, h_r = tf.split(tf.matmul(h, for_gates), 2, axis=-1)
        z, r = tf.sigmoid(x_z + h_z), tf.sigmoid(x_r + h_r)
        n = tf.tanh(x_n + tf.matmul(r * h, for_candidate))
        return (n + z * (h - n),), (z, r, n)

    def step_back(
        self, trace: Tensors, before: Tensors, after: Tensors, d: Tensors, transposed: Tensors
    ) -> Step:
        (z, r, n), (h,), (dh,) = trace, before, d
        dz = dh * (h - n) * z * (1 - z)
        dn = dh * (1 - z) * (1 - n * n)
        through_candidate = tf.matmul(dn, transposed[1])
        dr = through_candidate * h * r * (1 - r)
        through_gates = tf.matmul(tf.concat([dz, dr], -1), transposed[0])
        return (dz, dr, dn), (dh * z + through_candidate * r + through_gates,)

    def recurrent_gradients(self, h: Any, trace: Tensors, d: Tensors) -> tuple[Any, ...]:
        dz, dr, dn = d
        gates = tf.matmul(h, tf.concat([dz, dr], -1), transpose_a=True)
        candidate = tf.matmul(trace[1] * h, dn, transpose_a=True)
        return (tf.concat([gates, candidate], -1),)
