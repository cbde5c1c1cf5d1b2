"""What a command line names as a model: a run folder, or a model that was exported before."""

from __future__ import annotations

import json
import os
from pathlib import Path

from zoo.errors import DataError
from zoo.pipeline import FOLDER

MODELS = "models"
"""Folder inside of a run to which it is exported."""


def exported(folder: Path) -> Path:
    """Return the exported model of a folder.

    Args:
        folder: A run folder, which is exported to `RUN/models/NAME/VERSION` unless that was
            done since it was trained; or a folder that holds a model already.

    Returns:
        The folder of the model's versions; anything but a run as it was given.

    Raises:
        DataError: The run cannot be exported.
        ExportError: The exported model differs from the trained one.
    """
    pipeline = folder / FOLDER / "pipeline.json"
    if not pipeline.is_file():
        return folder
    name = _name(folder)
    trained = pipeline.stat().st_mtime
    done = (folder / MODELS / name).glob("*/saved_model.pb")
    if any(file.stat().st_mtime >= trained for file in done):
        return folder / MODELS / name
    from serving.export import export

    return export(folder, folder / MODELS, name).parent


def model_folder(folder: Path) -> Path:
    """Return the absolute path of a folder that a server can serve.

    Raises:
        DataError: It has no numbered version folders.
    """
    from serving.parity import latest_version

    if latest_version(folder) == folder:
        raise DataError(f"'{folder}' is one version of a model: serve '{folder.parent}'")
    return Path(os.path.abspath(folder))  # a link keeps its name


def _name(run: Path) -> str:
    """Return the name that a run is served under: its recipe's, or else the folder's."""
    try:
        return str(json.loads((run / "config.json").read_text(encoding="utf-8"))["recipe"])
    except (OSError, ValueError, KeyError):
        return run.resolve().name
