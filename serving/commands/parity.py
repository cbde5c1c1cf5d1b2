"""Compare every way of asking a model with the pipeline that was trained.

    python -m serving parity models/sentiment

In process, over REST and over gRPC, one row at a time and in batches of shuffled strangers, and
with the server's own batching of calls that come at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "check that every transport gives the trained model's answers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("folder", type=Path, help="an exported model, e.g. models/sentiment")


def run(options: argparse.Namespace) -> None:
    """Print a line per way of asking, and the verdict."""
    from serving.parity import check

    largest = 0.0
    for finding in check(options.folder):
        largest = max(largest, finding.difference)
        print(
            f"{finding.transport:<13}  batches of {finding.batch_size:>2}: "
            f"{finding.calls:>3} calls, largest difference {finding.difference:.1e}",
            flush=True,
        )
    print(f"parity: ok, largest difference {largest:.1e}")
