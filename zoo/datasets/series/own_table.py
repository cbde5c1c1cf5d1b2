"""Series from a table of the user's own, in long or in wide form.

    unique_id,ds,y                          ds,north,south
    north,2024-01-01,12.5                   2024-01-01,12.5,7
    north,2024-02-01,13                     2024-02-01,13,

Long: a line per series and time. Wide: a line per time, a column per series. `ds` is a date, a
date with a time, or a whole number; an empty value is missing. Lines may come in any order. A
time that a series has twice is an error; one that it lacks is filled as missing, and reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

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
_MOST_FILLED = 0.5
"""Share of a series' steps that may be missing."""

Points = dict[str, dict[int, tuple[float, str]]]


def read_series(path: Path, horizon: int = 0) -> SeriesExamples:
    """Return the series of a table; the frequency is that of most of their steps.

    Args:
        path: A .csv, .tsv or .jsonl file, or one of these and .gz.
        horizon: Steps to forecast; 0 for as many as is usual for the frequency.

    Raises:
        UnknownNameError: A column is missing.
        DataError: A value is no number, a time no time, or one comes twice, with file, line and
            column; or the steps follow no frequency.
    """
    points, dated = _points(path)
    frequency, step, months = _frequency(path, points, dated)
    ids, values, notes = [], [], []
    for name, found in points.items():
        places = _places(path, name, found, step, months)
        size = max(places) + 1
        if len(places) < (1 - _MOST_FILLED) * size:
            notes.append(f"series '{name}' left out: {size - len(places)} of {size} steps missing")
            continue
        series = np.full(size, np.nan)
        for place, (value, _) in places.items():
            series[place] = value
        if len(places) < size:
            before = next(place for place in range(size) if place not in places) - 1
            notes.append(
                f"series '{name}': {size - len(places)} steps are missing, the first behind "
                f"{places[before][1]}; they count as not observed"
            )
        ids.append(name)
        values.append(series)
    return SeriesExamples(
        str(path),
        tuple(ids),
        tuple(values),
        frequency,
        horizon or HORIZONS[frequency],
        left_out=tuple(notes),
    )


def _points(path: Path) -> tuple[Points, bool]:
    """Return value and line by series and time, and whether times are dates."""
    points: Points = {}
    dated: bool | None = None
    for where, row in rows(path, TIME):
        time, is_date = _time(row[TIME], where)
        if dated is not None and is_date != dated:
            raise DataError(f"{where}: column '{TIME}': dates and numbers must not be mixed")
        dated = is_date
        for name, value in _cells(row, where):
            series = points.setdefault(name, {})
            if time in series:
                raise DataError(
                    f"{where}: column '{TIME}': series '{name}' has '{row[TIME]}' a second time; "
                    f"the first is at {series[time][1]}"
                )
            series[time] = value, where
    if not points:
        raise DataError(f"'{path}' holds no rows")
    return points, bool(dated)


def _cells(row: Mapping[str, object], where: str) -> list[tuple[str, float]]:
    if ID in row and VALUE in row:
        return [(str(row[ID]), _number(row[VALUE], VALUE, where))]
    return [
        (column, _number(value, column, where)) for column, value in row.items() if column != TIME
    ]


def _number(value: object, column: str, where: str) -> float:
    text = "" if value is None else str(value).strip()
    if text.lower() in ("", "nan", "na", "null"):
        return float("nan")
    try:
        number = float(text)
    except ValueError:
        number = float("inf")
    if not np.isfinite(number):
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


def _frequency(path: Path, points: Points, dated: bool) -> tuple[str, int, int]:
    """Return the frequency, seconds or numbers per step, and months per step (0 for none)."""
    if not dated:
        return "other", _usual_step(points), 0
    months = [{time: _month(time) for time in series} for series in points.values()]
    by_month = np.concatenate([np.diff(sorted(each.values())) for each in months])
    step = _usual_step(points)
    if step in _STEPS:
        return _STEPS[step], step, 0
    usual = int(np.median(by_month)) if len(by_month) else 0
    if usual in _MONTHS and 27 * _DAY * usual <= step <= 32 * _DAY * usual:
        return _MONTHS[usual], step, usual
    known = ", ".join([*_MONTHS.values(), *_STEPS.values()])
    raise DataError(
        f"'{path}': column '{TIME}': most steps are {step} seconds, which is no known frequency: "
        f"{known}; or number the steps 1, 2, 3"
    )


def _usual_step(points: Points) -> int:
    steps = np.concatenate([np.diff(sorted(series)) for series in points.values()])
    if not len(steps):
        raise DataError("every series has a single row: a frequency takes two")
    sizes, counts = np.unique(steps, return_counts=True)
    return int(sizes[counts.argmax()])


def _month(time: int) -> int:
    return int(np.datetime64(time, "s").astype("datetime64[M]").astype(np.int64))


def _places(
    path: Path, name: str, found: dict[int, tuple[float, str]], step: int, months: int
) -> dict[int, tuple[float, str]]:
    """Return values and lines by the number of the step."""
    start = min(found)
    places = {}
    for time, (value, where) in found.items():
        if months:
            place, rest = divmod(_month(time) - _month(start), months)
        else:
            place, rest = divmod(time - start, step)
        if rest or place in places:
            raise DataError(
                f"{where}: column '{TIME}': series '{name}' leaves its frequency here; its usual "
                f"step is {f'{months} months' if months else step}"
            )
        places[place] = value, where
    return places
