"""What is searched over for sentiment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recipes.sentiment import Config


def space(hp: Any, base: Config) -> Config:
    """Return the configuration of a trial.

    On a few thousand texts regularisation decides, so that the rates of dropout have the widest
    ranges. Sizes are powers of 2 around the preset's: the score moves with their order of
    magnitude, and the time of a trial with their square. Twice as high a learning rate diverges.
    """
    return replace(
        base,
        cell=hp.Choice("cell", ["lstm", "gru"]),
        units=hp.Choice("units", [32, 64, 96, 128]),
        layers=hp.Int("layers", 1, 2),
        embedding_units=hp.Choice("embedding_units", [64, 128, 192, 256]),
        vocabulary=hp.Choice("vocabulary", [2000, 4000, 6000, 8000]),
        pooling=hp.Choice("pooling", ["max+attention", "max", "attention", "max+mean"]),
        word_dropout=hp.Float("word_dropout", 0.0, 0.3),
        embedding_dropout=hp.Float("embedding_dropout", 0.2, 0.7),
        dropout=hp.Float("dropout", 0.2, 0.7),
        grading=hp.Float("grading", 0.5, 4.0),
        batch_size=hp.Choice("batch_size", [32, 64, 128]),
        learning_rate=hp.Float("learning_rate", 5e-4, 5e-3, sampling="log"),
    )
