"""Speech data sets by name, and recordings of the user's own.

examples = speech.load("an4")
train, validation, test = speech.split_speech(examples, Fractions())
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from zoo.datasets.speech import an4, fsdd, spoken_digits, synthetic
from zoo.datasets.speech.augment import (
    FasterRecording,
    NoisyRecording,
    augment,
    is_speed,
    without_noise,
)
from zoo.datasets.speech.examples import (
    BAD_SHARE,
    FileRecording,
    Recording,
    SpeechExamples,
    SpeechSplit,
    leave_one_out,
    readable,
    split_speech,
)
from zoo.datasets.speech.manifest import read_manifest
from zoo.errors import UnknownNameError

LOADERS: Mapping[str, Callable[[], SpeechExamples]] = MappingProxyType(
    {
        "spoken-digits": spoken_digits.load,
        "fsdd": fsdd.load,
        "an4": an4.load,
        "synthetic": synthetic.load,
    }
)
NAMES: tuple[str, ...] = tuple(LOADERS)


def load(name: str) -> SpeechExamples:
    """Return a data set of the table.

    Raises:
        UnknownNameError: The table has no such name.
        DataUnavailableError: Its files are not in the cache.
    """
    if name not in LOADERS:
        raise UnknownNameError("speech data set", name, LOADERS)
    return LOADERS[name]()


__all__ = [
    "BAD_SHARE",
    "LOADERS",
    "NAMES",
    "FasterRecording",
    "FileRecording",
    "NoisyRecording",
    "Recording",
    "SpeechExamples",
    "SpeechSplit",
    "augment",
    "is_speed",
    "leave_one_out",
    "load",
    "read_manifest",
    "readable",
    "split_speech",
    "without_noise",
]
