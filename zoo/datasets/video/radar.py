"""Weather radar: composites of the Finnish Meteorological Institute, five minutes apart.

Two events of 40 frames each, 28 September 2016 and 9 May 2017. Pixels of a kilometre are averaged
to 4 x 4 km, levels stay as they were sent (half decibels from -32 dBZ on; no data count as none).
Training clips are cut out of the first event at random places and turned and mirrored, since rain
comes from anywhere; validation and test are the first 16 and the last 24 frames of the second one,
cut into a grid.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.datasets.cache import DataFile, fetch
from zoo.datasets.examples import Source
from zoo.datasets.video.examples import Shape, VideoExamples, VideoSplit
from zoo.errors import ConfigError, DataError

NAME = "radar"
KILOMETRES = 4
"""Of a pixel's sides."""

LARGEST = 190
"""Pixels of the sides of a clip: an event is 306 x 190."""

EVENTS = ("20160928", "20170509")
VALIDATION_FRAMES = 16
LEAST_RAIN = 0.05
"""Share of rainy pixels in the last frame that is seen; where it is dry nothing is to be told."""

_NO_DATA = 255
_RAINY = 64
_COMMIT = "eaa59fb8f39205a3b1a0b44724ad8cd4a86d107e"
_URL = f"https://raw.githubusercontent.com/pySTEPS/pysteps-data/{_COMMIT}/radar/fmi/pgm/"
_SUMS = Path(__file__).with_name("radar_fmi.sha256")

SOURCE = Source(
    url="https://github.com/pySTEPS/pysteps-data",
    licence="CC BY 4.0 (open data of the Finnish Meteorological Institute)",
    citation="S. Pulkkinen et al. (2019), Pysteps: an open-source Python library for probabilistic "
    "precipitation nowcasting, Geoscientific Model Development 12",
)


@dataclass(frozen=True)
class Cut:
    """A piece of an event, made when it is looked at.

    Attributes:
        event: `uint8[frames, height, width, 1]`.
        place: First frame, first row, first column.
        size: Of the piece.
        turns: Quarter turns.
        mirrored: Whether left and right change places afterwards.
    """

    event: np.ndarray
    place: tuple[int, int, int]
    size: Shape
    turns: int = 0
    mirrored: bool = False

    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, height, width and channels."""
        return (self.size.time, self.size.height, self.size.width, 1)

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.size.time

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        """Return `uint8[time, height, width, 1]`."""
        frame, row, column = self.place
        size = self.size
        piece = self.event[
            frame : frame + size.time, row : row + size.height, column : column + size.width
        ]
        turned = np.rot90(piece, self.turns, axes=(1, 2))
        return turned[:, :, ::-1] if self.mirrored else turned


def load(size: Shape, seen: int, clips: int) -> VideoSplit:
    """Return `clips` clips for training, and what the grids of the second event hold.

    Args:
        size: Of the clips: square, grey.
        seen: Frames of a clip that are seen.
        clips: For training.

    Raises:
        ConfigError: A clip is not square, or larger than an event.
        DataUnavailableError: A file is neither in the cache nor to be downloaded.
    """
    if size.height != size.width or size.channels != 1 or size.height > LARGEST:
        raise ConfigError(
            f"radar takes grey frames as high as wide, at most {LARGEST}, not {size.height} x "
            f"{size.width} with {size.channels} channels"
        )
    if size.time > VALIDATION_FRAMES:
        raise ConfigError(
            f"radar takes seen + horizon of at most {VALIDATION_FRAMES}, not {size.time}"
        )
    first, second = (_event(day) for day in EVENTS)
    held_out = second[:VALIDATION_FRAMES], second[VALIDATION_FRAMES:]
    grids = [_grid(event, size, seen) for event in held_out]
    if not all(grids):
        raise ConfigError(f"radar has no rainy clip of {size.height} x {size.width} pixels")
    parts = [_random_cuts(first, size, seen, clips), *grids]
    return VideoSplit(*(VideoExamples(NAME, cuts, SOURCE) for cuts in parts))


def read_composite(file: Path) -> np.ndarray:
    """Return a compressed PGM file as `uint8[height, width]`, no data as 0.

    Raises:
        DataError: It is no such file.
    """
    try:
        content = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read '{file}': {error}") from error
    lines = [line for line in content.split(b"\n", 80) if not line.startswith(b"#")]
    try:
        width, height = map(int, lines[1].split())
        pixels = np.frombuffer(content[-width * height :], np.uint8).reshape(height, width)
    except (IndexError, ValueError):
        raise DataError(f"'{file}' is no PGM file") from None
    return np.where(pixels == _NO_DATA, 0, pixels)


def _event(day: str) -> np.ndarray:
    """Return `uint8[frames, height, width, 1]`."""
    lines = [line.split() for line in _SUMS.read_text(encoding="ascii").splitlines()]
    files = [
        fetch(DataFile(f"radar_fmi/{path}", sha256, _URL + path))
        for sha256, path in lines
        if path.startswith(day)
    ]
    return np.stack([_averaged(read_composite(file)) for file in files])[..., None]


def _averaged(pixels: np.ndarray) -> np.ndarray:
    height, width = (size // KILOMETRES for size in pixels.shape)
    blocks = pixels[: height * KILOMETRES, : width * KILOMETRES].astype(np.float64)
    means = blocks.reshape(height, KILOMETRES, width, KILOMETRES).mean(axis=(1, 3))
    return np.round(means).astype(np.uint8)


def _is_rainy(cut: Cut, seen: int) -> bool:
    return float((np.asarray(cut)[seen - 1] > _RAINY).mean()) >= LEAST_RAIN


def _random_cuts(event: np.ndarray, size: Shape, seen: int, count: int) -> list[Cut]:
    draw = np.random.default_rng(0)
    last = [
        room - piece
        for room, piece in zip(event.shape, (size.time, size.height, size.width), strict=False)
    ]
    cuts: list[Cut] = []
    while len(cuts) < count:
        frame, row, column = (int(draw.integers(most + 1)) for most in last)
        turns, mirrored = int(draw.integers(4)), bool(draw.integers(2))
        cut = Cut(event, (frame, row, column), size, turns, mirrored)
        if _is_rainy(cut, seen):
            cuts.append(cut)
    return cuts


def _grid(event: np.ndarray, size: Shape, seen: int) -> list[Cut]:
    frames, height, width = event.shape[:3]
    every = [
        Cut(event, (frame, row, column), size)
        for frame in range(frames - size.time + 1)
        for row in range(0, height - size.height + 1, size.height)
        for column in range(0, width - size.width + 1, size.width)
    ]
    return [cut for cut in every if _is_rainy(cut, seen)]
