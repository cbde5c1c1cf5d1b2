"""Searches that never ran, as the tests of the report need them: usual ones and degenerate ones."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from recipes.headline import Headline
from tuning.trials import COMPLETED, FAILED, REFUSED, RUNNING, Search, Trial

BASE = {
    "dataset": "synthetic",
    "data": None,
    "cell": "lstm",
    "units": 64,
    "front": "conv",
    "reduction": 4,
    "dropout": 0.5,
    "learning_rate": 0.002,
    "weight_decay": 0.01,
    "speeds": [1.0],
    "streaming": False,
    "epochs": 8,
    "seed": 0,
}
BEGAN = 1_700_000_000.0


def search(trials: int = 60, *, lower_is_better: bool = False, latency: bool = True) -> Search:
    """Return a search as it looks in practice; trial 0000 is the base configuration.

    `learning_rate` decides most, `units` and `dropout` some, and the rest nothing. Parameters
    `strides` and `stacked` exist under one `front` each and are no fields. Of 60 trials some
    failed, some were refused for their latency, two are running.
    """
    random = np.random.default_rng(7)
    metric = Headline("wer" if lower_is_better else "accuracy", lower_is_better)
    rows, clocks = [], {"0": BEGAN, "1": BEGAN}
    for index in range(trials):
        worker = min(clocks, key=lambda name: clocks[name])
        trial = _trial(index, random, lower_is_better, latency, trials)
        seconds = 0.0 if trial.status == REFUSED else float(random.uniform(20, 90))
        overhead = float(random.uniform(1.2, 2.8))
        times = {"began": clocks[worker], "seconds": seconds, "overhead_seconds": overhead}
        if trial.status != RUNNING:
            times["ended"] = clocks[worker] + seconds + overhead
        rows.append(dataclasses.replace(trial, worker=worker, **times))
        clocks[worker] += seconds + overhead
        if index == trials // 2:  # switched off for a night
            clocks = dict.fromkeys(clocks, max(clocks.values()) + 9 * 3600)
    seconds = max(clocks.values()) - BEGAN - (9 * 3600 if trials else 0)
    return Search("speech", "bayesian", metric, 0, seconds, BASE, tuple(rows))


def _trial(
    index: int, random: np.random.Generator, lower: bool, latency: bool, trials: int
) -> Trial:
    parameters = _parameters(random) if index else _base_parameters()
    config = _config(parameters)
    size = 1000 * int(parameters["units"] ** 1.5) + (0 if config["front"] == "conv" else 20_000)
    took = 0.3 + size / 900_000 + float(random.uniform(0, 0.15)) if latency else None
    trial = Trial(f"{index:04d}", COMPLETED, parameters, size=size, latency_ms=took, config=config)
    if index >= max(trials - 2, 1) and trials > 10:
        return dataclasses.replace(trial, status=RUNNING, curve=(0.5, 0.6))
    if took is not None and took > 4.2:
        reason = f"latency {took:.1f} ms is above --max-latency-ms 4.2"
        return dataclasses.replace(trial, status=REFUSED, reason=reason)
    if parameters["learning_rate"] > 0.02:
        reason = "the loss is no longer a number in epoch 2: lower --learning-rate"
        return dataclasses.replace(trial, status=FAILED, reason=reason, curve=(0.4, math.nan))
    curve = _curve(parameters, random)
    curve = [1 - value for value in curve] if lower else curve
    return dataclasses.replace(trial, curve=tuple(curve), score=(min if lower else max)(curve))


def _curve(parameters: dict[str, Any], random: np.random.Generator) -> list[float]:
    distance = math.log10(parameters["learning_rate"] / 0.003)
    end = 0.82 - 0.09 * distance**2 - 0.1 * (parameters["dropout"] - 0.35) ** 2
    end += 0.01 * math.log2(parameters["units"] / 64) + float(random.normal(0, 0.004))
    epochs = int(random.choice([3, 8, 8, 8]))
    return [
        end - 0.25 * math.exp(-0.7 * epoch) + float(random.normal(0, 0.003))
        for epoch in range(1, epochs + 1)
    ]


def _parameters(random: np.random.Generator) -> dict[str, Any]:
    front = str(random.choice(["conv", "stack"]))
    branch = {"strides": int(random.choice([2, 4]))}
    if front == "stack":
        branch = {"stacked": int(random.integers(2, 5))}
    return {
        "cell": str(random.choice(["lstm", "gru"])),
        "units": int(random.choice([32, 64, 96, 128, 192, 256])),
        "front": front,
        **branch,
        "dropout": float(random.uniform(0.0, 0.7)),
        "learning_rate": float(10 ** random.uniform(-4, -1.4)),
        "weight_decay": float(10 ** random.uniform(-5, -1)),
        "streaming": bool(random.random() < 0.3),
        "epochs": 8,
    }


def _base_parameters() -> dict[str, Any]:
    names = ("cell", "units", "front", "dropout", "learning_rate", "weight_decay", "streaming")
    return {**{name: BASE[name] for name in names}, "strides": 4, "epochs": 8}


def _config(parameters: dict[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in parameters.items() if name in BASE}
    reduction = parameters.get("strides", parameters.get("stacked"))
    return {**BASE, **fields, "reduction": reduction}


def only(*scores: float | None, **other: Any) -> Search:
    """Return a search with one parameter and a trial per score; None = it failed."""
    trials = tuple(
        Trial(
            f"{index:04d}",
            FAILED if score is None else COMPLETED,
            {"dropout": 0.1 * index},
            score,
            () if score is None else (score,),
            seconds=1.0,
            began=BEGAN + index,
            ended=BEGAN + index + 1,
            reason="out of memory" if score is None else "",
        )
        for index, score in enumerate(scores)
    )
    found = Search("sentiment", "random", Headline("accuracy"), 0, float(len(trials)), BASE, trials)
    return dataclasses.replace(found, **other)


DEGENERATE = {
    "nothing tried": only(),
    "one trial": only(0.8),
    "all failed": only(None, None, None),
    "one of many failed": only(0.8, None, 0.7, 0.75, 0.72, 0.6),
    "equal scores": only(0.5, 0.5, 0.5, 0.5, 0.5, 0.5),
    "not numbers": only(math.nan, math.inf, 0.5, 0.6, None),
    "an outlier": only(0.8, 0.81, 0.79, 0.80, 0.805, 0.81, 0.82, 0.795, 0.8, -1e6),
    "running only": only(
        trials=(Trial("0000", RUNNING, {"dropout": 0.1}, curve=(0.5,), began=BEGAN),)
    ),
}
