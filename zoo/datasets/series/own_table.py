"""Series from a table of the user's own, in long or in wide form.

    unique_id,ds,y                          ds,north,south
    north,2024-01-01,12.5                   2024-01-01,12.5,7
    north,2024-02-01,13                     2024-02-01,13,

Long: a line per series and time. Wide: a line per time, a column per series. `ds` is a date, a
date with a time, or a whole number; an empty value is missing. Lines may come in any order. A
time that a series has twice is an error; one that it lacks is filled as missing, and reported.

Further columns of the long form are covariates: numbers that are known ahead, such as a price or
a holiday. Lines without `y` at the end of a series then hold those of the steps to come.
Columns that are said to be statics, such as a region or a size, are the same on each line of a
series, or empty: they may be text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.datasets.series.examples import HORIZONS, SeriesExamples
from zoo.datasets.table_file import rows
from zoo.errors import DataError

ID, TIME, VALUE = "unique_id", "ds", "y"
_DAY = 24 * 60 * 60
_STEPS = {
    15 * 60: "quarter-hourly",
    30 * 60: "half-hourly",
    60 * 60: "hourly",
    _DAY: "daily",
    7 * _DAY: "weekly",
}
_MONTHS = {1: "monthly", 3: "quarterly", 12: "yearly"}
_LARGEST = float(np.finfo(np.float32).max)
_MOST_FILLED = 0.5
"""Share of a series' steps that may be missing."""


class Point(NamedTuple):
    """One value of a series.

    Attributes:
        value: NaN = missing.
        where: File and line.
        known: Its covariates.
    """

    value: float
    where: str
    known: tuple[float, ...]


Points = dict[str, dict[int, Point]]


@dataclass
class _Table:
    """What the lines say.

    Attributes:
        points: Values by series and time.
        covariates: Names of the columns that are known ahead.
        dated: Whether times are dates.
        statics: By series and column the text, and where it stands.
    """

    points: Points
    covariates: tuple[str, ...]
    dated: bool
    statics: dict[str, dict[str, tuple[str, str]]]


def read_series(path: Path, horizon: int = 0, statics: Sequence[str] = ()) -> SeriesExamples:
    """Return the series of a table; the frequency is that of most of their steps.

    Args:
        path: A .csv, .tsv or .jsonl file, or one of these and .gz.
        horizon: Steps to forecast; 0 for as many as is usual for the frequency.
        statics: Columns of the long form that say what a series is.

    Raises:
        UnknownNameError: A column is missing.
        DataError: A value is no number, a time no time, one comes twice, or a static changes,
            with file, line and column; or the steps follow no frequency.
    """
    table = _table(path, statics)
    rhythm = _rhythm(table.points, table.dated)
    found, notes = _regular(table, rhythm)
    return SeriesExamples(
        str(path),
        tuple(found),
        tuple(each.values for each in found.values()),
        rhythm.frequency,
        horizon or HORIZONS[rhythm.frequency],
        times=tuple(each.times for each in found.values()) if table.dated else None,
        covariates=tuple(each.known for each in found.values()) if table.covariates else None,
        covariate_names=table.covariates,
        statics={
            column: tuple(table.statics[name].get(column, ("", ""))[0] for name in found)
            for column in statics
        },
        left_out=tuple(notes),
    )


def _regular(table: _Table, rhythm: _Rhythm) -> tuple[dict[str, _Series], list[str]]:
    """Return the series by name, a value per step, and what was filled or left out."""
    found: dict[str, _Series] = {}
    notes = []
    for name, series in table.points.items():
        places = _places(series, name, rhythm)
        size = max(places) + 1
        if len(places) < (1 - _MOST_FILLED) * size:
            notes.append(f"series '{name}' left out: {size - len(places)} of {size} steps missing")
            continue
        if len(places) < size:
            before = next(place for place in range(size) if place not in places) - 1
            notes.append(
                f"series '{name}': {size - len(places)} steps are missing, the first behind "
                f"{places[before].where}; they count as not observed"
            )
        found[name] = _series(places, len(table.covariates), rhythm.clock(min(series), size))
    return found, notes


@dataclass(frozen=True)
class _Rhythm:
    """What a step is: so many months, or so many seconds or numbers."""

    frequency: str
    step: int
    months: int = 0

    def place(self, start: int, time: int) -> tuple[int, int]:
        """Return the number of the step at a time, and by how much the time misses it."""
        if self.months:
            return divmod(_month(time) - _month(start), self.months)
        return divmod(time - start, self.step)

    def clock(self, start: int, size: int) -> np.ndarray:
        """Return the time of every step, `int64[size]`."""
        if not self.months:
            return start + self.step * np.arange(size, dtype=np.int64)
        every = np.datetime64(_month(start), "M") + self.months * np.arange(size)
        return every.astype("datetime64[s]").astype(np.int64)


class _Series(NamedTuple):
    values: np.ndarray
    known: np.ndarray
    times: np.ndarray


def _series(places: Mapping[int, Point], covariates: int, times: np.ndarray) -> _Series:
    """Return the steps in order; with covariates the values end at the last one there is."""
    values, known = np.full(len(times), np.nan), np.full((len(times), covariates), np.nan)
    for place, point in places.items():
        values[place], known[place] = point.value, point.known
    observed = np.flatnonzero(~np.isnan(values))
    end = observed[-1] + 1 if covariates and len(observed) else len(values)
    return _Series(values[:end], known, times[:end])


def _table(path: Path, statics: Sequence[str]) -> _Table:
    """Return what the lines say, checked line by line."""
    table = _Table({}, (), False, {})
    columns: tuple[str, ...] = ()
    needed = (ID, TIME, VALUE, *statics) if statics else (TIME,)
    for where, found in rows(path, *needed):
        columns = columns or tuple(found)
        row = _same_columns(found, columns, where)
        time, is_date = _time(row[TIME], where)
        if table.points and is_date != table.dated:
            raise DataError(f"{where}: column '{TIME}': dates and numbers must not be mixed")
        table.dated = is_date
        cells, table.covariates = _cells(row, where, statics)
        for name, point in cells:
            series = table.points.setdefault(name, {})
            if time in series:
                raise DataError(
                    f"{where}: column '{TIME}': series '{name}' has '{row[TIME]}' a second time; "
                    f"the first is at {series[time].where}"
                )
            series[time] = point
        if statics:
            _keep(table.statics.setdefault(str(row[ID]), {}), row, statics, where)
    if not table.points:
        raise DataError(f"'{path}' holds no rows")
    return table


def _same_columns(
    row: Mapping[str, object], columns: Sequence[str], where: str
) -> Mapping[str, object]:
    """Return a line with the columns of the first one, in their order; None for what it lacks."""
    for column in row:
        if column not in columns:
            raise DataError(f"{where}: column '{column}' is not one of the first line's")
    return {column: row.get(column) for column in columns}


def _keep(
    kept: dict[str, tuple[str, str]], row: Mapping[str, object], statics: Sequence[str], where: str
) -> None:
    """Add a line's statics to those of its series, which must be the same."""
    for column in statics:
        text = _text(row[column])
        before, first = kept.setdefault(column, (text, where)) if text else ("", "")
        if text != before:
            raise DataError(
                f"{where}: column '{column}': a static must not change within series "
                f"'{row[ID]}', which has '{text}' here and '{before}' at {first}"
            )


def _cells(
    row: Mapping[str, object], where: str, statics: Sequence[str]
) -> tuple[list[tuple[str, Point]], tuple[str, ...]]:
    """Return the values of a line by series, and the names of its covariates."""
    if ID in row and VALUE in row:
        others = (ID, TIME, VALUE, *statics)
        names = tuple(column for column in row if column not in others)
        known = tuple(_number(row[name], name, where) for name in names)
        if not _text(row[ID]):
            raise DataError(f"{where}: column '{ID}' is empty")
        return [(str(row[ID]), Point(_number(row[VALUE], VALUE, where), where, known))], names
    return [
        (column, Point(_number(value, column, where), where, ()))
        for column, value in row.items()
        if column != TIME
    ], ()


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _number(value: object, column: str, where: str) -> float:
    text = _text(value)
    if text.lower() in ("", "nan", "na", "null"):
        return float("nan")
    try:
        number = float(text)
    except ValueError:
        number = float("inf")
    if not abs(number) <= _LARGEST:
        raise DataError(f"{where}: column '{column}' must be a number or empty, not '{text}'")
    return number


def _time(value: object, where: str) -> tuple[int, bool]:
    """Return seconds since 1970 or a step number, and which of both it is."""
    text = str(value).strip()
    if re.fullmatch(r"-?\d{1,7}", text):
        return int(text), False
    if parts := re.fullmatch(r"(\d{4})[-/](\d{1,2})(?:[-/](\d{1,2}))?(\D.*)?", text):
        year, month, day, rest = parts.groups(default="")
        text = f"{year}-{month:0>2}-{day or 1:0>2}{rest}"
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(
            f"{where}: column '{TIME}' must be a date such as 2024-01-31, with or without a time, "
            f"or a whole number, not '{value}'"
        ) from None
    return round(date.replace(tzinfo=date.tzinfo or UTC).timestamp()), True


def _rhythm(points: Points, dated: bool) -> _Rhythm:
    """Return what most steps are."""
    step = _usual_step(points)
    if not dated:
        return _Rhythm("other", step)
    if step in _STEPS:
        return _Rhythm(_STEPS[step], step)
    months = [sorted(_month(time) for time in series) for series in points.values()]
    usual = int(np.median(np.concatenate([np.diff(each) for each in months])))
    if usual in _MONTHS and 27 * _DAY * usual <= step <= 32 * _DAY * usual:
        return _Rhythm(_MONTHS[usual], step, usual)
    known = ", ".join([*_MONTHS.values(), *_STEPS.values()])
    raise DataError(
        f"{_behind(points, step)}: column '{TIME}': most steps are as long as the one that ends "
        f"here, {step} seconds, which is no known frequency: "
        f"{known}; or number the steps 1, 2, 3"
    )


def _behind(points: Points, step: int) -> str:
    """Return where the first step of a length ends, in file and line."""
    for series in points.values():
        for before, time in itertools.pairwise(sorted(series)):
            if time - before == step:
                return series[time].where
    raise AssertionError("most steps have this length")


def _usual_step(points: Points) -> int:
    steps = np.concatenate([np.diff(sorted(series)) for series in points.values()])
    if not len(steps):
        first = next(iter(next(iter(points.values())).values()))
        raise DataError(
            f"{first.where}: column '{TIME}': a frequency takes two rows of a series, and every "
            "series has a single one"
        )
    sizes, counts = np.unique(steps, return_counts=True)
    return int(sizes[counts.argmax()])


def _month(time: int) -> int:
    return int(np.datetime64(time, "s").astype("datetime64[M]").astype(np.int64))


def _places(series: Mapping[int, Point], name: str, rhythm: _Rhythm) -> dict[int, Point]:
    """Return the values by the number of the step."""
    start = min(series)
    places: dict[int, Point] = {}
    for time, point in series.items():
        place, rest = rhythm.place(start, time)
        if rest or place in places:
            usual = f"{rhythm.months} months" if rhythm.months else rhythm.step
            raise DataError(
                f"{point.where}: column '{TIME}': series '{name}' leaves its frequency here; its "
                f"usual step is {usual}"
            )
        places[place] = point
    return places
