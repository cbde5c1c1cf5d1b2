"""When a trial ends before its time, and whose it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.run import CHECKPOINT
from tuning import trial as module
from tuning.folder import ORACLE, read_outcome
from tuning.trial import NOT_OURS, NotOurs, Task, TrialRun, run_trial
from zoo.errors import ConfigError


def task(search: Path, attempt: int = 1) -> Task:
    return Task(search, "0000", {"values": {}}, 1, attempt)


def hand_out(search: Path, attempt: int) -> None:
    """Leave the chief's word about who has the trial."""
    row = {"id": "0000", "facts": {"attempt": attempt}}
    (search / ORACLE).write_text(json.dumps({"trials": [row]}))


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
        state = json.dumps({"best_epoch": best})  # by what the recipe itself judges by
        run.write(CHECKPOINT, lambda file: np.savez(file, state=state))
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


def test_of_what_is_not_ours_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given_away(*_: Any) -> None:
        raise NotOurs

    monkeypatch.setattr(module, "_try", given_away)
    assert run_trial(task(tmp_path)) == NOT_OURS
    assert read_outcome(tmp_path, "0000") is None
