"""Losses that leave out what is padding.

Each divides by the sum of the weights, not by the number of rows, so that padding a
batch changes nothing.
"""

from __future__ import annotations

from typing import Any

import keras
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


def ctc_loss(labels: Any, logits: Any, label_lengths: Any, lengths: Any) -> Any:
    """Return minus the log-probability of each row's labels, in nats, over all alignments.

    Connectionist temporal classification (Graves et al. 2006).

    On TensorFlow this is its own operation, much faster on a CPU than the loop that
    `keras.ops.ctc_loss` makes; on other backends it is that loop.

    Args:
        labels: `int32[batch, characters]`, classes from 1 on, right-padded with 0.
        logits: `float32[batch, steps, classes]`; class 0 is the blank.
        label_lengths: `int32[batch]`.
        lengths: `int32[batch]`, steps of each row.

    Returns:
        `float32[batch]`. A row with too few steps for its labels cannot be spelled at all: it
        costs 0 and has no gradient, so that it does not spoil its batch.
    """
    logits, lengths = ops.cast(logits, "float32"), ops.cast(lengths, "int32")
    label_lengths = ops.cast(label_lengths, "int32")
    # Equal neighbours need a blank between them.
    repeated = ops.logical_and(labels[:, 1:] == labels[:, :-1], labels[:, 1:] != 0)
    fits = label_lengths + ops.sum(ops.cast(repeated, "int32"), axis=1) <= lengths
    spelled = ops.logical_and(fits, label_lengths > 0)
    # TensorFlow takes no row without labels: any row that fits stands in for it.
    losses = _spelling_loss(
        ops.where(spelled[:, None], labels, 1),
        logits,
        ops.where(spelled, label_lengths, 1),
        ops.where(spelled, lengths, 1),
    )
    real = ops.arange(ops.shape(logits)[1], dtype="int32")[None] < lengths[:, None]
    blanks = ops.where(real, ops.log_softmax(logits, axis=-1)[:, :, 0], 0.0)
    silence = ops.where(label_lengths > 0, 0.0, -ops.sum(blanks, axis=1))
    return ops.where(spelled, losses, silence)


def _spelling_loss(labels: Any, logits: Any, label_lengths: Any, lengths: Any) -> Any:
    """Return the CTC loss of rows that have labels, and steps enough for them."""
    if keras.backend.backend() != "tensorflow":
        return ops.ctc_loss(labels, logits, label_lengths, lengths, mask_index=0)
    import tensorflow as tf

    real = tf.sequence_mask(label_lengths, tf.shape(labels)[1])
    return tf.raw_ops.CTCLoss(
        # The operation wants time first, and the blank as the last class.
        inputs=tf.transpose(tf.roll(logits, -1, axis=-1), [1, 0, 2]),
        labels_indices=tf.where(real),
        labels_values=tf.boolean_mask(tf.cast(labels, tf.int32), real) - 1,
        sequence_length=lengths,
    ).loss
