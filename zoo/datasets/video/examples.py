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
    the test; no frame is in two parts. Videos too short to be cut go to the parts as a whole.

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
    pieces = [_cut(film, fractions) for film in films]
    cut = [each for each in pieces if min(map(len, each)) >= time]
    short = [film for film, each in zip(films, pieces, strict=True) if min(map(len, each)) < time]
    whole = _dealt_out([film for film in short if len(film) >= time], fractions, bool(cut))
    train, validation, test = (
        [each[part] for each in cut] + whole[part] for part in range(len(whole))
    )
    parts = _parts(train, validation, test, time, step)
    if short and all(parts.values()):
        _tell_of_short_ones(len(films), short, whole, time)
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


def _dealt_out(
    films: Sequence[np.ndarray], fractions: Fractions, others: bool
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Return whole films for training, validation and test.

    Args:
        films: The films.
        fractions: Shares of them for validation and test.
        others: Whether parts have clips of other films: then these need not reach every part.
    """
    least = 0 if others or len(films) < len(VideoSplit._fields) else 1
    test, validation = (
        max(round(len(films) * share), least) for share in (fractions.test, fractions.validation)
    )
    order = np.random.default_rng(0).permutation(len(films))  # names often tell kinds apart
    mixed = [films[place] for place in order]
    held_out = test + validation
    return mixed[held_out:], mixed[test:held_out], mixed[:test]


def _tell_of_short_ones(
    count: int, short: Sequence[np.ndarray], whole: Sequence[Sequence[np.ndarray]], time: int
) -> None:
    train, validation, test = map(len, whole)
    unusable = sum(len(film) < time for film in short)
    print(
        f"{len(short)} of {count} videos are too short to be cut: {train} whole ones are for "
        f"training, {validation} for validation, {test} for the test"
        + f"; {unusable} have fewer than {time} frames, and are left out"
        * bool(unusable),
        file=sys.stderr,
    )
