"""When a trial ends before its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.headline import Headline
from tuning.trial import TrialRun


def goes_on(folder: Path, values: list[float], epochs: int, patience: int, lower: bool) -> bool:
    headline = Headline("score", lower)
    with TrialRun(folder, "sentiment", {}, headline, epochs, patience) as run:
        return run.goes_on([{"score": value} for value in values])


@pytest.mark.parametrize(
    ("values", "epochs", "patience", "lower", "expected"),
    [
        ([], 0, 0, False, True),
        ([0.1, 0.1, 0.1], 0, 0, False, True),
        ([0.1, 0.2, 0.3], 3, 0, False, False),
        ([0.1, 0.2], 3, 0, False, True),
        ([0.5, 0.4, 0.3], 0, 2, False, False),
        ([0.5, 0.4, 0.6], 0, 2, False, True),
        ([0.5, 0.4], 0, 2, False, True),
        ([0.5, 0.6, 0.7], 0, 2, True, False),
        ([0.5, 0.6, 0.4], 0, 2, True, True),
        ([0.5, float("nan"), float("nan")], 0, 2, True, False),
    ],
)
def test_a_trial_ends_at_its_rung_or_when_nothing_gets_better(
    values: list[float], epochs: int, patience: int, lower: bool, expected: bool, tmp_path: Path
) -> None:
    assert goes_on(tmp_path, values, epochs, patience, lower) is expected
