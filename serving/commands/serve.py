"""Serve a run or an exported model until Ctrl-C.

    python -m serving serve runs/sentiment
    python -m serving serve models/sentiment -- --port 8500 --rest_api_port 8501 --enable_batching

A run is exported first, to models/ in its folder, unless that was done since it was trained.
What follows -- goes to the server: python -m serving.server --help lists its flags.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HELP = "serve a run or an exported model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", type=Path, help="a run folder, or a folder of version folders")
    parser.add_argument("flags", nargs="*", help="flags of the server, after --")


def run(options: argparse.Namespace) -> None:
    """Become the server's process, so that signals and the exit code are its own.

    Raises:
        DataError: There is nothing to serve.
    """
    from serving.runs import exported, model_folder

    folder = model_folder(exported(options.model))
    flags = [f"--model_name={folder.name}", f"--model_base_path={folder}", *options.flags]
    print(f"serving {folder} as '{folder.name}'", flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "serving.server", *flags])
