"""Where values lie on an axis: linear or logarithmic, with categories, gaps and outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.report.style import short

_DECADES = 8.0
"""From this ratio of the largest to the smallest value on, an axis may be logarithmic."""

_FEW = 7
"""So many different numbers are all named on an axis, where they do not touch."""

_APART = 0.07
"""Least distance between two names on an axis, as a share of its length."""

_FEWEST_SCORES = 8
_REACH = 2.5
"""Scores are outliers beyond so many times the distance from the best to the worst quarter."""


@dataclass(frozen=True)
class Axis:
    """One parameter as an axis from 0 to 1.

    Attributes:
        name: Of the parameter.
        places: `float[trials]`; NaN for a trial without the parameter.
        ticks: Place and text of what is written beside it.
    """

    name: str
    places: NDArray[np.float64]
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Range:
    """The part of a score's range that is shown.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        outside: How many scores lie beyond it, always on the worse side.
        worse_is_high: Which side that is.
    """

    low: float
    high: float
    outside: int
    worse_is_high: bool

    def places(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores as places from 0 to 1, those outside at the end."""
        if self.high == self.low:
            return np.full(len(scores), 0.5)
        return np.clip((scores - self.low) / (self.high - self.low), 0, 1)

    def ticks(self, count: int) -> list[tuple[float, str]]:
        """Return places at even distances and their scores; an end that holds more says so."""
        if self.high == self.low:
            return [(0.5, text(self.low, 4))]
        heights = [float(height) for height in np.linspace(0, 1, count)]
        words = [text(self.low + height * (self.high - self.low), 4) for height in heights]
        if self.outside:
            end = -1 if self.worse_is_high else 0
            words[end] = ("≥ " if self.worse_is_high else "≤ ") + words[end]
        return list(zip(heights, words, strict=True))


def axis(name: str, values: Sequence[Any]) -> Axis:
    """Return the axis of one parameter.

    Numbers lie on a line, a logarithmic one if they span decades; anything else, and numbers
    mixed with it, at even distances by name.

    Args:
        name: Of the parameter.
        values: One per trial, None where a trial does not have it.
    """
    present = [value for value in values if value is not None]
    if not all(is_number(value) for value in present):
        return _categories(name, values)
    numbers = np.array([math.nan if value is None else float(value) for value in values])
    distinct = np.unique(numbers[~np.isnan(numbers)])
    scaled = np.log10 if is_logarithmic(distinct) else np.asarray
    low, high = float(scaled(distinct[0])), float(scaled(distinct[-1]))
    length = high - low or 1.0
    shift = 0.5 if high == low else 0.0
    ticks = [
        ((float(scaled(tick)) - low) / length + shift, text(tick))
        for tick in _tick_values(distinct, is_logarithmic(distinct))
    ]
    return Axis(name, (scaled(numbers) - low) / length + shift, _apart(ticks))


def is_logarithmic(values: NDArray[np.float64]) -> bool:
    """Say whether positive numbers span decades and lie more evenly by their logarithms."""
    distinct = np.unique(values)
    if len(distinct) < 2 or distinct[0] <= 0 or distinct[-1] / distinct[0] < _DECADES:
        return False
    return bool(_skew(np.log10(distinct)) < _skew(distinct))


def shown_range(scores: NDArray[np.float64], lower_is_better: bool) -> Range:
    """Return the range that shows all scores but far outliers among the bad ones.

    One diverged trial would press all others into a line.

    Args:
        scores: At least one of them finite.
        lower_is_better: Which side is bad.
    """
    values = scores[np.isfinite(scores)]
    best, worst = (values.min(), values.max()) if lower_is_better else (values.max(), values.min())
    quarter = float(np.quantile(values, 0.75 if lower_is_better else 0.25))
    reach = best + _REACH * (quarter - best)
    if len(values) >= _FEWEST_SCORES and abs(worst - best) > abs(reach - best) > 0:
        worst = reach
    low, high = float(min(best, worst)), float(max(best, worst))
    outside = int(((values < low) | (values > high)).sum())
    return Range(low, high, outside, lower_is_better)


def text(number: float, digits: int = 3) -> str:
    """Return a number as short as it can be read, with so many significant digits."""
    if number == 0 or 1e-4 <= abs(number) < 1e5:
        return f"{number:.{digits}g}" if abs(number) < 10**digits else f"{number:.0f}"
    mantissa, _, exponent = f"{number:.{digits - 1}e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def is_number(value: object) -> bool:
    """Say whether a parameter's value is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _skew(values: NDArray[np.float64]) -> float:
    """Return how far the median lies from the middle of the range, as a share of the range."""
    middle = (values[0] + values[-1]) / 2
    return abs(float(np.median(values)) - middle) / float(values[-1] - values[0])


def _categories(name: str, values: Sequence[Any]) -> Axis:
    names = sorted({str(value) for value in values if value is not None})
    steps = np.linspace(0, 1, len(names)) if len(names) > 1 else np.array([0.5])
    place = dict(zip(names, steps, strict=True))
    places = [math.nan if value is None else place[str(value)] for value in values]
    ticks = [(float(place[each]), short(each)) for each in names]
    return Axis(name, np.array(places), _apart(ticks))


def _tick_values(distinct: NDArray[np.float64], logarithmic: bool) -> list[float]:
    """Return the ends and what lies between them: the values if they are few, else round ones."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = float(distinct[0]), float(distinct[-1])
    if len(distinct) <= _FEW:
        return [float(value) for value in distinct]
    locator = LogLocator(subs=(1.0, 3.0)) if logarithmic else MaxNLocator(5, steps=[1, 2, 5, 10])
    between = [float(tick) for tick in locator.tick_values(low, high) if low < tick < high]
    return [low, *between, high]


def _apart(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the ticks without those that would touch another; both ends stay."""
    if not ticks:
        return []
    *others, last = ticks
    kept: list[tuple[float, str]] = []
    for tick in others:
        free = last[0] - tick[0] >= _APART or not kept
        if free and (not kept or tick[0] - kept[-1][0] >= _APART):
            kept.append(tick)
    return [*kept, last]
