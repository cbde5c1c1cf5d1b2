"""What a search has gained, as it is said and shown."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.run import CHECKPOINT
from tests.tuning.report_searches import BASE
from tests.tuning.report_searches import search as made
from tuning import commands
from tuning.confirm import Trainings, chosen_config, confirm, distinct
from tuning.confirmation import FILE, START, Confirmation, read_confirmation
from tuning.report.page import search_page
from tuning.trial import train_to_end
from zoo.errors import ConfigError, TrainingError

FOUND = Confirmation(
    "accuracy",
    False,
    (0, 1, 2),
    "0007",
    {"start": [0.70, 0.71, 0.72], "0007": [0.72, 0.73, 0.74], "0003": [0.75, 0.70, 0.70]},
    [0.80, 0.81, 0.79],
    [0.82, 0.81, 0.83],
    {"nb_svm": 0.801},
)
KEPT = replace(FOUND, chosen=START, best=FOUND.start)


def test_the_gain_is_that_of_the_means_and_never_of_the_wrong_sign() -> None:
    assert FOUND.gain == pytest.approx(0.02)
    assert replace(FOUND, lower_is_better=True).gain == pytest.approx(-0.02)
    assert str(FOUND) == (
        "test accuracy over seeds 0, 1, 2: trial 0007 0.8200 ± 0.0100, start 0.8000 ± 0.0100: "
        "better, +0.0200"
    )
    assert "no better, -0.0200" in str(replace(FOUND, lower_is_better=True))
    one = replace(FOUND, seeds=[0], start=[0.8], best=[0.82])
    assert "trial 0007 0.8200, start 0.8000" in str(one)
    assert str(KEPT) == (
        "test accuracy over seeds 0, 1, 2: 0.8000 ± 0.0100, of the start: no trial validates better"
    )


def test_the_page_of_a_search_shows_it_once_it_is_there(tmp_path: Path) -> None:
    search = made(12)
    before = search_page(search, tmp_path)
    assert read_confirmation(tmp_path) is None
    assert "On the test part" not in [section.title for section in before.sections]
    (tmp_path / FILE).write_text(json.dumps(asdict(FOUND)))
    assert read_confirmation(tmp_path) == replace(FOUND, seeds=[0, 1, 2])
    (section,) = [s for s in search_page(search, tmp_path).sections if "test part" in s.title]
    assert section.text.endswith("trial 0007 is better than the base by 0.0200.")
    assert section.table and section.table.rows == [
        ("base", "0.7100 ± 0.0100", "0.8000 ± 0.0100"),
        ("trial 0007", "0.7300 ± 0.0100", "0.8200 ± 0.0100"),
        ("trial 0003", "0.7167 ± 0.0289", ""),
        ("nb_svm", "", "0.8010"),
    ]
    (tmp_path / FILE).write_text(json.dumps(asdict(KEPT)))
    (section,) = [s for s in search_page(search, tmp_path).sections if "test part" in s.title]
    assert section.text.endswith("No trial validates better than the base.")


def test_finalists_are_the_best_configurations_each_once_and_not_the_start() -> None:
    search = made(12)
    start = search.trials[0]
    first, second = (trial for trial in search.completed[:3] if trial is not start)
    again = dataclasses.replace(first, id="0099", score=2.0)  # the same for more epochs
    base = dataclasses.replace(start, id="0098", score=3.0, config=BASE)
    both = dataclasses.replace(search, trials=[*search.trials, again, base])
    assert [*distinct(both, 2)] == ["0099", second.id]
    assert distinct(both, 1) == {"0099": first.config}
    assert len(distinct(both, 50)) == len({str(trial.config) for trial in search.completed}) - 1


class Stand:
    """Trainings whose scores are known, and how often each was asked for."""

    def __init__(self, scores: dict[str, list[float]]) -> None:
        self.scores, self.calls = scores, list[tuple[str, str, int]]()

    def do(self, trainings: Trainings, what: Any, name: str, seed: int) -> Path:
        """Leave what a training or its scoring leaves."""
        run = trainings.run(name, seed)
        self.calls.append((what.__name__, name, seed))
        run.mkdir(parents=True, exist_ok=True)
        if seed >= len(self.scores[name]):
            raise TrainingError("the loss is nan")
        value = self.scores[name][seed]
        # The last epoch scored higher, and its weights are not those that were kept.
        state = {"history": [{"accuracy": value}, {"accuracy": 0.99}], "best_epoch": 0}
        np.savez(run / CHECKPOINT, state=json.dumps(state))
        if what is train_to_end:
            measured = {"test": {"accuracy": value + 0.01}, "baselines": {}}
            (run / "metrics.json").write_text(json.dumps(measured))
        return run


class TestConfirm:
    """The mean over seeds decides, and the test part is left to the start and the chosen one."""

    def confirm(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, scores: dict[str, list[float]]
    ) -> tuple[Confirmation, Stand]:
        search, stand = made(12), Stand(scores)
        monkeypatch.setattr("tuning.confirm.read_search", lambda *_, **__: search)
        monkeypatch.setattr(
            Trainings, "do", lambda self, what, name, seed: stand.do(self, what, name, seed)
        )
        return confirm(folder, [0, 1], 2, 1, lambda line: None), stand

    def test_the_best_mean_is_chosen_not_the_best_score(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two = distinct(made(12), 2)
        scores = {START: [0.6, 0.6], one: [0.9, 0.3], two: [0.65, 0.65]}
        found, stand = self.confirm(tmp_path, monkeypatch, scores)
        assert found.chosen == two and found.best == pytest.approx([0.66, 0.66])
        assert found.validated == scores and found.start == pytest.approx([0.61, 0.61])
        scored = [call[1:] for call in stand.calls if call[0] == "train_to_end"]
        assert scored == [(START, 0), (START, 1), (two, 0), (two, 1)]
        assert read_confirmation(tmp_path) == replace(found, seeds=[0, 1])
        assert chosen_config(tmp_path, made(12)) == distinct(made(12), 2)[two]

    def test_without_a_gain_the_start_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two = distinct(made(12), 2)
        assert chosen_config(tmp_path, made(12)) == made(12).completed[0].config
        scores = {START: [0.6, 0.6], one: [0.6, 0.6], two: [0.5, 0.6]}
        found, stand = self.confirm(tmp_path, monkeypatch, scores)
        assert found.chosen == START and found.gain == 0
        assert {call[1] for call in stand.calls if call[0] == "train_to_end"} == {START}
        assert chosen_config(tmp_path, made(12)) == BASE

    def test_a_finalist_that_fails_with_a_seed_is_not_chosen(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two = distinct(made(12), 2)
        scores = {START: [0.6, 0.6], one: [0.9], two: [0.65, 0.65]}
        found, _ = self.confirm(tmp_path, monkeypatch, scores)
        assert found.chosen == two and math.isnan(found.validated[one][1])

    def test_a_training_that_was_scored_is_not_trained_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two = distinct(made(12), 2)
        scores = {START: [0.6, 0.6], one: [0.7, 0.7], two: [0.5, 0.5]}
        self.confirm(tmp_path, monkeypatch, scores)
        _, stand = self.confirm(tmp_path, monkeypatch, scores)
        assert stand.calls == [("train_unscored", two, 0), ("train_unscored", two, 1)]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--finalists", "0"], "finalists must be at least 1, not 0"),
        (["--threads", "-1"], "threads must be at least 0, not -1"),
        (["--seeds", "1", "1"], "seeds must be one or more, each once, not 1, 1"),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_a_line(
    tmp_path: Path, words: list[str], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        commands.confirm([str(tmp_path), *words])
