"""Features with mean 0 and variance 1: over a whole row, or over what was heard so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

_SPREAD = 1e-5
"""Added to variances, so that a constant row stays finite."""

_TRUST = 100.0
"""Frames that the usual mean and variance count for, beside those that were heard."""

_LEAST = 0.01
"""Of a running variance, in units of the usual one."""


def normalise(features: Any, lengths: Any) -> Any:
    """Return features with mean 0 and variance 1 over each row; 0 behind its length.

    Args:
        features: `float32[batch, frames, bins]`.
        lengths: `int32[batch]`, at least 1.
    """
    real = tf.sequence_mask(lengths, tf.shape(features)[1])[:, :, None]
    count = tf.cast(lengths, tf.float32)[:, None, None]
    mean = tf.reduce_sum(tf.where(real, features, 0.0), axis=1, keepdims=True) / count
    centred = tf.where(real, features - mean, 0.0)
    variance = tf.reduce_sum(tf.square(centred), axis=1, keepdims=True) / count
    return centred * tf.math.rsqrt(variance + _SPREAD)


class RunningNormalisation:
    """Scale every frame by the mean and the variance of it and all frames before it.

    A stream begins with the usual ones, which count as 100 frames. So the first frames are
    scaled as training saw them on average, and a voice or a room of its own soon counts more.
    A row in one piece and in chunks gives the same.
    Source: Viikki and Laurila 1998, Cepstral domain segmental feature vector normalization.

    Args:
        bins: Features per frame.
        mean, deviation: The usual ones of each feature; 0 and 1 by default.
    """

    def __init__(
        self,
        bins: int,
        mean: Sequence[float] | None = None,
        deviation: Sequence[float] | None = None,
    ) -> None:
        self._mean = tf.constant(mean or [0.0] * bins, tf.float32)
        self._deviation = tf.constant(deviation or [1.0] * bins, tf.float32)

    def initial_state(self, batch: Any) -> dict[str, Any]:
        """Return the state before the first frame of `batch` rows."""
        bins = self._mean.shape[0]
        return {
            "frames": tf.zeros([batch]),
            "sum": tf.zeros([batch, bins]),
            "squares": tf.fill([batch, bins], _TRUST),
        }

    def step(
        self, features: Any, lengths: Any, state: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Scale the next frames.

        Args:
            features: `float32[batch, frames, bins]`.
            lengths: `int32[batch]`, how many of them are real; may be 0.
            state: From `initial_state` or the last `step`.

        Returns:
            The frames, 0 behind each row's length, and the state.
        """
        real = tf.sequence_mask(lengths, tf.shape(features)[1])[:, :, None]
        # In units of the usual deviation, so that sums of many frames stay exact enough.
        x = tf.where(real, (features - self._mean) / self._deviation, 0.0)
        sums = tf.cumsum(tf.concat([state["sum"][:, None], x], axis=1), axis=1)[:, 1:]
        squares = tf.concat([state["squares"][:, None], tf.square(x)], axis=1)
        squares = tf.cumsum(squares, axis=1)[:, 1:]
        heard = tf.range(1, tf.shape(x)[1] + 1)[None, :, None]
        weight = _TRUST + state["frames"][:, None, None] + tf.cast(heard, tf.float32)
        mean = sums / weight
        variance = tf.maximum(squares / weight - tf.square(mean), _LEAST)
        after = {
            "frames": state["frames"] + tf.cast(lengths, tf.float32),
            "sum": state["sum"] + tf.reduce_sum(x, axis=1),
            "squares": state["squares"] + tf.reduce_sum(tf.square(x), axis=1),
        }
        return tf.where(real, (x - mean) * tf.math.rsqrt(variance), 0.0), after
