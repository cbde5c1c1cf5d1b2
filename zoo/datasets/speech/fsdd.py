"""The Free Spoken Digit Dataset: ten digits, six speakers, fifty times each, 8 kHz.

3,000 recordings of 0.1 to 2.3 seconds. In the official split the first five of each speaker
and digit, 300 in all, are the test part.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from zoo.datasets import cache
from zoo.datasets.examples import Source
from zoo.datasets.speech.examples import FileRecording, SpeechExamples
from zoo.errors import DataError

FIRST = "fsdd/recordings/0_george_0.wav"
FIRST_SHA256 = "228ab63fccdf262d2e05817b6ec918b15e7d9e4bfb6bb20183c46ae088405240"
SHA256 = "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"
"""Of the lines "NAME SHA256" of all recordings, sorted by name."""

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
ARCHIVE = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
WORDS = "zero one two three four five six seven eight nine".split()
TEST = range(5)
"""Numbers of the recordings that are the test part."""

SOURCE = Source(
    url="https://github.com/Jakobovski/free-spoken-digit-dataset",
    licence="CC BY-SA 4.0",
    citation="Z. Jackson and others (2016), Free Spoken Digit Dataset",
)


def load() -> SpeechExamples:
    """Return all recordings, sorted by name.

    Raises:
        DataError: A recording is missing, or is not the published one.
        DataUnavailableError: No cache folder has the data.
    """
    first = cache.find(FIRST, FIRST_SHA256)
    if first is None:
        place = cache.storage(FIRST)
        raise cache.unavailable(
            place, FIRST_SHA256, f"with all others out of {ARCHIVE}", "it is unpacked by hand"
        )
    files = sorted(first.parent.glob("*.wav"))
    _check(first.parent, files)
    digits, speakers, numbers = zip(*(file.stem.split("_") for file in files), strict=True)
    return SpeechExamples(
        name="fsdd",
        recordings=tuple(FileRecording(file) for file in files),
        texts=tuple(WORDS[int(digit)] for digit in digits),
        speakers=speakers,
        splits=tuple("test" if int(number) in TEST else "train" for number in numbers),
        source=SOURCE,
    )


def _check(folder: Path, files: list[Path]) -> None:
    lines = (f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    if hashlib.sha256("".join(lines).encode()).hexdigest() != SHA256:
        raise DataError(
            f"{folder} must hold the 3,000 published recordings and no others, and its "
            f"{len(files)} are not these: unpack {ARCHIVE} again"
        )
