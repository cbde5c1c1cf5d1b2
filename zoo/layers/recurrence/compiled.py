"""A recurrence as two loops that XLA compiles: one forwards, one backwards.

Three things make it fast on a CPU:

1. No product stands in the loops that could stand outside: the inputs are projected before
   the loop, and the gradients of kernel, recurrent kernel, bias and inputs are each one
   product over all steps after it. The loops carry the states and their gradients alone.
2. XLA runs a loop on one core. The rows of a batch are therefore dealt to as many shards
   as there are cores, each a compiled function of its own, which TensorFlow's executor runs
   side by side.
3. What a step leaves for the way back is written to arrays that no step of the same loop
   reads: XLA then updates them in place instead of copying them at every step.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from zoo.layers.recurrence.equations import Recurrence, Tensors

ROWS_PER_SHARD = 8
"""Rows that a shard has at least: with fewer, a core's matrix product is too thin."""


def run(
    recurrence: Recurrence,
    x: Any,
    mask: Any | None,
    states: Tensors,
    weights: Tensors,
    go_backwards: bool = False,
) -> tuple[Any, list[Any]]:
    """Return the outputs of all steps, in the order they were made, and the last states.

    Args:
        recurrence: The cell's equations.
        x: `float32[batch, time, features]`.
        mask: `bool[batch, time]` or None; steps that are not real carry the states on.
        states: `float32[batch, units]` each.
        weights: Kernel, recurrent kernel and bias.
        go_backwards: Start with the last step.
    """
    scan, masks = _scan(recurrence, go_backwards), () if mask is None else (mask,)

    @tf.custom_gradient
    def differentiable(*sources: Any) -> tuple[tuple[Any, ...], Any]:
        # Stopped, or an eager tape would ask XLA's operations for gradients of their own.
        x, *rest = map(tf.stop_gradient, sources)
        states, weights = tuple(rest[: recurrence.states]), tuple(rest[recurrence.states :])
        parts = _shards(x)
        inputs = [(*_rows((x, masks, states), part), weights) for part in parts]
        asked, *left = zip(*(scan.forward(*each) for each in inputs), strict=True)

        def gradient(*upstream: Any) -> list[Any]:
            upstream = tuple(map(tf.convert_to_tensor, upstream))  # a gather gives slices
            return _backwards(scan, inputs, left, [_rows(upstream, part) for part in parts])

        return tuple(map(_concat, *asked)), gradient

    outputs, *last = differentiable(x, *states, *weights)
    # What was compiled once for layers of two sizes does not know either.
    outputs.set_shape([x.shape[0], x.shape[1], weights[1].shape[0]])
    return outputs, [tf.ensure_shape(each, [x.shape[0], weights[1].shape[0]]) for each in last]


@functools.cache
def _scan(recurrence: Recurrence, go_backwards: bool) -> Scan:
    """Return the one `Scan` of these settings, which holds what was compiled."""
    return Scan(recurrence, go_backwards)


def _shards(x: Any) -> list[slice]:
    """Return the rows of each shard: none has fewer than `ROWS_PER_SHARD`, but the last ones."""
    rows = x.shape[0]
    total = tf.shape(x)[0] if rows is None else rows
    least, count = ROWS_PER_SHARD, _cores()
    if rows is not None:
        count = max(1, min(count, rows // least))
        return [slice(total * k // count, total * (k + 1) // count) for k in range(count)]
    each = tf.maximum(-(-total // count), least)
    return [
        slice(tf.minimum(each * k, total), tf.minimum(each * (k + 1), total)) for k in range(count)
    ]


def _cores() -> int:
    """Return how many shards this process can run side by side; a GPU takes all rows at once."""
    if has_gpu():
        return 1
    allowed = tf.config.threading.get_inter_op_parallelism_threads()
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return allowed or available or os.cpu_count() or 1


@functools.cache
def has_gpu() -> bool:
    """Say whether TensorFlow has a GPU that it may use."""
    # Asked only where there is one at all: it fixes TensorFlow's settings.
    there = tf.config.list_physical_devices("GPU")
    return bool(there and tf.config.list_logical_devices("GPU"))


def _backwards(scan: Scan, inputs: Tensors, left: Tensors, upstream: Tensors) -> list[Any]:
    """Return the gradients of inputs, states and weights from those of every shard."""
    each = zip(inputs, *left, upstream, strict=True)
    parts = [scan.backward(*given, history, trace, *d) for given, history, trace, d in each]
    by_row, by_weight = zip(*parts, strict=True)
    return [*map(_concat, *by_row), *map(_sum, *by_weight)]


def _rows(values: Any, shard: slice) -> Any:
    return tf.nest.map_structure(lambda tensor: tensor[shard], values)


def _concat(*parts: Any) -> Any:
    return tf.concat(parts, 0) if len(parts) > 1 else parts[0]


def _sum(*parts: Any) -> Any:
    return tf.add_n(parts) if len(parts) > 1 else parts[0]


_compiled = tf.function(jit_compile=True, reduce_retracing=True, autograph=False)


@dataclass(frozen=True)
class Scan:
    """The two loops over the rows of one shard.

    Inside, everything is `[time, batch, ...]` in the order in which the steps are taken. A
    mask is a tuple of one tensor or none.

    Attributes:
        recurrence: The cell's equations.
        go_backwards: Start with the last step.
    """

    recurrence: Recurrence
    go_backwards: bool

    @_compiled
    def forward(self, x: Any, mask: Tensors, states: Tensors, weights: Tensors) -> tuple[Any, ...]:
        """Return what was asked for, and for the way back the states and traces of all steps.

        What was asked for: outputs `float32[batch, time, units]` and the last states.
        """
        kernel, recurrent_kernel, bias = weights
        x, mask = self._by_step(x), self._mask_by_step(mask)
        projected = tf.matmul(_flat(x), kernel) + self.recurrence.input_bias(bias)
        z = _like(x, projected)
        weights = (*self.recurrence.split(recurrent_kernel), *self.recurrence.step_bias(bias))
        time, batch = tf.shape(x)[0], tf.shape(x)[1]
        empty = tf.zeros([time, batch, tf.shape(recurrent_kernel)[0]])

        def body(t: Any, states: Any, read: Any, history: Any, trace: Any) -> Any:
            z, mask, weights = read
            after, left = self.recurrence.step(_get(z, t), states, weights)
            after = _where_real(mask, t, after, states)
            return t + 1, after, read, _put(history, t, after), _put(trace, t, left)

        history, trace = (empty,) * self.recurrence.states, (empty,) * self.recurrence.traces
        start = (0, tuple(states), (z, mask, weights), history, trace)
        _, last, _, history, trace = tf.while_loop(lambda t, *_: t < time, body, start)
        return (tf.transpose(history[0], [1, 0, 2]), *last), history, trace

    @_compiled
    def backward(
        self,
        x: Any,
        mask: Tensors,
        states: Tensors,
        weights: Tensors,
        history: Tensors,
        trace: Tensors,
        dy: Any,
        *d_last: Any,
    ) -> tuple[list[Any], list[Any]]:
        """Return the gradients of inputs and states, and those of the weights.

        Args:
            x: As `forward` had it.
            mask: Likewise.
            states: Likewise.
            weights: Likewise.
            history: The states after each step, from `forward`.
            trace: The traces, from `forward`.
            dy: Gradient of the outputs.
            *d_last: Gradients of the last states.
        """
        kernel, recurrent_kernel, bias = weights
        x, mask = self._by_step(x), self._mask_by_step(mask)
        first = [state[None] for state in states]
        before = [tf.concat([a, b[:-1]], 0) for a, b in zip(first, history, strict=True)]
        dy = tf.transpose(dy, [1, 0, 2])
        d, d_first = self._loop_back((trace, before, history), dy, d_last, mask, recurrent_kernel)
        d, trace, h = [list(map(_flat, arrays)) for arrays in (d, trace, before[:1])]
        dz = self.recurrence.input_gradient(d)
        d_recurrent, *d_bias = self.recurrence.recurrent_gradients(h[0], trace, d)
        d_bias = [tf.reduce_sum(dz, 0), *d_bias]
        d_kernel = tf.matmul(_flat(x), dz, transpose_a=True)
        dx = _like(x, tf.matmul(dz, kernel, transpose_b=True))
        dx = tf.transpose(tf.reverse(dx, [0]) if self.go_backwards else dx, [1, 0, 2])
        by_weight = [d_kernel, d_recurrent, tf.reshape(tf.stack(d_bias), tf.shape(bias))]
        return [dx, *d_first], by_weight

    def _loop_back(
        self, read: Any, dy: Any, d_last: Tensors, mask: Tensors, kernel: Any
    ) -> tuple[Tensors, Tensors]:
        """Return the gradients of the pre-activations and of the first states.

        Args:
            read: Traces, states before and states after each step.
            dy: Gradient of the outputs.
            d_last: Gradients of the last states.
            mask: True = real step.
            kernel: The recurrent kernel.
        """
        time = tf.shape(dy)[0]
        # Transposed once, here: XLA's product with a transposed operand is ten times slower.
        transposed = tuple(tf.transpose(part) for part in self.recurrence.split(kernel))

        def body(k: Any, d: Any, read: Any, arrays: Any) -> Any:
            t, (steps, dy, mask, transposed) = time - 1 - k, read
            d = (d[0] + _get(dy, t), *d[1:])
            here = _where_real(mask, t, d, [tf.zeros_like(each) for each in d])
            trace, before, after = tf.nest.map_structure(lambda array: _get(array, t), steps)
            gates, earlier = self.recurrence.step_back(trace, before, after, here, transposed)
            if mask:
                earlier = tuple(e + (a - b) for e, a, b in zip(earlier, d, here, strict=True))
            return k + 1, earlier, read, _put(arrays, t, gates)

        arrays = (tf.zeros_like(dy),) * self.recurrence.traces
        steps = tuple(map(tuple, read))
        _, d_first, _, arrays = tf.while_loop(
            lambda k, *_: k < time, body, (0, tuple(d_last), (steps, dy, mask, transposed), arrays)
        )
        return arrays, d_first

    def _by_step(self, values: Any) -> Any:
        values = tf.transpose(values, [1, 0, 2])
        return tf.reverse(values, [0]) if self.go_backwards else values

    def _mask_by_step(self, mask: Tensors) -> Tensors:
        return tuple(self._by_step(each[..., None]) for each in mask)


def _flat(values: Any) -> Any:
    """Return all steps of all rows in one axis."""
    shape = tf.shape(values)
    return tf.reshape(values, [shape[0] * shape[1], shape[2]])


def _like(steps: Any, values: Any) -> Any:
    """Undo `_flat`: return the values with time and batch of `steps`."""
    shape = tf.shape(steps)
    return tf.reshape(values, [shape[0], shape[1], tf.shape(values)[-1]])


def _get(array: Any, t: Any) -> Any:
    """Return step `t` of `[time, batch, features]`."""
    shape = tf.shape(array)
    return xla.dynamic_slice(array, [t, 0, 0], [1, shape[1], shape[2]])[0]


def _put(arrays: Tensors, t: Any, values: Tensors) -> tuple[Any, ...]:
    """Return the arrays with step `t` of each replaced."""
    return tuple(
        xla.dynamic_update_slice(array, value[None], [t, 0, 0])
        for array, value in zip(arrays, values, strict=True)
    )


def _where_real(mask: Tensors, t: Any, new: Tensors, old: Tensors) -> tuple[Any, ...]:
    """Return `new` for rows whose step `t` is real, `old` for the others."""
    if not mask:
        return tuple(new)
    real = _get(mask[0], t)
    return tuple(tf.where(real, a, b) for a, b in zip(new, old, strict=True))
