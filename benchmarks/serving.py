"""What the embedded server takes: the sentiment model over gRPC and REST, alone and in batches.

    python -m benchmarks.serving RUN --json FILE [--quick]

RUN is a run folder, or an exported model. The measurement is that of `python -m serving bench`,
which measures any server that speaks the protocol; here the record also says which code was
measured, and what its numbers are to reach.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality import ROOT
from zoo.environment import digest

SECONDS, QUICK_SECONDS = 10.0, 0.2
"""Of each load."""

MOST, LEAST = "at most", "at least"
BARS = {
    "grpc_overhead_ms": (MOST, 1.0),
    "batching_gain_32": (LEAST, 1.8),
    "rest_vs_grpc": (LEAST, 0.6),
    "p99_ms_32": (MOST, 100.0),
}
"""What each number of the summary is to reach; 32 is the number of calls in flight."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.serving", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="short loads: shows that it runs")
    options = parser.parse_args(arguments)
    record = measure(options.run, QUICK_SECONDS if options.quick else SECONDS)
    for name, (rule, bar) in BARS.items():
        print(f"{name:18} {record['summary'][name]:8} ({rule} {bar:g})")
    options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(run: Path, seconds: float) -> dict[str, Any]:
    """Return the record."""
    from serving import bench
    from serving.parity import latest_version
    from serving.runs import exported

    version = latest_version(exported(run))
    plan = bench.Plan(version, version.resolve().parent.name, {}, bench.CONCURRENCY, seconds)
    found = bench.measure(plan, _tell)
    (slowest,) = (
        each["p99_ms"]
        for each in found["loads"]
        if (each["transport"], each["concurrency"], each["batching"]) == ("grpc", 32, True)
    )
    found["summary"]["p99_ms_32"] = slowest
    where = found.pop("environment")
    return {
        "command": "python -m benchmarks.serving RUN",
        "commit": where.pop("git_commit"),
        **found,
        "bars": BARS,
        "environment": where,
        "files": {str(file.relative_to(ROOT)): digest(file) for file in _sources()},
    }


def _tell(one: Any, batched: bool | None) -> None:
    way = "batched" if batched else "one by one"
    print(
        f"{one.transport:5} {one.concurrency:3} in flight, {way:10} {one.qps:7.0f}/s  "
        f"p50 {one.p50_ms:6.2f}  p99 {one.p99_ms:6.2f} ms",
        flush=True,
    )


def _sources() -> list[Path]:
    """Return the files that make the server."""
    folders = (ROOT / "serving" / "server", ROOT / "serving" / "protocol")
    return sorted(file for folder in folders for file in folder.glob("*.py"))


if __name__ == "__main__":
    sys.exit(main())
