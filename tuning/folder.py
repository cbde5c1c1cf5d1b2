"""The search folder: everything that a search leaves behind.

config.json     what was asked for                  environment.json   versions, hardware
oracle.json     every trial and the algorithm's state, replaced as a whole
trials/ID/      the run folder of a trial, its outcome.json and log.txt
workers/ID/     log.txt, and beat, whose time is the worker's last sign of life
best/ID/        the best trial, trained to its end by the recipe: a run folder
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recipes.headline import Headline
from recipes.run import CHECKPOINT, HISTORY, read_config, refuse_other
from tuning.options import Settings
from tuning.spaces import OF_ALGORITHM
from tuning.trials import COMPLETED, FAILED, REFUSED, RUNNING, Search, Trial
from zoo.errors import ConfigError, DataError

R = TypeVar("R")

ORACLE = "oracle.json"
OUTCOME = "outcome.json"
LOG = "log.txt"
BEAT = "beat"

EXACT_DIGITS = 6
"""Significant digits of a number that survive the protocol's single precision."""


def when_free(hold: Callable[[], R], limit: float, held: type[Exception] = ConfigError) -> R:
    """Return a run folder, as soon as a process that was just killed no longer holds it.

    Args:
        hold: Opens it.
        limit: Seconds to wait for at most.
        held: What it raises as long as another process holds the folder, and this function after
            that.
    """
    deadline = time.monotonic() + limit
    while True:
        try:
            return hold()
        except held:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def trial_folder(search: Path, trial: str) -> Path:
    """Return the run folder of a trial."""
    return search / "trials" / trial


def best_folder(search: Path, trial: str) -> Path:
    """Return the run folder of the best trial's training to its end.

    A search that goes on may find another one, which then has a folder of its own.
    """
    return search / "best" / trial


def worker_folder(search: Path, worker: str) -> Path:
    """Return the folder of a worker's log and signs of life."""
    return search / "workers" / worker


def read_oracle(folder: Path) -> dict[str, Any] | None:
    """Return the chief's state as it was last written, None before the first trial."""
    try:
        return json.loads((folder / ORACLE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def attempt_at(folder: Path, trial: str) -> int:
    """Return how often a trial was handed out, 0 if nothing is written about it."""
    rows = (read_oracle(folder) or {"trials": []})["trials"]
    return next((row["facts"].get("attempt", 0) for row in rows if row["id"] == trial), 0)


def refuse_other_search(folder: Path, settings: Settings) -> None:
    """Check that a folder, if it was begun, belongs to this very search.

    Raises:
        MisuseError: It belongs to another, or to a training.
    """
    if not (folder / "config.json").is_file():
        return
    theirs = Settings.read(folder).recipe  # raises if it is no search
    if theirs != settings.recipe:
        raise ConfigError(
            f"'{folder}' is a search for recipe '{theirs}', not '{settings.recipe}': choose "
            "another --run-dir"
        )
    refuse_other(folder, settings.recipe, settings.to_json())


def read_outcome(folder: Path, trial: str) -> dict[str, Any] | None:
    """Return what a worker wrote down of an ended trial, None as long as it has not."""
    try:
        return json.loads((trial_folder(folder, trial) / OUTCOME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def read_search(folder: Path, whole: bool = False) -> Search:
    """Return a search and its trials so far.

    Args:
        folder: The search folder.
        whole: Read the whole configuration of every trial too, a file each.

    Raises:
        DataError: The folder holds no search.
    """
    if not folder.is_dir():
        raise DataError(f"'{folder}' is no folder")
    settings = Settings.read(folder)
    state = read_oracle(folder) or {"trials": [], "seconds": 0.0, "objective": None}
    headline = settings.module.HEADLINE
    objective = Headline(state["objective"] or headline.metric, headline.lower_is_better)
    return Search(
        settings.recipe,
        settings.algorithm,
        objective,
        settings.base["seed"],
        state["seconds"],
        {**settings.base, **settings.fixed},
        tuple(_trial(folder, each, objective.metric, whole) for each in state["trials"]),
        state.get("planned"),
    )


def exact(value: Any) -> Any:
    """Return a parameter as its trial has it: the protocol has single precision."""
    return float(f"{value:.{EXACT_DIGITS}g}") if isinstance(value, float) else value


def read_trial_config(folder: Path, trial: str) -> dict[str, Any] | None:
    """Return the whole configuration of a trial as JSON values, None if it never trained."""
    run = trial_folder(folder, trial)
    if not (run / "config.json").exists():
        return None
    config = read_config(run)
    del config["recipe"]
    return config


def _trial(folder: Path, row: dict[str, Any], metric: str, whole: bool) -> Trial:
    values = {
        name: exact(value)
        for name, value in row["values"].items()
        if not name.startswith(OF_ALGORITHM)
    }
    facts = row["facts"]
    curve = facts.get("curve")
    if curve is None:
        curve = curve_of(trial_folder(folder, row["id"]), metric)
    return Trial(
        row["id"],
        _status(row["status"], facts),
        values,
        row["score"],
        tuple(curve),
        facts.get("worker", ""),
        facts.get("began", 0.0),
        facts.get("ended", 0.0),
        facts.get("seconds", 0.0),
        facts.get("overhead_seconds", 0.0),
        facts.get("size"),
        facts.get("latency_ms"),
        row["message"] or "",
        read_trial_config(folder, row["id"]) if whole else None,
    )


def curve_of(run: Path, metric: str) -> list[float]:
    """Return a metric after each epoch of a run folder, as far as it was trained."""
    try:
        history = json.loads((run / HISTORY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [row[metric] for row in history if metric in row]


def trained(run: Path) -> tuple[list[dict[str, float]], int]:
    """Return what a training wrote down of its epochs, and which one's weights it keeps, from 0.

    The checkpoint knows: `history.json` is written behind it, and is an epoch short where the
    training was killed in between. Without an epoch there is no checkpoint, and none is kept: -1.
    """
    try:
        with np.load(run / CHECKPOINT) as arrays:
            state = json.loads(str(arrays["state"]))
    except FileNotFoundError:
        return [], -1
    return state["history"], state["best_epoch"]


def _status(status: str, facts: dict[str, Any]) -> str:
    if status == "COMPLETED":
        return COMPLETED
    if status == "RUNNING":
        return RUNNING
    return REFUSED if facts.get("refused") else FAILED
