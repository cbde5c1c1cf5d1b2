"""What a search has gained: the start beside the best few, with several seeds.

The best of many validation scores flatters itself: it had the luckiest seed and suits the
validation rows. So the best few and the start are trained anew with every seed, and the mean of
their validation scores decides. Only then are the start and the chosen one scored on the test part,
by the recipe's own command. Each training has a run folder of its own, and goes on if it was broken
off.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from recipes.commands import METRICS, read_metrics
from serving.files import replace
from tuning.confirmation import FILE, START, Confirmation, read_confirmation
from tuning.folder import read_search, trained
from tuning.processes import Fresh, last_line
from tuning.report.records import best_config, configuration
from tuning.trial import train_to_end, train_unscored
from tuning.trials import Search
from zoo.errors import TrainingError

FOLDER = "confirm"


@dataclass(frozen=True)
class Trainings:
    """Trainings of some configurations with some seeds.

    Attributes:
        folder: Of the search.
        recipe: Name of the recipe.
        configurations: By name, the start among them.
        threads: Cores to use.
    """

    folder: Path
    recipe: str
    configurations: Mapping[str, Mapping[str, Any]]
    threads: int

    def run(self, name: str, seed: int) -> Path:
        """Return the run folder of a training."""
        return self.folder / FOLDER / f"{name}-{seed}"

    def is_scored(self, name: str, seed: int) -> bool:
        """Say whether a training has ended, and was scored on the test part too."""
        return (self.run(name, seed) / METRICS).exists()

    def do(self, what: Callable[..., int], name: str, seed: int) -> Path:
        """Train or score in a fresh process, and return the run folder.

        Raises:
            TrainingError: It failed; the message is its last line.
        """
        run = self.run(name, seed)
        log = run.with_name(f"{run.name}.log")
        config = {**self.configurations[name], "seed": seed}
        process = Fresh(what, self.recipe, config, run, self.threads, log=log, warm=False)
        process.join()
        if process.exit_code:
            raise TrainingError(f"training in '{run}' failed: {last_line(log)} (see {log})")
        return run


def confirm(
    folder: Path,
    seeds: Sequence[int],
    finalists: int,
    threads: int,
    tell: Callable[[str], None],
) -> Confirmation:
    """Choose among the start and the best few by several seeds, and say what that gains.

    Args:
        folder: The search folder.
        seeds: Of the trainings.
        finalists: How many of the best configurations are trained beside the start.
        threads: Cores to use, 0 for all of the machine.
        tell: Called with a line per training.

    Raises:
        DataError: No trial of the search has completed.
        TrainingError: A training failed; the message is its last line.
    """
    search = read_search(folder, whole=True)
    configurations = {START: search.base, **distinct(search, finalists)}
    trainings = Trainings(folder, search.recipe, configurations, threads or os.cpu_count() or 1)
    validated = _validate(trainings, search, seeds, tell)
    # Of equals the first: without a gain the start stays.
    means = {name: fmean(scores) for name, scores in validated.items()}
    chosen = START
    for name, mean in means.items():
        if search.objective.is_better(mean, means[chosen]):  # never, if it is no number
            chosen = name
    measured = {name: _score(trainings, name, seeds) for name in dict.fromkeys((START, chosen))}
    found = _confirmation(search, seeds, chosen, validated, measured)
    replace(folder / FILE, (json.dumps(asdict(found), indent=2) + "\n").encode())
    return found


def _confirmation(
    search: Search,
    seeds: Sequence[int],
    chosen: str,
    validated: Mapping[str, Sequence[float]],
    measured: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Confirmation:
    """Return what was found, of the `metrics.json` of each seed of the start and the chosen one."""
    first = measured[START][0]
    metric = first.get("headline", search.objective.metric)
    scores = {name: [row["test"][metric] for row in rows] for name, rows in measured.items()}
    return Confirmation(
        metric,
        search.objective.lower_is_better,
        tuple(seeds),
        chosen,
        validated,
        scores[START],
        scores[chosen],
        {name: row[metric] for name, row in first["baselines"].items()},
    )


def distinct(search: Search, count: int) -> dict[str, dict[str, Any]]:
    """Return the best configurations by trial, each once and none of them the start's.

    Hyperband tries a configuration again for more epochs.

    Raises:
        DataError: No trial has completed.
    """
    best_config(search)  # raises if there is none
    found: dict[str, dict[str, Any]] = {}
    for trial in search.completed:
        config = configuration(search, trial)
        if len(found) < count and config not in (search.base, *found.values()):
            found[trial.id] = config
    return found


def chosen_config(folder: Path, search: Search) -> dict[str, Any]:
    """Return the configuration that several seeds chose, or else the best trial's.

    Raises:
        DataError: No trial has completed.
    """
    best = best_config(search)
    found = read_confirmation(folder)
    if found is None:
        return best
    if found.chosen == START:
        return search.base
    (trial,) = [each for each in search.trials if each.id == found.chosen]
    return configuration(search, trial)


def _validate(
    trainings: Trainings, search: Search, seeds: Sequence[int], tell: Callable[[str], None]
) -> dict[str, list[float]]:
    """Train everything with every seed, and return the validation scores of each."""
    metric = search.objective.metric
    scores: dict[str, list[float]] = {name: [] for name in trainings.configurations}
    for seed in seeds:
        for name, known in scores.items():
            who = name if name == START else f"trial {name}"
            run = trainings.run(name, seed)
            try:
                if not trainings.is_scored(name, seed):
                    trainings.do(train_unscored, name, seed)
            except TrainingError as error:
                if name == START:
                    raise
                # A configuration that does not train with every seed is not wanted.
                tell(f"{who}, seed {seed}: {error}")
                known.append(math.nan)
                continue
            history, best_epoch = trained(run)
            known.append(history[best_epoch][metric])
            tell(f"{who}, seed {seed}: validated {metric} {known[-1]:.4f}")
    return scores


def _score(trainings: Trainings, name: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return what the recipe measures of a trained configuration, for each seed."""
    for seed in seeds:
        if not trainings.is_scored(name, seed):
            trainings.do(train_to_end, name, seed)
    return [read_metrics(trainings.run(name, seed)) for seed in seeds]
