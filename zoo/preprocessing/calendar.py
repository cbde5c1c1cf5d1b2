"""Time stamps as places in the day, the week and the year, inside the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from zoo.errors import UnknownNameError

_DAY = 24 * 60 * 60
CYCLES = {"day": _DAY, "week": 7 * _DAY, "year": round(365.2425 * _DAY)}
"""Seconds of each cycle."""


def check_cycles(names: Sequence[str]) -> None:
    """Refuse what is no cycle.

    Raises:
        UnknownNameError: A name is not one of `CYCLES`.
    """
    for name in names:
        if name not in CYCLES:
            raise UnknownNameError("calendar cycle", name, CYCLES)


def cyclic(times: Any, names: Sequence[str]) -> Any:
    """Return sine and cosine of the place in each cycle.

    Args:
        times: `int64[batch, time]`, seconds since 1970.
        names: Keys of `CYCLES`.

    Returns:
        `float32[batch, time, 2 * cycles]`.
    """
    columns = []
    for name in names:
        # The rest first: seconds since 1970 are too many for float32.
        rest = tf.cast(tf.math.floormod(times, CYCLES[name]), tf.float32)
        angle = rest * (2 * math.pi / CYCLES[name])
        columns += [tf.sin(angle), tf.cos(angle)]
    return tf.stack(columns, axis=-1)


def ahead(times: Any, steps: int) -> Any:
    """Return the times of the steps to come, `int64[batch, steps]`, at the mean distance.

    Args:
        times: `int64[batch, time]`, rising; the first ones may repeat the first time.
        steps: How many.
    """
    first, last = times[:, :1], times[:, -1:]
    moves = tf.reduce_sum(tf.cast(times[:, 1:] > times[:, :-1], tf.int64), axis=1, keepdims=True)
    step = (last - first) // tf.maximum(moves, 1)
    return last + step * tf.range(1, steps + 1, dtype=tf.int64)[None]
