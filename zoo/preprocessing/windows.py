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
        times: Per series `int64[time]`, seconds since 1970, if they are known.
        covariates: Per series `float[time, covariates]`, at least as long as the series.
        statics: By the name of the input what does not change within a series, `[series]`.
        log: A training compares logarithms.

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
        times: Sequence[np.ndarray] | None = None,
        covariates: Sequence[np.ndarray] | None = None,
        statics: Mapping[str, np.ndarray] | None = None,
        log: bool = False,
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
        self._times, self._covariates, self._statics = times, covariates, statics or {}
        self._log = log

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
        ends = [*zip(series, origins, strict=True)]
        lengths = np.minimum(origins, self.look_back).astype(np.int32)
        raw = {"history": self._cut(self._series, ends, np.float32), "length": lengths}
        if self._times is not None:
            raw["timestamps"] = self._cut(self._times, ends, np.int64)
        if self._covariates is not None:
            raw["covariates"] = self._cut(self._covariates, ends, np.float32)
            raw["future_covariates"] = self._ahead(self._covariates, ends, None)
        return raw | {name: values[series] for name, values in self._statics.items()}

    def _cut(self, values: Sequence[np.ndarray], ends: Sequence[Any], dtype: Any) -> np.ndarray:
        """Return the last steps before each origin, from the left, filled up with 0."""
        cut = np.zeros((len(ends), self.look_back, *values[0].shape[1:]), dtype)
        for row, (which, origin) in zip(cut, ends, strict=True):
            past = values[which][max(0, origin - self.look_back) : origin]
            row[: len(past)] = past
        return cut

    def _ahead(
        self, values: Sequence[np.ndarray], ends: Sequence[Any], until: Sequence[int] | None
    ) -> np.ndarray:
        """Return the steps behind each origin; NaN for what there is not."""
        ahead = np.full((len(ends), self.horizon, *values[0].shape[1:]), np.nan, np.float32)
        for row, (which, origin) in zip(ahead, ends, strict=True):
            end = len(values[which]) if until is None else until[which]
            steps = values[which][origin : min(origin + self.horizon, end)]
            row[: len(steps)] = steps
        return ahead

    def past(self, row: int) -> np.ndarray:
        """Return the whole history of a row, `float[time, ...]`."""
        (which,), (origin,) = self.origins(np.array([row]))
        return self._series[which][:origin]

    def future(self, rows: np.ndarray) -> np.ndarray:
        """Return the steps behind the origins of rows, `float32[rows, horizon, ...]`; NaN: none."""
        ends = [*zip(*self.origins(rows), strict=True)]
        return self._ahead(self._series, ends, self._ends)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return what a training compares with: the windows are their own targets.

        Of logarithms those of `future`, NaN for what has none.
        """
        future = self.future(rows)
        return np.log(np.where(future > 0, future, np.nan)) if self._log else future

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
