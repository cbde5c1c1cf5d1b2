"""Dropout for sequences: whole words, and one mask for all time steps."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError


@keras.saving.register_keras_serializable(package="seqzoo")
class WordDropout(keras.layers.Layer):
    """Replace whole tokens by another id while training.

    Takes and gives `int32[batch, time]`. Padding (id 0) stays padding.
    Source: Iyyer et al. 2015, Deep Unordered Composition, section 3.

    Args:
        rate: Probability that a token is replaced.
        replacement: The id that stands in for it, usually that of the unknown token.
        seed: Seed of the mask.
    """

    def __init__(
        self, rate: float, replacement: int = 1, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if not 0 <= rate <= 1:
            raise ConfigError(f"rate must be from 0 to 1, not {rate}")
        self.rate, self.replacement, self.seed = rate, replacement, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        drop = keras.random.uniform(ops.shape(inputs), seed=self.seed_generator) < self.rate
        drop = ops.logical_and(drop, ops.not_equal(inputs, 0))
        return ops.where(drop, ops.cast(self.replacement, inputs.dtype), inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"rate": self.rate, "replacement": self.replacement, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="seqzoo")
class VariationalDropout(keras.layers.Dropout):
    """Dropout with one mask per row, the same at every time step.

    Takes and gives `float32[batch, time, features]`.
    Source: Gal and Ghahramani 2016, arXiv:1512.05287.

    Args:
        rate: Probability that a feature is dropped from a whole row.
        seed: Seed of the mask.
    """

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(rate, noise_shape=(None, 1, None), seed=seed, **options)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["noise_shape"]
        return config
