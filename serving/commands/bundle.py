"""Put a run or an exported model into TF Serving's container.

    python -m serving bundle runs/sentiment --out bundle
    python -m serving bundle models/sentiment --out bundle --stable 3 --p99-ms 50

The folder gets the model, a Dockerfile, a compose file with Prometheus and Grafana, manifests for
Kubernetes, and a README.md that says how to use them. How the server makes batches is chosen by
a load on the embedded server: of several sizes and waits the one with the most answers per second
whose 99th percentile of the latency is low enough. That takes a few minutes.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.containers import Contents

HELP = "put a model into TF Serving's container"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", type=Path, help="a run folder, or an exported model")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new folder")
    parser.add_argument(
        "--stable",
        type=int,
        metavar="VERSION",
        help="an older version to serve beside the newest, which then is the canary",
    )
    parser.add_argument(
        "--p99-ms",
        type=float,
        default=100.0,
        metavar="MS",
        help="milliseconds within which 99 %% of the calls are to be answered (default: 100)",
    )
    parser.add_argument(
        "--concurrency",
        type=int,
        default=32,
        metavar="N",
        help="calls in flight while measuring (default: 32)",
    )
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="counted per way of batching (default: 3)"
    )
    parser.add_argument(
        "--skip-measurement",
        action="store_true",
        help="measure nothing: batches of up to 32 rows that wait up to 2 ms",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a bundle that is there, with its labels"
    )


def run(options: argparse.Namespace) -> None:
    """Print what is measured, what was chosen, and where the bundle is."""
    from serving.bundle import Plan, bundle, require_replaceable
    from serving.containers.measurement import Goal
    from serving.runs import exported

    goal = None
    if not options.skip_measurement:
        goal = Goal(options.p99_ms, options.concurrency, options.seconds)
    require_replaceable(options.out, options.force)  # before a run is exported
    plan = Plan(exported(options.model), options.out, options.stable, goal, options.force)
    contents = bundle(plan, partial(print, flush=True))
    print(f"batching: {_batching(contents)}")
    if contents.report and not contents.report["within_bound"]:
        print(f"warning: nothing kept 99 % of the calls within {options.p99_ms:g} ms")
    print(f"bundle: {options.out}, for the image {contents.image}")


def _batching(contents: Contents) -> str:
    batching = contents.batching
    what = f"up to {batching.rows} rows, {batching.wait_micros} µs wait" if batching else "off"
    return what if contents.report else f"{what} (not measured)"
