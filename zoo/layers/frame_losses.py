"""How far predicted frames are from the true ones, as something to train on."""

from __future__ import annotations

from typing import Any

from keras import ops

_WINDOW = 7
_C1, _C2 = 0.01**2, 0.03**2


def frame_loss(
    predicted: Any,
    truth: Any,
    weights: Any,
    absolute: float = 0.0,
    structure: float = 0.0,
    entropy: bool = False,
) -> Any:
    """Return the mean over rows of squared and absolute errors and lost structure, a scalar.

    Squared errors alone blur what is uncertain; absolute ones keep edges. Both are means over
    pixels. Cross-entropy has its optimum where squared errors have theirs, at the mean of what
    may come, and its gradient does not vanish where a sigmoid is next to 0 or 1: an empty
    background becomes empty.

    Args:
        predicted: `float32[batch, time, height, width, channels]`.
        truth: The same, from 0 to 1.
        weights: `float32[batch]`, 0 for rows that do not count.
        absolute: Weight of the absolute error.
        structure: Weight of 1 - SSIM.
        entropy: Cross-entropy instead of squared errors, of predictions from 0 to 1.
            Source: Shi et al. 2015, arXiv:1506.04214, section 4.1.
    """
    error = predicted - truth
    pixels = ops.binary_crossentropy(truth, predicted) if entropy else ops.square(error)
    values = ops.mean(pixels + absolute * ops.abs(error), axis=(1, 2, 3, 4))
    if structure:
        values = values + structure * (1 - structural_similarity(predicted, truth))
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1.0)


def structural_similarity(predicted: Any, truth: Any) -> Any:
    """Return the mean SSIM of the frames of each row, `float32[batch]`, differentiable.

    Windows are 7 x 7 pixels of equal weight; values range from 0 to 1.
    Source: Wang et al. 2004, Image Quality Assessment: From Error Visibility to Structural
    Similarity.
    """
    one, other = (ops.reshape(each, (-1, *each.shape[2:])) for each in (predicted, truth))
    mean_1, mean_2 = _window_mean(one), _window_mean(other)
    sample = _WINDOW**2 / (_WINDOW**2 - 1)  # an unbiased variance, as in the paper's code
    variance_1 = sample * (_window_mean(one * one) - mean_1 * mean_1)
    variance_2 = sample * (_window_mean(other * other) - mean_2 * mean_2)
    covariance = sample * (_window_mean(one * other) - mean_1 * mean_2)
    similarity = (2 * mean_1 * mean_2 + _C1) * (2 * covariance + _C2)
    similarity /= (mean_1**2 + mean_2**2 + _C1) * (variance_1 + variance_2 + _C2)
    by_frame = ops.mean(similarity, axis=(1, 2, 3))
    return ops.mean(ops.reshape(by_frame, (-1, predicted.shape[1])), axis=1)


def _window_mean(frames: Any) -> Any:
    return ops.average_pool(frames, _WINDOW, strides=1, padding="valid")
