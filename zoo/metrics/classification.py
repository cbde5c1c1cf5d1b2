"""Metrics of classifiers: pure functions of what was predicted and what is true.

What was predicted comes first. Every function refuses an empty input, for which none of these
numbers is defined.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import DataError

# Below this a probability counts as this: a float32 softmax can underflow to 0, and one such
# row would make the mean infinite.
SMALLEST_PROBABILITY = 1e-12


def accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of rows whose predicted class is the true one.

    Args:
        predictions: Class names or indices, [rows].
        labels: The true ones, [rows].
    """
    predicted, true = _columns(predictions, labels)
    return float(np.mean(predicted == true))


def f1_macro(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Return the unweighted mean of the classes' F1 scores, in [0, 1].

    The mean runs over the classes that occur in either argument; a class that is never
    predicted, or never true, counts 0.

    Args:
        predictions: Class names or indices, [rows].
        labels: The true ones, [rows].
    """
    from sklearn.metrics import f1_score  # takes a second to import

    predicted, true = _columns(predictions, labels)
    return float(f1_score(true, predicted, average="macro", zero_division=0.0))


def confusion_matrix(
    predictions: ArrayLike, labels: ArrayLike, classes: Sequence[str] | Sequence[int]
) -> NDArray[np.int64]:
    """Return how often each true class was predicted as each class.

    Args:
        predictions: Class names or indices, [rows].
        labels: The true ones, [rows].
        classes: The order of rows and columns; every class that occurs must be in it.

    Returns:
        int64[classes, classes]; row i, column j counts the rows of class i predicted as j.
    """
    predicted, true = _columns(predictions, labels)
    unknown = {*predicted.tolist(), *true.tolist()} - set(classes)
    if unknown:
        raise DataError(
            f"confusion matrix: every class must be listed, and {min(unknown)!r} is not among "
            f"{', '.join(map(str, classes))}"
        )
    index = {name: position for position, name in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for row, column in zip(true.tolist(), predicted.tolist(), strict=True):
        matrix[index[row], index[column]] += 1
    return matrix


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15
) -> float:
    """Return how far confidence lies from accuracy, in [0, 1] (Guo et al. 2017).

    The rows are sorted into bins ((m - 1)/bins, m/bins] by the probability of their likeliest
    class; the result is the mean over rows of |accuracy - mean confidence| of their bin.

    Args:
        probabilities: float[rows, classes]; rows sum to 1.
        labels: True class indices, int[rows].
        bins: Number of bins of equal width.
    """
    table, true = _probabilities(probabilities, labels)
    confidence = table.max(axis=1)
    hit = table.argmax(axis=1) == true
    inner_edges = np.arange(1, bins) / bins
    member = np.searchsorted(inner_edges, confidence, side="left")
    # In bin m: |hits - summed confidence| / rows is its weight times its gap.
    gaps = np.bincount(member, weights=hit - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(true))


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean of -ln(probability of the true class), in nats.

    A probability below 1e-12 counts as 1e-12.

    Args:
        probabilities: float[rows, classes]; rows sum to 1.
        labels: True class indices, int[rows].
    """
    table, true = _probabilities(probabilities, labels)
    likelihood = table[np.arange(len(true)), true]
    return float(-np.log(np.maximum(likelihood, SMALLEST_PROBABILITY)).mean())


def _columns(
    predictions: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return both arguments as arrays [rows] of the same length, at least 1."""
    predicted, true = np.asarray(predictions), np.asarray(labels)
    if predicted.ndim != 1 or predicted.shape != true.shape:
        raise DataError(
            "predictions and labels must be two lists of the same length; received the shapes "
            f"{predicted.shape} and {true.shape}"
        )
    _check_not_empty(len(true))
    return predicted, true


def _probabilities(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return float64[rows, classes] and int64[rows], or say why they are not such."""
    table, true = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    _check_not_empty(len(true))
    if table.ndim != 2 or true.shape != table.shape[:1]:
        raise DataError(
            "probabilities must have the shape [rows, classes] and labels [rows]; received "
            f"{table.shape} and {true.shape}"
        )
    if not np.issubdtype(true.dtype, np.integer) or true.min() < 0 or true.max() >= table.shape[1]:
        raise DataError(
            f"labels must be class indices from 0 to {table.shape[1] - 1}; received "
            f"{true.dtype} from {true.min()} to {true.max()}"
        )
    # Written so that NaN is refused too; the tolerance is bfloat16's.
    if not (np.all(table >= 0) and np.allclose(table.sum(axis=1), 1, rtol=0, atol=1e-2)):
        raise DataError("probabilities must be at least 0 and each row must sum to 1")
    return table, true.astype(np.int64)


def _check_not_empty(rows: int) -> None:
    if rows == 0:
        raise DataError("a metric needs at least one row; received none")
