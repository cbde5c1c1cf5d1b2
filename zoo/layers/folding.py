"""Blocks of pixels into channels, and back: a recurrence over frames needs no full resolution."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError


@keras.saving.register_keras_serializable(package="seqzoo")
class FrameFolding(keras.layers.Layer):
    """Frames `[batch, time, height, width, channels]` with `block` x `block` pixels as one.

    Gives `[batch, time, height / block, width / block, block * block * channels]`; the channels
    hold the rows of a block one after the other.

    Args:
        block: Pixels of a block's sides; 1 leaves frames as they are.
        fill: Blocks at the lower and right border may reach beyond it, where zeros stand.

    Raises:
        ConfigError: Height or width is no multiple of `block`, and `fill` is False.
    """

    def __init__(self, block: int = 4, fill: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.block, self.fill = _checked(block), fill

    def call(self, frames: Any) -> Any:
        size = self.block
        if self.fill:
            *_, height, width, _ = frames.shape
            beyond = [(0, 0), (0, 0), (0, -height % size), (0, -width % size), (0, 0)]
            frames = ops.pad(frames, beyond)
        *_, height, width, channels = frames.shape
        if height % size or width % size:
            raise ConfigError(
                f"height and width of a frame must be multiples of {size}, not {height} and {width}"
            )
        rows, columns = height // size, width // size
        batch, time = ops.shape(frames)[0], ops.shape(frames)[1]
        x = ops.reshape(frames, (-1, rows, size, columns, size, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (batch, time, rows, columns, size * size * channels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block, "fill": self.fill}


@keras.saving.register_keras_serializable(package="seqzoo")
class FrameUnfolding(keras.layers.Layer):
    """What undoes `FrameFolding`.

    Args:
        block: Pixels of a block's sides.

    Raises:
        ConfigError: The channels are no multiple of a block's pixels.
    """

    def __init__(self, block: int = 4, **options: Any) -> None:
        super().__init__(**options)
        self.block = _checked(block)

    def call(self, frames: Any) -> Any:
        *_, rows, columns, folded = frames.shape
        size = self.block
        if folded % (size * size):
            raise ConfigError(
                f"channels must be a multiple of a block's {size * size} pixels, not {folded}"
            )
        batch, time = ops.shape(frames)[0], ops.shape(frames)[1]
        channels = folded // (size * size)
        x = ops.reshape(frames, (-1, rows, columns, size, size, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (batch, time, rows * size, columns * size, channels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}


@keras.saving.register_keras_serializable(package="seqzoo")
class StandStill(keras.layers.Layer):
    """The last frame, again and again.

    Takes `[batch, time, height, width, channels]` and gives the same with `count` frames.

    Args:
        count: Frames.
    """

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.count = count

    def call(self, frames: Any) -> Any:
        return ops.repeat(frames[:, -1:], self.count, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


def _checked(block: int) -> int:
    if block < 1:
        raise ConfigError(f"block must be at least 1, not {block}")
    return block
