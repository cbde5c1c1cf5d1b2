"""Which parameters matter: found where there is something to find, and else a reason."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from recipes.headline import Headline
from tests.tuning.report_searches import DEGENERATE, search
from tuning.report.importance import encoded, parameter_importance
from tuning.trials import COMPLETED, Search, Trial


def searched(score: Any, count: int = 60, **columns: Any) -> Search:
    """Return completed trials whose score is a function of their parameters."""
    random = np.random.default_rng(1)
    trials = []
    for index in range(count):
        parameters = {name: choose(random) for name, choose in columns.items()}
        parameters = {name: value for name, value in parameters.items() if value is not None}
        value = float(score(parameters) + random.normal(0, 0.01))
        trials.append(Trial(f"{index:04d}", COMPLETED, parameters, value))
    return Search("sentiment", "random", Headline("accuracy"), 0, 1.0, {}, tuple(trials))


def uniform(random: np.random.Generator) -> float:
    return float(random.uniform())


def flag(random: np.random.Generator) -> bool:
    return bool(random.random() < 0.5)


class TestWhatMatters:
    """Trials whose score is known to depend on something."""

    def test_the_usual_search(self):
        found = parameter_importance(search())
        assert next(iter(found.values)) == "learning_rate"
        assert found.explained > 0.5 and found.values["learning_rate"] > 0.4
        assert all(abs(found.values[name]) < 0.1 for name in ("cell", "front", "streaming"))
        assert found.constant == ["epochs"] and found.trials == len(search().completed)
        assert found.values.keys() == found.spread.keys()
        assert list(found.values.values()) == sorted(found.values.values(), reverse=True)

    def test_shares_are_those_of_the_variance(self):
        found = parameter_importance(
            searched(lambda p: 2 * p["a"] + p["b"], 200, a=uniform, b=uniform, c=uniform)
        )
        # Of independent uniform parameters with weights 2 and 1: 4/5 and 1/5.
        assert found.values["a"] == pytest.approx(0.8, abs=0.12)
        assert found.values["b"] == pytest.approx(0.2, abs=0.1)
        assert abs(found.values["c"]) < 0.05

    def test_categories_and_flags(self):
        kinds = {"lstm": 0.0, "gru": 1.0, "rnn": 0.5}
        found = parameter_importance(
            searched(
                lambda p: kinds[p["cell"]] + 0.2 * p["flag"],
                cell=lambda random: str(random.choice([*kinds])),
                flag=flag,
                noise=uniform,
            )
        )
        assert list(found.values) == ["cell", "flag", "noise"]

    def test_absence_is_a_value(self):
        def sometimes(random: np.random.Generator) -> int | None:
            return int(random.integers(2, 5)) if flag(random) else None

        found = parameter_importance(
            searched(lambda p: "branch" in p, branch=sometimes, noise=uniform)
        )
        assert list(found.values) == ["branch", "noise"]
        assert found.values["branch"] > 0.5

    def test_it_is_the_order_that_counts(self):
        usual = searched(lambda p: p["a"], a=uniform, b=uniform)
        first = dataclasses.replace(usual.trials[0], score=1e9)
        # A diverged trial is one of sixty, not nearly all of the variance.
        found = parameter_importance(dataclasses.replace(usual, trials=(first, *usual.trials[1:])))
        assert found.values["a"] > 0.7

    def test_the_same_trials_give_the_same_answer(self):
        assert parameter_importance(search(30)) == parameter_importance(search(30))


class TestSilence:
    """Where nothing can be told, a reason stands for the values."""

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("nothing tried", "not enough trials: 0 completed, at least 4 are needed"),
            ("one trial", "not enough trials: 1 completed"),
            ("all failed", "not enough trials: 0 completed"),
            ("not numbers", "not enough trials: 2 completed"),
            ("equal scores", "all completed trials have the same score"),
            ("one of many failed", "predict the score of further ones no better than the mean"),
        ],
    )
    def test_degenerate_searches(self, name: str, reason: str):
        found = parameter_importance(DEGENERATE[name])
        assert reason in found.missing and not found.values

    def test_one_value_everywhere(self):
        found = parameter_importance(searched(lambda p: 0.0, 10, a=lambda _: 3))
        assert found.missing == "no parameter varied over the completed trials"
        assert found.constant == ["a"]

    def test_scores_that_depend_on_nothing(self):
        found = parameter_importance(searched(lambda p: 0.0, 40, a=uniform, b=flag))
        assert found.explained <= 0 and "no better than the mean" in found.missing


class TestEncoding:
    """Parameters as numbers for a forest."""

    def test_numbers_stay_and_categories_have_a_column_each(self):
        assert encoded([1, 2.5]).tolist() == [[1.0], [2.5]]
        assert encoded(["a", "b", "a"]).tolist() == [[1, 0], [0, 1], [1, 0]]
        assert encoded([True, False]).tolist() == [[1, 0], [0, 1]]
        assert encoded([1, "auto"]).shape == (2, 2)
