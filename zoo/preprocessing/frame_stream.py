"""Video as it comes: a frame in, the next one out, from servers that remember nothing.

    step   frame, state  -> frame, state, status

The state before the first frame is zeros; after it, what the last call gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.ports import Endpoint, Port, Ports
from zoo.streaming import Packing

if TYPE_CHECKING:
    from zoo.preprocessing.video import FrameEncoder


NO_STATE = "state must be zeros, or what step gave"


def as_numbers(frames: Any) -> Any:
    """Return uint8 frames as float32 from 0 to 1."""
    import tensorflow as tf

    return tf.cast(frames, tf.float32) / 255.0


class FrameStream:
    """The step of a stream as a function to be served.

    Args:
        encoder: Brings a frame to the model's size.
        model: Has `initial_state(batch)`, which is zeros, and `step(frames, state)`.
        finish: Numbers to pixels.
    """

    def __init__(self, encoder: FrameEncoder, model: Any, finish: Any) -> None:
        self._encoder, self._model, self._finish = encoder, model, finish
        self._packing = Packing(self._named(model.initial_state(1)))

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the function by its signature name."""
        state = Port((self._packing.size,), "float32", "zeros, or what the last call gave")
        frame = Port((None, None, None), "uint8", "the next frame: height, width, channels")
        encoder = self._encoder
        size = (encoder.height, encoder.width, encoder.channels)
        outputs = Ports(
            frame=Port(size, "uint8", "what is expected to come behind it"),
            state=state,
            status=self._finish.outputs["status"],
        )
        return {"step": Endpoint(self.step, Ports(frame=frame, state=state), outputs)}

    def step(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Look at a frame; one that is not understood leaves the state as it was."""
        import tensorflow as tf

        frames, status = self._encoder.checked(raw["frame"][:, None])
        # Unrolled steps want to know how many there are.
        frames = tf.ensure_shape(frames, [None, 1, *frames.shape[2:]])
        # A client may send a state that holds no numbers, which would stay for ever.
        known = _finite(raw["state"])
        state = tf.where(known[:, None], raw["state"], 0.0)
        before = [*self._packing.unpack(state).values()]
        predicted, after = self._model.step(as_numbers(frames), before)
        packed = self._packing.pack(self._named(after))
        finite = _finite(packed)
        understood = tf.equal(status, "")
        status = tf.where(understood & ~(known & finite), NO_STATE, status)
        kept = tf.where(finite[:, None], state, 0.0)
        return {
            "frame": self._finish(predicted, status)["frames"][:, 0],
            "state": tf.where(tf.equal(status, "")[:, None], packed, kept),
            "status": status,
        }

    def _named(self, state: list[Any]) -> dict[str, Any]:
        return {str(index): value for index, value in enumerate(state)}


def _finite(state: Any) -> Any:
    """Say of each row whether it holds nothing but numbers."""
    import tensorflow as tf

    return tf.reduce_all(tf.math.is_finite(state), axis=1)
