"""When a worker gives a trial up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from keras_tuner import HyperParameters
from keras_tuner.src.engine.trial import Trial, TrialStatus

from recipes.run import CHECKPOINT
from tuning import worker as module
from tuning.folder import read_outcome, trial_folder
from tuning.trial import NOT_OURS, Task
from tuning.worker import MOST_TRIES, Worker


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


class TestTrialsThatTakeTheirWorkerAlong:
    """A container without memory is ended whole, and nobody is left to say of what."""

    def start(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Begin the trial once more, and return what the worker had to say of it."""
        said: list[str] = []

        def die(self: Worker, process: object, task: Task) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "Fresh", lambda *_, **__: None)
        monkeypatch.setattr(Worker, "_watch", die)
        monkeypatch.setattr(Worker, "_ask", lambda self, method, request: said.append(method))
        trial = Trial(HyperParameters(), "0000", TrialStatus.RUNNING)
        trial.metrics.register("attempt", direction="max")
        trial.metrics.update("attempt", 1, step=1)
        with contextlib.suppress(KeyboardInterrupt):
            worker._run(trial)
        return said

    def test_they_fail_after_a_while(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(MOST_TRIES):
            assert not self.start(worker, monkeypatch)
        assert self.start(worker, monkeypatch) == ["EndTrial"]
        outcome = read_outcome(worker.folder, "0000")
        assert outcome is not None and outcome["score"] is None
        assert outcome["reason"] == "its worker ended 10 times in it, each without a step forward"

    def test_a_step_forward_counts(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        for time in range(3 * MOST_TRIES):
            assert not self.start(worker, monkeypatch)
            file = trial_folder(worker.folder, "0000") / CHECKPOINT
            file.touch()
            os.utime(file, (time, time))
