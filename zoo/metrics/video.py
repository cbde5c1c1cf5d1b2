"""Errors of predicted frames, as Moving MNIST counts them."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.errors import MisuseError

SSIM_WINDOW = 7
"""Pixels of the sides of the windows of SSIM."""

MOST_DECIBELS = 100.0
"""PSNR of a frame that is all but right, which would have none."""


def frame_errors(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Return the errors of each step ahead, means over clips, `float64[time]` by name.

    `mse` and `mae` are squared and absolute errors summed over the pixels of a frame (of its
    channels the mean), values from 0 to 1; `psnr` is in decibels, `ssim` by scikit-image with
    windows of 7 x 7 pixels and a range of 1, which is stricter than the range of 2 that some
    published tables assume.
    Source: Tan et al. 2023, OpenSTL, arXiv:2306.11249, for what is summed.

    Args:
        truth: `uint8[clips, time, height, width, channels]`.
        predicted: The same.

    Raises:
        MisuseError: scikit-image is not installed.
    """
    parts = [_errors(*pair) for pair in zip(truth, predicted, strict=True)]
    return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}


def frame_scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Return the errors over all steps, and under `by_lead_time` of each, from "1" on.

    Args:
        truth: `uint8[clips, time, height, width, channels]`.
        predicted: The same.

    Raises:
        MisuseError: scikit-image is not installed.
    """
    errors = frame_errors(truth, predicted)
    by_lead_time = {
        name: {str(step): float(value) for step, value in enumerate(values, 1)}
        for name, values in errors.items()
    }
    means = {name: float(values.mean()) for name, values in errors.items()}
    return {**means, "by_lead_time": by_lead_time}


def _errors(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Return the errors of one clip, `float64[time]` each."""
    difference = (predicted.astype(np.float64) - truth) / 255
    pixels = (1, 2, 3)
    squared = np.square(difference)
    floor = 10 ** (-MOST_DECIBELS / 10)
    channels = truth.shape[-1]
    return {
        "mse": squared.sum(axis=pixels) / channels,
        "mae": np.abs(difference).sum(axis=pixels) / channels,
        "psnr": -10 * np.log10(np.maximum(squared.mean(axis=pixels), floor)),
        "ssim": np.array([_similarity(*pair) for pair in zip(truth, predicted, strict=True)]),
    }


def _similarity(truth: np.ndarray, predicted: np.ndarray) -> float:
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise MisuseError(
            "the errors of frames take scikit-image: pip install -r requirements-video.txt"
        ) from error
    smallest = min(truth.shape[:2])
    window = min(SSIM_WINDOW, smallest - 1 + smallest % 2)  # odd, and no larger than the frame
    if window < 3:
        return float((truth == predicted).all())
    return float(
        structural_similarity(truth, predicted, win_size=window, data_range=255, channel_axis=-1)
    )
