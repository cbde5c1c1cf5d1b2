"""Streams: answers while the input still comes, from servers that remember nothing.

    stream_start   stream                        -> state, text, rate
    stream_step    samples, length, state, text  -> state, text, status
    stream_end     state, text                   -> text

Whatever a stream depends on travels with its calls: `state` packs the samples not yet used,
the running normalisation and the states of the recurrence into one vector per stream. So any
replica can take the next chunk, streams can share batches, and nothing is left behind by a
client that goes away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from zoo.ports import Endpoint, Port, Ports

Tensors = dict[str, Any]

NOT_FINITE = "samples must be finite numbers"
NO_STATE = "state must be what stream_start or stream_step gave"


class Encoder(Protocol):
    """Chunks of samples to the frames that they complete."""

    def initial_state(self, batch: Any) -> Tensors:
        """Return the state before the first sample, every tensor `[batch, ...]`."""
        ...

    def step(self, samples: Any, length: Any, state: Tensors) -> tuple[Any, Any, Tensors]:
        """Return features, their lengths, and the state."""
        ...

    def end(self, state: Tensors) -> tuple[Any, Any]:
        """Return what was left over, and its lengths."""
        ...


class Packing:
    """Many tensors `[batch, ...]` as one `float32[batch, size]`, and back.

    Integers up to 2**24 survive.

    Args:
        example: Tensors by name with a batch axis of 1.
    """

    def __init__(self, example: Mapping[str, Any]) -> None:
        self._parts = [
            (name, tuple(value.shape[1:]), value.dtype) for name, value in example.items()
        ]

    @property
    def size(self) -> int:
        """Numbers per row."""
        return sum(math.prod(shape) for _, shape, _ in self._parts)

    def pack(self, tensors: Mapping[str, Any]) -> Any:
        """Return `float32[batch, size]`."""
        import tensorflow as tf

        flat = [
            tf.reshape(tf.cast(tensors[name], tf.float32), [-1, math.prod(shape)])
            for name, shape, _ in self._parts
        ]
        return tf.concat(flat, axis=1)

    def unpack(self, packed: Any) -> Tensors:
        """Return what `pack` was given."""
        import tensorflow as tf

        pieces = tf.split(packed, [math.prod(shape) for _, shape, _ in self._parts], axis=1)
        return {
            name: tf.cast(tf.reshape(piece, [-1, *shape]), dtype)
            for (name, shape, dtype), piece in zip(self._parts, pieces, strict=True)
        }


class Stream:
    """An encoder, a model and a decoder, one chunk at a time.

    Args:
        encoder: Chunks of samples to frames.
        model: Has `reduction`, its frames per step, `initial_state(batch)` and
            `step(features, lengths, state)`.
        finish: Has `initial_state(batch)` and `step(logits, steps, text, state)`.
        rate: Samples per second, which clients are told.
    """

    def __init__(self, encoder: Encoder, model: Any, finish: Any, rate: int) -> None:
        self._encoder, self._model, self._finish = encoder, model, finish
        self._rate = rate
        self._packing = Packing(self._flat(*self._initial(1)))

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the three functions by signature name."""
        state = Port((self._packing.size,), "float32", "what the stream depends on; pass it on")
        text = Port((), "string", "what was said so far; pass it on")
        status = Port((), "string", "'' if the chunk was understood, else why it was left out")
        start = Ports(stream=Port((), "string", "one row per stream, whatever it says"))
        chunk = Ports(
            samples=Port((None,), "float32", "the next samples, from -1 to 1"),
            length=Port((), "int32", "how many of them are real"),
            state=state,
            text=text,
        )
        rate = Port((), "int32", "samples per second that the model listens to")
        after = Ports(state=state, text=text)
        return {
            "stream_start": Endpoint(self.start, start, Ports(state=state, text=text, rate=rate)),
            "stream_step": Endpoint(self.step, chunk, Ports(state=state, text=text, status=status)),
            "stream_end": Endpoint(self.end, after, Ports(text=text)),
        }

    def start(self, raw: Mapping[str, Any]) -> Tensors:
        """Return the state of streams that have heard nothing yet."""
        import tensorflow as tf

        batch = tf.shape(raw["stream"])[0]
        packed = self._packing.pack(self._flat(*self._initial(batch)))
        return {
            "state": packed,
            "text": tf.fill([batch], ""),
            "rate": tf.fill([batch], self._rate),
        }

    def step(self, raw: Mapping[str, Any]) -> Tensors:
        """Listen to a chunk."""
        import tensorflow as tf

        known = tf.reduce_all(tf.math.is_finite(raw["state"]), axis=1)
        encoder, model, finish = self._parted(tf.where(known[:, None], raw["state"], 0.0))
        length = tf.clip_by_value(raw["length"], 0, tf.shape(raw["samples"])[1])
        real = tf.sequence_mask(length, tf.shape(raw["samples"])[1])
        finite = tf.reduce_all(tf.math.is_finite(raw["samples"]) | ~real, axis=1)
        good = finite & known
        samples = tf.where(real & good[:, None], raw["samples"], 0.0)
        length = tf.where(good, length, 0)
        features, lengths, encoder = self._encoder.step(samples, length, encoder)
        text, model, finish = self._listen(features, lengths, raw["text"], model, finish)
        return {
            "state": self._packing.pack(self._flat(encoder, model, finish)),
            "text": text,
            "status": tf.where(known, tf.where(finite, "", NOT_FINITE), NO_STATE),
        }

    def end(self, raw: Mapping[str, Any]) -> Tensors:
        """Listen to what is left over."""
        import tensorflow as tf

        state = raw["state"]
        encoder, model, finish = self._parted(tf.where(tf.math.is_finite(state), state, 0.0))
        features, lengths = self._encoder.end(encoder)
        return {"text": self._listen(features, lengths, raw["text"], model, finish)[0]}

    def _listen(
        self, features: Any, lengths: Any, text: Any, model: list[Any], finish: Tensors
    ) -> tuple[Any, list[Any], Tensors]:
        logits, model = self._model.step(features, lengths, model)
        reduction = self._model.reduction
        steps = (lengths + reduction - 1) // reduction
        text, finish = self._finish.step(logits, steps, text, finish)
        return text, model, finish

    def _initial(self, batch: Any) -> tuple[Tensors, list[Any], Tensors]:
        return (
            self._encoder.initial_state(batch),
            self._model.initial_state(batch),
            self._finish.initial_state(batch),
        )

    def _flat(self, encoder: Tensors, model: list[Any], finish: Tensors) -> Tensors:
        """Return the states of the three parts under names of their own."""
        parts: dict[str, Mapping[Any, Any]] = {
            "encoder": encoder,
            "model": dict(enumerate(model)),
            "finish": finish,
        }
        return {f"{part}/{name}": v for part, state in parts.items() for name, v in state.items()}

    def _parted(self, packed: Any) -> tuple[Tensors, list[Any], Tensors]:
        """Return what `_flat` was given."""
        parts: dict[str, Tensors] = {"encoder": {}, "model": {}, "finish": {}}
        for path, value in self._packing.unpack(packed).items():
            part, _, name = path.partition("/")
            parts[part][name] = value
        return parts["encoder"], [*parts["model"].values()], parts["finish"]
