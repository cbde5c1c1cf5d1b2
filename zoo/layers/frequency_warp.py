"""Other voices than were recorded: stretch and squeeze spectra while training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError


@keras.saving.register_keras_serializable(package="seqzoo")
class FrequencyWarp(keras.layers.Layer):
    """Stretch or squeeze the spectrum of each row, as a longer or shorter vocal tract would.

    Takes and gives `float32[batch, frames, bins]`. Bin b of a row becomes what was at place
    `b * factor`, read between two bins; beyond the last bin that one is repeated. Each row draws
    its own factor, evenly from `1 - share` to `1 + share`.
    Source: Jaitly and Hinton 2013, Vocal Tract Length Perturbation improves speech recognition;
    here the mel scale is warped, not the one in hertz.

    Args:
        share: Most that a spectrum is warped by.
        seed: Seed of the factors.
    """

    def __init__(self, share: float = 0.1, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= share < 1:
            raise ConfigError(f"share must be at least 0 and below 1, not {share}")
        self.share, self.seed = share, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        batch, _, bins = ops.shape(inputs)
        factors = keras.random.uniform(
            (batch, 1, 1), 1 - self.share, 1 + self.share, seed=self.seed_generator
        )
        bin_of = ops.arange(bins, dtype="float32")
        places = ops.minimum(bin_of * factors, float(bins - 1))  # [batch, 1, new bin]
        weights = ops.relu(1 - ops.abs(places - bin_of[:, None]))  # [batch, old bin, new bin]
        return ops.matmul(inputs, ops.cast(weights, inputs.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "share": self.share, "seed": self.seed}
