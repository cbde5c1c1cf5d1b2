"""Clips through a video model in training."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from recipes.training import scorer
from zoo import decoding, metrics
from zoo.datasets.video import VideoExamples
from zoo.errors import MisuseError


class Watcher:
    """What a model makes of a part of the data.

    Args:
        model: As it is when asked.
        examples: The part.
        seen: Frames of a clip that the model looks at.
        batch_size: Clips per batch.
    """

    def __init__(
        self, model: keras.Model, examples: VideoExamples, seen: int, batch_size: int
    ) -> None:
        self._clips, self._seen, self._batch_size = examples.frames(), seen, batch_size
        self._score = scorer(model, "frames")

    def errors(self) -> dict[str, float]:
        """Return squared error and structural similarity, means over frames."""
        seen, truth = self._clips[:, : self._seen], self._clips[:, self._seen :]
        parts = [
            decoding.as_pixels(
                self._score(seen[start : start + self._batch_size] / np.float32(255))
            )
            for start in range(0, len(seen), self._batch_size)
        ]
        errors = metrics.frame_errors(truth, np.concatenate([part.numpy() for part in parts]))
        return {name: float(errors[name].mean()) for name in ("mse", "ssim")}


@contextlib.contextmanager
def in_precision(mixed: bool) -> Iterator[None]:
    """Let layers that are made in this block compute in bfloat16, and keep weights in float32."""
    before = keras.config.dtype_policy()
    if mixed:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def known_frames(optimizer: keras.optimizers.Optimizer, steps: int) -> Any:
    """Return the share of the frames to come that are shown: from 1 down to 0 after `steps`."""
    done = tf.cast(optimizer.iterations.value, tf.float32)
    return tf.maximum(1.0 - done / max(steps, 1), 0.0)


def read_weights(model: keras.Model, file: Path) -> None:
    """Give a model the weights of a file.

    Raises:
        MisuseError: It cannot be read, or is of another model.
    """
    if not file.is_file():
        raise MisuseError(f"weights: there is no file '{file}'")
    try:
        with warnings.catch_warnings(action="ignore"):  # of what the error says better
            model.load_weights(file)
    except (ValueError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise MisuseError(f"weights: '{file}' does not fit this model: {reason}") from None
