"""Video data sets by name, and videos of the user's own.

train, validation, test = video.load("moving-digits", Shape(20, 64, 64), seen=10, clips=2000)
"""

from __future__ import annotations

from zoo.datasets.video import moving_digits, radar, synthetic
from zoo.datasets.video.examples import (
    Clip,
    Shape,
    VideoExamples,
    VideoSplit,
    split_by_time,
    windows,
)
from zoo.datasets.video.own_files import read_videos, videos_of
from zoo.errors import UnknownNameError

NAMES: tuple[str, ...] = (*moving_digits.NAMES, radar.NAME, "synthetic")


def load(name: str, size: Shape, seen: int, clips: int) -> VideoSplit:
    """Return a data set of the table.

    Args:
        name: One of `NAMES`.
        size: Of each clip.
        seen: Frames of a clip that are seen.
        clips: How many are made for training, where they are made.

    Raises:
        UnknownNameError: The table has no such name.
        ConfigError: The data set has no clips of this size.
        DataError: The package that brings it is not installed.
        DataUnavailableError: Its files are neither in the cache nor to be downloaded.
    """
    if name not in NAMES:
        raise UnknownNameError("video data set", name, NAMES)
    if name in moving_digits.NAMES:
        return moving_digits.load(name, size, clips)
    return radar.load(size, seen, clips) if name == radar.NAME else synthetic.load(size)


__all__ = [
    "NAMES",
    "Clip",
    "Shape",
    "VideoExamples",
    "VideoSplit",
    "load",
    "read_videos",
    "split_by_time",
    "videos_of",
    "windows",
]
