"""A KerasTuner oracle that survives: its state is one file, and a trial has a lease.

KerasTuner writes its state in several files in place, waits for ever for a worker that died
(keras-tuner #915), and does not know whose trial it is. `Durable` closes this around any of its
oracles, which it calls and otherwise leaves as they are.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Mapping
from typing import Any

import keras_tuner
from keras_tuner.src.engine.hyperparameters import Float
from keras_tuner.src.engine.trial import Trial, TrialStatus

from recipes.headline import Headline
from recipes.run import CHECKPOINT, Run
from tuning.folder import ORACLE, read_oracle, read_outcome, trial_folder

DIGITS = 4
"""Significant digits of a number that is drawn: enough for any of them, and readable."""

NEVER = 10**9
"""As a number of failures, or of sweeps."""


class Durable(keras_tuner.Oracle):
    """What is put in front of a KerasTuner oracle.

    A trial is handed out to one worker at a time, which has to give a sign of life within the
    lease. The same worker asking again gets its unfinished trial again; when the lease runs out the
    next worker that asks does. Ending a trial twice does nothing. After each change all of it is
    written to one file, so that the chief may be killed at any moment.

    Args:
        run: The search folder, held by this process.
        space: All parameters.
        objective: What a trial is judged by.
        trials: Most trials, 0 for no limit of its own.
        seed: Of what is drawn.
        lease: Seconds.
        **options: Of the algorithm.
    """

    trials: dict[str, Trial]
    ongoing_trials: dict[str, Trial]

    def __init__(
        self,
        run: Run,
        space: Any,
        objective: Headline,
        trials: int,
        seed: int,
        lease: float,
        **options: Any,
    ) -> None:
        self._run, self._lease = run, lease
        self._guard = threading.RLock()
        self._facts: dict[str, dict[str, Any]] = collections.defaultdict(dict)
        self._waiting: list[str] = []
        self._seen: dict[str, float] = {}
        self._seconds, self._mark = 0.0, time.monotonic()
        self._metric = objective.metric
        self.stopped = self.exhausted = self.closed = False
        self.failures = 0
        self._within_change = False
        direction = "min" if objective.lower_is_better else "max"
        super().__init__(
            objective=keras_tuner.Objective(objective.metric, direction),
            hyperparameters=space,
            seed=seed + 1,  # of 0 KerasTuner takes any
            max_consecutive_failed_trials=NEVER,
            **options,
        )
        self.max_trials = trials or None
        self.verbose = 0
        self.reload()

    # What a worker asks for.

    def create_trial(self, tuner_id: str) -> Trial:
        """Return the worker's unfinished trial, one whose worker is lost, or a new one."""
        with self._guard:
            if self.stopped:
                return self._no_trial()  # what the worker holds is its own again when it goes on
            self._count()
            held = self.ongoing_trials.get(tuner_id)
            if held is None and self._waiting:
                held = self.trials[self._waiting.pop(0)]
                self.ongoing_trials[tuner_id] = held
            if held is None:
                held = super().create_trial(tuner_id)
            if held.status == TrialStatus.RUNNING:
                self._hand_out(held, tuner_id)
            if held.status == TrialStatus.STOPPED:
                if not self.idle:  # another worker may still be lost, and its trial be given away
                    return Trial(held.hyperparameters, held.trial_id, TrialStatus.IDLE)
                if not self.exhausted:
                    self.exhausted = True
                    self.save()
            return held

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        """Note a sign of life; the answer says which attempt at the trial this is.

        Its status is STOPPED if the worker is to leave the trial alone from now on.
        """
        with self._guard:
            trial = self.trials[trial_id]
            self._seen[trial_id] = time.monotonic()
            if self.stopped or trial not in self.ongoing_trials.values():
                return Trial(trial.hyperparameters, trial_id, TrialStatus.STOPPED)
            return trial

    def end_trial(self, trial: Trial) -> None:
        """Write down what became of a trial, as its worker left it in the folder.

        Raises:
            LookupError: The worker has left nothing there yet.
        """
        with self._guard:
            known = self.trials[trial.trial_id]
            if self.closed or known.trial_id in self.end_order:
                return
            outcome = read_outcome(self._run.folder, known.trial_id)
            if outcome is None:
                raise LookupError(f"trial {known.trial_id} has no outcome")
            self._note(known.trial_id, outcome)
            status = TrialStatus.COMPLETED if outcome["score"] is not None else TrialStatus.FAILED
            known.score = outcome["score"]
            self.failures += status == TrialStatus.FAILED and not outcome["refused"]
            ended = Trial(known.hyperparameters, known.trial_id, status, outcome["reason"])
            self._count()  # as long as it is under way
            # KerasTuner saves in between, when the trial is over and its worker still has it:
            # whoever went on from there would hand out for ever what has ended.
            self._within_change = True
            try:
                super().end_trial(ended)
            finally:
                self._within_change = False
            # Its worker may have been given up, and have come back with it after all.
            if known.trial_id in self._waiting:
                self._waiting.remove(known.trial_id)
            self.save()
            self._drop_checkpoints()

    def fail(self, trial_id: str, reason: str) -> None:
        """Let an ended trial be one that failed: it could not be trained to its end."""
        with self._guard:
            trial = self.trials[trial_id]
            trial.status, trial.score, trial.message = TrialStatus.FAILED, None, reason
            self.save()

    def score_trial(self, trial: Trial) -> None:
        """Leave the score as the worker wrote it."""

    # Leases.

    def expire(self) -> list[str]:
        """Take trials away from workers that gave no sign of life, and return these workers."""
        with self._guard:
            late = time.monotonic() - self._lease
            lost = [
                worker
                for worker, trial in self.ongoing_trials.items()
                if self._seen.setdefault(trial.trial_id, time.monotonic()) < late
            ]
            return self.release(lost)

    def release(self, workers: list[str]) -> list[str]:
        """Take the trials of these workers away; they wait for another."""
        with self._guard:
            held = [worker for worker in workers if worker in self.ongoing_trials]
            self._count()
            for worker in held:
                self._waiting.append(self.ongoing_trials.pop(worker).trial_id)
            if held:
                self.save()
            return held

    @property
    def idle(self) -> bool:
        """Whether no trial is under way or waiting."""
        with self._guard:
            return not self.ongoing_trials and not self._waiting

    @property
    def finished(self) -> int:
        """Trials with a score."""
        with self._guard:
            return sum(each.status == TrialStatus.COMPLETED for each in self.trials.values())

    @property
    def planned(self) -> int | None:
        """Trials that there will be, None if that is not known."""
        return self.max_trials

    @property
    def seconds(self) -> float:
        """Seconds in which trials were under way, over all processes of the chief."""
        return self._seconds

    def facts(self, trial_id: str) -> Mapping[str, Any]:
        """Return what is known of a trial besides its parameters and score."""
        return self._facts[trial_id]

    # State.

    def save(self) -> None:
        """Write everything down as one file."""
        if self._within_change:
            return
        with self._guard:
            self._count()
            rows = [
                {
                    "id": trial.trial_id,
                    "values": trial.hyperparameters.values,
                    "status": trial.status,
                    "score": trial.score,
                    "message": trial.message,
                    "facts": self._facts[trial.trial_id],
                }
                for trial in self.trials.values()
            ]
            state = {**self.get_state(), "waiting": self._waiting}
            # A search with a higher limit is not over yet.
            state["exhausted_at"] = [self.max_trials] if self.exhausted else []
            self._run.write_json(
                ORACLE,
                {
                    "objective": self._metric,
                    "planned": self.planned,
                    "seconds": self._seconds,
                    "trials": rows,
                    "state": state,
                },
            )

    def reload(self) -> None:
        """Go on from the file, if there is one."""
        stored = read_oracle(self._run.folder)
        if stored is None:
            return
        self._metric, self._seconds = stored["objective"], stored["seconds"]
        for row in stored["trials"]:
            hp = self.get_space()
            hp.values = row["values"]
            trial = Trial(hp, row["id"], row["status"], row["message"])
            trial.score = row["score"]
            self.trials[row["id"]] = trial
            self._facts[row["id"]] = row["facts"]
            self._tell_attempt(trial)  # its worker may still be at it
        self._waiting = stored["state"].pop("waiting")
        self.exhausted = stored["state"].pop("exhausted_at") == [self.max_trials]
        self.set_state(stored["state"])

    def _save_trial(self, trial: Trial) -> None:
        """Write nothing: `save` has all trials."""

    # How values are drawn.

    def _random_values(self) -> dict[str, Any] | None:
        """Return the base's values for the first trial, then random ones that were not tried yet.

        Those that are drawn from a range are rounded, so that they are the same on every way to a
        worker.
        """
        if not self.start_order:
            return dict(self.get_space().values)
        for _ in range(self._max_collisions):
            values = super()._random_values()
            if values is None:
                return None
            drawn = {hp.name for hp in self.get_space().space if isinstance(hp, Float)}
            rounded = {
                name: self.rounded(value) if name in drawn else value
                for name, value in values.items()
            }
            if not self._duplicate(rounded):
                return rounded
        return None

    @staticmethod
    def rounded(value: Any) -> Any:
        """Return a parameter as it is drawn."""
        return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value

    # Helpers.

    def _count(self) -> None:
        """Add the time since the last call, if trials were under way; before that changes."""
        now = time.monotonic()
        if self.ongoing_trials:
            self._seconds += now - self._mark
        self._mark = now

    def _hand_out(self, trial: Trial, worker: str) -> None:
        facts, now = self._facts[trial.trial_id], time.time()
        facts["worker"], facts["handed"] = worker, now
        facts.setdefault("began", now)
        facts["attempt"] = facts.get("attempt", 0) + 1
        self._tell_attempt(trial)
        self._seen[trial.trial_id] = time.monotonic()
        self.save()

    def _tell_attempt(self, trial: Trial) -> None:
        """Put the number of the attempt where the protocol carries it to the worker."""
        if (attempt := self._facts[trial.trial_id].get("attempt")) is not None:
            if not trial.metrics.exists("attempt"):
                trial.metrics.register("attempt", direction="max")
            trial.metrics.update("attempt", attempt, step=attempt)

    def _note(self, trial_id: str, outcome: dict[str, Any]) -> None:
        facts = self._facts[trial_id]
        kept = ("size", "latency_ms", "seconds", "epoch_seconds", "curve", "refused")
        facts |= {name: outcome[name] for name in kept}
        facts["ended"] = time.time()
        beyond = facts["ended"] - facts["handed"] - outcome["trained_seconds"]
        facts["overhead_seconds"] = max(beyond, 0.0)
        if outcome["score"] is not None:  # what decides is known at the end of a training alone
            self._metric = outcome["objective"]

    def _no_trial(self) -> Trial:
        return Trial(self.get_space(), "none", TrialStatus.STOPPED)

    def _wanted(self) -> set[str]:
        """Return the ended trials that may still be trained on."""
        best = self.get_best_trials(1)
        return {trial.trial_id for trial in best}

    def _drop_checkpoints(self) -> None:
        """Remove the weights of ended trials that nothing goes on from: disks are finite."""
        wanted = self._wanted()
        for trial_id in self.end_order:
            if trial_id not in wanted:
                folder = trial_folder(self._run.folder, trial_id)
                (folder / CHECKPOINT).unlink(missing_ok=True)
