"""What predicts frames without learning."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import MisuseError


@dataclass(frozen=True)
class VideoBaseline:
    """What a baseline predicts.

    Attributes:
        frames: `uint8[clips, horizon, height, width, channels]`.
        seconds: Wall-clock time of predicting.
    """

    frames: np.ndarray
    seconds: float


def copy_last(seen: np.ndarray, horizon: int) -> VideoBaseline:
    """Repeat the last frame that is seen.

    Args:
        seen: `uint8[clips, time, height, width, channels]`.
        horizon: Frames to predict.
    """
    began = time.perf_counter()
    return VideoBaseline(np.repeat(seen[:, -1:], horizon, axis=1), time.perf_counter() - began)


def optical_flow(seen: np.ndarray, horizon: int) -> VideoBaseline:
    """Move the last frame on along the motion between the last two, at constant velocity.

    The motion is the dense optical flow by inverse search (Kroeger et al. 2016, arXiv:1603.03590),
    by OpenCV; a pixel of the future is looked up backwards along it, and what comes in from
    outside repeats the border.

    Args:
        seen: As for `copy_last`; of a single frame nothing moves.
        horizon: Frames to predict.

    Raises:
        MisuseError: OpenCV is not installed.
    """
    began = time.perf_counter()
    frames = np.stack([_carried_on(clip, horizon) for clip in seen])
    return VideoBaseline(frames, time.perf_counter() - began)


def _carried_on(clip: np.ndarray, horizon: int) -> np.ndarray:
    try:
        import cv2
    except ImportError as error:
        raise MisuseError(
            "optical flow takes OpenCV: pip install -r requirements-video.txt"
        ) from error
    before, last = _grey(clip[max(len(clip) - 2, 0)]), _grey(clip[-1])
    flow_of = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = _flow(flow_of, before, last)
    height, width = last.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    frames = []
    for step in range(1, horizon + 1):
        from_column, from_row = columns - step * flow[..., 0], rows - step * flow[..., 1]
        moved = cv2.remap(
            clip[-1], from_column, from_row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        frames.append(moved.reshape(clip.shape[1:]))
    return np.stack(frames)


def _flow(method: Any, before: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return `float32[height, width, 2]`, to the right and down; of small frames none."""
    least = 16  # of the method's coarsest pyramid
    if min(last.shape) < least:
        return np.zeros((*last.shape, 2), np.float32)
    return method.calc(before, last, None)


def _grey(frame: np.ndarray) -> np.ndarray:
    return np.round(frame.mean(axis=-1)).astype(np.uint8)
