"""Predicted pixels to frames, inside the graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import tensorflow as tf

from zoo.ports import Port, Ports


class FrameDecoder(tf.Module):
    """Numbers around 0 to 1 to pixels; the `finish` of a video pipeline.

    Takes `float32[batch, horizon, height, width, channels]` and `status: string[batch]`. Gives
    `frames: uint8` of the same shape, black where the status is not '', and `status`.

    Args:
        horizon, height, width, channels: Of the predicted frames.
    """

    def __init__(self, horizon: int, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.shape = horizon, height, width, channels

    @property
    def outputs(self) -> Ports:
        """What an answer consists of."""
        return Ports(
            frames=Port(self.shape, "uint8", "the next frames: time, height, width, channels"),
            status=Port((), "string", "'' if the row was understood, else the reason"),
        )

    def __call__(self, output: Any, status: Any) -> dict[str, Any]:
        good = tf.equal(status, "")[:, None, None, None, None]
        return {
            "frames": tf.where(good, as_pixels(output), tf.zeros((), tf.uint8)),
            "status": status,
        }

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this decoder, as JSON values."""
        names = ("horizon", "height", "width", "channels")
        return dict(zip(names, self.shape, strict=True))

    def save_assets(self, folder: Path) -> None:
        """Write nothing: the configuration is all there is."""

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> Self:
        """Rebuild from `get_config`."""
        return cls(**config)


def as_pixels(values: Any) -> Any:
    """Return numbers as uint8, 0 as black and 1 as white, what is beyond or no number cut off."""
    values = tf.where(tf.math.is_finite(values), values, 0.0)
    return tf.cast(tf.round(tf.clip_by_value(values, 0.0, 1.0) * 255.0), tf.uint8)
