"""A search as its trials: what is read of a search folder, shown and reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from recipes.headline import Headline

RUNNING, COMPLETED, FAILED, REFUSED = "running", "completed", "failed", "refused"
"""What became of a trial; a refused one breaks a constraint, such as a latency."""


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried.

    Attributes:
        id: A number, in the order in which trials began.
        status: One of those above.
        parameters: Values by field of the recipe's `Config`, those that were searched over.
        score: The objective on the validation part, of the weights that are kept; None without one.
        curve: The objective after each epoch, as far as it was trained.
        worker: Who ran it.
        began, ended: Seconds since 1970, of being handed out first and of being recorded; 0 = not
            yet.
        seconds: Of loading, building and training, of the attempt that ended.
        overhead_seconds: From being handed out to being recorded, of that attempt, beyond its
            training alone.
        size: Number of weights of the model.
        latency_ms: Median answer of the exported model, one row at a time, by the embedded server.
        reason: Why it failed or was refused.
        config: The whole configuration as JSON values, for a space may set more fields than it
            has parameters; None = the base's with the parameters.
    """

    id: str
    status: str
    parameters: dict[str, Any]
    score: float | None = None
    curve: Sequence[float] = ()
    worker: str = ""
    began: float = 0.0
    ended: float = 0.0
    seconds: float = 0.0
    overhead_seconds: float = 0.0
    size: int | None = None
    latency_ms: float | None = None
    reason: str = ""
    config: dict[str, Any] | None = None

    @property
    def span(self) -> tuple[float, float]:
        """When it began and when it ended; at once, as long as it has not."""
        return self.began, max(self.began, self.ended)


@dataclass(frozen=True)
class Search:
    """A search and all its trials so far, in the order in which they began.

    Attributes:
        recipe: Name of the recipe.
        algorithm: "random", "grid", "bayesian" or "hyperband".
        objective: The metric of the validation part that decides.
        seed: Of the algorithm.
        seconds: That trials were running, over all processes that worked on it.
        base: The configuration that the search started from, as JSON values.
        trials: What was tried.
        planned: How many trials there will be; None if that is not known.
    """

    recipe: str
    algorithm: str
    objective: Headline
    seed: int
    seconds: float
    base: dict[str, Any]
    trials: Sequence[Trial] = field(default_factory=tuple)
    planned: int | None = None

    @property
    def completed(self) -> list[Trial]:
        """Trials with a score that is a number, the best first; of equal ones the earlier."""
        ended = [each for each in self.trials if each.status == COMPLETED]
        scored = [(each.score, each) for each in ended if each.score is not None]
        finite = [(score, each) for score, each in scored if math.isfinite(score)]
        sign = 1 if self.objective.lower_is_better else -1
        return [each for _, each in sorted(finite, key=lambda pair: sign * pair[0])]

    @property
    def best(self) -> Trial | None:
        """The trial with the best score."""
        return next(iter(self.completed), None)
