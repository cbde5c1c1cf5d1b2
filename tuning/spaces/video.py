"""What is searched over for video."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recipes.video import Config


def space(hp: Any, base: Config) -> Config:
    """Return the configuration of a trial, of the same kind of model as `base`.

    The time of a step goes with the square of the filters and of the kernel's size, so that both
    have few values. How much absolute errors count decides how blurred the frames are. The block
    has to divide height and width: it stays as it is.
    """
    return replace(
        base,
        filters=hp.Choice("filters", [16, 24, 32, 48, 64, 96]),
        layers=hp.Int("layers", 1, 3),
        kernel_size=hp.Choice("kernel_size", [3, 5]),
        absolute=hp.Float("absolute", 0.0, 1.0),
        batch_size=hp.Choice("batch_size", [4, 8, 16, 32]),
        learning_rate=hp.Float("learning_rate", 3e-4, 1e-2, sampling="log"),
    )
