"""When a worker gives a trial up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tuning import worker as module
from tuning.trial import NOT_OURS, Task
from tuning.worker import Worker


class Clocked:
    """A trial's process, and the clock that stands at what each look at it takes.

    Args:
        takes: Seconds of each look; after the last one the process has ended.
        exit_code: How it ended.
    """

    def __init__(self, takes: Sequence[float], exit_code: int = 0) -> None:
        self._takes, self.exit_code, self.killed = iter(takes), exit_code, False
        self.now = 1000.0

    def join(self, timeout: float) -> bool:
        """Let time pass."""
        taken = next(self._takes, None)
        self.now += taken or 0.0
        return taken is None

    def kill(self) -> None:
        """Note it."""
        self.killed = True


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker with a lease of 20 seconds, whose trial stays its own."""
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
    monkeypatch.setattr(Worker, "_is_ours", lambda self, task: True)
    return Worker(tmp_path, "worker-0", 1, 20.0)


def watch(worker: Worker, process: Clocked, monkeypatch: pytest.MonkeyPatch) -> str | None:
    monkeypatch.setattr(module.time, "monotonic", lambda: process.now)
    task = Task(worker.folder, "0000", {}, 1)
    return worker._watch(process, task)  # type: ignore[arg-type]


def test_a_trial_without_progress_is_ended(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Clocked([1.0] * 25)
    assert watch(worker, process, monkeypatch) == "no epoch ended within 20 s"
    assert process.killed


def test_one_that_gets_on_is_not(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    ages = iter(range(100))
    monkeypatch.setattr(module, "_progress", lambda task: [next(ages)])
    process = Clocked([1.0] * 45, exit_code=1)
    assert watch(worker, process, monkeypatch) == "the trial's process ended with exit code 1"
    assert not process.killed


def test_time_in_which_the_worker_itself_stood_still_does_not_count(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Clocked([1.0] * 15 + [3600.0] + [1.0] * 15, exit_code=NOT_OURS)
    assert watch(worker, process, monkeypatch) is None
    assert not process.killed
