"""One module per task, read top to bottom: from raw data to an exported model.

Each module has, in this order: a docstring with its command and score, `Config`,
`PRESETS`, `load`, `build`, `train`, `evaluate`, `baselines`, `report`, `HEADLINE`,
`SIGNATURES`, `main`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from zoo.errors import UnknownNameError

RECIPES = {
    "sentiment": "text to label: movie sentences, reviews, or your own table",
    "forecasting": "history to forecast with intervals: competitions, sensors, or your own table",
    "speech": "recording to words: digits, commands, sentences, or your own table",
    "video": "frames to the next frames: moving digits, weather radar, or your own videos",
}


def recipe(name: str) -> ModuleType:
    """Return the module of the recipe called `name`; imports no TensorFlow.

    Raises:
        UnknownNameError: There is no such recipe.
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return importlib.import_module(f"recipes.{name}")
