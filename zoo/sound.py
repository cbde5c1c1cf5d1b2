"""Sound files of any kind to samples, outside the graph, by soundfile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import DataError, MisuseError


def read_sound(path: Path, **options: Any) -> tuple[np.ndarray, int]:
    """Return `float32[samples]` from -1 to 1, the mean of the channels, and samples per second.

    Args:
        path: A file that soundfile can read: WAV, FLAC, OGG and others.
        **options: What soundfile must be told of files without a header.

    Raises:
        DataError: It cannot be read, or holds no samples; the message names it and the reason.
        MisuseError: soundfile is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MisuseError(
            "reading a recording takes soundfile: pip install -r requirements-speech.txt"
        ) from error
    if not path.is_file():
        raise DataError(f"there is no file '{path}'")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True, **options)
    except (OSError, RuntimeError) as error:
        reason = str(error).rpartition(": ")[2]
        raise DataError(f"cannot read '{path}': {reason}") from error
    if not len(samples):
        raise DataError(f"'{path}' holds no samples")
    return samples.mean(axis=1), rate
