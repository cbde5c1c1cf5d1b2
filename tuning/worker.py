"""A worker: takes trials from the chief, runs each in a fresh process, and tells that it lives.

A name stands for one worker at a time. A worker that was killed and is started again under its
name gets its unfinished trial again, which goes on from its last checkpoint.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import grpc
from keras_tuner.src import protos
from keras_tuner.src.engine.trial import Trial, TrialStatus

from recipes.run import CHECKPOINT, HISTORY
from tuning.folder import BEAT, LOG, exact, read_outcome, worker_folder
from tuning.processes import Fresh, cause, preload
from tuning.trial import NOT_OURS, Outcome, Task, run_trial, write_outcome
from zoo.errors import ConfigError, DataError

BEAT_SECONDS = 2.0
"""Between two signs of life."""

MOST_TRIES = 10
"""Times that a trial is begun without it writing anything down: it takes its worker down with it,
as one without memory does where all of a container is ended."""

TRIED = "tried"
"""File of a trial: where it stood each time that it was begun."""

ANSWER_SECONDS = 10.0
"""That the chief has for an answer."""

CHIEF = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
"""Variables that say where the chief is, as KerasTuner's own workers are told."""

_TICK = 0.05


class Worker:
    """Runs trials until the chief has no more.

    Args:
        folder: The search folder, on a file system that chief and workers share.
        name: Of this worker; unique among those at work.
        threads: Cores to use.
        lease: Seconds without a finished epoch or another checkpoint, of which there is one a
            minute, after which a trial is taken to hang, and seconds that an unreachable chief is
            waited for.

    Raises:
        ConfigError: KERASTUNER_ORACLE_IP or KERASTUNER_ORACLE_PORT is missing.
    """

    def __init__(self, folder: Path, name: str, threads: int, lease: float) -> None:
        self.folder, self.name, self.threads, self.lease = folder, name, threads, lease
        for variable in CHIEF:
            if not os.environ.get(variable):
                raise ConfigError(f"{variable} must say where the chief is, and is not set")
        self._address = ":".join(os.environ[variable] for variable in CHIEF)
        channel = grpc.insecure_channel(self._address, options=_SOON_AGAIN)
        self._chief = protos.get_service_grpc().OracleStub(channel)
        self._beat = worker_folder(folder, name) / BEAT
        self._beat.parent.mkdir(parents=True, exist_ok=True)

    def work(self) -> None:
        """Take and run trials until there are no more.

        Raises:
            DataError: The chief cannot be reached within the lease.
        """
        preload(self._beat.parent / LOG)
        while True:
            trial = self._take()
            if trial.status == TrialStatus.STOPPED:
                return
            if trial.status == TrialStatus.IDLE:
                self._rest(1.0)
            else:
                self._run(trial)

    def _run(self, trial: Trial) -> None:
        """Run a trial to its end, unless the chief has other plans for it."""
        attempt = int(trial.metrics.get_last_value("attempt"))
        task = Task(self.folder, trial.trial_id, parameters_of(trial), self.threads, attempt)
        if read_outcome(self.folder, trial.trial_id) is None:
            began = time.monotonic()
            failure: str | None
            if _tries(task) > MOST_TRIES:
                failure = f"its worker ended {MOST_TRIES} times in it, each without a step forward"
            else:
                failure = self._watch(Fresh(run_trial, task, log=task.folder / LOG), task)
            if read_outcome(self.folder, trial.trial_id) is None:
                if failure is None or not self._is_ours(task):
                    return
                write_outcome(task, Outcome(reason=failure, seconds=time.monotonic() - began))
        # Parameters and score are in the folder; the protocol's message of a trial has no reason.
        ended = protos.get_proto().Trial(trial_id=trial.trial_id)
        self._ask("EndTrial", protos.get_service().EndTrialRequest(trial=ended))

    def _take(self) -> Trial:
        request = protos.get_service().CreateTrialRequest(tuner_id=self.name)
        return Trial.from_proto(self._ask("CreateTrial", request).trial)

    def _watch(self, process: Fresh, task: Task) -> str | None:
        """Wait for the end of a trial, and say why it ended if it says nothing itself.

        None: the chief wants it left alone, or another process has it.
        """
        alive = told = looked = time.monotonic()
        age = _progress(task)
        while not process.join(_TICK):
            now = time.monotonic()
            if now - looked > self.lease / 2:  # this process itself stood still, as after Ctrl-Z
                alive = now
            looked = now
            if _progress(task) != age:
                age, alive = _progress(task), now
            if now - told > BEAT_SECONDS:
                told = now
                if not self._is_ours(task):
                    process.kill()
                    return None
            if now - alive > self.lease:
                process.kill()
                return f"no epoch ended within {self.lease:.0f} s"
        return None if process.exit_code == NOT_OURS else cause(process.exit_code)

    def _is_ours(self, task: Task) -> bool:
        """Give a sign of life; False if the chief has stopped the trial or given it away."""
        self._beat.touch()
        request = protos.get_service().UpdateTrialRequest(trial_id=task.trial)
        try:
            answer = self._chief.UpdateTrial(request, timeout=BEAT_SECONDS)
        except grpc.RpcError:
            return True  # the chief may come back: the trial trains on
        known = Trial.from_proto(answer.trial)
        if known.status == TrialStatus.STOPPED:
            return False
        return known.metrics.get_last_value("attempt") == task.attempt

    def _ask(self, method: str, request: Any) -> Any:
        """Ask the chief, again and again while it is away.

        Raises:
            DataError: It gave no answer within the lease.
        """
        deadline = time.monotonic() + self.lease
        while True:
            self._beat.touch()
            try:
                return getattr(self._chief, method)(request, timeout=ANSWER_SECONDS)
            except grpc.RpcError as error:
                if time.monotonic() > deadline:
                    within = f"within {self.lease:.0f} s: {error.code().name}, {error.details()}"
                    raise DataError(f"no answer from a chief at {self._address} {within}") from None
                self._rest(0.2)

    def _rest(self, seconds: float) -> None:
        self._beat.touch()
        time.sleep(seconds)


_SOON_AGAIN = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.initial_reconnect_backoff_ms", 200)]


def parameters_of(trial: Trial) -> dict[str, Any]:
    """Return the parameters as they were drawn: the protocol has single precision."""
    config = trial.hyperparameters.get_config()
    config["values"] = {name: exact(value) for name, value in config["values"].items()}
    return config


def _tries(task: Task) -> int:
    """Note that a trial begins, and return how often it has since it last wrote anything down."""
    now = " ".join(map(str, _progress(task)))
    file = task.folder / TRIED
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"{now}\n")
    past = reversed(file.read_text(encoding="utf-8").splitlines())
    return sum(1 for _ in itertools.takewhile(now.__eq__, past))


def _progress(task: Task) -> list[int]:
    """Return when a trial last wrote down where it stands, in nanoseconds."""
    files = [task.folder / name for name in (HISTORY, CHECKPOINT)]
    return [file.stat().st_mtime_ns if file.exists() else 0 for file in files]
