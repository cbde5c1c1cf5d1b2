"""Times of peers that are measured in turn, so that a noisy machine is noisy for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

PAUSE, WARM = 0.05, 0.02
"""Seconds: the pause before a peer, and its unmeasured calls after that."""

FEWEST = 3
"""Measured calls that a median is taken of, however long they take."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call.

    Attributes:
        median: The middle one.
        low: First quartile.
        high: Third quartile.
        calls: Number of measured calls.
    """

    median: float
    low: float
    high: float
    calls: int


def alternate(
    calls: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1, limit: float = 60.0
) -> dict[str, Timing]:
    """Call every peer in every round and return what a call takes.

    Before a measured call stand a pause, in which the worker threads of the peer before stop
    spinning, and calls that are not measured, which find their data out of the caches and the
    processor asleep.

    Args:
        calls: What to call; each waits for its own result.
        rounds: Number of measured calls of each, at least `FEWEST`.
        warm_up: Rounds before that.
        limit: Seconds after which no further round begins, once `FEWEST` were measured.
    """
    end = time.perf_counter() + limit
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warm_up + rounds):
        if turn >= warm_up + FEWEST and time.perf_counter() > end:
            break
        for name, call in calls.items():
            _settle(call)
            milliseconds = 1e3 * seconds(call)
            if turn >= warm_up:
                taken[name].append(milliseconds)
    return {name: _timing(values) for name, values in taken.items()}


def _settle(call: Callable[[], object]) -> None:
    time.sleep(PAUSE)
    end = time.perf_counter() + WARM
    call()
    while time.perf_counter() < end:
        call()


def seconds(call: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _timing(values: list[float]) -> Timing:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Timing(median, low, high, calls=len(values))
