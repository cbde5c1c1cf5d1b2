"""Let a label stand for the version that it stood for before its last promotion.

    python -m serving rollback models.config sentiment
    python -m serving rollback models.config sentiment --label canary --target 127.0.0.1:8500

What it stood for is taken from the history beside the configuration file.
"""

from __future__ import annotations

import argparse

from serving.commands.promote import add_label_arguments, target_of

HELP = "let a label stand for its version before that"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_label_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Change the label and print what it stood for and stands for."""
    from serving import labels

    target = target_of(options)
    change = labels.rollback(options.config, options.model, options.label, target)
    print(change.describe(target))
