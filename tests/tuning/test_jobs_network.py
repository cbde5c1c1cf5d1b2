"""A job's files on machines with networks of their own, where the chief is found by its address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools import wait_until
from tests.tuning.clusters import Cluster, Processes, Slurm, calls, processes
from tests.tuning.namespaces import Machine, machines
from tuning.folder import read_search
from tuning.jobs import TRAINING_PORT, KubernetesJob, SlurmJob, kubernetes, slurm
from tuning.trials import COMPLETED

WORDS = ("--trials", "6")
REAL_WORDS = ("--preset", "tiny", "--epochs", "2", "--trials", "3")
LONG = 400.0
"""Seconds that a search of the real commands may take on two busy cores."""


@contextmanager
def network(
    folder: Path, count: int, real: bool = False
) -> Iterator[tuple[Processes, list[Machine]]]:
    """Give where processes are started from, and machines; processes end before machines do."""
    (folder / "bin").mkdir()
    (folder / "here").mkdir()
    with machines(count) as found, processes(folder / "bin", real) as running:
        yield running, found


def start_search(
    job: KubernetesJob, folder: Path, running: Processes, found: list[Machine]
) -> list[int]:
    """Run every pod of a search on a machine of its own, and return how they ended."""
    kubernetes(job, folder / "jobs")
    volume = folder / "here"
    cluster = Cluster(folder / "jobs", volume, {f"{job.title}-chief": found[0].address})
    pods = [*cluster.pods("chief.yaml"), *cluster.pods("workers.yaml")]
    started = [
        running.start(machine.command(*pod.command), pod.environment, volume)
        for machine, pod in zip(found, pods, strict=True)
    ]
    return [process.wait(LONG) for process in started]


def start_training(
    job: KubernetesJob, folder: Path, running: Processes, found: list[Machine]
) -> list[int]:
    """Run every pod of a training on a machine of its own, and return how they ended."""
    kubernetes(job, folder / "jobs")
    volume = folder / "here"
    places = {peer: each.address for peer, each in zip(job.peers, found, strict=True)}
    pods = Cluster(folder / "jobs", volume, places).pods("trainers.yaml")
    started = [
        running.start(machine.command(*pod.command), pod.environment, volume)
        for machine, pod in zip(found, pods, strict=True)
    ]
    return [process.wait(LONG) for process in started]


def search_whose_chief_moves(
    job: SlurmJob, folder: Path, running: Processes, found: list[Machine], halfway: Path
) -> list[int]:
    """Run a search that is gone on with by the last machine, and return how its tasks ended.

    Args:
        job: The search.
        folder: Where everything is.
        running: Where processes are started from.
        found: One machine more than there are tasks.
        halfway: A path, with wildcards, in the folder; once it is there the chief is killed.
    """
    slurm(job, folder / "jobs")
    search = Slurm(running, folder / "jobs" / "search.sbatch", folder / "here")
    *before, last = found
    tasks = [
        search.task(index, *machine.command(), node=machine.address)
        for index, machine in enumerate(before)
    ]
    wait_until(lambda: [*folder.glob(str(halfway))], LONG)
    running.end(tasks[0])
    tasks[0] = search.task(0, *last.command(), node=last.address)
    return [task.wait(LONG) for task in tasks]


def done(run_dir: Path) -> list[str]:
    """Return the trials that a stand-in counts as done."""
    return sorted(trial for trial, _ in json.loads((run_dir / "state.json").read_text())["done"])


class TestStandIns:
    """Whether all find each other."""

    DONE = [f"trial-{number}" for number in range(1, 7)]

    def test_a_search_in_a_cluster(self, tmp_path: Path):
        with network(tmp_path, 3) as (running, found):
            job = KubernetesJob(recipe="sentiment", words=WORDS)
            assert start_search(job, tmp_path, running, found) == [0, 0, 0]
        assert done(tmp_path / "here" / "runs") == self.DONE

    def test_a_search_under_slurm_whose_chief_moves(self, tmp_path: Path):
        with network(tmp_path, 4) as (running, found):
            job = SlurmJob(recipe="sentiment", words=WORDS)
            halfway = Path("here", "runs", "done-2")
            ended = search_whose_chief_moves(job, tmp_path, running, found, halfway)
        assert ended == [0, 0, 0]
        run_dir = tmp_path / "here" / "runs"
        assert done(run_dir) == self.DONE
        looked_at = {call["environment"]["KERASTUNER_ORACLE_IP"] for call in calls(run_dir)}
        assert looked_at == {"0.0.0.0", found[0].address, found[3].address}

    def test_a_training_in_a_cluster(self, tmp_path: Path):
        job = KubernetesJob(recipe="sentiment", kind="training", workers=3)
        with network(tmp_path, 3) as (running, found):
            assert start_training(job, tmp_path, running, found) == [0, 0, 0]
        volume = tmp_path / "here"
        assert json.loads((volume / "runs" / "metrics.json").read_text()) == {"workers": 3}
        (addresses,) = {
            tuple(json.loads(call["environment"]["TF_CONFIG"])["cluster"]["worker"])
            for call in calls(volume / "runs")
        }
        assert addresses == tuple(f"{each.address}:{TRAINING_PORT}" for each in found)


@pytest.mark.slow
class TestSearches:
    """The real commands: every trial is completed, and none twice."""

    def test_in_a_cluster(self, tmp_path: Path):
        with network(tmp_path, 3, real=True) as (running, found):
            job = KubernetesJob(recipe="sentiment", words=REAL_WORDS, cpus=1)
            assert start_search(job, tmp_path, running, found) == [0, 0, 0]
        self.check(tmp_path / "here" / "runs")

    def test_a_training_of_two_in_a_cluster(self, tmp_path: Path):
        words = ("--preset", "tiny", "--epochs", "2")
        job = KubernetesJob(recipe="sentiment", kind="training", words=words, workers=2, cpus=1)
        with network(tmp_path, 2, real=True) as (running, found):
            assert start_training(job, tmp_path, running, found) == [0, 0]
        run_dir = tmp_path / "here" / "runs"
        assert len(json.loads((run_dir / "history.json").read_text())) == 2
        assert json.loads((run_dir / "metrics.json").read_text())["test"]["accuracy"] > 0.3

    def test_under_slurm_with_a_chief_that_moves(self, tmp_path: Path):
        with network(tmp_path, 4, real=True) as (running, found):
            job = SlurmJob(recipe="sentiment", words=REAL_WORDS, cpus=1)
            halfway = Path("here", "runs", "trials", "*", "history.json")
            ended = search_whose_chief_moves(job, tmp_path, running, found, halfway)
        assert ended == [0, 0, 0]
        self.check(tmp_path / "here" / "runs")

    def check(self, run_dir: Path) -> None:
        """Check what a search left behind."""
        found = read_search(run_dir)
        assert [trial.status for trial in found.trials] == [COMPLETED] * 3
        assert {trial.worker for trial in found.trials} <= {"worker-0", "worker-1", "worker-2"}
        assert [*(run_dir / "best").glob("*/metrics.json")]
