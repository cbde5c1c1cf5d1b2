"""What a search has gained on the test part, as it is written down."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = "confirmation.json"
START = "start"
"""The configuration that a search started from, among trials."""


@dataclass(frozen=True)
class Confirmation:
    """Scores of the start and of what was chosen, over the same seeds.

    Attributes:
        metric: What the recipe is judged by.
        lower_is_better: True for errors.
        seeds: Of the trainings.
        chosen: The trial whose configuration validates best in the mean, or `START`.
        validated: Validation scores, one per seed, of the start and of the trials considered.
        start, best: Test scores of the start and of what was chosen, one per seed.
        baselines: Scores of the recipe's baselines, of the first seed.
    """

    metric: str
    lower_is_better: bool
    seeds: Sequence[int]
    chosen: str
    validated: Mapping[str, Sequence[float]]
    start: Sequence[float]
    best: Sequence[float]
    baselines: Mapping[str, float]

    @property
    def gain(self) -> float:
        """By how much the mean of the best is better, below 0 if it is worse."""
        best, start = statistics.fmean(self.best), statistics.fmean(self.start)
        return start - best if self.lower_is_better else best - start

    def __str__(self) -> str:
        seeds = f"test {self.metric} over seeds {', '.join(map(str, self.seeds))}"
        if self.chosen == START:
            return f"{seeds}: {spelled(self.start)}, of the start: no trial validates better"
        verdict = "better" if self.gain > 0 else "no better"
        return (
            f"{seeds}: trial {self.chosen} {spelled(self.best)}, start {spelled(self.start)}: "
            f"{verdict}, {self.gain:+.4f}"
        )


def read_confirmation(folder: Path) -> Confirmation | None:
    """Return what was written down, None if nothing was."""
    try:
        return Confirmation(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None


def spelled(scores: Sequence[float]) -> str:
    """Return mean and standard deviation."""
    spread = f" ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
    return f"{statistics.fmean(scores):.4f}{spread}"
