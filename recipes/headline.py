"""The one number that a recipe is judged by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Headline:
    """A metric of the test part.

    Attributes:
        metric: Its key in `metrics.json`, of the test part as of every baseline.
        lower_is_better: True for errors, False for shares of what is right.
    """

    metric: str
    lower_is_better: bool = False

    def is_better(self, one: float, other: float) -> bool:
        """Say whether a score is better than another."""
        return one < other if self.lower_is_better else one > other
