"""Recordings with what is said in them: columns of equal length, and their origin."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from zoo.datasets.examples import PARTS, Source, check_columns
from zoo.datasets.splits import Fractions
from zoo.errors import DataError, UnknownNameError
from zoo.sound import RATES, read_sound

BAD_SHARE = 0.05
"""Share of the recordings that may be unusable before that is an error."""


class Recording(Protocol):
    """Something that can be listened to."""

    @property
    def name(self) -> str:
        """How people find it, such as its path."""
        ...

    def read(self) -> tuple[np.ndarray, int]:
        """Return `float32[samples]` from -1 to 1, mono, and the samples per second.

        Raises:
            DataError: It cannot be read; the message names it and the reason.
        """
        ...


@dataclass(frozen=True)
class FileRecording:
    """A sound file that soundfile can read: WAV, FLAC, OGG and others.

    Attributes:
        path: The file.
        options: What soundfile must be told of files without a header.
    """

    path: Path
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def read(self) -> tuple[np.ndarray, int]:
        """Return the mean of the channels, and the samples per second."""
        return read_sound(self.path, **dict(self.options))


@dataclass(frozen=True)
class SpeechExamples:
    """Rows of a speech data set; the columns are tuples of equal length.

    Attributes:
        name: The data set's name, as in `speech.NAMES`, or the file that was read.
        recordings: One per row.
        texts: What is said, words with single spaces between them.
        speakers: Who says it, or None if that is not known.
        splits: One of "train", "validation", "test" per row where the data set brings its own
            parts, else None.
        source: The origin, or None for files of the user's own.
        left_out: Why each of the recordings that could not be used could not.

    Raises:
        DataError: The columns differ in length, or a split is not one of the three.
    """

    name: str
    recordings: tuple[Recording, ...]
    texts: tuple[str, ...]
    speakers: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None
    source: Source | None = None
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = {"texts": self.texts, "speakers": self.speakers, "splits": self.splits}
        check_columns(self.name, "recording", len(self.recordings), columns)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.recordings)

    def select(self, rows: Iterable[int]) -> SpeechExamples:
        """Return the given rows (indices from 0), in the given order."""
        chosen = tuple(rows)
        return SpeechExamples(
            name=self.name,
            recordings=tuple(self.recordings[row] for row in chosen),
            texts=tuple(self.texts[row] for row in chosen),
            speakers=self.speakers and tuple(self.speakers[row] for row in chosen),
            splits=self.splits and tuple(self.splits[row] for row in chosen),
            source=self.source,
            left_out=self.left_out,
        )


class SpeechSplit(NamedTuple):
    """The three parts of a data set."""

    train: SpeechExamples
    validation: SpeechExamples
    test: SpeechExamples


def split_speech(examples: SpeechExamples, fractions: Fractions) -> SpeechSplit:
    """Divide a data set into its three parts, keeping the order of the rows in each.

    A part that the data set brings itself is taken as it is. One that it lacks is cut from the
    training rows, whole speakers, so that nobody is heard in two parts; by recording where the
    speakers are not known, or are the same in the data set's own parts. Which ones depends on
    their names alone, those of files as seen from the folder that holds all of them.

    Raises:
        DataError: A part would be empty.
    """
    parts = list(examples.splits or ("train",) * len(examples))
    whose = examples.speakers
    if whose is None or _shared(parts, whose):
        whose = _from_their_folder([each.name for each in examples.recordings])
    for part, share in (("test", fractions.test), ("validation", fractions.validation)):
        if part not in parts:
            _cut(parts, whose, part, share)
    return _parted(examples, parts)


def leave_one_out(examples: SpeechExamples, speaker: str, validation: float) -> SpeechSplit:
    """Test on all that one speaker says; of what the others say a share of the rows validates.

    They are so few that to train on all of them is worth more than to have a voice never heard
    choose the epoch.

    Raises:
        DataError: The speakers are not known, or there is one alone.
        UnknownNameError: There is no such speaker.
    """
    if examples.speakers is None or len(set(examples.speakers)) < 2:
        raise DataError(f"data set '{examples.name}': leaving one out takes two known speakers")
    names = sorted(set(examples.speakers))
    if speaker not in names:
        raise UnknownNameError("speaker", speaker, names)
    parts = ["test" if who == speaker else "train" for who in examples.speakers]
    files = _from_their_folder([each.name for each in examples.recordings])
    _cut(parts, files, "validation", validation)
    return _parted(examples, parts)


def _parted(examples: SpeechExamples, parts: Sequence[str]) -> SpeechSplit:
    """Return the three parts of rows that each say which one is theirs."""
    rows = {part: [row for row, own in enumerate(parts) if own == part] for part in PARTS}
    for part, chosen in rows.items():
        if not chosen:
            known = f" of {len(set(examples.speakers))} speakers" if examples.speakers else ""
            raise DataError(
                f"data set '{examples.name}': no row falls into the {part} part; each part needs "
                f"at least one, and there are {len(examples)} rows{known}"
            )
    return SpeechSplit(*(examples.select(rows[part]) for part in PARTS))


def replaced(examples: SpeechExamples, recordings: Sequence[Recording]) -> SpeechExamples:
    """Return the same rows with other recordings of the same words."""
    return dataclasses.replace(examples, recordings=tuple(recordings))


def _shared(parts: Iterable[str], speakers: Iterable[str]) -> bool:
    """Say whether somebody is heard in two parts."""
    pairs = set(zip(speakers, parts, strict=True))
    return len(pairs) > len({speaker for speaker, _ in pairs})


def _from_their_folder(names: Sequence[str]) -> tuple[str, ...]:
    """Return names without the folder that all of them begin with, wherever it lies."""
    try:
        folder = os.path.commonpath([os.path.dirname(name) for name in names])
    except ValueError:  # some are absolute and some are not
        return tuple(names)
    return tuple(name[len(folder) :].lstrip("/\\") for name in names)


def _cut(parts: list[str], whose: tuple[str, ...], part: str, share: float) -> None:
    """Move speakers from the training part to another one until it has its share of the rows."""
    train = [who for who, own in zip(whose, parts, strict=True) if own == "train"]
    wanted, moved = share * len(train), 0
    for who in sorted(set(train), key=lambda name: _hash(f"{part}\0{name}")):
        if moved >= wanted:
            return
        rows = [row for row, own in enumerate(parts) if own == "train" and whose[row] == who]
        for row in rows:
            parts[row] = part
        moved += len(rows)


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def readable(examples: SpeechExamples, max_seconds: float, slowest: float = 1.0) -> SpeechExamples:
    """Listen to every recording, and leave out those that cannot be used, with the reasons.

    Args:
        examples: Any recordings.
        max_seconds: Longer recordings are left out.
        slowest: Speed at which they must not be longer either.

    Raises:
        DataError: More than 5 % cannot be used; the message gives the first three reasons.
    """
    good, reasons = [], []
    for row, recording in enumerate(examples.recordings):
        try:
            samples, rate = recording.read()
            if rate not in RATES:
                known = ", ".join(map(str, RATES))
                raise DataError(f"'{recording.name}' has {rate} samples per second, not {known}")
            if len(samples) > max_seconds * rate * slowest:
                at = f" at {slowest:g} times its speed" if slowest < 1 else ""
                raise DataError(f"'{recording.name}' is longer than {max_seconds:g} seconds{at}")
        except DataError as error:
            reasons.append(str(error))
        else:
            good.append(row)
    if len(reasons) > BAD_SHARE * len(examples):
        raise DataError(
            f"data set '{examples.name}': {len(reasons)} of {len(examples)} recordings cannot be "
            f"used, more than {BAD_SHARE:.0%}: {'; '.join(reasons[:3])}"
        )
    return dataclasses.replace(examples.select(good), left_out=tuple(reasons))
