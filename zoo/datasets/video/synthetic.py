"""Squares that move, for tests: learnable in seconds, and made without any file."""

from __future__ import annotations

import numpy as np

from zoo.datasets.examples import Source
from zoo.datasets.video.examples import Shape, VideoExamples, VideoSplit

SOURCE = Source(url="made on the spot", licence="none needed", citation="none")
COUNTS = (160, 32, 32)
"""Clips of the three parts."""


def load(size: Shape) -> VideoSplit:
    """Return clips of a square that goes one pixel per frame to one side, and comes back in."""
    draw = np.random.default_rng(0)
    parts = [[_clip(draw, size) for _ in range(count)] for count in COUNTS]
    return VideoSplit(*(VideoExamples("synthetic", clips, SOURCE) for clips in parts))


def _clip(draw: np.random.Generator, size: Shape) -> np.ndarray:
    frame = np.zeros((size.height, size.width, size.channels), np.uint8)
    side = max(size.height // 4, 1)
    frame[:side, :side] = 255
    start = draw.integers((size.height, size.width))
    pace = ((0, 1), (1, 0), (0, -1), (-1, 0))[draw.integers(4)]
    places = start + np.arange(size.time)[:, None] * pace
    return np.stack([np.roll(frame, place, axis=(0, 1)) for place in places])
