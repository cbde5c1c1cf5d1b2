"""Windows of series in which steps are missing, inside the graph."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

MOST = 4.0
"""How restless a window can be, and as a share how quiet."""


def cut(values: Any, places: Any) -> Any:
    """Return the steps of each row at these places; those before the first repeat it."""
    # There must be something to take the first value of.
    values = tf.pad(values, [[0, 0], [0, 1]] + [[0, 0]] * (len(values.shape) - 2))
    return tf.gather(values, tf.maximum(places, 0), batch_dims=1)


def filled(values: Any, observed: Any) -> Any:
    """Return values in which each missing one repeats the one before it, or else the next one."""
    steps = values.shape[1]
    place = tf.range(steps)[None] * tf.ones_like(values, tf.int32)
    first = tf.argmax(observed, axis=1, output_type=tf.int32)[:, None]
    place = tf.where(observed > 0, place, -1)
    reach = 1
    while reach < steps:
        # The largest place so far, by doubling how far is looked back.
        place = tf.maximum(
            place, tf.pad(place[:, :-reach], [[0, 0], [reach, 0]], constant_values=-1)
        )
        reach *= 2
    return tf.gather(values, tf.maximum(place, first), batch_dims=1)


def restlessness(values: Any, observed: Any, recent: int) -> Any:
    """Return the mean change from step to step of the last ones, as a share of that of all.

    `float32[rows, 1]`, at least 1/4 and at most 4, and 1 where nothing is known of either.
    """
    pairs = observed[:, 1:] * observed[:, :-1]
    moves = tf.abs(values[:, 1:] - values[:, :-1]) * pairs
    late, every = (
        tf.math.divide_no_nan(
            tf.reduce_sum(moves[:, start:], axis=1, keepdims=True),
            tf.reduce_sum(pairs[:, start:], axis=1, keepdims=True),
        )
        for start in (-recent, 0)
    )
    share = tf.clip_by_value(tf.math.divide_no_nan(late, every), 1 / MOST, MOST)
    known = tf.reduce_sum(pairs[:, -recent:], axis=1, keepdims=True) > 0
    return tf.where(known & (every > 0) & tf.math.is_finite(share), share, 1.0)
