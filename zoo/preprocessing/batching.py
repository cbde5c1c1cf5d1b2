"""Batches of similar length in a few fixed shapes.

A graph is compiled once per shape, so the padded lengths are few; rows of similar length
share a batch, so little of it is padding. Which rows meet in which batch is a pure
function of seed and epoch: a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import ConfigError

MOST_SHAPES = 8


@dataclass(frozen=True)
class Batch:
    """Rows that are trained on together.

    Attributes:
        rows: `int64[batch]` indices; a batch that is not full repeats its first row.
        weights: `float32[batch]`, 1 for a row that counts and 0 for a repeated one.
        length: Steps to which every row is padded.
    """

    rows: np.ndarray
    weights: np.ndarray
    length: int


class BucketedBatches:
    """Plans the batches of an epoch and pads their rows.

    Args:
        sequences: Per row `dtype[time, ...]`, time at least 1.
        batch_size: Rows per batch; every batch has exactly that many.
        shapes: Number of padded lengths at most, from 1 to 8.
        seed: Seed of the order.
    """

    def __init__(
        self, sequences: Sequence[np.ndarray], batch_size: int, shapes: int = 6, seed: int = 0
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size}")
        if not 1 <= shapes <= MOST_SHAPES:
            raise ConfigError(f"shapes must be from 1 to {MOST_SHAPES}, not {shapes}")
        self.sequences = sequences
        self.batch_size = batch_size
        self.seed = seed
        steps = np.array([len(sequence) for sequence in sequences])
        self.lengths = padded_lengths(steps, shapes)
        self._bucket = np.searchsorted(self.lengths, steps)

    def epoch(self, number: int) -> list[Batch]:
        """Return the batches of epoch `number`, shuffled."""
        order = np.random.default_rng([self.seed, number])
        batches = self._chunks(order.permutation(len(self.sequences)))
        return [batches[index] for index in order.permutation(len(batches))]

    def in_order(self) -> list[Batch]:
        """Return batches that hold every row once, shortest first, for evaluation."""
        return self._chunks(np.argsort([len(row) for row in self.sequences], kind="stable"))

    def pad(self, batch: Batch) -> np.ndarray:
        """Return the rows of `batch` as `dtype[batch, batch.length, ...]`, padded with 0."""
        first = self.sequences[0]
        padded = np.zeros((len(batch.rows), batch.length, *first.shape[1:]), first.dtype)
        for target, row in zip(padded, batch.rows, strict=True):
            target[: len(self.sequences[row])] = self.sequences[row]
        return padded

    def steps(self, batch: Batch) -> np.ndarray:
        """Return how many steps of each row of `batch` are real, `int32[batch]`."""
        return np.array([len(self.sequences[row]) for row in batch.rows], np.int32)

    def map(self, function: Callable[[np.ndarray], Any]) -> np.ndarray:
        """Return `function` of every row, in the order of the rows.

        Args:
            function: Takes a padded batch, gives `[batch, ...]`.
        """
        results: list[Any] = [None] * len(self.sequences)
        for batch in self.in_order():
            for row, value, weight in zip(
                batch.rows, np.asarray(function(self.pad(batch))), batch.weights, strict=True
            ):
                if weight:
                    results[row] = value
        return np.stack(results)

    def _chunks(self, rows: np.ndarray) -> list[Batch]:
        batches = []
        for bucket, length in enumerate(self.lengths):
            members = rows[self._bucket[rows] == bucket]
            for start in range(0, len(members), self.batch_size):
                part = members[start : start + self.batch_size]
                missing = self.batch_size - len(part)
                weights = np.repeat(np.array([1, 0], np.float32), [len(part), missing])
                filled = np.concatenate([part, np.repeat(part[:1], missing)])
                batches.append(Batch(filled, weights, int(length)))
        return batches


def padded_lengths(steps: np.ndarray, shapes: int) -> np.ndarray:
    """Return at most `shapes` lengths, ascending, the last one the longest row's.

    Each bucket gets the same number of rows, except that the upper ones are split once
    more, since that is where padding costs most.

    Args:
        steps: `int[rows]`, the lengths of the rows.
        shapes: How many to choose.
    """
    shares = 1 - np.linspace(1, 0, shapes + 1)[1:] ** 1.5
    return np.unique(np.quantile(steps, shares, method="higher"))
