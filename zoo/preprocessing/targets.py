"""What a model learns from: class probabilities of labels and ratings, characters of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def class_targets(
    labels: Sequence[str],
    classes: Sequence[str],
    ratings: Sequence[float] | None = None,
    sharpness: float = 0.0,
) -> np.ndarray:
    """Return target probabilities.

    With two classes, graded ratings and a sharpness above 0 the target of a row is

        p(upper class) = sigmoid(sharpness * (rating - border) / deviation)

    where the border lies between the ratings of the two classes. A sentence that people
    found hardly positive then weighs less than one that they found splendid. Otherwise
    the target is 1 for the row's label.

    Args:
        labels: Class name per row.
        classes: All class names, in the order of the columns.
        ratings: One number per row, any unit.
        sharpness: 0 = ignore the ratings; larger = closer to 0 and 1.

    Returns:
        `float32[rows, classes]`, each row sums to 1.
    """
    rows = np.array([classes.index(label) for label in labels])
    if ratings is None or sharpness == 0 or len(classes) != 2:
        return np.eye(len(classes), dtype=np.float32)[rows]
    values = np.asarray(ratings, dtype=np.float64)
    upper = int(values[rows == 1].mean() > values[rows == 0].mean())
    border = (values[rows == upper].min() + values[rows != upper].max()) / 2
    share = 1 / (1 + np.exp(-sharpness * (values - border) / values.std()))
    columns = [1 - share, share] if upper == 1 else [share, 1 - share]
    return np.stack(columns, axis=1).astype(np.float32)


def token_targets(texts: Sequence[Sequence[str]], alphabet: Sequence[str]) -> dict[str, np.ndarray]:
    """Return texts as classes for CTC.

    Args:
        texts: One per row, its characters or a list of its words; what is not in the alphabet is
            left out.
        alphabet: The class of `alphabet[k - 1]` is k, and 0 is the blank.

    Returns:
        labels: `int32[rows, tokens]`, right-padded with 0, at least one token wide.
        label_lengths: `int32[rows]`.
    """
    classes = {token: number for number, token in enumerate(alphabet, 1)}
    rows = [[classes[each] for each in text if each in classes] for text in texts]
    labels = np.zeros((len(rows), max([1, *map(len, rows)])), np.int32)
    for target, row in zip(labels, rows, strict=True):
        target[: len(row)] = row
    return {"labels": labels, "label_lengths": np.array([len(row) for row in rows], np.int32)}
