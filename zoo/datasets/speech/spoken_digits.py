"""Digits and commands that eSpeak NG says, through noise: a task that needs no download.

    three zero nine four           turn off the kitchen light

2,000 recordings to train, 240 to validate and 360 to test. Voices, sentences and kinds of
noise of the test part occur in no other; the noise is 5 to 20 dB weaker than the speech. A
fifth of the recordings of the other parts has none.

Made once per machine, in a minute, and kept in the cache folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from zoo.datasets import cache
from zoo.datasets.examples import Source
from zoo.datasets.speech.augment import noisy
from zoo.datasets.speech.espeak import Espeak, espeak
from zoo.datasets.speech.examples import Recording, SpeechExamples
from zoo.errors import DataUnavailableError
from zoo.sound import read_sound

RATE = 16_000
COUNTS = {"train": 2000, "validation": 240, "test": 360}
DIGITS = "zero one two three four five six seven eight nine".split()

LANGUAGES = ("en", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc")
SPEAKERS = {
    "train": "m1 m2 m4 m5 m7 m8 f1 f2 f4 Alex Andrea Andy Annie Gene Hugo Lee Marco Mike "
    "adam anika belinda benjamin boris caleb david ed edward gustave ian john linda max "
    "norbert paul quincy robert steph".split(),
    "validation": "Michael Alicia antonio zac Denis".split(),
    "test": "m3 f3 Mario pablo rob shelby victor aunty".split(),
}
"""Variants of eSpeak NG. Many of them share their formants, and differ in pitch and tone alone:
those of one part are in no other."""

NOISE_KINDS = {
    "train": ("white", "brown", "hum", "clicks", "fan"),
    "validation": ("white", "brown", "hum", "clicks", "fan"),
    "test": ("babble", "pink", "wind"),
}
QUIET = 0.2
"""Share of the recordings to train and to validate that have no noise."""

WORDS_PER_MINUTE, PITCH = (120, 220), (15, 85)
PAUSE = (0.1, 0.4)
"""Seconds of silence before and behind the words."""

_VERSION = 2
_FOLDER = f"spoken-digits/{_VERSION}"
_SOUND, _INDEX = "recordings.flac", "index.json"
_SEED = 20_231_107

SOURCE = Source(
    url="https://github.com/espeak-ng/espeak-ng",
    licence="made on the spot: free; eSpeak NG itself is GPL-3.0-or-later",
    citation="eSpeak NG, speech synthesis by formants",
)


@dataclass(frozen=True)
class SpokenRecording:
    """A stretch of the file that holds all recordings.

    Attributes:
        path: The file.
        voice: The voice that speaks.
        start, frames: Where it begins, and how many samples it has.
    """

    path: Path
    voice: str
    start: int
    frames: int

    @property
    def name(self) -> str:
        """Where it stands in the file, and who speaks."""
        return f"{self.path.name} at {self.start / RATE:.2f} s, {self.voice}"

    def read(self) -> tuple[np.ndarray, int]:
        """Return `float32[samples]` and the samples per second."""
        return read_sound(self.path, start=self.start, frames=self.frames)


def load() -> SpeechExamples:
    """Return all three parts; made now if no cache folder has them.

    Raises:
        MisuseError: espeakng-loader or soundfile is not installed.
        DataUnavailableError: The cache folder cannot be written.
    """
    folder = cache.storage(f"{_FOLDER}/{_INDEX}").parent
    if not (folder / _INDEX).is_file():
        try:
            _make(folder)
        except OSError as error:
            raise DataUnavailableError(
                f"spoken-digits cannot be written to '{folder}': {error.strerror}"
            ) from error
    rows = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    generator = np.random.default_rng(_SEED)
    recordings: list[Recording] = []
    for row in rows:
        own = {name: row[name] for name in ("voice", "start", "frames")}
        spoken = SpokenRecording(folder / _SOUND, **own)
        # Without these, speech in silence would be what the model never heard.
        quiet = row["split"] != "test" and generator.random() < QUIET
        recordings.append(spoken if quiet else noisy(spoken, NOISE_KINDS[row["split"]], generator))
    return SpeechExamples(
        "spoken-digits",
        tuple(recordings),
        tuple(row["text"] for row in rows),
        tuple(row["voice"].partition("+")[2] for row in rows),
        tuple(row["split"] for row in rows),
        SOURCE,
    )


def sentences(generator: np.random.Generator) -> Iterator[str]:
    """Yield different sentences without end: strings of digits, and commands."""

    def pick(*words: str) -> str:
        return words[int(generator.integers(len(words)))]

    def digits(most: int) -> str:
        return " ".join(pick(*DIGITS) for _ in range(int(generator.integers(2, most + 1))))

    known: set[str] = set()
    while True:
        room = pick("kitchen", "bedroom", "garden", "office", "garage")
        thing = pick("light", "fan", "heater", "radio", "door", "window", "alarm")
        text = pick(
            digits(7),
            digits(7),
            f"turn {pick('on', 'off')} the {room} {thing}",
            f"{pick('open', 'close', 'lock')} the {room} {pick('door', 'window')}",
            f"set the {room} {thing} to {digits(2)}",
            f"{pick('call', 'text')} {digits(7)}",
            f"{pick('play', 'stop', 'repeat')} song {digits(4)}",
        )
        if text not in known:
            known.add(text)
            yield text


@dataclass(frozen=True)
class _Row:
    """A line of the index."""

    text: str
    voice: str
    split: str
    start: int
    frames: int


def _make(folder: Path) -> None:
    """Write sound and index; the index comes last and says that both are whole."""
    import soundfile
    from rich.console import Console
    from rich.progress import track

    speaker, generator = espeak(), np.random.default_rng(_SEED)
    texts = sentences(generator)
    parts = [part for part, count in COUNTS.items() for _ in range(count)]
    shown = track(
        parts, "eSpeak NG says spoken-digits", console=Console(stderr=True), transient=True
    )
    folder.mkdir(parents=True, exist_ok=True)
    aside = {name: folder / f".{os.getpid()}-{name}" for name in (_SOUND, _INDEX)}
    rows, start = [], 0
    try:
        with soundfile.SoundFile(aside[_SOUND], "w", RATE, 1, "PCM_16", format="FLAC") as file:
            for part in shown:
                text = next(texts)
                voice, samples = _spoken(speaker, text, SPEAKERS[part], generator)
                file.write(samples)
                rows.append(_Row(text, voice, part, start, len(samples)))
                start += len(samples)
        aside[_INDEX].write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
        for name, path in aside.items():
            path.replace(folder / name)
    finally:
        for path in aside.values():
            path.unlink(missing_ok=True)


def _spoken(
    speaker: Espeak, text: str, speakers: list[str], generator: np.random.Generator
) -> tuple[str, np.ndarray]:
    """Return a random voice and what it says, at `RATE`."""
    from scipy.signal import resample_poly

    language = LANGUAGES[int(generator.integers(len(LANGUAGES)))]
    voice = f"{language}+{speakers[int(generator.integers(len(speakers)))]}"
    pace, pitch = int(generator.integers(*WORDS_PER_MINUTE)), int(generator.integers(*PITCH))
    samples = resample_poly(speaker.say(text, voice, pace, pitch), RATE, speaker.rate)
    pauses = (generator.uniform(*PAUSE, size=2) * RATE).astype(int)
    return voice, np.clip(np.pad(samples, tuple(pauses)), -1, 1)
