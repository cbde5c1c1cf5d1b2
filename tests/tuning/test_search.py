"""Whole searches: processes, folders, and what survives kill -9."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuning.confirmation import read_confirmation
from tuning.folder import ORACLE, best_folder, curve_of, read_search
from tuning.processes import FOLLOWS

TINY = ["sentiment", "--preset", "tiny", "--epochs", "3", "--max-length", "16"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tuning", *words]


def run(*words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=timeout)


def descendants(process: int) -> list[tuple[int, list[str]]]:
    """Return the processes below one, with their command lines."""
    parents: dict[int, list[tuple[int, list[str]]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
            parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
        except (OSError, ValueError):
            continue
        parents.setdefault(parent, []).append((int(folder.name), words))
    found = list(parents.get(process, []))
    for child, _ in parents.get(process, []):
        found += descendants(child)
    return found


def named(process: int, role: str) -> list[int]:
    """Return the processes below one that run a command of `python -m tuning`."""
    return [child for child, words in descendants(process) if words[1:4] == ["-m", "tuning", role]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A search of two trials by two workers, and what it printed."""
    folder = tmp_path_factory.mktemp("search") / "run"
    done = run("run", *TINY, "--trials", "2", "--workers", "2", "--run-dir", str(folder))
    assert done.returncode == 0, done.stderr
    yield folder, done.stdout


class TestFinishedSearch:
    """What is there when a search is over."""

    def test_every_trial_has_a_score_and_a_worker(self, finished: tuple[Path, str]) -> None:
        search = read_search(finished[0], whole=True)
        assert [trial.status for trial in search.trials] == ["completed", "completed"]
        assert {trial.worker for trial in search.trials} == {"worker-0", "worker-1"}
        for trial in search.trials:
            assert trial.score == max(trial.curve) and len(trial.curve) == 3
            assert trial.seconds > 0 and trial.size and trial.config

    def test_the_best_one_is_trained_to_its_end_and_scored(
        self, finished: tuple[Path, str]
    ) -> None:
        folder, printed = finished
        search = read_search(folder, whole=True)
        assert search.best
        best = best_folder(folder, search.best.id)
        results = json.loads((best / "metrics.json").read_text())
        assert f"best validated accuracy: {search.best.score:.4f}" in printed
        assert f"test accuracy: {results['test']['accuracy']:.4f}" in printed
        config = json.loads((best / "config.json").read_text())
        assert config == {"recipe": "sentiment", **(search.best.config or {})}

    def test_no_trial_looked_at_the_test_part(self, finished: tuple[Path, str]) -> None:
        folder, _ = finished
        assert not [*folder.glob("trials/*/metrics.json")]

    @pytest.mark.slow
    def test_several_seeds_choose_and_the_chosen_one_is_what_best_prints(
        self, finished: tuple[Path, str]
    ) -> None:
        folder, _ = finished
        words = [str(folder), "--seeds", "1", "--finalists", "1"]
        done = run("confirm", *words)
        assert done.returncode == 0, done.stderr
        first, second = read_search(folder, whole=True).trials
        assert "start, seed 1: validated accuracy 0." in done.stdout
        assert f"trial {second.id}, seed 1: validated accuracy 0." in done.stdout
        found = read_confirmation(folder)
        assert found and found.validated.keys() == {"start", second.id}
        scored = {file.parent.name for file in folder.glob("confirm/*/metrics.json")}
        assert scored == {"start-1", f"{found.chosen}-1"}
        chosen = first if found.chosen == "start" else second
        assert json.loads(run("best", str(folder)).stdout) == chosen.config
        assert run("confirm", *words).stdout == done.stdout

    def test_the_same_command_again_trains_nothing(self, finished: tuple[Path, str]) -> None:
        folder, printed = finished
        before = (folder / ORACLE).read_bytes()
        words = ["--trials", "2", "--workers", "2", "--run-dir", str(folder)]
        again = run("run", *TINY, *words)
        assert (again.returncode, again.stdout) == (0, printed)
        assert (folder / ORACLE).read_bytes() == before

    def test_it_can_be_reported_and_trained_again(
        self, finished: tuple[Path, str], tmp_path: Path
    ) -> None:
        folder, _ = finished
        report = json.loads(run_report(folder, tmp_path))
        assert report["trials_per_hour"] > 0 and report["overhead_seconds_per_trial"] >= 0
        best = json.loads(run("best", str(folder)).stdout)
        assert best == report["best"]["config"]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--algorithm", "grid"], "was started with algorithm='random', not 'grid'"),
            (["--units", "8"], "was started with base.units=16, not 8"),
            (["--fix", "cell=gru"], "was started with fixed.cell=None, not 'gru'"),
        ],
    )
    def test_another_search_may_not_have_its_folder(
        self, words: list[str], message: str, finished: tuple[Path, str]
    ) -> None:
        before = (finished[0] / ORACLE).read_bytes()
        done = run("run", *TINY, *words, "--run-dir", str(finished[0]))
        assert done.returncode == 2 and message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert (finished[0] / ORACLE).read_bytes() == before


class TestMisuse:
    """One line, exit code 2, and nothing written."""

    def refused(self, *words: str, folder: Path) -> str:
        done = run(*words, "--run-dir", str(folder))
        assert done.returncode == 2, done.stderr
        assert not folder.exists()
        (line,) = done.stderr.splitlines()
        return line

    def test_an_unknown_recipe(self, tmp_path: Path) -> None:
        line = self.refused("run", "sentimental", folder=tmp_path / "run")
        assert line.startswith("error: unknown recipe 'sentimental'; did you mean 'sentiment'?")

    @pytest.mark.slow
    def test_a_space_with_an_unknown_field(self, tmp_path: Path) -> None:
        space = tmp_path / "mine.py"
        space.write_text(
            "from dataclasses import replace\n"
            "def space(hp, base):\n    return replace(base, unitz=hp.Int('unitz', 1, 2))\n"
        )
        line = self.refused("run", *TINY, "--space", str(space), folder=tmp_path / "run")
        assert line.startswith("error: unknown field 'unitz'; did you mean 'units'?")

    @pytest.mark.slow
    def test_data_that_is_not_there(self, tmp_path: Path) -> None:
        table = tmp_path / "none.csv"
        line = self.refused("run", *TINY, "--data", str(table), folder=tmp_path / "run")
        assert str(table) in line

    @pytest.mark.slow
    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        import socket

        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = str(listener.getsockname()[1])
            line = self.refused("run", *TINY, "--port", port, folder=tmp_path / "run")
        assert f"cannot listen on 127.0.0.1:{port}" in line

    @pytest.mark.slow
    def test_a_chief_that_cannot_be_reached(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        environment = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": "9"}
        environment |= {**os.environ, **environment, "KERASTUNER_TUNER_ID": "w"}
        words = command("worker", "--run-dir", str(tmp_path), "--lease", "2s")
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 2
        assert "no answer from a chief at 127.0.0.1:9 within 2 s" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.slow
    def test_a_budget_that_is_too_small(self, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        done = run("run", *TINY, "--budget", "1s", "--run-dir", str(folder))
        assert done.returncode == 2
        assert "budget 1s is too small for one trial" in done.stderr
        more = run("run", *TINY, "--budget", "40s", "--run-dir", str(folder))
        assert more.returncode == 0, more.stderr


@pytest.mark.slow
def test_trials_that_fail_do_not_fail_the_search(tmp_path: Path) -> None:
    space = tmp_path / "mine.py"
    space.write_text(
        "from dataclasses import replace\n"
        "def space(hp, base):\n"
        "    return replace(base, learning_rate=hp.Choice('learning_rate', [0.01, 1e30]),\n"
        "                   units=hp.Choice('units', [16, 64]))\n"
    )
    folder = tmp_path / "run"
    words = ["--algorithm", "grid", "--space", str(space), "--max-parameters", "12000"]
    done = run("run", *TINY, *words, "--run-dir", str(folder))
    assert done.returncode == 0, done.stderr
    trials = read_search(folder).trials
    assert Counter(trial.status for trial in trials) == {"completed": 1, "failed": 1, "refused": 2}
    reasons = {trial.status: trial.reason for trial in trials}
    assert "the loss is nan" in reasons["failed"]
    assert "12,000 are the most" in reasons["refused"]


@pytest.mark.slow
def test_a_trial_that_is_killed_by_the_system_fails_alone(tmp_path: Path) -> None:
    space = tmp_path / "mine.py"
    space.write_text(
        "import os, signal\nfrom dataclasses import replace\n"
        "def space(hp, base):\n"
        "    units = hp.Choice('units', [16, 24])\n"
        "    if units == 24 and os.path.exists('/proc/self/cmdline'):\n"
        "        if 'forkserver' in open('/proc/self/cmdline').read():\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return replace(base, units=units)\n"
    )
    folder = tmp_path / "run"
    words = ["--algorithm", "grid", "--space", str(space), "--run-dir", str(folder)]
    done = run("run", *TINY, *words)
    assert done.returncode == 0, done.stderr
    good, killed = read_search(folder).trials
    assert (good.status, killed.status) == ("completed", "failed")
    assert killed.reason == (
        "the trial's process was ended by SIGKILL; the machine may have run out of memory"
    )


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


def torment(words: list[str], folder: Path, dice: random.Random) -> Counter[str]:
    """Run a search to its end, and kill parts of it ten times while trials run."""
    process = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
    kills: Counter[str] = Counter()
    before = 0
    while kills.total() < 10:
        # Not while everything starts: a trial must have been handed out since the last time.
        while process.poll() is None and handed_out(folder) == before:
            time.sleep(0.1)
        time.sleep(dice.uniform(0, 6))
        if process.poll() is not None:
            break
        before = handed_out(folder)
        victim = dice.choice(["worker", "chief", "launcher"])
        found = [process.pid] if victim == "launcher" else named(process.pid, victim)
        for each in found[:1]:
            os.kill(each, signal.SIGKILL)
            kills[victim] += 1
        if victim == "launcher":
            process.wait()
            process = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
    assert process.wait(900) == 0
    return kills


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
@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_chaos(algorithm: str, tmp_path: Path) -> None:
    """Kill -9 of worker, chief and the search itself: no trial is lost, repeated, or another."""
    folder, left_alone = tmp_path / "killed", tmp_path / "whole"
    words = ["run", *TINY, "--algorithm", algorithm, "--trials", "10", "--run-dir"]
    kills = torment([*words, str(folder)], folder, random.Random(algorithm))
    assert kills.total() >= 5 and len(kills) >= 2, kills
    assert run(*words, str(left_alone), timeout=900).returncode == 0

    state = json.loads((folder / ORACLE).read_text())
    assert handed_out(folder) >= len(state["trials"]) + 2, "too few trials were interrupted"
    assert sorted(state["state"]["end_order"]) == [row["id"] for row in state["trials"]]
    killed, whole = read_search(folder, whole=True), read_search(left_alone, whole=True)
    assert [t.id for t in killed.trials] == [t.id for t in whole.trials]
    assert len(killed.trials) == 10 and {t.status for t in killed.trials} == {"completed"}
    for ours, theirs in zip(killed.trials, whole.trials, strict=True):
        assert ours.config == theirs.config
        assert ours.curve == pytest.approx(theirs.curve, abs=1e-6)
    assert killed.best and whole.best
    assert accuracy_of(folder, killed.best.id) == pytest.approx(
        accuracy_of(left_alone, whole.best.id)
    )


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("worker", "--run-dir", str(tmp_path)),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, FOLLOWS: "1", "KERASTUNER_TUNER_ID": "w"},
    )
    assert process.stdin
    time.sleep(1)
    assert process.poll() is None  # it waits for a chief
    process.stdin.close()
    assert process.wait(30) == 1


@pytest.mark.slow
def test_a_latency_is_that_of_the_exported_model_and_can_be_a_limit(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["run", *TINY, "--trials", "1", "--latency", "True", "--run-dir", str(folder)]
    assert run(*words).returncode == 0
    (trial,) = read_search(folder).trials
    assert trial.latency_ms and 0.1 < trial.latency_ms < 1000
    report = json.loads(run_report(folder, tmp_path))
    assert report["pareto"] == [
        {name: report["trials"][0][name] for name in ("id", "score", "latency_ms", "size")}
    ]

    folder = tmp_path / "slow"
    words = ["run", *TINY, "--trials", "1", "--max-latency-ms", "0.001", "--run-dir", str(folder)]
    done = run(*words)
    assert done.returncode == 1
    assert "none of 1 trials has a score; the last one, 0: an answer takes" in done.stderr
    (trial,) = read_search(folder).trials
    assert (trial.status, trial.curve) == ("refused", ())


def run_report(folder: Path, aside: Path) -> str:
    done = run("report", str(folder), "--json", str(aside / "report.json"))
    assert done.returncode == 0, done.stderr
    return (aside / "report.json").read_text()
