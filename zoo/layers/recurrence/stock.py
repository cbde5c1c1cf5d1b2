"""A recurrence out of TensorFlow's own operations: what an exported model holds.

TF Serving runs without XLA, so what counts here is how few operations a step takes, that
what they read is still in the cache, and that two cores work at once. A small LSTM is one
`BlockLSTM`, a kernel that TensorFlow has for it; all else is a loop, `UNROLLED` steps at a
time. The rows of a large batch are dealt to `SHARDS` parts that TensorFlow's executor runs
side by side.

A mask is no business of the loop: the real steps of each row are moved to the front, and
every output is fetched from where its step, or the last real one before it, has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from zoo.layers.recurrence.equations import LSTMRecurrence, Recurrence, Tensors

Way = Callable[[Any, Tensors], list[Any]]
"""Takes `x` `float32[time, batch, features]` and the first states, gives those of all steps."""

Group = Callable[[Any, Tensors], Sequence[Tensors]]
"""Takes `UNROLLED` steps `float32[UNROLLED * batch, features + 1]` and the states before them,
gives the states after each."""

SHARDS = 2
"""Parts of a large batch. The cores of the machine that will serve the graph are not known."""

SMALL = 2048
"""Rows times units up to which a batch stays whole, and an LSTM is one `BlockLSTM`."""

UNROLLED = 4
"""Steps of the loop's body: each turn of a loop costs about as much as two operations."""


def run(
    recurrence: Recurrence,
    x: Any,
    mask: Any | None,
    states: Tensors,
    weights: Tensors,
    go_backwards: bool = False,
    last_states: bool = True,
) -> tuple[Any, list[Any]]:
    """Return what `compiled.run` returns; without `last_states` no states but the output h."""
    if go_backwards:
        x, mask = tf.reverse(x, [1]), None if mask is None else tf.reverse(mask, [1])
    if mask is not None:
        x = _real_steps_first(x, mask)
    keep = recurrence.states if last_states else 1
    history = _history(recurrence, x, states, weights, keep)
    if mask is None:
        return history[0], [each[:, -1] for each in history]
    done = tf.cumsum(tf.cast(mask, tf.int32), 1)
    y = _after(done, states[0], history[0])
    return y, [
        _after(done[:, -1:], *pair)[:, 0] for pair in zip(states[:keep], history, strict=True)
    ]


def _history(
    recurrence: Recurrence, x: Any, states: Tensors, weights: Tensors, keep: int
) -> list[Any]:
    """Return the first `keep` states after every step, in the way that is faster for the size."""

    loop = _loop(recurrence, weights, keep)
    is_lstm = isinstance(recurrence, LSTMRecurrence)
    whole = _block_lstm(weights, keep) if is_lstm else loop
    return tf.cond(
        tf.size(states[0]) <= SMALL,
        lambda: _in_shards(whole, x, states, 1),
        lambda: _in_shards(loop, x, states, SHARDS),
    )


def _in_shards(way: Way, x: Any, states: Tensors, count: int) -> list[Any]:
    """Return what a way gives, batch first, its rows dealt to so many shards."""
    rows, x = tf.shape(x)[0], tf.transpose(x, [1, 0, 2])
    shards = [slice(rows * k // count, rows * (k + 1) // count) for k in range(count)]
    made = [way(x[:, shard], [state[shard] for state in states]) for shard in shards]
    history = [tf.concat(parts, 1) for parts in zip(*made, strict=True)]
    return [tf.transpose(each, [1, 0, 2]) for each in history]


def _real_steps_first(x: Any, mask: Any) -> Any:
    """Return the steps of each row, the real ones first, in the order they had."""
    real = tf.cast(mask, tf.int32)
    rows, time = tf.unstack(tf.shape(real))
    count = tf.reduce_sum(real, 1, keepdims=True)
    place = tf.where(mask, tf.cumsum(real, 1), count + tf.cumsum(1 - real, 1)) - 1
    place = tf.reshape(place + time * tf.range(rows)[:, None], [-1])
    order = tf.math.invert_permutation(place)
    return tf.reshape(tf.gather(tf.reshape(x, [rows * time, tf.shape(x)[-1]]), order), tf.shape(x))


def _after(count: Any, first: Any, history: Any) -> Any:
    """Return the state after so many steps, the first state after none.

    Args:
        count: `int32[batch, n]`.
        first: `float32[batch, units]`.
        history: The states after each step, `float32[batch, time, units]`.
    """
    states = tf.gather(history, tf.maximum(count - 1, 0), batch_dims=1)
    return tf.where(count[..., None] > 0, states, first[:, None])


def _block_lstm(weights: Tensors, keep: int) -> Way:
    """Return the way that takes all steps of an LSTM in one operation."""
    kernel, recurrent_kernel, bias = weights
    # The operation has the gates in the order i, g, f, o.
    i, f, g, o = tf.split(tf.concat([kernel, recurrent_kernel, bias[None]], 0), 4, axis=1)
    packed = tf.concat([i, g, f, o], 1)
    no_peephole = tf.zeros_like(i[0])

    def way(x: Any, states: Tensors) -> list[Any]:
        h, c = states
        made = tf.raw_ops.BlockLSTM(
            seq_len_max=tf.shape(x, out_type=tf.int64)[0],
            x=x,
            cs_prev=c,
            h_prev=h,
            w=packed[:-1],
            wci=no_peephole,
            wcf=no_peephole,
            wco=no_peephole,
            b=packed[-1],
            forget_bias=0.0,
            cell_clip=-1.0,
        )
        return [made.h, made.cs][:keep]

    return way


def _loop(recurrence: Recurrence, weights: Tensors, keep: int) -> Way:
    """Return the way that takes the steps of any cell in a loop, `UNROLLED` at a time."""
    if isinstance(recurrence, LSTMRecurrence):
        group = _gate_by_gate(recurrence, weights)
    else:
        group = _projected(recurrence, weights)

    def body(turn: Any, states: Any, x: Any, arrays: Any) -> Any:
        made = group(x[turn], states)
        parts = [tf.concat(each, 0) for each in list(zip(*made, strict=True))[:keep]]
        arrays = [array.write(turn, each) for array, each in zip(arrays, parts, strict=True)]
        return turn + 1, made[-1], x, tuple(arrays)

    def way(x: Any, states: Tensors) -> list[Any]:
        time, batch, features = tf.unstack(tf.shape(x))
        # Steps of ones fill the last turn; what they give is cut off again. The ones that
        # every step is given as a last feature are what the bias is multiplied with.
        turns = (time + UNROLLED - 1) // UNROLLED
        x = tf.pad(x, [[0, turns * UNROLLED - time], [0, 0], [0, 1]], constant_values=1.0)
        x = tf.reshape(x, [turns, UNROLLED * batch, features + 1])
        arrays = tuple(tf.TensorArray(tf.float32, turns) for _ in range(keep))
        *_, arrays = tf.while_loop(
            lambda turn, *_: turn < turns, body, (0, tuple(states), x, arrays)
        )
        shape = [turns * UNROLLED, batch, weights[1].shape[0]]
        return [tf.reshape(each.stack(), shape)[:time] for each in arrays]

    return way


def _gate_by_gate(recurrence: LSTMRecurrence, weights: Tensors) -> Group:
    """Return the group of an LSTM: one product for each gate, of the input and h together.

    A kernel of four gates does not fit into the cache next to a core; that of one does. The
    products are not more work than projecting a group at once: that is as large a product,
    and here nothing is left to add.
    """
    kernel, recurrent_kernel, bias = weights
    kernels = tf.split(tf.concat([kernel, bias[None], recurrent_kernel], 0), 4, axis=1)

    def group(x: Any, states: Tensors) -> Sequence[Tensors]:
        made: list[Tensors] = []
        for step in tf.split(x, UNROLLED):
            h, c = states
            both = tf.concat([step, h], 1)
            states, _ = recurrence.through_gates([tf.matmul(both, each) for each in kernels], c)
            made.append(states)
        return made

    return group


def _projected(recurrence: Recurrence, weights: Tensors) -> Group:
    """Return the group of any cell: the inputs of its steps projected at once, in the cache."""
    kernel, recurrent_kernel, bias = weights
    kernel = tf.concat([kernel, recurrence.input_bias(bias)[None]], 0)
    inner = (*recurrence.split(recurrent_kernel), *recurrence.step_bias(bias))

    def group(x: Any, states: Tensors) -> Sequence[Tensors]:
        made: list[Tensors] = []
        for step in tf.split(tf.matmul(x, kernel), UNROLLED):
            states, _ = recurrence.step(step, states, inner)
            made.append(states)
        return made

    return group
