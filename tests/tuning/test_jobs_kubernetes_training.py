"""A training's files for Kubernetes, by running what they hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tools import wait_until
from tests.tuning.clusters import Cluster, Processes, calls, outlasts
from tests.tuning.test_jobs_kubernetes import ODD, TRAINING, local, running

__all__ = ["running"]


class TestTraining:
    """The commands of the manifests, with a stand-in for what they run."""

    @pytest.fixture
    def training(self, tmp_path: Path) -> Cluster:
        return local(TRAINING, tmp_path)

    def start(self, training: Cluster, running: Processes, *indices: int) -> list[Any]:
        pods = training.pods("trainers.yaml")
        return [
            running.start(pods[index].command, pods[index].environment, training.volume)
            for index in indices or range(len(pods))
        ]

    def test_all_meet_and_words_arrive_as_they_are(self, training: Cluster, running: Processes):
        assert [process.wait(30) for process in self.start(training, running)] == [0, 0, 0]
        run_dir = training.volume / "runs"
        assert json.loads((run_dir / "metrics.json").read_text()) == {"workers": 3}
        found = calls(run_dir)
        assert len(found) == 3
        for call in found:
            given = ["sentiment", "train", *ODD, "--strategy", "multiworker", "--run-dir"]
            assert call["words"] == [*given, str(run_dir)]
        assert self.start(training, running, 1)[0].wait(30) == 0  # nobody is there to be met
        assert len(calls(run_dir)) == 3

    def test_one_that_fails_or_is_killed_ends_none_of_the_others(
        self, training: Cluster, running: Processes
    ):
        run_dir = training.volume / "runs"
        run_dir.mkdir()
        (run_dir / "fail").touch()
        first, second, third = self.start(training, running)
        wait_until(lambda: len(calls(run_dir)) >= 3)
        running.end(third)
        third = self.start(training, running, 2)[0]
        assert [each.wait(60) for each in (first, second, third)] == [0, 0, 0]
        assert len(calls(run_dir)) > 3

    def test_all_begin_again_when_the_first_one_fails_behind_the_others(
        self, training: Cluster, running: Processes
    ):
        run_dir = training.volume / "runs"
        run_dir.mkdir()
        (run_dir / "stumble").touch()
        assert [process.wait(60) for process in self.start(training, running)] == [0, 0, 0]
        assert json.loads((run_dir / "metrics.json").read_text()) == {"workers": 3}
        assert len(calls(run_dir)) == 6

    def test_it_waits_for_pods_that_have_no_name_yet(self, tmp_path: Path, running: Processes):
        training = local(TRAINING, tmp_path)
        away = replace(training, places={**training.places, TRAINING.peers[2]: "nowhere.invalid"})
        process = self.start(away, running, 0)[0]
        assert outlasts(process)
        assert not calls(training.volume / "runs")

    def test_it_gives_up_without_progress(self, tmp_path: Path, running: Processes):
        job = replace(TRAINING, words=("--code", "3"), retries=2)
        training = local(job, tmp_path)
        assert self.start(training, running, 0)[0].wait(30) == 1
        assert len(calls(training.volume / "runs")) == 3

    def test_a_checkpoint_counts_as_progress(self, tmp_path: Path, running: Processes):
        job = replace(TRAINING, words=("--code", "3", "--progress", "4"), retries=2)
        training = local(job, tmp_path)
        assert self.start(training, running, 0)[0].wait(30) == 1
        assert len(calls(training.volume / "runs")) == 4 + 2
