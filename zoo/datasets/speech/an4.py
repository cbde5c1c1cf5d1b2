"""AN4: census answers, spelled names and commands.

948 training utterances (42 minutes, 74 speakers) and 130 for the test (6 minutes, 10 other
speakers), 16 kHz. Texts are in lower case here. It is read in the form in which CMU publishes
it: transcriptions and file names under `etc/`, recordings under `wav/` as raw 16-bit samples,
or as .wav or .flac of the same name.
"""

from __future__ import annotations

import re
from pathlib import Path

from zoo.datasets import cache
from zoo.datasets.examples import Source
from zoo.datasets.speech.examples import FileRecording, SpeechExamples
from zoo.errors import DataError

TRANSCRIPTIONS = {
    "train": (
        "an4/etc/an4_train.transcription",
        "6773e208c26be55101aac7a982983706bc6fcae1375fcff938008bddb7f9a286",
    ),
    "test": (
        "an4/etc/an4_test.transcription",
        "a36c14d7473eeba948ea64aa95be1e4fa42321ae6d535ea91e2381cb16faacfd",
    ),
}
FOLDERS = {"train": "an4_clstk", "test": "an4test_clstk"}
ARCHIVE = "http://www.speech.cs.cmu.edu/databases/an4/an4_raw.bigendian.tar.gz"
SOURCE = Source(
    url="http://www.speech.cs.cmu.edu/databases/an4/",
    licence="free for any purpose, with the notice of Carnegie Mellon University",
    citation="A. Acero and R. Stern (1990), Environmental Robustness in Automatic Speech "
    "Recognition, ICASSP",
)

_LINE = re.compile(r"(?:<s> )?(?P<text>.*?)(?: </s>)? \((?P<file>\w+-(?P<speaker>\w+)-\w+)\)")
_RAW = (
    ("format", "RAW"),
    ("subtype", "PCM_16"),
    ("endian", "BIG"),
    ("samplerate", 16_000),
    ("channels", 1),
)


def load() -> SpeechExamples:
    """Return both parts.

    Raises:
        DataError: A file is not the published one, or a recording is missing.
        DataUnavailableError: No cache folder has the data.
    """
    recordings, texts, speakers, splits = [], [], [], []
    for part, (path, sha256) in TRANSCRIPTIONS.items():
        file = cache.find(path, sha256)
        if file is None:
            place = cache.storage(path)
            raise cache.unavailable(place, sha256, f"out of {ARCHIVE}", "it is unpacked by hand")
        folder = file.parent.parent / "wav" / FOLDERS[part]
        for line in file.read_text(encoding="ascii").splitlines():
            found = _LINE.fullmatch(line)
            if found is None:
                raise DataError(f"'{file}': a line must end with the name of a file: '{line}'")
            recordings.append(_recording(folder / found["speaker"] / found["file"]))
            texts.append(found["text"].lower())
            speakers.append(found["speaker"])
            splits.append(part)
    return SpeechExamples(
        "an4", tuple(recordings), tuple(texts), tuple(speakers), tuple(splits), SOURCE
    )


def _recording(stem: Path) -> FileRecording:
    """Return the recording of this name, whatever its ending."""
    for suffix in (".flac", ".wav"):
        if stem.with_suffix(suffix).is_file():
            return FileRecording(stem.with_suffix(suffix))
    return FileRecording(stem.with_suffix(".raw"), _RAW)
