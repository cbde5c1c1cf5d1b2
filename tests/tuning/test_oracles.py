"""KerasTuner's algorithms, kept alive: leases, one file of state, and the same draws again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recipes.headline import Headline
from recipes.run import CHECKPOINT
from tests.tuning.searches import close, open_oracle, work_off, write_outcome
from tuning.durable import Durable
from tuning.folder import ORACLE, trial_folder
from tuning.oracles import ORACLES
from zoo.errors import ConfigError


@pytest.mark.parametrize("algorithm", ORACLES)
def test_a_chief_that_is_killed_all_the_time_tries_what_one_that_is_not_does(
    algorithm: str, tmp_path: Path
) -> None:
    def killed(chief: Durable) -> Durable:
        close(chief)
        return open_oracle(tmp_path / "killed", algorithm, trials=10)

    whole = work_off(tmp_path / "whole", open_oracle(tmp_path / "whole", algorithm, trials=10))
    again = work_off(tmp_path / "killed", open_oracle(tmp_path / "killed", algorithm, 10), killed)
    assert len(whole) == 10
    assert again == whole


@pytest.mark.parametrize("algorithm", ORACLES)
def test_the_first_trial_is_the_configuration_that_the_search_starts_from(
    algorithm: str, tmp_path: Path
) -> None:
    chief = open_oracle(tmp_path, algorithm)
    values = chief.create_trial("worker-0").hyperparameters.values
    close(chief)
    assert (values["units"], values["learning_rate"], values["cell"]) == (16, 0.01, "lstm")
    assert "layers" not in values


def test_no_combination_of_a_grid_is_left_out_or_tried_twice(tmp_path: Path) -> None:
    tried = [tuple(sorted(v.items())) for v in work_off(tmp_path, open_oracle(tmp_path, "grid"))]
    assert len(tried) == len(set(tried)) == 3 * 5 * 2 * (1 + 3)


def test_other_seeds_draw_other_values(tmp_path: Path) -> None:
    one, two = (
        work_off(tmp_path / str(seed), open_oracle(tmp_path / str(seed), trials=4, seed=seed))
        for seed in (0, 1)
    )
    assert one[0] == two[0]
    assert one[1:] != two[1:]


def test_bayesian_search_goes_where_the_scores_are_and_nowhere_twice(tmp_path: Path) -> None:
    tried = work_off(tmp_path, open_oracle(tmp_path, "bayesian", trials=16))
    # The score grows with the units more than with anything else; a third have 64 by chance.
    assert sum(values["units"] == 64 for values in tried[8:]) >= 6
    assert len({json.dumps(values, sort_keys=True) for values in tried}) == 16


class TestHyperband:
    """Few epochs for many, all epochs for the best."""

    def test_the_best_of_a_rung_is_trained_on_from_its_checkpoint(self, tmp_path: Path) -> None:
        tried = work_off(tmp_path, open_oracle(tmp_path, "hyperband"))
        promoted = [values for values in tried if "tuner/trial_id" in values]
        assert promoted
        assert {values["tuner/epochs"] for values in tried} == {1, 3, 9}
        for values in promoted:
            parent = tried[int(values["tuner/trial_id"])]
            assert values["tuner/initial_epoch"] == parent["tuner/epochs"] < values["tuner/epochs"]
            assert values["units"] == parent["units"]

    def test_the_start_is_trained_to_its_end(self, tmp_path: Path) -> None:
        first, *others = work_off(tmp_path, open_oracle(tmp_path, "hyperband"))
        assert (first["tuner/epochs"], first["units"]) == (9, 16)
        assert sum(values["tuner/epochs"] == 1 for values in others) == 9
        assert not any(values.get("tuner/trial_id") == "0000" for values in others)

    def test_weights_are_kept_as_long_as_a_rung_may_need_them(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path, "hyperband")
        for number in range(4):
            trial = chief.create_trial("worker-0")
            file = trial_folder(tmp_path, trial.trial_id) / CHECKPOINT
            file.parent.mkdir(parents=True)
            file.write_bytes(b"weights")
            write_outcome(tmp_path, trial.trial_id, score=0.5 - number / 10)
            chief.end_trial(trial)
        close(chief)
        assert len([*tmp_path.glob(f"trials/*/{CHECKPOINT}")]) == 4

    def test_what_fails_or_is_refused_leaves_its_rung_to_the_others(self, tmp_path: Path) -> None:
        chief, ended = open_oracle(tmp_path, "hyperband"), []
        while (trial := chief.create_trial("worker-0")).status == "RUNNING":
            values, number = trial.hyperparameters.values, len(ended)
            # Of the nine of the first rung seven fail, so that two are left for three places.
            failed = 1 <= number <= 7
            score = None if failed else 0.5 + number / 100
            write_outcome(tmp_path, trial.trial_id, score=score, refused=number == 3)
            chief.end_trial(trial)
            ended.append((values["tuner/epochs"], values.get("tuner/trial_id"), failed))
        planned = chief.planned
        close(chief)
        parents = {parent for _, parent, _ in ended if parent}
        assert parents and not any(ended[int(parent)][2] for parent in parents)
        epochs = [row[0] for row in ended[1:]]
        assert (epochs.count(1), epochs.count(9)) == (9, 1 + 2 + 3)  # the last rungs are full
        assert planned == len(ended) + 1  # a place of the first bracket's second rung stays free

    def test_weights_are_kept_until_the_next_of_its_line_has_taken_them(
        self, tmp_path: Path
    ) -> None:
        chief = open_oracle(tmp_path, "hyperband")
        while True:
            trial = chief.create_trial("worker-0")
            parent = trial.hyperparameters.values.get("tuner/trial_id")
            if trial.hyperparameters.values["tuner/epochs"] == 9 and parent:
                break
            file = trial_folder(tmp_path, trial.trial_id) / CHECKPOINT
            file.parent.mkdir(parents=True)
            file.write_bytes(b"weights")
            write_outcome(tmp_path, trial.trial_id, score=0.5)
            chief.end_trial(trial)
        other = chief.create_trial("worker-1")  # by now the bracket has all its trials
        write_outcome(tmp_path, other.trial_id, score=0.9)
        chief.end_trial(other)
        close(chief)
        assert not chief._places(parent)
        assert (trial_folder(tmp_path, parent) / CHECKPOINT).exists()

    def test_of_a_space_with_few_combinations_the_best_are_promoted_all_the_same(
        self, tmp_path: Path
    ) -> None:
        def space(hp: Any, base: Any) -> Any:
            return replace(base, units=hp.Choice("units", [16, 32, 64, 128, 256]))

        chief = open_oracle(tmp_path, "hyperband", function=space)
        _, *tried = work_off(tmp_path, chief)  # of nine places in the first rung four are taken
        assert sorted(each["units"] for each in tried[:4]) == [32, 64, 128, 256]
        promoted = [(each["tuner/epochs"], each["units"]) for each in tried[4:]]
        assert promoted == [(3, 256), (3, 128), (3, 64), (9, 256)]

    def test_it_takes_three_epochs(self, tmp_path: Path) -> None:
        from recipes.run import Run
        from tests.tuning.searches import ACCURACY, parameters
        from tuning.oracles import oracle

        with (
            Run(tmp_path, "sentiment", {}) as run,
            pytest.raises(ConfigError, match="epochs must be 3 or more, not 2"),
        ):
            oracle("hyperband", run, parameters(), ACCURACY, 0, 0, 60.0, epochs=2)


class TestTrials:
    """Who has which trial, and what becomes of it."""

    def test_a_worker_that_asks_again_gets_its_trial_again(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path)
        first = chief.create_trial("worker-0")
        other = chief.create_trial("worker-1")
        again = chief.create_trial("worker-0")
        close(chief)
        assert first.trial_id == again.trial_id != other.trial_id
        assert again.metrics.get_last_value("attempt") == 2

    def test_a_chief_that_comes_back_knows_which_attempt_is_under_way(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path)
        chief.create_trial("worker-0")
        trial = chief.create_trial("worker-0")
        close(chief)
        again = open_oracle(tmp_path)
        told = again.update_trial(trial.trial_id, {})
        close(again)
        assert (told.status, told.metrics.get_last_value("attempt")) == ("RUNNING", 2)

    def test_a_lost_worker_s_trial_goes_to_the_next_that_asks(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path, lease=-1.0)
        lost = chief.create_trial("worker-0")
        assert chief.expire() == ["worker-0"]
        assert chief.update_trial(lost.trial_id, {}).status == "STOPPED"
        taken = chief.create_trial("worker-1")
        close(chief)
        assert taken.trial_id == lost.trial_id
        stored = json.loads((tmp_path / ORACLE).read_text())
        assert [row["facts"]["worker"] for row in stored["trials"]] == ["worker-1"]

    def test_a_worker_that_gives_signs_of_life_keeps_its_trial(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path, lease=600.0)
        trial = chief.create_trial("worker-0")
        assert chief.expire() == []
        assert chief.update_trial(trial.trial_id, {}).status == "RUNNING"
        close(chief)

    def test_the_last_worker_waits_for_those_that_may_still_be_lost(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path, trials=1)
        trial = chief.create_trial("worker-0")
        assert chief.create_trial("worker-1").status == "IDLE"
        write_outcome(tmp_path, trial.trial_id)
        chief.end_trial(trial)
        assert chief.create_trial("worker-1").status == "STOPPED"
        assert chief.exhausted
        close(chief)
        assert (again := open_oracle(tmp_path, trials=1)).exhausted
        close(again)
        assert not (more := open_oracle(tmp_path, trials=2)).exhausted
        assert more.create_trial("worker-0").status == "RUNNING"
        close(more)

    def test_a_trial_ends_once(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path, trials=3)
        trial = chief.create_trial("worker-0")
        with pytest.raises(LookupError, match="has no outcome"):
            chief.end_trial(trial)
        write_outcome(tmp_path, trial.trial_id)
        chief.end_trial(trial)
        chief.end_trial(trial)
        close(chief)
        assert chief.end_order == [trial.trial_id]
        assert chief.idle

    @pytest.mark.parametrize("algorithm", ORACLES)
    def test_no_state_is_written_in_which_it_has_ended_and_is_under_way(
        self, algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chief = open_oracle(tmp_path, algorithm, trials=4)
        states = []
        write = chief._run.write_json

        def noted(name: str, value: object) -> None:
            states.append(json.loads(json.dumps(value)))
            write(name, value)

        monkeypatch.setattr(chief._run, "write_json", noted)
        for _ in range(3):
            trial = chief.create_trial("worker-0")
            write_outcome(tmp_path, trial.trial_id)
            chief.end_trial(trial)
        close(chief)
        assert len(states) >= 6
        for value in states:
            under_way = value["state"]["ongoing_trials"].values()
            assert not {*under_way} & {*value["state"]["end_order"]}

    def test_one_that_ends_while_it_waits_is_not_given_away(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path, trials=2)
        trial = chief.create_trial("worker-0")
        chief.release(["worker-0"])
        write_outcome(tmp_path, trial.trial_id)
        chief.end_trial(trial)
        assert chief.create_trial("worker-1").trial_id != trial.trial_id
        close(chief)

    def test_after_the_search_is_closed_nothing_ends(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path)
        trial = chief.create_trial("worker-0")
        write_outcome(tmp_path, trial.trial_id)
        chief.closed = True
        chief.end_trial(trial)
        assert chief.end_order == [] and not chief.idle
        close(chief)

    def test_what_was_refused_is_no_failure(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path)
        for refused in (True, False):
            trial = chief.create_trial("worker-0")
            write_outcome(tmp_path, trial.trial_id, score=None, reason="no", refused=refused)
            chief.end_trial(trial)
        close(chief)
        assert chief.failures == 1

    @pytest.mark.parametrize("lower", [False, True])
    def test_the_best_one_keeps_its_weights_and_the_others_do_not(
        self, lower: bool, tmp_path: Path
    ) -> None:
        chief = open_oracle(tmp_path, headline=Headline("accuracy", lower))
        for value in (0.3, 0.9, 0.1):
            trial = chief.create_trial("worker-0")
            file = trial_folder(tmp_path, trial.trial_id) / CHECKPOINT
            file.parent.mkdir(parents=True)
            file.write_bytes(b"weights")
            write_outcome(tmp_path, trial.trial_id, score=value)
            chief.end_trial(trial)
        close(chief)
        (kept,) = tmp_path.glob(f"trials/*/{CHECKPOINT}")
        assert chief.trials[kept.parent.name].score == (0.1 if lower else 0.9)

    def test_a_failed_one_has_its_reason_and_the_search_goes_on(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path)
        for _ in range(6):  # KerasTuner itself gives up after three
            trial = chief.create_trial("worker-0")
            write_outcome(tmp_path, trial.trial_id, score=None, reason="the loss is nan")
            chief.end_trial(trial)
        close(chief)
        assert {(t.status, t.message) for t in chief.trials.values()} == {
            ("FAILED", "the loss is nan")
        }

    def test_all_the_time_counts_in_which_any_was_under_way(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 100.0
        monkeypatch.setattr("tuning.durable.time.monotonic", lambda: now)
        chief = open_oracle(tmp_path)
        for away in (5.0, 7.0):
            trial = chief.create_trial("worker-0")
            now += 3.0
            chief.save()
            now += 4.0
            write_outcome(tmp_path, trial.trial_id)
            chief.end_trial(trial)
            now += away
        assert chief.seconds == 14.0
        chief.create_trial("worker-0")
        now += 2.0
        chief.release(["worker-0"])
        now += 9.0
        chief.save()
        assert chief.seconds == 16.0
        close(chief)

    def test_a_failed_one_does_not_say_by_what_trials_are_judged(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path)
        for facts in (
            {"score": 0.35, "objective": "mse"},
            {"score": None, "objective": "", "reason": "the loss is nan"},
        ):
            trial = chief.create_trial("worker-0")
            write_outcome(tmp_path, trial.trial_id, **facts)
            chief.end_trial(trial)
        close(chief)
        assert json.loads((tmp_path / ORACLE).read_text())["objective"] == "mse"

    def test_one_that_cannot_be_trained_to_its_end_has_failed_for_good(
        self, tmp_path: Path
    ) -> None:
        chief = open_oracle(tmp_path)
        for value in (0.9, 0.5):
            trial = chief.create_trial("worker-0")
            write_outcome(tmp_path, trial.trial_id, score=value)
            chief.end_trial(trial)
        best, other = chief.end_order
        chief.fail(best, "the loss is nan")
        close(chief)
        again = open_oracle(tmp_path)
        assert (again.trials[best].status, again.trials[best].message) == (
            "FAILED",
            "the loss is nan",
        )
        assert [trial.trial_id for trial in again.get_best_trials(1)] == [other]
        close(again)

    def test_a_stopped_search_hands_out_nothing_and_loses_nothing(self, tmp_path: Path) -> None:
        chief = open_oracle(tmp_path)
        trial = chief.create_trial("worker-0")
        chief.stopped = True
        assert chief.update_trial(trial.trial_id, {}).status == "STOPPED"
        # Its own worker too, which would go on with what it was just told to leave.
        for worker in ("worker-0", "worker-1"):
            assert chief.create_trial(worker).status == "STOPPED"
        close(chief)
        again = open_oracle(tmp_path)
        assert again.create_trial("worker-0").trial_id == trial.trial_id
        close(again)

    def test_numbers_are_drawn_so_that_single_precision_tells_them_apart(
        self, tmp_path: Path
    ) -> None:
        chief = open_oracle(tmp_path)
        for worker in range(5):
            values = chief.create_trial(f"worker-{worker}").hyperparameters.values
            for value in values.values():
                assert not isinstance(value, float) or value == float(f"{value:.4g}")
        close(chief)
