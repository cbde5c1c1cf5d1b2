"""What a search finds beyond the preset that it starts from, on the test part, over three seeds.

    python -m benchmarks.tuning_gain sentiment
    python -m benchmarks.tuning_gain forecasting --trials 18 --finalists 1
    python -m benchmarks.tuning_gain sentiment -- --validation-fraction 0.25

What follows `--` goes to the recipe, the start included. Hyperband searches with two workers; the
best few and the start are trained with three seeds, the mean of their validation scores chooses,
and start and chosen are scored on the test part. What was broken off goes on. The record is
written to `benchmarks/results/gain/RECIPE.json`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.quality import RESULTS, ROOT, divided
from benchmarks.results import GAIN

TRIALS, FINALISTS = 30, 3
SEEDS = ("0", "1", "2")
PARTS = ("confirm", "durable", "oracles", "trial")
"""Modules of `tuning` that decide about what is found."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, confirm, write, and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.tuning_gain", description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--finalists", type=int, default=FINALISTS)
    parser.add_argument("--runs", type=Path, default=Path("runs/gain"))
    words, fields = divided(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    folder = options.runs / options.recipe
    limits = ["--algorithm", "hyperband", "--trials", str(options.trials), "--workers", "2"]
    finalists = ["--finalists", str(options.finalists)]
    for command in (
        ["run", options.recipe, *limits, "--run-dir", str(folder), *fields],
        ["confirm", str(folder), *finalists, "--seeds", *SEEDS],
    ):
        subprocess.run([sys.executable, "-m", "tuning", *command], check=True)
    record = make_record(options.recipe, folder)
    told = [*words, *(["--", *fields] if fields else [])]
    record["command"] = " ".join(["python -m benchmarks.tuning_gain", *told])
    file = RESULTS / GAIN / f"{options.recipe}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def make_record(recipe: str, folder: Path) -> dict[str, Any]:
    """Return what is committed of a search that was confirmed."""
    from recipes.commands import SOURCES
    from tuning.confirm import FOLDER
    from tuning.confirmation import START, read_confirmation
    from tuning.folder import read_search
    from zoo.environment import digest, environment

    found = read_confirmation(folder)
    assert found is not None, "the command before has written it"
    search = read_search(folder, whole=True)
    where = environment("tensorflow", "keras", "keras-tuner")
    chosen = [trial for trial in search.trials if trial.id == found.chosen]
    start = folder / FOLDER / f"{START}-{found.seeds[0]}"
    files = json.loads((start / SOURCES).read_text(encoding="utf-8"))
    parts = [f"tuning/{name}.py" for name in PARTS] + [f"tuning/spaces/{recipe}.py"]
    return {
        "commit": where.pop("git_commit"),
        "trials": len(search.trials),
        "seconds": search.seconds,
        "parameters": chosen[0].parameters if chosen else {},
        "confirmation": asdict(found),
        "environment": where,
        "files": files | {part: digest(ROOT / part) for part in parts},
    }


if __name__ == "__main__":
    sys.exit(main())
