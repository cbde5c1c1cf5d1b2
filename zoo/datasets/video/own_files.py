"""Videos of the user's own: a file, or a folder of files or of folders of pictures."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zoo.datasets.splits import Fractions
from zoo.datasets.video.examples import Resize, VideoSplit, split_by_time
from zoo.errors import DataError
from zoo.video import FILMS, PICTURES, by_number, entries, mode_of, read_frames

AT_ONCE = 64 * 640 * 360
"""Pixels of frames that are resized together: no more of a long video are in memory in full size,
but for a single frame."""


def read_videos(
    path: Path, resize: Resize, time: int, step: int, every: int, fractions: Fractions
) -> VideoSplit:
    """Return the clips of videos, the end of each for the test.

    Args:
        path: A video file, a folder of them, a folder of pictures, or a folder of such folders.
        resize: What brings frames to the size of the clips.
        time: Frames of a clip.
        step: Frames from one training clip to the next.
        every: Of so many frames one is taken.
        fractions: Shares of each video for validation and test.

    Raises:
        DataError: Nothing can be read, or the videos are too short; the message says which.
        MisuseError: PyAV is not installed.
    """
    files = videos_of(path)
    for file in files:  # before hours of decoding
        next(read_frames(file))
    films = [_read(file, resize, every) for file in files]
    return split_by_time(str(path), films, time, step, fractions)


def videos_of(path: Path) -> list[Path]:
    """Return what holds one video each, in the order of the names.

    Raises:
        DataError: There is none.
    """
    if not (mode := mode_of(path)):
        raise DataError(f"there is no file or folder '{path}'")
    if not stat.S_ISDIR(mode):
        return [path]
    films, pictures = entries(path, FILMS), entries(path, PICTURES)
    if films and pictures:
        raise DataError(
            f"'{path}' holds films and pictures ('{films[0].name}', '{pictures[0].name}'): keep "
            "them apart"
        )
    if pictures:
        return [path]
    inside = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    folders = sorted((e for e in inside if stat.S_ISDIR(mode_of(e))), key=by_number)
    found = films + [folder for folder in folders if entries(folder, PICTURES)]
    if not found:
        raise DataError(
            f"'{path}' holds no video ({', '.join(FILMS)}), no picture ({', '.join(PICTURES)}) and "
            "no folder of pictures"
        )
    return found


def _read(file: Path, resize: Resize, every: int) -> np.ndarray:
    return np.concatenate([*_resized(itertools.islice(read_frames(file), 0, None, every), resize)])


def _resized(frames: Iterator[np.ndarray], resize: Resize) -> Iterator[np.ndarray]:
    """Yield frames in pieces: some of one size are resized at once."""
    for shape, same in itertools.groupby(frames, key=lambda frame: frame.shape):
        count = max(1, AT_ONCE // (shape[0] * shape[1]))
        while piece := [*itertools.islice(same, count)]:
            yield resize(np.stack(piece))
