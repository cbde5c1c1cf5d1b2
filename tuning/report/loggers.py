"""Trials in experiment trackers beside TensorBoard: MLflow, and Weights & Biases.

Both are an extra, `requirements-tracking.txt`, and are told where to write by their own environment
variables: MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME; WANDB_MODE, WANDB_PROJECT and so on.
A search may be logged again, while it runs or at its end: no trial is there twice.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tuning.report.records import curve_points, measures, write
from tuning.trials import COMPLETED, RUNNING, Search, Trial
from zoo.errors import MisuseError, SeqZooError

_BATCH = 1000
"""Metrics of one request to MLflow, which takes no more."""


def to_mlflow(search: Search, folder: Path) -> str:
    """Log every ended trial as a run of one MLflow experiment; return where, in a line.

    Raises:
        MisuseError: mlflow is not installed.
        SeqZooError: The tracking server refuses or cannot be reached.
    """
    mlflow = _package("mlflow")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"seqzoo-{search.recipe}"
    try:
        client = mlflow.MlflowClient()
        experiment = mlflow.set_experiment(name).experiment_id
        there = client.search_runs(
            [experiment], f"tags.search = '{identity(search)}'", max_results=50_000
        )
        for run in there:
            if run.info.status == "RUNNING":  # an earlier logging of it was cut off
                client.delete_run(run.info.run_id)
        known = {run.data.tags["trial"] for run in there if run.info.status != "RUNNING"}
        new = [trial for trial in _ended(search) if trial.id not in known]
        for trial in new:
            _log_to_mlflow(mlflow, client, experiment, search, folder, trial)
    except mlflow.MlflowException as error:
        raise SeqZooError(f"MLflow: {_first_line(error)}") from None
    where = mlflow.get_tracking_uri()
    return f"{len(new)} trials logged to the experiment '{name}' of MLflow at {where}"


def _log_to_mlflow(
    mlflow: Any, client: Any, experiment: str, search: Search, folder: Path, trial: Trial
) -> None:
    begin, end = (round(1000 * moment) for moment in trial.span)
    run = client.create_run(
        experiment,
        start_time=begin,
        run_name=f"{folder.resolve().name}-{trial.id}",
        tags={"search": identity(search), **_labels(search, trial)},
    ).info.run_id
    entities = mlflow.entities
    params = [entities.Param(name, str(value)) for name, value in trial.parameters.items()]
    client.log_batch(run, params=params)
    points = [(name, value, end, 0) for name, value in measures(trial).items()]
    points += [
        (search.objective.metric, value, round(1000 * moment), epoch)
        for epoch, value, moment in curve_points(trial)
    ]
    for start in range(0, len(points), _BATCH):
        metrics = [entities.Metric(*point) for point in points[start : start + _BATCH]]
        client.log_batch(run, metrics=metrics)
    client.set_terminated(run, "FINISHED" if trial.status == COMPLETED else "FAILED", end)


def to_wandb(search: Search, folder: Path) -> str:
    """Log every ended trial as a run of one project of Weights & Biases; return where, in a line.

    `wandb/` in the search folder holds its files, those that WANDB_MODE=offline leaves for
    `wandb sync` too, and in `logged.json` which trials need not be logged again.

    Raises:
        MisuseError: wandb is not installed.
        SeqZooError: There is no login, or the server refuses.
    """
    wandb = _package("wandb")
    project = os.environ.get("WANDB_PROJECT") or f"seqzoo-{search.recipe}"
    place = f"{project}, {os.environ.get('WANDB_MODE') or 'online'}"
    notes = folder / "wandb" / "logged.json"
    logged = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    known = logged.setdefault(place, [])
    new = [trial for trial in _ended(search) if f"{identity(search)}-{trial.id}" not in known]
    try:
        for trial in new:
            _log_to_wandb(wandb, project, search, folder, trial)
            known.append(f"{identity(search)}-{trial.id}")
            write(notes, json.dumps(logged, indent=2).encode())
    except wandb.Error as error:
        raise SeqZooError(f"Weights & Biases: {_first_line(error)}") from None
    return f"{len(new)} trials logged to the project '{project}' of Weights & Biases"


def _log_to_wandb(wandb: Any, project: str, search: Search, folder: Path, trial: Trial) -> None:
    # Neither what this process prints nor its use of the machine is the trial's.
    run = wandb.init(
        project=project,
        group=f"{folder.resolve().name}-{identity(search)}",
        name=f"{folder.resolve().name}-{trial.id}",
        id=f"{identity(search)}-{trial.id}",
        dir=str(folder),
        config=dict(trial.parameters),
        reinit="finish_previous",
        settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
    )
    for epoch, value, _ in curve_points(trial):
        run.log({search.objective.metric: value}, step=epoch)
    run.summary.update({**measures(trial), **_labels(search, trial)})
    run.finish(exit_code=0 if trial.status == COMPLETED else 1)


LOGGERS: Mapping[str, Callable[[Search, Path], str]] = {"mlflow": to_mlflow, "wandb": to_wandb}
"""Trackers beside TensorBoard by name; each says in a line what it logged and where."""


def identity(search: Search) -> str:
    """Return eight characters that tell this search from every other, also of the same seed."""
    began = search.trials[0].began if search.trials else 0.0
    facts = [search.recipe, search.algorithm, search.objective.metric, search.seed, began]
    return hashlib.sha256(json.dumps([*facts, search.base]).encode()).hexdigest()[:8]


def _ended(search: Search) -> list[Trial]:
    return [trial for trial in search.trials if trial.status != RUNNING]


def _labels(search: Search, trial: Trial) -> dict[str, str]:
    labels = {"trial": trial.id, "status": trial.status, "algorithm": search.algorithm}
    more = {"worker": trial.worker, "reason": trial.reason}
    return {**labels, **{name: text for name, text in more.items() if text}}


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MisuseError(
            f"logging trials to {name} takes the package {error.name}, of the extra 'tracking': "
            "pip install -r requirements-tracking.txt"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
