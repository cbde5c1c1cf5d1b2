"""What is searched over for forecasting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recipes.forecasting import Config


def space(hp: Any, base: Config) -> Config:
    """Return the configuration of a trial, of the same model and base forecast as `base`.

    How far back the network looks decides more than its size, and the step-by-step model reads
    only as much of that (`seen`) as its recurrence can carry. A segment model has one layer, and
    its segments have to divide horizon and look-back: they stay as they are.
    """
    config = replace(
        base,
        cell=hp.Choice("cell", ["gru", "lstm"]),
        units=hp.Choice("units", [32, 64, 96, 128, 192, 256]),
        dropout=hp.Float("dropout", 0.0, 0.5),
        batch_size=hp.Choice("batch_size", [64, 128, 256, 512]),
        learning_rate=hp.Float("learning_rate", 3e-4, 6e-3, sampling="log"),
        weight_decay=hp.Float("weight_decay", 1e-5, 1e-1, sampling="log"),
    )
    if base.model == "segment":
        return config
    config = replace(config, layers=hp.Int("layers", 1, 3))
    if base.model == "recurrent":
        step = max(base.look_back // 12, 1)
        config = replace(config, seen=hp.Int("seen", step, base.look_back, step=step))
    return config
