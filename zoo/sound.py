"""Sound files of any kind to samples, by soundfile, and samples to WAV, outside the graph."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ConfigError, DataError, MisuseError

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)
"""Samples per second that an exported model knows how to resample."""

UNKNOWN_LENGTHS = (0, 2**31 - 4096, 2**32 - 1)
"""Lengths of the sound of a WAV file that programs write which do not know it yet."""


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
    try:
        if not path.is_file():
            raise DataError(f"there is no file '{path}'")
        _check_whole(path)
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True, **options)
    except TypeError as error:
        # soundfile takes a file of that name for one without a header.
        raise DataError(f"cannot read '{path}': it does not say what it holds") from error
    except (OSError, RuntimeError) as error:
        reason = str(error).rpartition(": ")[2]
        raise DataError(f"cannot read '{path}': {reason}") from error
    if not len(samples):
        raise DataError(f"'{path}' holds no samples")
    if not np.isfinite(samples).all():
        raise DataError(f"'{path}' holds samples that are not finite numbers")
    return samples.mean(axis=1), rate


def _check_whole(path: Path) -> None:
    """Refuse a WAV file that ends before its sound does, of which libsndfile reads the rest.

    Raises:
        DataError: It does.
    """
    with path.open("rb") as file:
        if file.read(4) != b"RIFF" or not (file.seek(8) and file.read(4) == b"WAVE"):
            return
        while len(chunk := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", chunk)
            if name != b"data":
                file.seek(size + size % 2, io.SEEK_CUR)
                continue
            if size not in UNKNOWN_LENGTHS and path.stat().st_size - file.tell() < size:
                raise DataError(f"'{path}' is cut off")
            return


def encode_wav(samples: np.ndarray, rate: int) -> bytes:
    """Return a mono WAV file of 16-bit PCM.

    Args:
        samples: `float[time]`, clipped to -1 and 1.
        rate: Samples per second.

    Raises:
        ConfigError: There is more than one axis.
    """
    if samples.ndim != 1:
        raise ConfigError(f"samples must be [time], not {list(samples.shape)}")
    numbers = np.clip(np.round(samples * 2.0**15), -(2**15), 2**15 - 1)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, len(samples), "NONE", "not compressed"))
        writer.writeframes(numbers.astype("<i2").tobytes())
    return file.getvalue()
