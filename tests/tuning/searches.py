"""Searches for tests: a folder, an oracle on it, and workers that need no training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recipes.headline import Headline
from recipes.run import Run
from recipes.sentiment import PRESETS
from tuning.durable import Durable
from tuning.folder import OUTCOME, trial_folder
from tuning.oracles import oracle
from tuning.spaces import discover

ACCURACY = Headline("accuracy")


def space(hp: Any, base: Any) -> Any:
    """A space with numbers on two scales, a choice, and a parameter under a condition."""
    from dataclasses import replace

    config = replace(
        base,
        units=hp.Choice("units", [16, 32, 64]),
        dropout=hp.Float("dropout", 0.0, 0.4, step=0.1),
        learning_rate=hp.Choice("learning_rate", [0.001, 0.01]),
        cell=hp.Choice("cell", ["lstm", "gru"]),
    )
    with hp.conditional_scope("cell", ["gru"]):
        layers = hp.Int("layers", 1, 3)
    return replace(config, layers=layers or 1)


def parameters(function: Callable[[Any, Any], Any] = space) -> Any:
    """Return all parameters of a space."""
    return discover(function, PRESETS["tiny"], {})


def open_oracle(
    folder: Path,
    algorithm: str = "random",
    trials: int = 0,
    lease: float = 600.0,
    headline: Headline = ACCURACY,
    seed: int = 3,
    function: Callable[[Any, Any], Any] = space,
) -> Durable:
    """Return an oracle that goes on from a folder; close its run before the next is opened."""
    run = Run(folder, "sentiment", {"algorithm": algorithm})
    return oracle(algorithm, run, parameters(function), headline, trials, seed, lease, epochs=9)


def close(chief: Durable) -> None:
    """Give the folder free, as the end of the process does."""
    chief._run.__exit__()


def score(values: dict[str, Any]) -> float:
    """Return what a training with these parameters would reach."""
    epochs = values.get("tuner/epochs", 9)
    dropout = values.get("dropout", 0.2)
    return values["units"] / 64 - (dropout - 0.2) ** 2 + 0.01 * epochs


def write_outcome(folder: Path, trial: str, **facts: Any) -> None:
    """Leave an outcome as a trial's process does."""
    file = trial_folder(folder, trial) / OUTCOME
    file.parent.mkdir(parents=True, exist_ok=True)
    usual = {"score": 0.5, "objective": "accuracy", "curve": [0.5], "size": 7}
    usual |= {"seconds": 1.0, "trained_seconds": 0.5, "epoch_seconds": 0.5}
    usual |= {"latency_ms": None, "refused": False, "reason": ""}
    file.write_text(json.dumps({**usual, **facts}), encoding="utf-8")


def work_off(
    folder: Path, chief: Durable, after_each: Callable[[Durable], Durable] = lambda chief: chief
) -> list[dict[str, Any]]:
    """Run a search to its end with one worker, and return the parameters in their order."""
    tried = []
    while (trial := chief.create_trial("worker-0")).status == "RUNNING":
        values = dict(trial.hyperparameters.values)
        tried.append(values)
        chief = after_each(chief)
        write_outcome(folder, trial.trial_id, score=score(values))
        chief.end_trial(trial)
        chief = after_each(chief)
    close(chief)
    return tried
