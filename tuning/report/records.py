"""A search as numbers: JSON, CSV, the best configuration, and the trials nothing else beats."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from recipes.report.style import written
from serving.files import replace
from tuning.trials import RUNNING, Search, Trial
from zoo.errors import DataError

MEASURES = ("score", "seconds", "overhead_seconds", "size", "latency_ms")

_FACTS = ("id", "status", "score", "seconds", "overhead_seconds", "worker", "size", "latency_ms")


def to_json(search: Search) -> dict[str, Any]:
    """Return a search as JSON values; what is not known or not a number is null.

    `direction` is "min" or "max". `trials_per_hour` counts the trials that have ended, however
    they did, over the hours in which any was running, and `overhead_seconds_per_trial` is their
    mean. `pareto` holds the trials that no other beats in both score and latency, the quickest
    first.
    """
    ended = [trial for trial in search.trials if trial.status != RUNNING]
    hours = search.seconds / 3600
    best = search.best
    record = {
        "recipe": search.recipe,
        "algorithm": search.algorithm,
        "objective": search.objective.metric,
        "direction": "min" if search.objective.lower_is_better else "max",
        "trials": [_trial(trial) for trial in search.trials],
        "best": best
        and {
            "id": best.id,
            "score": best.score,
            "parameters": best.parameters,
            "config": configuration(search, best),
        },
        "trials_per_hour": len(ended) / hours if ended and hours > 0 else None,
        "overhead_seconds_per_trial": (
            fmean(trial.overhead_seconds for trial in ended) if ended else None
        ),
        "pareto": [
            {"id": t.id, "score": t.score, "latency_ms": t.latency_ms, "size": t.size}
            for t in pareto(search)
        ],
    }
    return _plain(record)


def write_csv(search: Search, file: Path) -> None:
    """Write a line per trial in the order in which they began.

    Columns are the trial's own facts, a `parameters.NAME` for each parameter, and the reason; a
    cell is empty where something is not known or a trial does not have the parameter.

    Raises:
        DataError: The file cannot be written.
    """
    names = parameter_names(search)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*_FACTS, "epochs", *(f"parameters.{name}" for name in names), "reason"])
    for trial in search.trials:
        row = _trial(trial)
        values = (_plain(trial.parameters.get(name)) for name in names)
        writer.writerow([*(row[fact] for fact in _FACTS), len(trial.curve), *values, row["reason"]])
    write(file, table.getvalue().encode("utf-8", "replace"))


def write(file: Path, content: bytes) -> None:
    """Replace a file as a whole.

    Raises:
        DataError: The folder or the disk does not allow it.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, content)
    except OSError as error:
        raise DataError(f"'{file}' cannot be written: {error.strerror}") from None


def best_config(search: Search) -> dict[str, Any]:
    """Return the best trial's whole configuration, as `train --config FILE` takes it.

    Raises:
        DataError: No trial has completed, or it cannot be told what its parameters mean.
    """
    if search.best is None:
        counts = Counter(trial.status for trial in search.trials)
        parts = ", ".join(f"{count} {status}" for status, count in counts.items())
        tried = f"{len(search.trials)} trials: {parts}" if parts else "none was started"
        raise DataError(f"the search has no completed trial yet, so no best one ({tried})")
    return configuration(search, search.best)


def configuration(search: Search, trial: Trial) -> dict[str, Any]:
    """Return a trial's whole configuration as JSON values.

    Raises:
        DataError: It was not written down, and a parameter is no field of the base.
    """
    if trial.config is not None:
        return trial.config
    for name in trial.parameters:
        if name not in search.base:
            raise DataError(
                f"trial {trial.id}: parameter '{name}' is no field of the recipe, and the "
                "configuration that the space made of it was not written down"
            )
    return {**search.base, **trial.parameters}


def base_trial(search: Search) -> Trial | None:
    """Return the trial of the configuration that the search started from, None without one.

    Of several, as Hyperband makes them, it is the best; one without a score only if none has one.
    """
    same = [trial for trial in search.trials if _is_base(search, trial)]
    return next((t for t in search.completed if t in same), next(iter(same), None))


def objective(search: Search) -> str:
    """Return what decides in words, such as "validation accuracy"."""
    return f"validation {written(search.objective.metric.removeprefix('validation_'))}"


def parameter_names(search: Search) -> list[str]:
    """Return every parameter that some trial has, in the order of the space."""
    return list(dict.fromkeys(name for trial in search.trials for name in trial.parameters))


def pareto(search: Search) -> list[Trial]:
    """Return the trials that no other beats in both score and latency, the quickest first.

    Of trials that are equal in both the earliest stands for all. A trial without a measured
    latency does not take part.
    """
    front: list[Trial] = []
    timed = [trial for trial in search.completed if trial.latency_ms is not None]
    # The sort is stable: of equally quick ones the best comes first.
    for trial in sorted(timed, key=lambda each: each.latency_ms or 0.0):
        if not front or search.objective.is_better(trial.score or 0.0, front[-1].score or 0.0):
            front.append(trial)
    return front


def measures(trial: Trial) -> dict[str, float]:
    """Return the single numbers that are known of a trial, by the names in `MEASURES`."""
    values = (trial.score, trial.seconds, trial.overhead_seconds, trial.size, trial.latency_ms)
    known = zip(MEASURES, values, strict=True)
    return {
        name: float(value) for name, value in known if value is not None and math.isfinite(value)
    }


def curve_points(trial: Trial) -> Iterator[tuple[int, float, float]]:
    """Yield epoch, objective and moment, of the epochs in which the objective was a number.

    Nobody wrote down when an epoch ended: they are spread evenly over the trial's time.
    """
    begin, end = trial.span
    for epoch, value in enumerate(trial.curve, 1):
        if math.isfinite(value):
            yield epoch, float(value), begin + (end - begin) * epoch / len(trial.curve)


def _is_base(search: Search, trial: Trial) -> bool:
    known = trial.config is not None or trial.parameters.keys() <= search.base.keys()
    return known and configuration(search, trial) == search.base


def _trial(trial: Trial) -> dict[str, Any]:
    return _plain(
        {
            "id": trial.id,
            "status": trial.status,
            "parameters": trial.parameters,
            "score": trial.score,
            "seconds": trial.seconds,
            "overhead_seconds": trial.overhead_seconds,
            "worker": trial.worker,
            "size": trial.size,
            "latency_ms": trial.latency_ms,
            "reason": trial.reason,
            "curve": trial.curve,
        }
    )


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, which knows no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
