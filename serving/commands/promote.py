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
from typing import TYPE_CHECKING

from serving.targets import add_tls_arguments, tls_of
from zoo.errors import MisuseError

if TYPE_CHECKING:
    from serving.labels import Target

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
    add_tls_arguments(parser)


def target_of(options: argparse.Namespace) -> Target | None:
    """Return the server that is to know, None if there is none."""
    from serving.labels import Target

    tls = tls_of(options)
    if options.target is None:
        if tls:
            raise MisuseError("--ca, --cert and --key belong to --target")
        return None
    return Target(options.target, tls)


def run(options: argparse.Namespace) -> None:
    """Change the label and print what it stood for and stands for."""
    from serving import labels

    target = target_of(options)
    change = labels.promote(options.config, options.model, options.version, options.label, target)
    print(change.describe(target))
