"""What a search does when parts of it hang, or are killed by kill -9."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.tuning.commands import TINY, command, named, run
from tuning.folder import ORACLE, best_folder, curve_of, read_search


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["--trials", "3", "--workers", "1", "--lease", "25s", "--run-dir", str(folder)]
    process = subprocess.Popen(command("run", *TINY, *words), stderr=subprocess.DEVNULL)
    try:
        while not read_running(folder):
            time.sleep(0.1)
        (worker,) = named(process.pid, "worker")
        os.kill(worker, signal.SIGSTOP)
        assert process.wait(400) == 0
    finally:
        process.kill()
        process.wait()
    assert [trial.status for trial in read_search(folder).trials] == ["completed"] * 3


@pytest.mark.slow
def test_the_trial_of_a_frozen_worker_is_another_s_from_where_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["--trials", "2", "--workers", "2", "--lease", "15s", "--epochs", "300"]
    process = subprocess.Popen(
        command("run", *TINY, *words, "--run-dir", str(folder)), stderr=subprocess.DEVNULL
    )
    try:
        while epochs_of(folder) < 6:
            time.sleep(0.1)
        # Its trial's own process trains on, and holds the trial's folder.
        os.kill(named(process.pid, "worker")[0], signal.SIGSTOP)
        assert process.wait(500) == 0
    finally:
        process.kill()
        process.wait()
    rows = json.loads((folder / ORACLE).read_text())["trials"]
    assert [row["status"] for row in rows] == ["COMPLETED"] * 2
    assert [len(row["facts"]["curve"]) for row in rows] == [300] * 2
    assert sum(row["facts"]["attempt"] for row in rows) >= 3


@pytest.mark.slow
def test_a_worker_trains_on_while_its_chief_is_away(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["--trials", "1", "--epochs", "400", "--run-dir", str(folder)]
    process = subprocess.Popen(command("run", *TINY, *words), stderr=subprocess.DEVNULL)
    try:
        while epochs_of(folder) < 3:
            time.sleep(0.1)
        (worker,), (chief,) = named(process.pid, "worker"), named(process.pid, "chief")
        os.kill(chief, signal.SIGKILL)
        beat, back = folder / "workers" / "worker-0" / "beat", time.time() + 20
        while beat.stat().st_mtime < back:  # by then it has told the new chief that it lives
            assert process.poll() is None
            time.sleep(0.1)
        assert epochs_of(folder) < 400, "the training was over before the chief was back"
        assert named(process.pid, "worker") == [worker] and named(process.pid, "chief") != [chief]
        assert process.wait(400) == 0
    finally:
        process.kill()
        process.wait()
    (row,) = json.loads((folder / ORACLE).read_text())["trials"]
    assert row["facts"]["attempt"] == 1 and len(row["facts"]["curve"]) == 400


def epochs_of(folder: Path) -> int:
    """Return how many epochs the first trial has behind it."""
    return sum(len(curve_of(run, "accuracy")) for run in folder.glob("trials/*"))


def read_running(folder: Path) -> bool:
    try:
        return any(trial.status == "running" for trial in read_search(folder).trials)
    except Exception:  # there is no search yet
        return False


def torment(words: list[str], folder: Path, dice: random.Random) -> None:
    """Run a search to its end, and kill parts of it ten times while trials run."""
    victims = ["worker"] * 4 + ["chief"] * 3 + ["launcher"] * 3
    dice.shuffle(victims)
    process = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
    before = 0
    for victim in victims:
        # Not while everything starts: a trial must have been handed out since the last time.
        while handed_out(folder) == before:
            assert process.poll() is None, f"the search was over before the {victim} was killed"
            time.sleep(0.1)
        time.sleep(dice.uniform(0, 3))
        before = handed_out(folder)
        found = [process.pid] if victim == "launcher" else named(process.pid, victim)
        os.kill(dice.choice(found), signal.SIGKILL)
        if victim == "launcher":
            process.wait()
            process = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
    assert process.wait(900) == 0


def handed_out(folder: Path) -> int:
    """Return how often a trial was given to a worker."""
    if not (folder / ORACLE).exists():
        return 0
    trials = json.loads((folder / ORACLE).read_text())["trials"]
    return sum(row["facts"].get("attempt", 0) for row in trials)


def accuracy_of(folder: Path, trial: str) -> float:
    results = json.loads((best_folder(folder, trial) / "metrics.json").read_text())
    return results["test"]["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "workers"), [("random", 2), ("hyperband", 1)])
def test_chaos(algorithm: str, workers: int, tmp_path: Path) -> None:
    """Kill -9 of worker, chief and the search itself: no trial is lost, repeated, or another."""
    folder, left_alone = tmp_path / "killed", tmp_path / "whole"
    words = ["run", *TINY, "--epochs", "6", "--algorithm", algorithm, "--trials", "16", "--run-dir"]
    torment([*words, str(folder), "--workers", str(workers)], folder, random.Random(algorithm))
    assert run(*words, str(left_alone), timeout=900).returncode == 0

    state = json.loads((folder / ORACLE).read_text())
    assert handed_out(folder) >= len(state["trials"]) + 4, "too few trials were interrupted"
    ended = state["state"]["end_order"]
    assert sorted(ended) == [row["id"] for row in state["trials"]]
    killed, whole = read_search(folder, whole=True), read_search(left_alone, whole=True)
    assert [t.id for t in killed.trials] == [t.id for t in whole.trials]
    assert len(killed.trials) == 16 and {t.status for t in killed.trials} == {"completed"}
    for ours, theirs in zip(killed.trials, whole.trials, strict=True):
        assert ours.config == theirs.config
        assert ours.curve == pytest.approx(theirs.curve, abs=1e-6)
    assert killed.best and whole.best
    assert accuracy_of(folder, killed.best.id) == pytest.approx(
        accuracy_of(left_alone, whole.best.id)
    )
