"""SpecAugment: hide bands of frequency and stretches of time while training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError


@keras.saving.register_keras_serializable(package="seqzoo")
class SpecAugment(keras.layers.Layer):
    """Set random bands and stretches of a spectrogram to 0, its mean once it is normalised.

    Takes `[features, lengths]`: `float32[batch, frames, bins]`, and `int32[batch]`, the frames
    of each row that are real. Gives the features. A band is 0 to `band_width` bins wide; a
    stretch is 0 to `stretch_width` frames long, and at most `stretch_share` of the row.
    Source: Park et al. 2019, arXiv:1904.08779, section 2; time warping is left out, which they
    found to matter least.

    Args:
        bands: Number of frequency bands.
        band_width: Width of the widest band, in bins.
        stretches: Number of stretches of time.
        stretch_width: Length of the longest stretch, in frames.
        stretch_share: Part of a row that one stretch may hide at most.
        seed: Seed of the places.
    """

    def __init__(
        self,
        bands: int = 2,
        band_width: int = 15,
        stretches: int = 2,
        stretch_width: int = 40,
        stretch_share: float = 0.2,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        counts = {
            "bands": bands,
            "band_width": band_width,
            "stretches": stretches,
            "stretch_width": stretch_width,
        }
        for name, value in counts.items():
            if value < 0:
                raise ConfigError(f"{name} must be at least 0, not {value}")
        if not 0 <= stretch_share <= 1:
            raise ConfigError(f"stretch_share must be from 0 to 1, not {stretch_share}")
        self.bands, self.band_width = bands, band_width
        self.stretches, self.stretch_width = stretches, stretch_width
        self.stretch_share, self.seed = stretch_share, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        features, lengths = inputs
        if not training:
            return features
        batch, frames, bins = ops.shape(features)
        lengths = ops.cast(lengths, "float32")
        widest = ops.minimum(float(self.stretch_width), lengths * self.stretch_share)
        hidden = ops.logical_or(
            self._spans(frames, lengths, widest, self.stretches)[:, :, None],
            self._spans(
                bins,
                ops.full((batch,), bins, "float32"),
                ops.full((batch,), min(self.band_width, bins), "float32"),
                self.bands,
            )[:, None, :],
        )
        return ops.where(hidden, ops.zeros_like(features), features)

    def _spans(self, size: Any, lengths: Any, widest: Any, count: int) -> Any:
        """Return `bool[batch, size]`, True in `count` random spans within each row's length."""
        shape = (ops.shape(lengths)[0], count)
        width = keras.random.uniform(shape, seed=self.seed_generator) * (widest[:, None] + 1)
        width = ops.floor(width)
        start = keras.random.uniform(shape, seed=self.seed_generator)
        start = ops.floor(start * (lengths[:, None] - width + 1))
        places = ops.arange(size, dtype="float32")
        inside = ops.logical_and(places >= start[:, :, None], places < (start + width)[:, :, None])
        return ops.any(inside, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        own = {
            "bands": self.bands,
            "band_width": self.band_width,
            "stretches": self.stretches,
            "stretch_width": self.stretch_width,
            "stretch_share": self.stretch_share,
            "seed": self.seed,
        }
        return {**super().get_config(), **own}
