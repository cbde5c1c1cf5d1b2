"""Windows of many series as batches, cut when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.errors import ConfigError
from zoo.preprocessing.batching import Batch


class WindowBatches:
    """Plans the batches of an epoch over all origins, or over as many as an epoch may have.

    A row is an origin: the history of one series up to it, and the `horizon` steps behind it.
    Rows are numbered through all series, and nothing is kept per row, so that memory grows with
    the series alone. Which rows meet in which batch is a pure function of seed and epoch.

    Args:
        series: Per series `float[time]` or `float[time, channels]`; NaN = missing.
        first, last: Per series the first and the last origin: the number of steps before it.
        ends: Per series the steps that exist as outcomes; later ones are NaN.
        look_back: Steps of a history at most.
        horizon: Steps behind an origin.
        batch_size: Rows per batch; every batch has exactly that many.
        most: Rows per epoch at most, drawn anew for each.
        seed: Seed of the order.
        prepare: What a batch of histories goes through on its way to the model.

    Raises:
        ConfigError: There is no origin at all.
    """

    def __init__(
        self,
        series: Sequence[np.ndarray],
        first: Sequence[int],
        last: Sequence[int],
        ends: Sequence[int],
        look_back: int,
        horizon: int,
        batch_size: int,
        most: int = 0,
        seed: int = 0,
        prepare: Callable[[Mapping[str, Any]], Any] = lambda raw: raw,
    ) -> None:
        counts = np.maximum(np.asarray(last) - np.asarray(first) + 1, 0)
        self._series, self._first, self._ends = series, np.asarray(first), ends
        self._until = np.cumsum(counts)
        if not len(counts) or not self._until[-1]:
            raise ConfigError(
                "no series is long enough: it needs a history and the steps of the horizon, "
                f"which is {horizon}"
            )
        self.look_back, self.horizon, self.batch_size = look_back, horizon, batch_size
        self._most, self._seed, self._prepare = most, seed, prepare

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._until[-1])

    def epoch(self, number: int) -> list[Batch]:
        """Return the batches of epoch `number`, shuffled."""
        order = np.random.default_rng([self._seed, number])
        if self._most and self._most < len(self):
            return self._chunks(order.integers(len(self), size=self._most))
        return self._chunks(order.permutation(len(self)))

    def in_order(self) -> list[Batch]:
        """Return batches that hold every row once, in order, for evaluation."""
        return self._chunks(np.arange(len(self)))

    def origins(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return series and origin of rows, `int[rows]` each."""
        series = np.searchsorted(self._until, rows, side="right")
        before = np.where(series > 0, self._until[series - 1], 0)
        return series, self._first[series] + rows - before

    def raw(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the histories of rows as a client would send them."""
        series, origins = self.origins(rows)
        shape = (len(rows), self.look_back, *self._series[0].shape[1:])
        history, length = np.zeros(shape, np.float32), np.zeros(len(rows), np.int32)
        for row, (which, origin) in enumerate(zip(series, origins, strict=True)):
            past = self._series[which][max(0, origin - self.look_back) : origin]
            history[row, : len(past)], length[row] = past, len(past)
        return {"history": history, "length": length}

    def past(self, row: int) -> np.ndarray:
        """Return the whole history of a row, `float[time, ...]`."""
        (which,), (origin,) = self.origins(np.array([row]))
        return self._series[which][:origin]

    def future(self, rows: np.ndarray) -> np.ndarray:
        """Return the steps behind the origins of rows, `float32[rows, horizon, ...]`; NaN: none."""
        series, origins = self.origins(rows)
        shape = (len(rows), self.horizon, *self._series[0].shape[1:])
        future = np.full(shape, np.nan, np.float32)
        for row, (which, origin) in enumerate(zip(series, origins, strict=True)):
            steps = self._series[which][origin : min(origin + self.horizon, self._ends[which])]
            future[row, : len(steps)] = steps
        return future

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return `future`, so that a training takes the windows as their own targets."""
        return self.future(rows)

    def pad(self, batch: Batch) -> Any:
        """Return what the model takes."""
        return self._prepare(self.raw(batch.rows))

    def _chunks(self, rows: np.ndarray) -> list[Batch]:
        batches = []
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            missing = self.batch_size - len(part)
            weights = np.repeat(np.array([1, 0], np.float32), [len(part), missing])
            filled = np.concatenate([part, np.repeat(part[:1], missing)])
            batches.append(Batch(filled, weights, self.look_back))
        return batches


def channel_rows(values: np.ndarray) -> np.ndarray:
    """Return `[batch, steps, channels]` as `[batch * channels, steps]`, a row per channel."""
    if values.ndim == 2:
        return values
    return values.transpose(0, 2, 1).reshape(-1, values.shape[1])
