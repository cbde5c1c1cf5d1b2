"""Time series with their period, and the origins that each part is forecast from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from zoo.datasets.examples import Source
from zoo.errors import DataError

PERIODS = {
    "yearly": 1,
    "quarterly": 4,
    "monthly": 12,
    "weekly": 52,
    "daily": 7,
    "hourly": 24,
    "half-hourly": 48,
    "quarter-hourly": 96,
    "other": 1,
}
"""Steps of a season by frequency."""

HORIZONS = {
    "yearly": 6,
    "quarterly": 8,
    "monthly": 18,
    "weekly": 13,
    "daily": 14,
    "hourly": 48,
    "half-hourly": 48,
    "quarter-hourly": 96,
    "other": 8,
}
"""Steps to forecast, where nobody says how many: those of the M competitions."""

OUTCOMES = 40
"""Validation windows that there should be: fewer hold no quantile of 2.5 or 97.5 %."""

FEWEST = 3
"""Values that a series must have before its first test origin."""


@dataclass(frozen=True)
class SeriesExamples:
    """Series of one frequency.

    Attributes:
        name: The data set's name, as in `series.NAMES`, or the file that was read.
        ids: Name of each series.
        values: Per series `float64[time]`, or `float64[time, channels]`; NaN = missing.
        frequency: A key of `PERIODS`.
        horizon: Steps to forecast.
        period: Steps of a season; of the frequency by default.
        borders: Where validation and test part begin, for a long series whose every step is an
            origin; None where only the last steps of each series are the test.
        channels: Names of the channels.
        source: The origin, or None for files of the user's own.
        times: Per series `int64[time]`, seconds since 1970, if they are known.
        covariates: Per series `float64[time, covariates]`, what is known ahead; it may go on
            behind the last value.
        covariate_names: Names of these.
        statics: By column what says what a series is, per series as it stands in the table;
            '' = unknown.
        left_out: Why each of the series that could not be used could not, and what was filled.

    Raises:
        DataError: There is no series.
    """

    name: str
    ids: tuple[str, ...]
    values: tuple[np.ndarray, ...]
    frequency: str
    horizon: int
    period: int = 0
    borders: tuple[int, int] | None = None
    channels: tuple[str, ...] = ()
    source: Source | None = None
    times: tuple[np.ndarray, ...] | None = None
    covariates: tuple[np.ndarray, ...] | None = None
    covariate_names: tuple[str, ...] = ()
    statics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.values:
            why = f": {self.left_out[0]}" if self.left_out else ""
            raise DataError(f"data set '{self.name}' has no series that can be used{why}")
        if not self.period:
            object.__setattr__(self, "period", PERIODS[self.frequency])

    def __len__(self) -> int:
        """Return the number of series."""
        return len(self.values)

    def select(self, places: Sequence[int]) -> SeriesExamples:
        """Return the given series (indices from 0), in the given order."""
        return replace(
            self,
            ids=tuple(self.ids[place] for place in places),
            values=tuple(self.values[place] for place in places),
            times=self.times and tuple(self.times[place] for place in places),
            covariates=self.covariates and tuple(self.covariates[place] for place in places),
            statics={
                name: tuple(every[place] for place in places)
                for name, every in self.statics.items()
            },
        )


def check_values(examples: SeriesExamples, counts: bool = False, log: bool = False) -> None:
    """Refuse series that are no counts, or have no logarithm.

    Raises:
        DataError: A value is negative or not whole, or not above 0.
    """
    for name, values in zip(examples.ids, examples.values, strict=True):
        bad = np.zeros(values.shape, bool)
        if counts:
            rule, bad = "counts must be whole numbers from 0 on", values != np.floor(values)
            bad = (values < 0) | bad & ~np.isnan(values)
        if log:
            rule, bad = "a logarithm takes values above 0", values <= 0
        if bad.any():
            raise DataError(
                f"data set '{examples.name}': {rule}, and series '{name}' has {values[bad][0]:g}"
            )


def together(examples: SeriesExamples) -> SeriesExamples:
    """Return one series whose channels are the given ones, NaN where a channel has no value.

    Raises:
        DataError: The series do not share their times, or have covariates or statics.
    """
    if examples.covariates is not None or examples.statics:
        raise DataError(
            f"data set '{examples.name}': series that are observed together have no covariates or "
            "statics of their own"
        )
    times = examples.times
    if times is None:
        times = tuple(np.arange(len(values)) for values in examples.values)
    every = np.unique(np.concatenate(times))
    values = np.full((len(every), len(examples)), np.nan)
    for channel, (own, steps) in enumerate(zip(times, examples.values, strict=True)):
        places = np.searchsorted(every, own)
        if places[-1] - places[0] != len(own) - 1:
            raise DataError(
                f"data set '{examples.name}': series '{examples.ids[channel]}' does not fall on "
                "the times of the others, and cannot be observed together with them"
            )
        values[places, channel] = steps
    return replace(
        examples,
        ids=(examples.name,),
        values=(values,),
        channels=examples.ids,
        times=examples.times and (every,),
    )


@dataclass(frozen=True)
class SeriesPart:
    """The origins of one part: forecasts begin behind so many steps of a series.

    Attributes:
        examples: The series, all of them, and all of their steps.
        first, last: Per series the first and the last origin; none where the last is smaller.
        ends: Per series the steps that may be looked at as outcomes.
    """

    examples: SeriesExamples
    first: tuple[int, ...]
    last: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.examples.name

    @property
    def source(self) -> Source | None:
        """The data set's origin."""
        return self.examples.source

    def __len__(self) -> int:
        """Return the number of origins."""
        pairs = zip(self.first, self.last, strict=True)
        return sum(max(last - first + 1, 0) for first, last in pairs)


class SeriesSplit(NamedTuple):
    """The three parts of a data set."""

    train: SeriesPart
    validation: SeriesPart
    test: SeriesPart

    @property
    def held_out(self) -> SeriesPart:
        """The part that chooses and calibrates: where validation has no window, the training's."""
        return self.validation if len(self.validation) else self.train

    def notes(self) -> Iterator[str]:
        """Yield what the validation part is too small for."""
        few = len(self.validation)
        if not few:
            yield (
                "no series is long enough for a validation part: training windows choose the "
                "epoch, and intervals are fitted to them, which makes them too narrow"
            )
        elif few < OUTCOMES:
            yield (
                f"{few} validation windows are fewer than the {OUTCOMES} that outer quantiles "
                "take: intervals hold less surely what they say"
            )


def split_series(examples: SeriesExamples, windows: int = 1) -> SeriesSplit:
    """Divide the origins, so that no outcome of a later part is one of an earlier part.

    Without borders the last `windows` origins with a whole horizon behind them are the test, and
    as many before these the validation part; of few series it has more, up to `OUTCOMES` of all,
    but no more than a quarter of a series' origins. Training origins may have fewer outcomes
    behind them than the horizon is long.

    Args:
        examples: The series; those that are too short, or hold nothing, are left out, and said
            to be.
        windows: Origins per series of the test part.

    Raises:
        DataError: No series is long enough.
    """
    if examples.borders is not None:
        return _split_by_borders(examples, examples.borders)
    examples = _long_enough(examples, windows)
    sizes = np.array([len(values) for values in examples.values])
    horizon = examples.horizon
    test = sizes - horizon
    # A short series has no validation part, and its training ends where its test begins.
    validation = test - windows + 1 - horizon
    spread = np.minimum(-(-OUTCOMES // len(sizes)), validation // 4)
    first = validation - np.maximum(spread, windows) + 1
    has = first >= FEWEST
    until = np.where(has, first, test - windows + 1)
    start = np.minimum(max(2 * examples.period, FEWEST), until - 1)
    return SeriesSplit(
        _part(examples, start, until - 1, until),
        _part(examples, first, np.where(has, validation, -1), sizes),
        _part(examples, test - windows + 1, test, sizes),
    )


def _split_by_borders(examples: SeriesExamples, borders: tuple[int, int]) -> SeriesSplit:
    sizes = np.array([len(values) for values in examples.values])
    one = np.ones_like(sizes)
    validation, test = borders
    horizon = examples.horizon
    if not horizon < validation < validation + horizon <= test <= sizes.min() - horizon:
        raise DataError(
            f"data set '{examples.name}': each part must be longer than the horizon, which is "
            f"{horizon}; the parts begin at 0, {validation} and {test} of {sizes.min()} steps"
        )
    return SeriesSplit(
        _part(examples, one, one * (validation - 1), one * validation),
        _part(examples, one * validation, one * (test - horizon), one * test),
        _part(examples, one * test, sizes - horizon, sizes),
    )


def _long_enough(examples: SeriesExamples, windows: int) -> SeriesExamples:
    least = FEWEST + windows - 1 + examples.horizon
    kept, left_out = [], list(examples.left_out)
    for place, values in enumerate(examples.values):
        if np.isnan(values).all():
            left_out.append(f"series '{examples.ids[place]}': no value is known")
        elif len(values) >= least:
            kept.append(place)
        else:
            left_out.append(
                f"series '{examples.ids[place]}': {len(values)} values, and it takes {least} "
                f"for a history and a horizon of {examples.horizon}"
            )
    if not kept:
        raise DataError(f"data set '{examples.name}': {left_out[-1]}; no other can be used")
    return replace(examples.select(kept), left_out=tuple(left_out))


def _part(
    examples: SeriesExamples,
    first: Sequence[int] | np.ndarray,
    last: Sequence[int] | np.ndarray,
    ends: Sequence[int] | np.ndarray,
) -> SeriesPart:
    return SeriesPart(
        examples, *(tuple(int(each) for each in places) for places in (first, last, ends))
    )
