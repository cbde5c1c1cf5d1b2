"""Chooses how a server makes batches, by measuring what it does to throughput and latency.

Every candidate is a server of its own, started with the very file that the bundle gets. A load of
calls with one row each then shows how many are answered per second, and how late.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from serving import bench
from serving.bench import Load
from serving.containers import BATCHING_FILE, Contents, render
from serving.errors import ServingError
from serving.parity import Batching, Probes
from serving.server import launch
from zoo.environment import environment
from zoo.errors import ConfigError

WAITS = (0, 1000, 4000)
"""Microseconds that a batch may wait for more calls, as they are tried."""

SHARES = (4, 2, 1)
"""Rows of a batch as they are tried, in parts of the calls in flight."""

NOISE = 0.05
"""Part of the throughput by which two loads may differ by chance."""

HEADER = "batches of up to  wait us      qps   p50 ms   p95 ms   p99 ms  errors"
_OFF = ("off", "-")


@dataclass(frozen=True)
class Goal:
    """What is wanted, and how it is measured.

    Attributes:
        p99_ms: Milliseconds within which 99 % of the calls are to be answered.
        concurrency: Calls in flight.
        seconds: Seconds that each load counts.

    Raises:
        ConfigError: A number is not positive.
    """

    p99_ms: float = 100.0
    concurrency: int = 32
    seconds: float = 3.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} must be a positive number, not {value}")

    @property
    def candidates(self) -> list[Batching | None]:
        """What is tried: no batching, then sizes and waits that suit the calls in flight."""
        sizes = sorted({max(1, self.concurrency // share) for share in SHARES})
        return [None, *(Batching(rows, wait) for rows in sizes for wait in WAITS)]


@dataclass(frozen=True)
class Measurement:
    """What one candidate did.

    Attributes:
        batching: The candidate; None for no batching.
        load: What the load measured.
    """

    batching: Batching | None
    load: Load

    @property
    def wait_micros(self) -> int:
        """Microseconds that a call may have to wait for others."""
        return self.batching.wait_micros if self.batching else 0

    def __str__(self) -> str:
        """A line of the table under `HEADER`."""
        rows, wait = (self.batching.rows, self.batching.wait_micros) if self.batching else _OFF
        load = self.load
        return (
            f"{rows:>16} {wait:>8} {load.qps:8.0f} {load.p50_ms:8.2f} {load.p95_ms:8.2f} "
            f"{load.p99_ms:8.2f} {load.errors:7}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return {"batching": self.batching and asdict(self.batching), **asdict(self.load)}


def measure(
    contents: Contents, models: Path, goal: Goal, tell: Callable[[str], None]
) -> list[Measurement]:
    """Measure every candidate on the newest version of a model.

    Args:
        contents: The bundle, whatever its batching.
        models: Folder with the model's version folders.
        goal: What to try and how long.
        tell: Called with lines for people as soon as they are known.

    Raises:
        DataError: The model holds no rows to ask.
        ServingError: A server does not start, or answers nothing.
    """
    rows = bench.rows_of(Probes.read(models / str(contents.versions[-1])))
    measurements = []
    tell(f"measuring {len(goal.candidates)} ways of batching, {goal.concurrency} calls in flight")
    tell(HEADER)
    for batching in goal.candidates:
        load = _load(replace(contents, batching=batching), models, rows, goal)
        measurements.append(Measurement(batching, load))
        tell(str(measurements[-1]))
    return measurements


def _load(contents: Contents, models: Path, rows: Sequence[Any], goal: Goal) -> Load:
    """Measure a server with the batching of a bundle."""
    with tempfile.TemporaryDirectory(prefix="seqzoo-bundle-") as folder:
        flags = []
        if text := render(contents).get(BATCHING_FILE):
            file = Path(folder, "batching.config")
            file.write_text(text, encoding="utf-8")
            flags = ["--enable_batching=true", f"--batching_parameters_file={file}"]
        with launch(contents.model, models, *flags) as server:
            return bench.closed_loop(
                "grpc", server.grpc_address, contents.model, rows, goal.concurrency, goal.seconds
            )


def choose(measurements: Sequence[Measurement], p99_ms: float) -> Measurement:
    """Return the one with the most answers per second whose 99th percentile is low enough.

    Of those that are about as fast as the fastest, it is one with the shortest wait, since that
    is what a call pays that comes alone. Where no 99th percentile is low enough, it is the one
    with the lowest. Where calls failed, it is not chosen.

    Args:
        measurements: All that was measured.
        p99_ms: The bound, in milliseconds.

    Raises:
        ServingError: There is none without failed calls.
    """
    sound = [each for each in measurements if not each.load.errors]
    if not sound:
        raise ServingError("calls failed with every way of batching that was tried")
    within = [each for each in sound if each.load.p99_ms <= p99_ms]
    if not within:
        return min(sound, key=lambda each: each.load.p99_ms)
    enough = (1 - NOISE) * max(each.load.qps for each in within)
    fast = [each for each in within if each.load.qps >= enough]
    return min(fast, key=lambda each: (each.wait_micros, -each.load.qps))


def report(measurements: Sequence[Measurement], goal: Goal) -> dict[str, Any]:
    """Return measurements and choice as JSON values.

    Returns:
        chosen: Index of the measurement that was chosen.
        within_bound: Whether its 99th percentile is low enough.
        p99_bound_ms, noise: What the choice goes by; see `choose`.
        concurrency, seconds, transport: How it was measured.
        measurements: Per candidate `batching` (null for none) and the fields of `bench.Load`.
        environment: Versions and hardware.

    Raises:
        ServingError: Nothing can be chosen.
    """
    chosen = choose(measurements, goal.p99_ms)
    return {
        "chosen": measurements.index(chosen),
        "within_bound": chosen.load.p99_ms <= goal.p99_ms,
        "p99_bound_ms": goal.p99_ms,
        "noise": NOISE,
        "concurrency": goal.concurrency,
        "seconds": goal.seconds,
        "transport": "grpc",
        "measurements": [each.to_json() for each in measurements],
        "environment": environment(*bench.PACKAGES),
    }
