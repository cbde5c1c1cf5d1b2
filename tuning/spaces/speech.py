"""What is searched over for speech."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recipes.speech import Config


def space(hp: Any, base: Config) -> Config:
    """Return the configuration of a trial, for the same search for words as `base`.

    A step of the recurrence has to be shorter than a character is spoken: 20 to 40 ms. A stream
    has to stack its frames, and keeps its front.
    """
    config = replace(
        base,
        bins=hp.Choice("bins", [40, 60, 80]),
        cell=hp.Choice("cell", ["lstm", "gru"]),
        units=hp.Choice("units", [64, 96, 128, 192, 256]),
        layers=hp.Int("layers", 1, 3),
        hidden=hp.Int("hidden", 0, 3),
        dropout=hp.Float("dropout", 0.0, 0.5),
        batch_size=hp.Choice("batch_size", [16, 32, 64]),
        learning_rate=hp.Float("learning_rate", 5e-4, 5e-3, sampling="log"),
        weight_decay=hp.Float("weight_decay", 1e-4, 1e-1, sampling="log"),
    )
    if base.streaming:
        return config
    front = hp.Choice("front", ["conv", "stack"])
    usual = base.reduction if base.reduction in (2, 3, 4) else 4
    with hp.conditional_scope("front", ["conv"]):
        strides = hp.Choice("strides", [4, 2], default=2 if usual == 2 else 4)
    with hp.conditional_scope("front", ["stack"]):
        stacked = hp.Int("stacked", 2, 4, default=usual)
    return replace(config, front=front, reduction=strides if front == "conv" else stacked)
