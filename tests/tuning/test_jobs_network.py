"""A job's files on machines with networks of their own, where the chief is found by its address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tools import wait_until
from tests.tuning.clusters import Cluster, Processes, Slurm, calls, processes
from tests.tuning.namespaces import Machine, machines
from tuning.jobs import KubernetesJob, SlurmJob, kubernetes, slurm

SEARCH = KubernetesJob(recipe="sentiment", words=("--trials", "6"))
DONE = [f"trial-{number}" for number in range(1, 7)]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[tuple[Processes, list[Machine]]]:
    """Where processes are started from, and four machines; processes end before machines do."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "here").mkdir()
    with machines(4) as found, processes(tmp_path / "bin") as running:
        yield running, found


def done(run_dir: Path) -> list[str]:
    """Return the trials that are done."""
    file = run_dir / "state.json"
    state = json.loads(file.read_text()) if file.exists() else {"done": []}
    return sorted(trial for trial, _ in state["done"])


def test_a_search_in_a_cluster(network: tuple[Processes, list[Machine]], tmp_path: Path) -> None:
    running, (first, *others, _) = network
    kubernetes(SEARCH, tmp_path / "jobs")
    volume = tmp_path / "here"
    places = {f"{SEARCH.title}-chief": first.address}
    cluster = Cluster(tmp_path / "jobs", volume, places)
    pods = [*cluster.pods("workers.yaml"), *cluster.pods("chief.yaml")]
    started = [
        running.start(machine.command(*pod.command), pod.environment, volume)
        for machine, pod in zip((*others, first), pods, strict=True)
    ]
    assert [process.wait(30) for process in started] == [0, 0, 0]
    assert done(volume / "runs") == DONE


def test_a_search_under_slurm_whose_chief_moves(
    network: tuple[Processes, list[Machine]], tmp_path: Path
) -> None:
    running, (first, *others, last) = network
    job = SlurmJob(recipe="sentiment", words=("--trials", "6"))
    slurm(job, tmp_path / "jobs")
    search = Slurm(running, tmp_path / "jobs" / "search.sbatch", tmp_path / "here")
    tasks = [
        search.task(index, *machine.command(), node=machine.address)
        for index, machine in enumerate((first, *others))
    ]
    run_dir = tmp_path / "here" / "runs"
    wait_until(lambda: len(done(run_dir)) > 1)
    running.end(tasks[0])
    tasks[0] = search.task(0, *last.command(), node=last.address)
    assert [task.wait(30) for task in tasks] == [0, 0, 0]
    assert done(run_dir) == DONE
    looked = {call["environment"]["KERASTUNER_ORACLE_IP"] for call in calls(run_dir)}
    assert looked == {"0.0.0.0", first.address, last.address}


def test_a_training_in_a_cluster(network: tuple[Processes, list[Machine]], tmp_path: Path) -> None:
    running, found = network
    job = replace(SEARCH, kind="training", words=(), workers=3)
    kubernetes(job, tmp_path / "jobs")
    volume = tmp_path / "here"
    places = {peer: machine.address for peer, machine in zip(job.peers, found, strict=False)}
    places |= {f"{peer}:2222": f"{address}:2222" for peer, address in places.items()}
    pods = Cluster(tmp_path / "jobs", volume, places).pods("trainers.yaml")
    started = [
        running.start(machine.command(*pod.command), pod.environment, volume)
        for machine, pod in zip(found, pods, strict=False)
    ]
    assert [process.wait(30) for process in started] == [0, 0, 0]
    assert json.loads((volume / "runs" / "metrics.json").read_text()) == {"workers": 3}
