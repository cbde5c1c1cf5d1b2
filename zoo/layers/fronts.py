"""Fronts: many short frames to few steps, before a recurrence.

Each takes `[features, lengths]`: `float32[batch, frames, bins]`, and `int32[batch]`, the frames
of each row that are real. It gives `float32[batch, steps, units]` and the mask of its steps,
where a row of n frames has ceil(n / reduction) of them. What stands behind a row's length never
reaches its steps, so padding changes nothing.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError

IMPOSSIBLE = -1e4
"""Logit of what cannot be: its probability is 0 in float32, and bfloat16 can hold it."""


class _Front(keras.layers.Layer):
    """What fronts share: lengths, mask and shape."""

    reduction: int

    def steps(self, frames: Any) -> Any:
        """Return how many steps rows of so many frames have."""
        return (frames + self.reduction - 1) // self.reduction

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        features, lengths = inputs
        # Counted, since the number of steps is not known while a model is put together.
        one = ops.ones_like(features[:, :: self.reduction, 0], dtype="int32")
        return ops.cumsum(one, axis=1) <= ops.cast(self.steps(lengths), "int32")[:, None]

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, frames, bins = input_shape[0]
        return (batch, None if frames is None else self.steps(frames), self._units(bins))

    def _units(self, bins: int) -> int:
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="seqzoo")
class FrameStacking(_Front):
    """Concatenate every `reduction` frames to one step; the last ones are filled up with 0.

    Looks at no later frame than those of its own step, so that it can be streamed.
    Source: Sak et al. 2015, arXiv:1507.06947, section 4.

    Args:
        reduction: Frames per step.
    """

    def __init__(self, reduction: int = 3, **options: Any) -> None:
        super().__init__(**options)
        if reduction < 1:
            raise ConfigError(f"reduction must be at least 1, not {reduction}")
        self.reduction = reduction
        self.built = True

    def call(self, inputs: Any) -> Any:
        x = _without_padding(*inputs)
        batch, frames, bins = ops.shape(x)
        steps = self.steps(frames)
        x = ops.pad(x, ((0, 0), (0, steps * self.reduction - frames), (0, 0)))
        return ops.reshape(x, (batch, steps, self._units(bins)))

    def _units(self, bins: int) -> int:
        return self.reduction * bins

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reduction": self.reduction}


@keras.saving.register_keras_serializable(package="seqzoo")
class ConvFront(_Front):
    """Two 3x3 convolutions over time and frequency, each halving the frequency axis.

    The first one halves the time axis too, with `reduction` 4 both do.
    Source: Amodei et al. 2016, arXiv:1512.02595, section 3.4.

    Args:
        reduction: Frames per step: 2 or 4.
        channels: Filters of each convolution.
    """

    def __init__(self, reduction: int = 4, channels: int = 32, **options: Any) -> None:
        super().__init__(**options)
        if reduction not in (2, 4):
            raise ConfigError(f"reduction must be 2 or 4, not {reduction}")
        if channels < 1:
            raise ConfigError(f"channels must be at least 1, not {channels}")
        self.reduction, self.channels = reduction, channels
        self.convolutions = [
            keras.layers.Conv2D(channels, 3, (stride, 2), "valid", activation="relu", name=name)
            for stride, name in ((2, "first"), (reduction // 2, "second"))
        ]

    def build(self, input_shape: Any) -> None:
        bins = input_shape[0][-1]
        for convolution, (size, depth) in zip(
            self.convolutions, ((bins, 1), (_half(bins), self.channels)), strict=True
        ):
            convolution.build((None, None, size + 2, depth))
        self.built = True

    def call(self, inputs: Any) -> Any:
        features, lengths = inputs
        x = features[..., None]
        for convolution in self.convolutions:
            x = _without_padding(x, lengths)
            # By hand: how "same" pads depends on whether the padded length is even.
            x = convolution(ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))
            stride = convolution.strides[0]
            lengths = (lengths + stride - 1) // stride
        batch, steps, bins, channels = ops.shape(x)
        return ops.reshape(x, (batch, steps, bins * channels))

    def _units(self, bins: int) -> int:
        return _half(_half(bins)) * self.channels

    def get_config(self) -> dict[str, Any]:
        own = {"reduction": self.reduction, "channels": self.channels}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="seqzoo")
class BlankPadding(keras.layers.Layer):
    """Let every step of padding say "blank" with certainty.

    Takes and gives logits `float32[batch, steps, classes]`; class 0 is the blank of CTC. Blanks
    at the end change no transcript and no score, so that nobody behind has to know the lengths.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return inputs
        classes = inputs.shape[-1]
        blank = ops.where(ops.arange(classes) == 0, 0.0, IMPOSSIBLE)
        return ops.where(mask[:, :, None], inputs, ops.cast(blank, inputs.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        # Keras would take the arguments that it was given, of which there are none.
        return super().get_config()


FRONTS: dict[str, type[_Front]] = {"stack": FrameStacking, "conv": ConvFront}


def _without_padding(x: Any, lengths: Any) -> Any:
    """Return `[batch, frames, ...]` with 0 behind each row's length."""
    places = ops.arange(ops.shape(x)[1], dtype="int32")
    real = places[None] < ops.cast(lengths, "int32")[:, None]
    real = ops.reshape(real, (*ops.shape(real), *[1] * (len(x.shape) - 2)))
    return ops.where(real, x, ops.zeros_like(x))


def _half(size: int) -> int:
    return (size + 1) // 2
