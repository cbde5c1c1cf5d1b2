"""Clips through a video model in training."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from recipes.training import scorer
from zoo import decoding, metrics, preprocessing
from zoo.datasets.video import VideoExamples
from zoo.errors import MisuseError

WEIGHTS = ".weights.h5"
"""How the name of a file of weights ends."""

_PROCESSOR = Path("/proc/cpuinfo")


class Redrawn(preprocessing.BucketedBatches):
    """Batches of clips that are drawn anew for every epoch.

    Args:
        clips: Each with `again`, which gives what stands in its place in a later epoch.
        batch_size: Clips per batch.
        seed: Seed of the order.
    """

    def __init__(self, clips: Sequence[Any], batch_size: int, seed: int) -> None:
        super().__init__(clips, batch_size, seed=seed)
        self._first = clips

    def epoch(self, number: int) -> list[preprocessing.Batch]:
        """Return the batches of an epoch, of clips that no epoch before has seen."""
        self.sequences = [clip.again(number) for clip in self._first]
        return super().epoch(number)


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
        if not _knows_bfloat16():
            print(
                "note: this processor has no arithmetic in bfloat16 (AVX512_BF16, AMX): "
                "--mixed-precision False trains many times as fast",
                file=sys.stderr,
            )
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _knows_bfloat16() -> bool:
    """Return whether training in bfloat16 is fast here; True where that cannot be found out."""
    if tf.config.list_physical_devices("GPU"):
        return True
    try:
        told = _PROCESSOR.read_text()
    except OSError:
        return True
    return re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", told) is not None


def known_frames(optimizer: keras.optimizers.Optimizer, steps: int) -> Any:
    """Return the share of the frames to come that are shown: from 1 down to 0 after `steps`."""
    if not steps:
        return tf.zeros(())
    done = tf.cast(optimizer.iterations.value, tf.float32)
    return tf.maximum(1.0 - done / steps, 0.0)


def read_weights(model: keras.Model, file: Path) -> None:
    """Give a model the weights of a file that `save_weights` wrote, of the very same model.

    Raises:
        MisuseError: It cannot be read, or is of another model.
    """
    if not os.path.isfile(file):  # unlike `Path.is_file` it raises nothing
        raise MisuseError(f"weights: there is no file '{file}'")
    if not file.name.endswith(WEIGHTS):  # by which Keras tells how a file is to be read
        raise MisuseError(f"weights: the name of '{file}' must end with {WEIGHTS}")
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder, f"own{WEIGHTS}")
        model.save_weights(own)
        expected = _arrays(own)
    found = _arrays(file)
    # Of a model that was compiled the file has the optimizer's too, beside the model's own.
    parts = {name.partition("/")[0] for name in expected}
    found = {name: shape for name, shape in found.items() if name.partition("/")[0] in parts}
    # Keras would load what it finds, and not miss the layers that a deeper model has more.
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            raise MisuseError(
                f"weights: '{file}' is of another model: its '{name}' has the shape "
                f"{found.get(name)}, not {expected.get(name)}"
            )
    model.load_weights(file)


def _arrays(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array in a file of weights by its name."""
    shapes = {}

    def note(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            shapes[name] = entry.shape

    try:
        with h5py.File(file) as opened:
            opened.visititems(note)
    except OSError:
        raise MisuseError(f"weights: '{file}' is no file of weights ({WEIGHTS})") from None
    return shapes
