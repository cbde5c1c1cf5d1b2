"""Let a label stand for another version of a model.

    python -m serving promote models.config sentiment 2
    python -m serving promote models.config sentiment 3 --label canary --target 127.0.0.1:8500

The label is changed in the configuration file that the server was started with
(--model_config_file). A server with --model_config_file_poll_wait_seconds finds the change by
itself; one named by --target is told, and waited for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "let a label stand for another version"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_label_arguments(parser)
    parser.add_argument("version", type=int, help="number of the version")


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `promote` and `rollback` have in common."""
    parser.add_argument("config", type=Path, help="the server's --model_config_file")
    parser.add_argument("model", help="name of a model in it")
    parser.add_argument("--label", default="stable", help="the label (default: stable)")
    parser.add_argument(
        "--target", metavar="HOST:PORT", help="gRPC address of a running server that is to know now"
    )


def run(options: argparse.Namespace) -> None:
    """Change the label and print what it stood for and stands for."""
    from serving import labels

    change = labels.promote(
        options.config, options.model, options.version, options.label, options.target
    )
    print(change.describe(options.target))
