"""When a trial ends before its time, and whose it is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recipes.headline import Headline
from recipes.run import CHECKPOINT, HISTORY, Run
from recipes.sentiment import PRESETS
from tests.tuning.searches import parameters, space
from tuning import trial as module
from tuning.folder import ORACLE, read_outcome, trained
from tuning.trial import NOT_OURS, NotOurs, Task, TrialRun, run_trial
from zoo.errors import ConfigError


def task(search: Path, attempt: int = 1) -> Task:
    return Task(search, "0000", {"values": {}}, 1, attempt)


def hand_out(search: Path, attempt: int) -> None:
    """Leave the chief's word about who has the trial."""
    row = {"id": "0000", "facts": {"attempt": attempt}}
    (search / ORACLE).write_text(json.dumps({"trials": [row]}))


def leave(run: Run, history: Sequence[dict[str, float]], best_epoch: int) -> None:
    """Write what the end of a training leaves."""
    state = json.dumps({"history": history, "best_epoch": best_epoch})
    run.write(CHECKPOINT, lambda file: np.savez(file, state=state))


@pytest.mark.parametrize(
    ("done", "best", "epochs", "patience", "expected"),
    [
        (0, -1, 0, 0, True),
        (3, 0, 0, 0, True),
        (3, 2, 3, 0, False),
        (2, 1, 3, 0, True),
        (3, 0, 0, 2, False),
        (3, 1, 0, 2, True),
        (2, 0, 0, 2, True),
        (4, 0, 0, 3, False),
    ],
)
def test_a_trial_ends_at_its_rung_or_when_nothing_gets_better(
    done: int, best: int, epochs: int, patience: int, expected: bool, tmp_path: Path
) -> None:
    with TrialRun(task(tmp_path), "sentiment", {}, epochs, patience) as run:
        leave(run, [], best)  # by what the recipe itself judges by
        assert run.goes_on([{"score": 0.5}] * done) is expected


def test_a_trial_that_was_given_to_another_ends(tmp_path: Path) -> None:
    hand_out(tmp_path, attempt=1)
    with TrialRun(task(tmp_path), "sentiment", {}, 0, 0) as run:
        assert run.goes_on([])
        hand_out(tmp_path, attempt=2)
        with pytest.raises(NotOurs):
            run.goes_on([])


def test_a_folder_that_another_process_holds_is_no_failure(tmp_path: Path) -> None:
    with (
        TrialRun(task(tmp_path), "sentiment", {}, 0, 0),
        pytest.raises(NotOurs),
    ):
        TrialRun(task(tmp_path, attempt=2), "sentiment", {}, 0, 0)


def test_a_folder_of_another_configuration_is(tmp_path: Path) -> None:
    with TrialRun(task(tmp_path), "sentiment", {"units": 1}, 0, 0):
        pass
    with pytest.raises(ConfigError, match="was started with units=1, not 2"):
        TrialRun(task(tmp_path), "sentiment", {"units": 2}, 0, 0)


def test_the_checkpoint_knows_an_epoch_that_a_kill_kept_from_the_history(tmp_path: Path) -> None:
    with Run(tmp_path, "sentiment", {}) as run:
        assert trained(tmp_path) == ([], -1)
        leave(run, [{"accuracy": 0.7}, {"accuracy": 0.8}], 1)
        run.write_json(HISTORY, [{"accuracy": 0.7}])
    assert trained(tmp_path) == ([{"accuracy": 0.7}, {"accuracy": 0.8}], 1)


class Recipe:
    """A recipe whose epochs are known, and whose training chooses another search.

    Args:
        errors: A row per epoch.
        best_epoch: Whose weights the training keeps.
    """

    HEADLINE = Headline("wer", lower_is_better=True)

    def __init__(self, errors: Sequence[dict[str, float]], best_epoch: int) -> None:
        self.errors, self.best_epoch = errors, best_epoch

    def load(self, config: Any) -> None:
        """Load nothing."""

    def build(self, config: Any, data: None) -> Any:
        """Return a pipeline with the quick search."""
        model = SimpleNamespace(count_params=lambda: 7)
        return SimpleNamespace(model=model, finish=self.finish("greedy", 0.0))

    def train(self, config: Any, data: None, pipeline: Any, run: Run) -> dict[str, Any]:
        """Leave the epochs, and the slow search."""
        leave(run, self.errors, self.best_epoch)
        pipeline.finish = self.finish("lexicon", 0.5)
        return {}

    def finish(self, search: str, weight: float) -> Any:
        """Return the last part of a pipeline."""
        return SimpleNamespace(get_config=lambda: {"search": search, "lm_weight": weight})


class TestOutcome:
    """What a trial leaves of its training."""

    def outcome(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, limit: float = 0.0
    ) -> dict[str, Any]:
        settings = SimpleNamespace(
            module=recipe, recipe="sentiment", space="", fixed={}, start=lambda: PRESETS["tiny"]
        )
        settings.patience = settings.max_parameters = 0
        settings.measures_latency, settings.max_latency_ms = True, limit
        monkeypatch.setattr(module.Settings, "read", lambda folder: settings)
        monkeypatch.setattr(module, "load_space", lambda *_: space)
        monkeypatch.setattr(module, "use_cores", lambda count: None)
        times = {"greedy": 2.0, "lexicon": 5.0}
        monkeypatch.setattr(
            module, "_latency", lambda pipeline: times[pipeline.finish.get_config()["search"]]
        )
        folder.mkdir(exist_ok=True)
        hp = parameters()
        values = {"space": hp.get_config()["space"], "values": hp.values}
        assert run_trial(Task(folder, "0000", values, 1)) == 0
        found = read_outcome(folder, "0000")
        assert found is not None
        return found

    def test_the_score_is_that_of_the_weights_that_are_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The recipe judges epochs by their characters; the third has the fewest wrong words.
        errors = [{"wer": 0.5, "cer": 0.3}, {"wer": 0.4, "cer": 0.1}, {"wer": 0.2, "cer": 0.2}]
        found = self.outcome(tmp_path, monkeypatch, Recipe(errors, best_epoch=1))
        assert (found["score"], found["objective"]) == (0.4, "wer")
        assert found["curve"] == [0.5, 0.4, 0.2]

    def test_the_latency_is_that_of_what_is_served(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = Recipe([{"wer": 0.5}], best_epoch=0)
        assert self.outcome(tmp_path, monkeypatch, recipe)["latency_ms"] == 5.0
        found = self.outcome(tmp_path / "limit", monkeypatch, recipe, limit=3.0)
        assert found["refused"] and found["score"] is None
        assert found["reason"] == "an answer takes 5.0 ms, and 3 ms is the most"
        found = self.outcome(tmp_path / "early", monkeypatch, recipe, limit=1.0)
        assert found["reason"] == "an answer takes 2.0 ms, and 1 ms is the most"
        assert found["curve"] == []

    def test_without_a_number_there_is_no_score(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = self.outcome(tmp_path, monkeypatch, Recipe([{"wer": math.nan}], best_epoch=-1))
        assert found["score"] is None
        assert found["reason"] == "wer of the validation part was never a number"


def test_of_what_is_not_ours_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given_away(*_: Any) -> None:
        raise NotOurs

    monkeypatch.setattr(module, "_try", given_away)
    assert run_trial(task(tmp_path)) == NOT_OURS
    assert read_outcome(tmp_path, "0000") is None
