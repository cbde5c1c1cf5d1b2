"""What a search has gained: its start and its best, trained with several seeds, on the test part.

The best of many validation scores flatters itself. Here both configurations are trained anew by the
recipe's own command, each seed into a run folder of its own, one after the other; what was broken
off goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recipes.commands import METRICS
from serving.files import replace
from tuning.confirmation import FILE, Confirmation
from tuning.folder import read_search
from tuning.processes import Fresh, last_line
from tuning.report.records import best_config
from tuning.trial import train_to_end
from zoo.errors import TrainingError

FOLDER = "confirm"
START, BEST = "start", "best"


def confirm(
    folder: Path, seeds: Sequence[int], threads: int, tell: Callable[[str], None]
) -> Confirmation:
    """Train both configurations of a search with every seed, and write down what they reach.

    Args:
        folder: The search folder.
        seeds: Of the trainings.
        threads: Cores to use, 0 for all of the machine.
        tell: Called with a line per training.

    Raises:
        DataError: No trial of the search has completed.
        TrainingError: A training failed; the message is its last line.
    """
    search = read_search(folder, whole=True)
    configurations = {START: search.base, BEST: best_config(search)}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in configurations}
    for seed in seeds:
        for name, config in configurations.items():
            run = folder / FOLDER / f"{name}-{seed}"
            _train(search.recipe, {**config, "seed": seed}, run, threads or os.cpu_count() or 1)
            measured = json.loads((run / METRICS).read_text(encoding="utf-8"))
            metric = measured.get("headline", search.objective.metric)
            tell(f"{name}, seed {seed}: test {metric} {measured['test'][metric]:.4f}")
            results[name].append(measured)
    scores = {name: [row["test"][metric] for row in rows] for name, rows in results.items()}
    baselines = results[START][0]["baselines"]
    found = Confirmation(
        metric,
        search.objective.lower_is_better,
        tuple(seeds),
        scores[START],
        scores[BEST],
        {name: row[metric] for name, row in baselines.items()},
    )
    replace(folder / FILE, (json.dumps(asdict(found), indent=2) + "\n").encode())
    return found


def _train(recipe: str, config: Mapping[str, Any], run: Path, threads: int) -> None:
    if (run / METRICS).is_file():
        return
    log = run.with_name(f"{run.name}.log")
    process = Fresh(train_to_end, recipe, dict(config), run, threads, log=log, warm=False)
    process.join()
    if process.exit_code:
        raise TrainingError(f"training in '{run}' failed: {last_line(log)} (see {log})")
