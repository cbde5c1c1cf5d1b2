"""Clips of video as every loader returns them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from zoo.datasets.examples import Source
from zoo.datasets.splits import Fractions
from zoo.errors import DataError

Clip: TypeAlias = Any
"""Frames that follow each other, `uint8[time, height, width, channels]`: an array, or what has
`shape`, `dtype` and a length, and becomes one when it is looked at."""


@dataclass(frozen=True)
class Shape:
    """What every clip of a data set has to look like.

    Attributes:
        time: Frames, those that are seen and those that are to be predicted.
        height, width: Pixels.
        channels: 1 for grey, 3 for colour.
    """

    time: int
    height: int
    width: int
    channels: int = 1


@dataclass(frozen=True)
class VideoExamples:
    """Clips of one shape.

    Attributes:
        name: The data set's name, or the file or folder that was read.
        clips: The clips.
        source: The origin, None for files of the user's own.
    """

    name: str
    clips: Sequence[Clip]
    source: Source | None = None

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    def frames(self, rows: Sequence[int] | range | None = None) -> np.ndarray:
        """Return clips as `uint8[clips, time, height, width, channels]`, all of them by default."""
        chosen = range(len(self)) if rows is None else rows
        return np.stack([np.asarray(self.clips[row]) for row in chosen])


class VideoSplit(NamedTuple):
    """The three parts of a data set."""

    train: VideoExamples
    validation: VideoExamples
    test: VideoExamples


Resize = Callable[[np.ndarray], np.ndarray]
"""`uint8[frames, height, width, channels]` of any size to that of the clips."""


def windows(frames: np.ndarray, time: int, step: int) -> list[np.ndarray]:
    """Return the clips of a video, each `step` frames behind the last; none of a shorter video."""
    return [frames[start : start + time] for start in range(0, len(frames) - time + 1, step)]


def split_by_time(
    name: str,
    films: Sequence[np.ndarray],
    time: int,
    step: int,
    fractions: Fractions,
    source: Source | None = None,
) -> VideoSplit:
    """Return the beginning of each video for training, what follows for validation, the end for
    the test; no frame is in two parts. Of videos too short to be cut whole ones go to each part.

    Args:
        name: Of the data set.
        films: `uint8[frames, height, width, channels]` each.
        time: Frames of a clip.
        step: Frames from one training clip to the next; those of the other parts do not overlap.
        fractions: Shares of each video.
        source: The origin.

    Raises:
        DataError: A part holds no clip, since the videos are too short.
    """
    train, validation, test = zip(*(_cut(film, fractions) for film in films), strict=True)
    parts = _parts(train, validation, test, time, step)
    if all(parts.values()):
        _tell_of_short_ones(films, time, fractions)
    else:
        parts = _whole(films, time, step, fractions) or parts
    for part, clips in parts.items():
        if not clips:
            frames = ", ".join(str(len(film)) for film in films[:10])
            raise DataError(
                f"'{name}' is too short: the {part} part holds no clip of {time} frames (videos of "
                f"{frames} frames); see horizon, seen, validation_fraction and test_fraction"
            )
    return VideoSplit(*(VideoExamples(name, clips, source) for clips in parts.values()))


def _parts(
    train: Sequence[np.ndarray],
    validation: Sequence[np.ndarray],
    test: Sequence[np.ndarray],
    time: int,
    step: int,
) -> dict[str, list[np.ndarray]]:
    """Return the clips of each part, of the films or pieces of films for it."""
    return {
        "train": [clip for film in train for clip in windows(film, time, step)],
        "validation": [clip for film in validation for clip in windows(film, time, time)],
        "test": [clip for film in test for clip in windows(film, time, time)],
    }


def _cut(film: np.ndarray, fractions: Fractions) -> list[np.ndarray]:
    """Return a film's frames for training, validation and test."""
    test = len(film) - round(len(film) * fractions.test)
    validation = test - round(len(film) * fractions.validation)
    return [film[:validation], film[validation:test], film[test:]]


def _whole(
    films: Sequence[np.ndarray], time: int, step: int, fractions: Fractions
) -> dict[str, list[np.ndarray]] | None:
    """Return the clips of whole films, some for each part; None if there are too few films."""
    usable = [film for film in films if len(film) >= time]

    def count(share: float) -> int:
        return max(round(len(usable) * share), 1) if share else 0

    validation, test = count(fractions.validation), count(fractions.test)
    if len(usable) <= validation + test:
        return None
    print(
        f"the videos are too short to be cut: of {len(usable)} with {time} frames or more "
        f"{validation} whole ones are for validation and {test} for the test",
        file=sys.stderr,
    )
    order = np.random.default_rng(0).permutation(len(usable))  # names often tell kinds apart
    mixed = [usable[place] for place in order]
    held_out = test + validation
    return _parts(mixed[held_out:], mixed[test:held_out], mixed[:test], time, step)


def _tell_of_short_ones(films: Sequence[np.ndarray], time: int, fractions: Fractions) -> None:
    short = sum(round(len(film) * fractions.test) < time for film in films)
    if short:
        print(
            f"{short} of {len(films)} videos are too short for a clip of {time} frames in the test "
            "part",
            file=sys.stderr,
        )
