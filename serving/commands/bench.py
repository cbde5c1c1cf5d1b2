"""Measure how fast a model is served: throughput and latency over gRPC and REST.

    python -m serving bench models/sentiment --json bench.json
    python -m serving bench models/sentiment --json stock.json --target 127.0.0.1:8500 \\
        --rest-target 127.0.0.1:8501

Without a target, the embedded server is measured, without and with batching (up to 32 rows, 2 ms
wait). With one, any server that speaks the protocol is, for example the stock container, as it
was started. What is asked are the model's probe rows in turn. Beside the JSON file a picture of
the same name shows throughput and the 99th percentile by concurrency.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.bench import Load

HELP = "measure throughput and latency over gRPC and REST"

_HEADER = "transport  batching  in flight      qps   p50 ms   p95 ms   p99 ms  errors"
_BATCHED = {None: "as is", False: "off", True: "on"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", type=Path, help="a run folder, or an exported model")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="for the record")
    parser.add_argument("--target", metavar="HOST:PORT", help="gRPC of a running server")
    parser.add_argument("--rest-target", metavar="HOST:PORT", help="REST of a running server")
    parser.add_argument("--name", help="the model's name there (default: its folder's)")
    parser.add_argument(
        "--concurrency",
        type=_positive_int,
        nargs="+",
        default=[1, 8, 32],
        metavar="N",
        help="calls in flight (default: 1 8 32)",
    )
    parser.add_argument(
        "--seconds", type=_positive, default=10.0, help="counted per load (default: 10)"
    )


def run(options: argparse.Namespace) -> None:
    """Print a line per load and the summary, and write the record and the picture."""
    from serving import bench, files
    from serving.parity import latest_version
    from serving.runs import exported
    from zoo.errors import DataError

    if not options.json.parent.is_dir():
        raise DataError(f"'{options.json}' cannot be written: there is no such folder")
    version = latest_version(exported(options.model))
    targets = {"grpc": options.target, "rest": options.rest_target}
    plan = bench.Plan(
        version,
        options.name or version.resolve().parent.name,
        {transport: target for transport, target in targets.items() if target},
        options.concurrency,
        options.seconds,
    )
    print(_HEADER, flush=True)
    command = " ".join(["python -m serving", *sys.argv[1:]])
    record = {"command": command, **bench.measure(plan, _tell)}
    for name, value in record["summary"].items():
        print(f"{name:18} {'not measured' if value is None else value}")
    # Only now, and as a whole: an interrupted measurement leaves no file.
    files.replace(options.json.with_suffix(".png"), picture(record["loads"]))
    files.replace(options.json, (json.dumps(record, indent=1) + "\n").encode())


def _tell(one: Load, batched: bool | None) -> None:
    print(
        f"{one.transport:9}  {_BATCHED[batched]:8}  {one.concurrency:9} {one.qps:8.0f} "
        f"{one.p50_ms:8.2f} {one.p95_ms:8.2f} {one.p99_ms:8.2f} {one.errors:7}",
        flush=True,
    )


def picture(loads: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a PNG: throughput and 99th percentile by concurrency, a line per server.

    Args:
        loads: The record's.
    """
    from matplotlib.figure import Figure

    lines: dict[tuple[str, bool | None], list[Mapping[str, Any]]] = {}
    for each in loads:
        lines.setdefault((each["transport"], each["batching"]), []).append(each)
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = {"qps": "calls answered per second", "p99_ms": "99th percentile, ms"}
    for axes, (field, title) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for (transport, batched), points in lines.items():
            axes.plot(
                [point["concurrency"] for point in points],
                [point[field] for point in points],
                color={"grpc": "#d1495b", "rest": "#30638e"}[transport],
                linestyle="--" if batched else "-",
                marker="o",
                label=f"{transport}, batching {_BATCHED[batched]}",
            )
        axes.set_xscale("log", base=2)
        ticks = sorted({point["concurrency"] for points in lines.values() for point in points})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlabel("calls in flight")
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    return stream.getvalue()


def _positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text}")
    return number
