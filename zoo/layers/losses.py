"""Losses that leave out what is padding.

Each divides by the sum of the weights, not by the number of rows, so that padding a
batch changes nothing.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def masked_mean(values: Any, weights: Any) -> Any:
    """Return the mean of `values` where `weights` is not 0.

    Args:
        values: `float32[...]`, any shape.
        weights: `float32` or `bool`, same shape; 0 or False = padding.

    Returns:
        A scalar; 0 if every weight is 0.
    """
    weights = ops.cast(weights, values.dtype)
    # Selected, not multiplied: what stands in the padding may be NaN.
    kept = ops.where(weights > 0, values, ops.zeros_like(values))
    total = ops.sum(weights)
    safe = ops.where(total > 0, total, ops.ones_like(total))
    return ops.sum(kept * weights) / safe


def masked_cross_entropy(targets: Any, logits: Any, weights: Any, smoothing: float = 0.0) -> Any:
    """Return the mean cross-entropy in nats.

    Args:
        targets: `int32[...]` class ids, or `float32[..., classes]` probabilities.
        logits: `float32[..., classes]`.
        weights: `float32[...]`, 0 = padding.
        smoothing: Share of each target that is spread evenly over all classes.

    Returns:
        A scalar.
    """
    classes = logits.shape[-1]
    # Selected before any arithmetic, so that NaN in the padding reaches no gradient either.
    real = ops.expand_dims(ops.cast(weights, "bool"), -1)
    logits = ops.where(real, ops.cast(logits, "float32"), 0.0)
    if len(targets.shape) < len(logits.shape):
        targets = ops.one_hot(targets, classes)
    targets = (1.0 - smoothing) * ops.cast(targets, "float32") + smoothing / classes
    losses = -ops.sum(targets * ops.log_softmax(logits, axis=-1), axis=-1)
    return masked_mean(losses, weights)
