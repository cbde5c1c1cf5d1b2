"""Sound that comes in chunks of any size, to the frames that each completes."""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

from zoo.errors import ConfigError
from zoo.preprocessing.normalisation import RunningNormalisation
from zoo.preprocessing.waveform import emphasise


class Describer(Protocol):
    """How emphasised samples become features, as a whole recording's do."""

    window: int
    hop: int
    orders: int

    def describe(self, clean: Any, counts: Any) -> Any:
        """Return the features of so many frames, before they are normalised."""
        ...


class ChunkEncoder:
    """A speech encoder, one chunk at a time, for `zoo.streaming.Stream`.

    Frames leave it in multiples of `multiple`, as a model that stacks frames needs them; samples
    that are not used up yet wait in the state, less than a window and `multiple` hops of them.

    Args:
        encoder: Its frames.
        running: Their normalisation.
        multiple: Frames of a model's step.

    Raises:
        ConfigError: The encoder appends slopes, which look ahead.
    """

    def __init__(self, encoder: Describer, running: RunningNormalisation, multiple: int) -> None:
        if encoder.orders:
            raise ConfigError(
                f"streams need features without slopes, which look ahead: orders must be 0, not "
                f"{encoder.orders}"
            )
        self._encoder, self._running, self._multiple = encoder, running, multiple
        self._capacity = encoder.window + (multiple - 1) * encoder.hop - 1

    def initial_state(self, batch: Any) -> dict[str, Any]:
        """Return the state before the first sample."""
        return {
            "last": tf.zeros([batch]),
            "waiting": tf.zeros([batch, self._capacity]),
            "count": tf.zeros([batch], tf.int32),
            **self._running.initial_state(batch),
        }

    def step(self, samples: Any, length: Any, state: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Take the next samples.

        Args:
            samples: `float32[batch, time]`.
            length: `int32[batch]`, how many of them are real; may be 0.
            state: From `initial_state` or the last `step`.

        Returns:
            `float32[batch, frames, features]`, at least one frame, how many of each row are
            real, and the state.
        """
        clean = emphasise(samples, length, state["last"])
        waiting = tf.clip_by_value(state["count"], 0, self._capacity)  # whatever a client says
        joined, total = _join(state["waiting"], waiting, clean, length)
        hop, window = self._encoder.hop, self._encoder.window
        frames = tf.maximum(total - window + hop, 0) // hop
        frames -= frames % self._multiple
        features, running = self._normalised(joined, frames, state)
        used = frames * hop
        places = tf.minimum(used[:, None] + tf.range(self._capacity), tf.shape(joined)[1] - 1)
        after = {
            "last": tf.gather(
                tf.concat([state["last"][:, None], samples], axis=1), length, batch_dims=1
            ),
            "waiting": tf.gather(joined, places, batch_dims=1),
            "count": total - used,
            **running,
        }
        return features, frames, after

    def end(self, state: dict[str, Any]) -> tuple[Any, Any]:
        """Return the last frames, and how many of each row are real.

        As in a whole recording, samples that fill no window are left out, but one that is
        shorter than a window is a single frame.
        """
        hop, window = self._encoder.hop, self._encoder.window
        count = tf.clip_by_value(state["count"], 0, self._capacity)
        real = tf.sequence_mask(count, self._capacity)
        frames = tf.maximum(count - window + hop, 0) // hop
        frames = tf.where((state["frames"] == 0) & (frames == 0) & (count > 0), 1, frames)
        features, _ = self._normalised(tf.where(real, state["waiting"], 0.0), frames, state)
        return features, frames

    def _normalised(self, clean: Any, frames: Any, state: dict[str, Any]) -> tuple[Any, Any]:
        features = self._encoder.describe(clean, frames)
        return self._running.step(features, frames, state)


def _join(waiting: Any, count: Any, fresh: Any, length: Any) -> tuple[Any, Any]:
    """Return `count` samples of one row and `length` of another, one behind the other."""
    total = count + length
    # One more, since there must be something to gather from.
    both = tf.pad(tf.concat([waiting, fresh], axis=1), [[0, 0], [0, 1]])
    place = tf.range(tf.shape(both)[1])[None]
    source = tf.where(place < count[:, None], place, place - count[:, None] + tf.shape(waiting)[1])
    source = tf.minimum(source, tf.shape(both)[1] - 1)
    joined = tf.gather(both, tf.broadcast_to(source, tf.shape(both)), batch_dims=1)
    return tf.where(tf.sequence_mask(total, tf.shape(both)[1]), joined, 0.0), total
