"""A frame that moves: what a forecast of clouds or traffic begins with."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="seqzoo")
class MovedFrame(keras.layers.Layer):
    """The last frame as it will be after each of several steps of a motion.

        y_t(p) = x(p - d_1(p) - ... - d_t(p))

    x is the last frame, between its pixels linear, beyond its border as at the border. It is
    looked up once for every t: what is looked up again and again becomes blurred.

    Takes `[frames, motion]`: `float32[batch, time, height, width, channels]`, and displacements
    d in pixels, down and to the right, `float32[batch, steps, rows, columns, 2]`, on a grid as
    fine as the frame or coarser. Gives `float32[batch, steps, height, width, channels]`.
    Source: Germann and Zawadzki 2002, Monthly Weather Review 130 (backward semi-Lagrangian, with
    the motion at the place that is looked at).
    """

    def call(self, inputs: Any) -> Any:
        frames, motion = inputs
        motion = ops.cast(motion, "float32")  # half of it would round places to whole pixels
        *_, height, width, channels = frames.shape
        batch, steps, rows, columns, _ = ops.shape(motion)
        moved = ops.reshape(ops.cumsum(motion, axis=1), (-1, rows, columns, 2))
        if (motion.shape[2], motion.shape[3]) != (height, width):
            moved = ops.image.resize(
                moved, (height, width), "bilinear", data_format="channels_last"
            )
        pixels = ops.reshape(frames[:, -1], (batch, height * width, channels))

        def along(size: int, axis: int) -> tuple[Any, Any, Any]:
            """Return the two pixels around each place, and how near it is to the second."""
            own = ops.reshape(
                ops.arange(size, dtype="float32"), (size, 1) if axis == 0 else (size,)
            )
            place = ops.clip(own - moved[..., axis], 0, size - 1)
            first = ops.clip(ops.floor(place), 0, max(size - 2, 0))
            second = ops.minimum(first + 1, size - 1)
            return ops.cast(first, "int32"), ops.cast(second, "int32"), place - first

        def look_up(row: Any, column: Any) -> Any:
            index = ops.reshape(row * width + column, (batch, -1, 1))
            found = ops.take_along_axis(pixels, ops.repeat(index, channels, axis=-1), axis=1)
            return ops.reshape(ops.cast(found, "float32"), (-1, height, width, channels))

        above, below, down = along(height, 0)
        left, right, across = along(width, 1)
        down, across = down[..., None], across[..., None]
        upper = (1 - across) * look_up(above, left) + across * look_up(above, right)
        lower = (1 - across) * look_up(below, left) + across * look_up(below, right)
        mixed = ops.cast((1 - down) * upper + down * lower, frames.dtype)
        return ops.reshape(mixed, (batch, steps, height, width, channels))

    def compute_output_shape(self, inputs_shape: Any) -> Any:
        frames_shape, motion_shape = inputs_shape
        return (frames_shape[0], motion_shape[1], *frames_shape[2:])
