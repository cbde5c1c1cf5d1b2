"""Frames of any size to what a predictor looks at, inside the graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from zoo.errors import ConfigError
from zoo.ports import Endpoint, Port, Ports
from zoo.preprocessing.frame_stream import FrameStream, as_numbers

FRAMES = Port(
    (None, None, None, None), "uint8", "time, height, width, and 1 (grey), 3 (RGB) or 4 channels"
)
NO_FRAME = "there is no frame"
CHANNELS = "a frame must have 1, 3 or 4 channels"
NO_STRIP = "this is no PNG of frames beneath each other"

_GREY = (0.299, 0.587, 0.114)
"""How bright red, green and blue look. Source: ITU-R BT.601."""


def fitted(frames: Any, height: int, width: int, channels: int) -> Any:
    """Return `uint8[..., height, width, channels]` frames of any size, grey or in colour.

    Larger ones are averaged, smaller ones drawn between pixels; height and width are stretched
    independently. Transparency is dropped. Frames of the right form come out as they are. One frame
    at a time is in memory as numbers, which are four times as large.

    Args:
        frames: `uint8[n, any, any, 1 or 3 or 4]`, none of whose sizes is 0.
        height, width, channels: Of the result.
    """

    def fit(frame: Any) -> Any:
        numbers = _with_channels(tf.cast(frame[None], tf.float32), channels)
        resized = tf.image.resize(numbers, (height, width), "bilinear", antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized[0]), 0, 255), tf.uint8)

    done = tf.reduce_all(tf.shape(frames)[1:] == [height, width, channels])
    spec = tf.TensorSpec((height, width, channels), tf.uint8)
    fitting = tf.cond(
        done,
        lambda: frames,
        lambda: tf.map_fn(fit, frames, fn_output_signature=spec, parallel_iterations=1),
    )
    return tf.ensure_shape(fitting, (None, height, width, channels))


def _with_channels(frames: Any, channels: int) -> Any:
    def colour() -> Any:
        return frames[..., :3]

    def grey() -> Any:
        return frames[..., :1]  # as it is, to the last bit

    def mixed() -> Any:
        return tf.reduce_sum(colour() * tf.constant(_GREY), axis=-1, keepdims=True)

    def repeated() -> Any:
        return tf.repeat(grey(), 3, axis=-1)

    ways = (colour, repeated) if channels == 3 else (mixed, grey)
    return tf.ensure_shape(tf.cond(tf.shape(frames)[-1] >= 3, *ways), (None, None, None, channels))


class FrameEncoder(tf.Module):
    """The last frames of a video; the `prepare` of a video pipeline. Never raises for a row.

    Takes `frames: uint8[batch, time, height, width, channels]` of any sizes. Gives `frames:
    float32[batch, seen, height, width, channels]` from 0 to 1 and `status: string[batch]`. Of a
    longer video the last `seen` frames count, a shorter one stands still before it begins.

    Args:
        seen: Frames that the model looks at.
        height, width: To which frames are brought.
        channels: 1 for grey, 3 for colour.

    Raises:
        ConfigError: A size is below 1, or there are neither 1 nor 3 channels.
    """

    inputs = Ports(frames=FRAMES)

    def __init__(self, seen: int, height: int, width: int, channels: int = 1) -> None:
        super().__init__()
        if min(seen, height, width) < 1:
            raise ConfigError(
                f"seen, height and width must be at least 1, not {seen}, {height}, {width}"
            )
        if channels not in (1, 3):
            raise ConfigError(f"channels must be 1 (grey) or 3 (colour), not {channels}")
        self.seen, self.height, self.width, self.channels = seen, height, width, channels

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        # Cut before anything else: a long video must not cost more than a short one.
        frames, status = self.checked(raw["frames"][:, -self.seen :])
        time = tf.shape(frames)[1]
        frames = tf.gather(frames, tf.maximum(tf.range(time - self.seen, time), 0), axis=1)
        frames = tf.ensure_shape(frames, (None, self.seen, *frames.shape[2:]))
        return {"frames": as_numbers(frames), "status": status}

    def fit(self, frames: np.ndarray) -> np.ndarray:
        """Return `uint8[n, height, width, channels]`, as a request's frames are brought to it."""
        return fitted(frames, self.height, self.width, self.channels).numpy()

    def checked(self, frames: Any) -> tuple[Any, Any]:
        """Return frames of the model's size, at least one per row, and the status of each row.

        Args:
            frames: `uint8[batch, time, any, any, any]`.
        """
        batch, time, height, width, channels = tf.unstack(tf.shape(frames))
        status = tf.where(time * height * width > 0, "", NO_FRAME)
        known = (channels == 1) | (channels == 3) | (channels == 4)
        status = tf.where(known | (status != ""), status, CHANNELS)
        form = self.height, self.width, self.channels
        frames = tf.cond(
            (status == "") & (batch > 0),
            lambda: tf.reshape(
                fitted(tf.reshape(frames, (batch * time, height, width, channels)), *form),
                (batch, time, *form),
            ),
            lambda: tf.zeros((batch, 1, *form), tf.uint8),
        )
        return tf.ensure_shape(frames, (None, None, *form)), tf.fill([batch], status)

    def strips(self, png: Any) -> tuple[Any, Any]:
        """Return the frames of filmstrips as `__call__` does, of `string[batch]` PNG files.

        A strip holds frames beneath each other, each as high and wide as the model's frames.
        """
        form = self.height, self.width, self.channels

        def decode(content: Any) -> tuple[Any, Any]:
            strip = tf.io.decode_png(content, self.channels)
            tf.debugging.assert_equal(tf.shape(strip)[1], self.width)
            time = tf.shape(strip)[0] // self.height
            tf.debugging.assert_equal(tf.shape(strip)[0], time * self.height)
            tf.debugging.assert_positive(time)
            frames = tf.reshape(strip, (time, *form))
            return tf.gather(frames, tf.maximum(tf.range(time - self.seen, time), 0)), True

        def safe(content: Any) -> tuple[Any, Any]:
            # A file that cannot be decoded raises, here and nowhere else.
            nothing = tf.zeros((self.seen, *form), tf.uint8), False
            one = tf.data.Dataset.from_tensors(content).map(decode).ignore_errors(log_warning=False)
            one = one.concatenate(tf.data.Dataset.from_tensors(nothing)).take(1)
            frames, good = one.get_single_element()
            return tf.ensure_shape(frames, (self.seen, *form)), good

        types = tf.TensorSpec((self.seen, *form), tf.uint8), tf.TensorSpec((), tf.bool)
        frames, good = tf.map_fn(safe, png, fn_output_signature=types)
        return as_numbers(frames), tf.where(good, "", NO_STRIP)

    def entrances(self, model: Any, finish: Any) -> dict[str, Endpoint]:
        """Return what else is served: filmstrips, and streams of frames."""

        def answer(raw: Mapping[str, Any]) -> dict[str, Any]:
            frames, status = self.strips(raw["png"])
            answer = finish(model({"frames": frames}, training=False), status)
            return {"png": encoded_strips(answer["frames"]), "status": answer["status"]}

        what = f"frames of {self.height} x {self.width} pixels beneath each other, as a PNG file"
        inputs = Ports(png=Port((), "string", what))
        outputs = Ports(png=Port((), "string", what), status=finish.outputs["status"])
        return {
            "encoded": Endpoint(answer, inputs, outputs),
            **FrameStream(self, model, finish).endpoints(),
        }

    def probe_rows(self) -> dict[str, np.ndarray]:
        """Return rows at the edges: black, white, noise, and noise that stands still."""
        draw = np.random.default_rng(0)
        shape = (self.seen, self.height, self.width, self.channels)
        noise = draw.integers(0, 256, (2, *shape), dtype=np.uint8)
        still = np.broadcast_to(noise[0, :1], shape)
        rows = [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), *noise, still]
        return {"frames": np.stack(rows)}

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this encoder, as JSON values."""
        return {
            "seen": self.seen,
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
        }

    def save_assets(self, folder: Path) -> None:
        """Write nothing: the configuration is all there is."""

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> Self:
        """Rebuild from `get_config`."""
        return cls(**config)


def encoded_strips(frames: Any) -> Any:
    """Return `string[batch]`, the frames `uint8[batch, time, height, width, channels]` as PNG."""
    *_, width, channels = frames.shape
    strips = tf.reshape(frames, (tf.shape(frames)[0], -1, width, channels))
    return tf.map_fn(tf.io.encode_png, strips, fn_output_signature=tf.string)
