"""Whole searches: processes, folders, and what survives kill -9."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipes.__main__ import main as recipes
from serving.following import FOLLOWS
from tests.tuning.commands import SHORT, TINY, command, run
from tuning.__main__ import main as tuning
from tuning.confirmation import read_confirmation
from tuning.folder import ORACLE, best_folder, curve_of, read_search


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A search of two trials by two workers, and what it printed."""
    folder = tmp_path_factory.mktemp("search") / "run"
    done = run("run", *SHORT, "--trials", "2", "--workers", "2", "--run-dir", str(folder))
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
        search = read_search(folder, whole=True)
        best = search.best
        assert best  # of a preset whose values the space does not hold no trial is the start
        assert "start, seed 1: validated accuracy 0." in done.stdout
        assert f"trial {best.id}, seed 1: validated accuracy 0." in done.stdout
        found = read_confirmation(folder)
        assert found and found.validated.keys() == {"start", best.id}
        scored = {file.parent.name for file in folder.glob("confirm/*/metrics.json")}
        assert scored == {"start-1", f"{found.chosen}-1"}
        chosen = search.base if found.chosen == "start" else best.config
        assert json.loads(run("best", str(folder)).stdout) == chosen
        assert run("confirm", *words).stdout == done.stdout

    @pytest.mark.slow
    def test_the_same_command_again_trains_nothing(self, finished: tuple[Path, str]) -> None:
        folder, printed = finished
        before = (folder / ORACLE).read_bytes()
        words = ["--trials", "2", "--workers", "2", "--run-dir", str(folder)]
        again = run("run", *SHORT, *words)
        assert (again.returncode, again.stdout) == (0, printed)
        assert (folder / ORACLE).read_bytes() == before

    def test_it_can_be_reported_and_trained_again(
        self, finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder, _ = finished
        report = json.loads(run_report(folder, tmp_path))
        assert report["trials_per_hour"] > 0 and report["overhead_seconds_per_trial"] >= 0
        capsys.readouterr()
        assert tuning(["best", str(folder)]) == 0
        best = json.loads(capsys.readouterr().out)
        assert best == report["best"]["config"]
        config, again = tmp_path / "best.json", tmp_path / "again"
        config.write_text(json.dumps(best))
        words = ["train", "--config", str(config), "--run-dir", str(again)]
        assert recipes(["sentiment", *words]) == 0
        assert report["best"]["score"] == pytest.approx(max(curve_of(again, "accuracy")), abs=1e-6)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--algorithm", "grid"], "was started with algorithm='random', not 'grid'"),
            (["--units", "8"], "was started with base.units=16, not 8"),
            (["--fix", "cell=gru"], "was started with fixed.cell=None, not 'gru'"),
            (["--recipe"], "is a search for recipe 'sentiment', not 'forecasting'"),
        ],
    )
    def test_another_search_may_not_have_its_folder(
        self,
        words: list[str],
        message: str,
        finished: tuple[Path, str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        before = (finished[0] / ORACLE).read_bytes()
        words = ["forecasting"] if words == ["--recipe"] else [*SHORT, *words]
        assert tuning(["run", *words, "--run-dir", str(finished[0])]) == 2
        told = capsys.readouterr().err
        assert message in told and len(told.splitlines()) == 1
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
        line = self.refused("run", *SHORT, "--space", str(space), folder=tmp_path / "run")
        assert line.startswith("error: unknown field 'unitz'; did you mean 'units'?")

    @pytest.mark.slow
    def test_a_space_without_a_parameter(self, tmp_path: Path) -> None:
        space = tmp_path / "mine.py"
        space.write_text("def space(hp, base):\n    return base\n")
        line = self.refused("run", *SHORT, "--space", str(space), folder=tmp_path / "run")
        assert line.startswith("error: the space is empty")

    def test_the_folder_of_a_training(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = tmp_path / "config.json"
        config.write_text('{"recipe": "sentiment", "units": 8}')
        assert tuning(["run", *SHORT, "--run-dir", str(tmp_path)]) == 2
        assert "is a run of recipe 'sentiment', no search" in capsys.readouterr().err
        assert [*tmp_path.iterdir()] == [config]

    @pytest.mark.slow
    def test_data_that_is_not_there(self, tmp_path: Path) -> None:
        table = tmp_path / "none.csv"
        line = self.refused("run", *SHORT, "--data", str(table), folder=tmp_path / "run")
        assert str(table) in line

    @pytest.mark.slow
    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        import socket

        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = str(listener.getsockname()[1])
            line = self.refused("run", *SHORT, "--port", port, folder=tmp_path / "run")
        assert f"cannot listen on 127.0.0.1:{port}" in line

    @pytest.mark.slow
    def test_a_chief_that_cannot_be_reached(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        environment = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": "9"}
        environment |= {**os.environ, **environment, "KERASTUNER_TUNER_ID": "w"}
        words = command("worker", "--run-dir", str(tmp_path), "--lease", "10s")
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 2
        assert "no answer from a chief at 127.0.0.1:9 within 10 s" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.slow
    def test_a_budget_that_is_too_small(self, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        done = run("run", *SHORT, "--budget", "1s", "--run-dir", str(folder))
        assert done.returncode == 2
        assert "budget 1s is too small for one trial" in done.stderr
        more = run("run", *SHORT, "--budget", "40s", "--run-dir", str(folder))
        assert more.returncode == 0, more.stderr

    @pytest.mark.slow
    def test_a_budget_that_ends_while_trials_run_keeps_them(self, tmp_path: Path) -> None:
        words = ["run", *TINY, "--epochs", "60", "--workers", "2"]
        words += ["--run-dir", str(tmp_path / "a")]
        done = run(*words, "--budget", "45s")
        assert done.returncode == 0, done.stderr
        first = read_search(tmp_path / "a")
        running = [trial.id for trial in first.trials if trial.status == "running"]
        assert running and first.best
        done = run(*words, "--trials", str(len(first.trials)))
        assert done.returncode == 0, done.stderr
        second = read_search(tmp_path / "a")
        assert [trial.id for trial in second.trials] == [trial.id for trial in first.trials]
        assert {trial.status for trial in second.trials} == {"completed"}


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
    done = run("run", *SHORT, *words, "--run-dir", str(folder))
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
    done = run("run", *SHORT, *words)
    assert done.returncode == 0, done.stderr
    good, killed = read_search(folder).trials
    assert (good.status, killed.status) == ("completed", "failed")
    assert killed.reason == (
        "the trial's process was ended by SIGKILL; the machine may have run out of memory"
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
    words = ["run", *SHORT, "--trials", "1", "--latency", "True", "--run-dir", str(folder)]
    assert run(*words).returncode == 0
    (trial,) = read_search(folder).trials
    assert trial.latency_ms and 0.1 < trial.latency_ms < 1000
    report = json.loads(run_report(folder, tmp_path))
    assert report["pareto"] == [
        {name: report["trials"][0][name] for name in ("id", "score", "latency_ms", "size")}
    ]

    folder = tmp_path / "slow"
    words = ["run", *SHORT, "--trials", "1", "--max-latency-ms", "0.001", "--run-dir", str(folder)]
    done = run(*words)
    assert done.returncode == 1
    assert "none of 1 trials has a score; the last one, 0: an answer takes" in done.stderr
    (trial,) = read_search(folder).trials
    assert (trial.status, trial.curve) == ("refused", ())


def run_report(folder: Path, aside: Path) -> str:
    assert tuning(["report", str(folder), "--json", str(aside / "report.json")]) == 0
    return (aside / "report.json").read_text()
