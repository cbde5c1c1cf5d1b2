"""KerasTuner's algorithms, each so that a chief which was killed goes on as if it had not been.

The original grid search forgets what it has visited (keras-tuner #1055), and the Bayesian one draws
from a generator, and guesses by a fit, that it does not store.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.src.engine.trial import Trial, TrialStatus
from sklearn.exceptions import ConvergenceWarning

from recipes.headline import Headline
from recipes.run import Run
from tuning.durable import NEVER, Durable
from tuning.spaces import OF_ALGORITHM
from zoo.errors import ConfigError

PARENT = f"{OF_ALGORITHM}trial_id"
"""Under this name Hyperband notes which trial one goes on from."""

CANDIDATES = 300
"""Parameters that a Bayesian search chooses the next ones of."""


class Random(Durable, keras_tuner.oracles.RandomSearchOracle):
    """Bergstra and Bengio 2012, JMLR 13: values drawn independently."""


class Grid(Durable, keras_tuner.oracles.GridSearchOracle):
    """All combinations, those near the base's first."""

    @staticmethod
    def rounded(value: Any) -> Any:
        """Return a value as the grid has it: it is looked up there."""
        return value

    @property
    def planned(self) -> int | None:
        """All combinations, if none depends on others."""
        space = self.get_space().space
        if self.max_trials or any(each.conditions for each in space):
            return self.max_trials
        return math.prod(len([*each.values]) for each in space)

    def get_state(self) -> dict[str, Any]:
        """Return the state with what was visited, which the original forgets."""
        visited = self._ordered_ids
        return {
            **super().get_state(),
            "ids": visited._memory,
            "next": [[index, visited._next_index[index]] for index in range(len(visited._memory))],
            "first": visited._next_index[None],
            "last": visited._last_index,
            "populate_next": self._populate_next,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from `get_state`."""
        super().set_state(state)
        visited = self._ordered_ids
        visited._memory = state["ids"]
        visited._data_to_index = {trial: index for index, trial in enumerate(state["ids"])}
        visited._next_index.update({None: state["first"]} | {i: n for i, n in state["next"]})
        visited._last_index = state["last"]
        self._populate_next = state["populate_next"]


class Bayesian(Durable, keras_tuner.oracles.BayesianOptimizationOracle):
    """Snoek et al. 2012, arXiv:1206.2944: a Gaussian process says where the best may lie."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Choose by the trials alone, not by what this process drew or fitted before.

        Of untried candidates the one with the best bound is taken. The original follows the
        gradient of the bound from 50 places instead, for ten seconds, to values between the
        choices that there are.
        """
        if self.finished < self.num_initial_points:
            return self._random_populate_space()
        self.gpr = self._make_gpr()
        with warnings.catch_warnings():
            # Of a few points some length scales end at their bounds, which does no harm.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._fit_completed()
            self.gpr.fit(*self._vectorize_trials())
        drawn = [self._random_values() for _ in range(CANDIDATES)]
        candidates = [values for values in drawn if values is not None]
        if not candidates:
            return {"status": TrialStatus.STOPPED, "values": None}
        mean, spread = self.gpr.predict([*map(self._vector, candidates)], return_std=True)
        best = candidates[int(np.argmin(mean - self.beta * spread))]
        return {"status": TrialStatus.RUNNING, "values": best}

    def _vector(self, values: Mapping[str, Any]) -> list[float]:
        """Return parameters as numbers from 0 to 1, those that do not apply as their default."""
        space = self._nonfixed_space()
        return [hp.value_to_prob(values.get(hp.name, hp.default)) for hp in space]

    def _fit_completed(self) -> None:
        """Fit the process to what has ended, by which the original guesses what is under way."""
        every, under_way = self.trials, self.ongoing_trials
        done = {k: t for k, t in every.items() if t.status == TrialStatus.COMPLETED}
        self.trials, self.ongoing_trials = done, {}
        try:
            self.gpr.fit(*self._vectorize_trials())
        finally:
            self.trials, self.ongoing_trials = every, under_way


class Hyperband(Durable, keras_tuner.oracles.HyperbandOracle):
    """Li et al. 2018, JMLR 18: many trials of few epochs, the best of them trained on.

    The first trial stands outside the brackets and has all epochs, so that what is found is never
    worse validated than what the search started from.
    """

    hyperband_iterations: int

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the base, and then what the brackets say."""
        if not self.start_order:
            values = {**(self._random_values() or {}), f"{OF_ALGORITHM}epochs": self.max_epochs}
            return {"status": TrialStatus.RUNNING, "values": values}
        while True:
            with self._failed_as_worst():
                answer = super().populate_space(trial_id)
            parent = (answer.get("values") or {}).get(PARENT)
            if parent is None or self.trials[parent].status == TrialStatus.COMPLETED:
                return answer
            # Too few are left for this rung: what failed has failed here too, untried.
            self._places(trial_id)[0]["id"] = parent

    def _random_trial(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
        """Return values that were not tried yet; of a space without more a rung is full as it is.

        The original would wait for the rest of the rung for ever, and promote nothing.
        """
        answer = super()._random_trial(trial_id, bracket)
        rung = bracket["rounds"][0]
        if answer["status"] != TrialStatus.STOPPED or not rung:
            return answer
        sign = 1 if self.objective.direction == "min" else -1
        worst = max((info["id"] for info in rung), key=lambda name: sign * self.trials[name].score)
        free = self._get_size(bracket["bracket_num"], 0) - len(rung)
        rung += [{"past_id": None, "id": worst} for _ in range(free)]
        return super().populate_space(trial_id)

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from `get_state`, with as many sweeps as are wanted now."""
        sweeps = self.hyperband_iterations
        super().set_state(state)
        self.hyperband_iterations = sweeps

    @property
    def planned(self) -> int | None:
        """Trials of one sweep and the start; None if there is no end of sweeps."""
        if self.max_trials or self.hyperband_iterations != 1:
            return self.max_trials
        rungs = [(b, r) for b in range(self._get_num_brackets()) for r in range(b + 1)]
        return 1 + sum(self._get_size(*rung) for rung in rungs)

    @contextlib.contextmanager
    def _failed_as_worst(self) -> Iterator[None]:
        """Let a rung count what failed or was refused; the original waits for it for ever."""
        every = self.trials
        worst = math.inf if self.objective.direction == "min" else -math.inf
        seen = dict(every)
        for name, trial in every.items():
            if trial.status == TrialStatus.FAILED:
                seen[name] = Trial(trial.hyperparameters, name, TrialStatus.COMPLETED)
                seen[name].score = worst
        self.trials = seen
        try:
            yield
        finally:
            self.trials = every

    def _places(self, trial_id: str) -> list[dict[str, Any]]:
        """Return the places of a trial in the brackets under way."""
        places = [info for bracket in self._brackets for rung in bracket["rounds"] for info in rung]
        return [info for info in places if info["id"] == trial_id]

    def _wanted(self) -> set[str]:
        """Return what a rung may go on from, or a trial under way is about to."""
        under_way = [*self._waiting, *(trial.trial_id for trial in self.ongoing_trials.values())]
        parents = {self.trials[name].hyperparameters.values.get(PARENT) for name in under_way}
        held = {name for name in self.trials if self._places(name)}
        return super()._wanted() | held | (parents - {None})


ORACLES: dict[str, type[Durable]] = {
    "random": Random,
    "grid": Grid,
    "bayesian": Bayesian,
    "hyperband": Hyperband,
}


def oracle(
    algorithm: str,
    run: Run,
    space: Any,
    objective: Headline,
    trials: int,
    seed: int,
    lease: float,
    epochs: int,
) -> Durable:
    """Return an algorithm that goes on from what is in the folder.

    Args:
        algorithm: One of `ORACLES`.
        run, space, objective, trials, seed, lease: See `Durable`.
        epochs: Of a whole training, which "hyperband" divides.

    Raises:
        ConfigError: See `check_epochs`.
    """
    check_epochs(algorithm, epochs)
    options: dict[str, Any] = {}
    if algorithm == "bayesian":
        options = {"num_initial_points": max(trials // 4, 4)}
    if algorithm == "hyperband":
        options = {"max_epochs": epochs, "hyperband_iterations": NEVER if trials else 1}
    return ORACLES[algorithm](run, space, objective, trials, seed, lease, **options)


def check_epochs(algorithm: str, epochs: int) -> None:
    """Refuse epochs that an algorithm cannot divide.

    Raises:
        ConfigError: "hyperband" has too few.
    """
    if algorithm == "hyperband" and epochs < 3:
        raise ConfigError(f"hyperband divides epochs by 3: epochs must be 3 or more, not {epochs}")
