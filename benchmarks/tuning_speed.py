"""Trials per hour: one worker, two workers with as many threads each, one worker with both cores.

    python -m benchmarks.tuning_speed --json FILE [--quick]

Every search tries the same configurations of the sentiment recipe. Searches take turns, a part of
the trials each, so that a noisy machine is noisy for all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRIALS, QUICK_TRIALS = 12, 2
EPOCHS = 4
"""Of a trial, half of the recipe's, so that all of it takes ten minutes."""

TURNS, QUICK_TURNS = 2, 1
"""In how many parts the trials of a search are run."""

PARTS = ("chief", "durable", "oracles", "processes", "search", "trial", "worker")
"""Modules of `tuning` that run a search."""

MOST_OVERHEAD = 3.0
LEAST_GAIN = 1.7


@dataclass(frozen=True)
class Crew:
    """Workers of a search.

    Attributes:
        name: In the record.
        workers: How many.
        threads: Of each.
    """

    name: str
    workers: int
    threads: int


CREWS = (
    Crew("one worker, one thread", 1, 1),
    Crew("two workers, one thread each", 2, 1),
    Crew("one worker, two threads", 1, 2),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.tuning_speed", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="two trials: shows that it runs")
    parser.add_argument("--runs", type=Path, default=Path("runs/tuning-speed"))
    options = parser.parse_args(arguments)
    from zoo.environment import environment

    trials = QUICK_TRIALS if options.quick else TRIALS
    turns = QUICK_TURNS if options.quick else TURNS
    fields = ["--preset", "tiny"] if options.quick else ["--epochs", str(EPOCHS)]
    for turn in range(1, turns + 1):
        for crew in CREWS:
            _search(crew, options.runs, trials * turn // turns, fields)
    rows = {crew.name: _report(crew, options.runs) for crew in CREWS}
    where = environment("tensorflow", "keras", "keras-tuner")
    one, two, _ = rows.values()
    record = {
        "commit": where.pop("git_commit"),
        "command": "python -m benchmarks.tuning_speed" + " --quick" * options.quick,
        "trials": trials,
        "fields": fields,
        "crews": rows,
        "summary": {
            "two_workers_gain": two["trials_per_hour"] / one["trials_per_hour"],
            "overhead_seconds": max(row["overhead_seconds"] for row in rows.values()),
        },
        "environment": where,
        "files": _files(options.runs),
    }
    options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _print(record)
    return 0


def _search(crew: Crew, runs: Path, trials: int, fields: Sequence[str]) -> None:
    """Run a search until it has so many trials; the first call begins it."""
    command = [sys.executable, "-m", "tuning", "run", "sentiment", *fields]
    command += ["--trials", str(trials), "--run-dir", str(_folder(crew, runs))]
    command += ["--workers", str(crew.workers), "--threads", str(crew.threads)]
    subprocess.run(command, check=True)


def _folder(crew: Crew, runs: Path) -> Path:
    return runs / f"{crew.workers}-{crew.threads}"


def _report(crew: Crew, runs: Path) -> dict[str, Any]:
    from tuning.folder import read_search
    from tuning.report import to_json

    report = to_json(read_search(_folder(crew, runs), whole=True))
    trials = report["trials"]
    return {
        "workers": crew.workers,
        "threads": crew.threads,
        "trials_per_hour": report["trials_per_hour"],
        "overhead_seconds": report["overhead_seconds_per_trial"],
        "trial_seconds": statistics.median(trial["seconds"] for trial in trials),
        "trial_seconds_of": [trial["seconds"] for trial in trials],
        "overhead_seconds_of": [trial["overhead_seconds"] for trial in trials],
    }


def _files(runs: Path) -> dict[str, str]:
    """Return the digests of what a search's speed depends on."""
    from benchmarks.quality import ROOT
    from recipes.commands import SOURCES
    from zoo.environment import digest

    best = next(_folder(CREWS[0], runs).glob(f"best/*/{SOURCES}"))
    files = json.loads(best.read_text(encoding="utf-8"))
    return files | {f"tuning/{name}.py": digest(ROOT / "tuning" / f"{name}.py") for name in PARTS}


def _print(record: dict[str, Any]) -> None:
    for name, row in record["crews"].items():
        print(
            f"{name:30} {row['trials_per_hour']:7.1f} trials per hour  "
            f"{row['trial_seconds']:6.1f} s each  {row['overhead_seconds']:.2f} s beside"
        )
    summary = record["summary"]
    print(f"two workers / one: {summary['two_workers_gain']:.2f} (bar {LEAST_GAIN})")
    print(f"overhead per trial: {summary['overhead_seconds']:.2f} s (bar {MOST_OVERHEAD:.0f})")


if __name__ == "__main__":
    sys.exit(main())
