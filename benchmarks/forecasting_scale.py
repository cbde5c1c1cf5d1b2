"""What many series cost: time per series and memory, for 1,000, 10,000 and 100,000.

    python -m benchmarks.forecasting_scale --json FILE [--quick]

Each size is made up, trained on for one epoch of a window per series, calibrated, and forecast,
in a process of its own. Time per series must not grow with the number of series.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

SIZES, QUICK_SIZES = (1_000, 10_000, 100_000), (200,)
STEPS = 200
"""Of each series."""

MOST_GIB = 6.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.forecasting_scale", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="few series: shows that it runs")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.size:
        options.json.write_text(json.dumps(measure(options.size)), encoding="utf-8")
        return 0
    from zoo.environment import environment

    rows = [_in_own_process(size) for size in (QUICK_SIZES if options.quick else SIZES)]
    where = environment("tensorflow", "keras", "numpy")
    record = {
        "commit": where.pop("git_commit"),
        "command": f"python -m benchmarks.forecasting_scale --json {options.json}"
        + " --quick" * options.quick,
        "steps": STEPS,
        "sizes": rows,
        "environment": where,
        "files": rows[-1].pop("files"),
    }
    options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(size: int) -> dict[str, Any]:
    """Return the seconds and the memory that so many series take."""
    from recipes import forecasting as recipe
    from recipes.commands import sources
    from recipes.run import Run
    from zoo.datasets.series import split_series, synthetic

    config = replace(
        recipe.PRESETS["tiny"], epochs=1, windows_per_epoch=size, look_back=48, batch_size=256
    )
    data = split_series(synthetic.make(size, STEPS, STEPS))
    pipeline = recipe.build(config, data)
    with tempfile.TemporaryDirectory() as folder, Run(Path(folder), "forecasting", {}) as run:
        began = time.perf_counter()
        recipe.train(config, data, pipeline, run)
        trained = time.perf_counter()
    scores, _ = recipe.evaluate(config, data, pipeline)
    done = time.perf_counter()
    return {
        "series": size,
        "training_seconds": trained - began,
        "forecasting_seconds": done - trained,
        "peak_gib": _peak_gib(),
        "smape": scores["smape"],
        "files": sources(),
    }


def _in_own_process(size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "size.json")
        command = [sys.executable, "-m", "benchmarks.forecasting_scale", "--json", str(file)]
        subprocess.run(
            [*command, "--size", str(size)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        row = json.loads(file.read_text(encoding="utf-8"))
    each = 1e3 * (row["training_seconds"] + row["forecasting_seconds"]) / size
    said = "within" if row["peak_gib"] <= MOST_GIB else "above"
    print(
        f"{size:8,} series  {each:6.2f} ms per series  {row['peak_gib']:.2f} GiB, {said} "
        f"{MOST_GIB:.0f}",
        flush=True,
    )
    return row


def _peak_gib() -> float:
    """Return the largest resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


if __name__ == "__main__":
    sys.exit(main())
