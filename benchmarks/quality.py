"""Train a recipe with several seeds and record every score beside its baselines.

    python -m benchmarks.quality sentiment --seeds 0 1 2
    python -m benchmarks.quality sentiment --seeds 0 1 2 --name imdb -- --dataset imdb
    python -m benchmarks.quality speech --seeds 0 --name strangers \\
        --over held-out-speaker george theo -- --preset fsdd

What follows `--` goes to the recipe, and so does each value of `--over` in turn, so that scores
are means over these values too. The record is written to
`benchmarks/results/RECIPE-NAME.json`, the first seed's learning curves beside it. A run
that was broken off goes on where it stopped. Seeds that a record of the same command holds
already are kept, as long as none of the files behind it has changed, so that long runs can be
made one by one; those of a stale record are forgotten.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipes.commands import ONLY_SHOW
from zoo.environment import digest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
LOG_LINES = 12


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, record and print the summary."""
    words, fields = divided(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(words)
    if options.over and len(options.over) == 1:
        parser.error(f"--over {options.over[0]}: values are missing, such as --over units 64 128")
    field, *values = options.over or [""]
    told = [*fields, *([f"--{field}", "VALUE"] if field else [])]
    over = {"over": {"field": field, "values": values}} if field else {}
    file = RESULTS / f"{options.recipe}-{options.name}.json"
    known = _known(file, {"command": _command(options.recipe, told), **over})
    seeds = [seed for seed in options.seeds if seed not in known.get("seeds", [])]
    if not seeds:
        print(f"{file.relative_to(ROOT)} holds these seeds already")
        return
    runs, log = [], ""
    for value in values or [""]:
        varied = [f"--{field}", value] if field else []
        for seed in seeds:
            name = "-".join([options.recipe, options.name, *varied[1:], str(seed)])
            folder = Path("runs", "quality", name)
            log = _train(options.recipe, folder, [*fields, *varied, "--seed", str(seed)])
            runs.append(ROOT / folder)
    record = make_record(options.recipe, told, seeds, runs, log) | over
    if known:
        record = joined(known, record)
    else:
        for picture in runs[0].glob("learning_curves.png"):
            shutil.copy(picture, file.with_suffix(".png"))
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"recorded: {file.relative_to(ROOT)}")
    _print_scores("model", record["test"])
    for name, scores in record["baselines"].items():
        _print_scores(name, scores)


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a benchmark's own words, and those behind `--`, which are the recipe's."""
    words = list(words)
    border = words.index("--") if "--" in words else len(words)
    return words[:border], words[border + 1 :]


def make_record(
    recipe: str, fields: Sequence[str], seeds: Sequence[int], runs: Sequence[Path], log: str
) -> dict[str, Any]:
    """Return what is committed of several runs that differ in their seed, or in one field too.

    Args:
        recipe: Name of the recipe.
        fields: The options that it was given beside the seed.
        seeds: Of the runs.
        runs: Finished run folders.
        log: Output of the last run.
    """
    metrics = [_read(run / "metrics.json") for run in runs]
    environment = _read(runs[0] / "environment.json")
    judged = {"headline": metrics[0]["headline"]} if "headline" in metrics[0] else {}
    return {
        "recipe": recipe,
        "command": _command(recipe, fields),
        "commit": environment.pop("git_commit"),
        "seeds": list(seeds),
        **judged,
        "data": metrics[0]["data"],
        "test": summarise([row["test"] for row in metrics]),
        "baselines": {
            name: summarise([row["baselines"][name] for row in metrics])
            for name in metrics[0]["baselines"]
        },
        **summarise(
            [{name: row.get(name) for name in ("seconds", "train_seconds")} for row in metrics]
        ),
        "examples_per_second": summarise([row["examples_per_second"] for row in metrics]),
        "parameters": metrics[0]["parameters"],
        "environment": environment,
        "files": _read(runs[0] / "sources.json"),
        "log": log.splitlines()[-LOG_LINES:],
    }


def summarise(values: Sequence[Any]) -> Any:
    """Return mean, spread (standard deviation) and values; for mappings per key.

    What is not defined for each of them, such as a share of 0, is left out.
    """
    if isinstance(values[0], dict):
        columns = {key: [value[key] for value in values] for key in values[0]}
        return {key: summarise(each) for key, each in columns.items() if None not in each}
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "spread": spread, "values": list(values)}


def joined(known: Any, new: Any) -> Any:
    """Return a record of the seeds of both, the rest as in the newer one.

    A metric that is not defined for each of them is left out, as in `summarise`.
    """
    if not isinstance(new, dict):
        return new
    if "values" in new and "mean" in new:
        return summarise([*known["values"], *new["values"]])
    scores = {key: joined(known[key], new[key]) for key in new if key in known}
    return scores | ({"seeds": [*known["seeds"], *new["seeds"]]} if "seeds" in new else {})


def stale(name: str, record: dict[str, Any]) -> list[str]:
    """Return a line per file that has changed since a record was made."""
    return [
        f"{name}: {path} has changed since {str(record['commit'])[:12]}"
        for path, expected in record["files"].items()
        if not path.startswith(ONLY_SHOW)
        if not (ROOT / path).is_file() or digest(ROOT / path) != expected
    ]


def _known(file: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the record in a file if it still holds and is of what is wanted, or nothing."""
    if not file.is_file():
        return {}
    record = _read(file)
    same = all(record.get(key) == value for key, value in wanted.items())
    return record if same and not stale(file.stem, record) else {}


def _command(recipe: str, fields: Sequence[str]) -> str:
    return " ".join(["python -m recipes", recipe, "train", *fields, "--seed SEED"])


def _print_scores(name: str, scores: dict[str, Any]) -> None:
    if "mean" in scores:
        print(f"  {name}: {scores['mean']:.4f} (spread {scores['spread']:.4f})")
        return
    for metric, score in scores.items():
        _print_scores(f"{name} {metric}", score)


def _train(recipe: str, folder: Path, fields: Sequence[str]) -> str:
    command = [sys.executable, "-m", "recipes", recipe, "train", "--run-dir", str(folder), *fields]
    print("+", " ".join(["python", *command[1:]]), flush=True)
    log = ""
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            print(" ", line, end="", flush=True)
            log += line
    if process.returncode:
        sys.exit(process.returncode)
    return log


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.quality", description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--over",
        nargs="+",
        metavar=("FIELD", "VALUE"),
        help="a field of the recipe, and its values",
    )
    parser.add_argument("--name", default="default", help="of the record, behind the recipe's")
    return parser


if __name__ == "__main__":
    main()
