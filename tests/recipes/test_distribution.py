"""Training on several devices and in several processes, beside one on a single device."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recipes import distribution
from recipes import recipe as known
from recipes.distribution import Bystander, Dismissed, Replicas, Workers, spread
from tests.serving.conformance.process import free_ports, wait_until
from tests.sources import ROOT
from zoo.errors import ConfigError
from zoo.preprocessing.batching import Batch

PLAIN = {"sentiment": ["--embedding-dropout", "0", "--dropout", "0"]}
"""What leaves dropout out of a recipe's preset tiny."""


def on_three_devices(*cases: str) -> Any:
    """Return what `tests.recipes.three_devices` tells."""
    command = [sys.executable, "-m", "tests.recipes.three_devices", *cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check_same(told: Any, case: str) -> None:
    """Check that steps on three devices are those on one."""
    one, three = told[case]["one"], told[case]["three"]
    np.testing.assert_allclose(three["losses"], one["losses"], rtol=1e-6, err_msg=case)
    for ours, theirs in zip(three["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6, err_msg=case)


class TestSteps:
    """A step is that of the whole batch."""

    def test_losses_and_clipped_gradients_are_those_of_one_device(self):
        told = on_three_devices("words", "sounds", "forecasts")
        for case in ("words", "sounds", "forecasts"):
            check_same(told, case)
        first, second, third = told["masks"]
        assert first != second != third != first

    @pytest.mark.slow
    def test_likelihoods_are_those_of_one_device(self):
        check_same(on_three_devices("futures"), "futures")

    def test_every_row_goes_to_one_replica_and_real_ones_are_spread(self):
        two = SimpleNamespace(worker_devices=["one", "other"])
        strategy: Any = SimpleNamespace(num_replicas_in_sync=6, extended=two)
        batch = Batch(np.arange(100, 116), np.repeat([1.0, 0.0], [7, 9]), 5)
        parts = [part for rank in range(3) for part in Replicas(strategy, rank).parts(batch)]
        assert sorted(row for part in parts for row in part.rows) == [*range(100, 116)]
        assert [part.weights.sum() for part in parts] == [2, 1, 1, 1, 1, 1]
        assert {part.length for part in parts} == {5}


class TestWorkers:
    """What workers tell each other, here one that is alone."""

    @pytest.fixture
    def workers(self) -> Workers:
        return Workers(tf.distribute.MirroredStrategy(["CPU:0"]), 0)

    @pytest.mark.parametrize("content", [b"", b"1", b"1234", b"12345", bytes(range(256))])
    def test_the_chiefs_content_arrives_as_it_was(
        self, workers: Workers, content: bytes, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(distribution, "_WORDS", 3)
        assert workers.from_chief(content) == content

    def test_the_chiefs_numbers_arrive_as_they_were(self, workers: Workers):
        assert workers.agreed([0.1, 3]) == [0.1, 3.0]
        assert np.isnan(workers.agreed([float("nan")])[0])

    def test_only_the_chief_goes_on_behind_the_training(self, workers: Workers):
        workers.end()
        with pytest.raises(Dismissed):
            Workers(tf.distribute.MirroredStrategy(["CPU:0"]), 1).end()

    def test_other_data_than_the_chiefs_is_named(
        self, workers: Workers, monkeypatch: pytest.MonkeyPatch
    ):
        data = SimpleNamespace(_asdict=lambda: {"train": "abc", "test": "ab"})
        pipeline: Any = SimpleNamespace(model=SimpleNamespace(count_params=lambda: 7))
        workers.check_equal(data, pipeline)
        monkeypatch.setattr(workers, "agreed", lambda _: [3.0, 1234.0, 7.0])
        with pytest.raises(ConfigError, match="^test: this worker has 2 and the chief 1,234, but"):
            workers.check_equal(data, pipeline)

    def test_a_batch_needs_a_row_for_each_replica(self):
        with pytest.raises(ConfigError, match="batch_size must be at least 1, .* not 0"):
            spread(None, {"batch_size": 0})

    def test_a_worker_that_is_not_the_chief_keeps_nothing(self, workers: Workers):
        with Bystander(workers) as run:
            run.write_json("history.json", [1])
            assert run.read("history.json") == b""
            assert run.goes_on([]) and run.devices is workers

    @pytest.mark.slow
    def test_whoever_waits_for_one_that_went_while_connecting_ends(self):
        address = f"127.0.0.1:{free_ports(1)[0]}"
        cluster = {"worker": [address, "127.0.0.1:1"]}
        code = (
            "from recipes import distribution\n"
            "distribution.FORMING = 2.0\n"
            "distribution._connected()"
        )
        task = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "TF_CONFIG": json.dumps(task)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert errors(done.stderr) == [
            "error: a worker went while all were connecting: start all of them again"
        ]
        assert "Traceback" not in done.stderr and "Timeout" not in done.stderr


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error:")]


def train(recipe: str, folder: Path, *words: str) -> list[str]:
    command = [sys.executable, "-m", "recipes", recipe, "train", "--preset", "tiny"]
    return [*command, *PLAIN.get(recipe, []), "--run-dir", str(folder), *words]


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in json.loads((folder / "history.json").read_text())]


@contextmanager
def two_workers(recipe: str, folder: Path, *words: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start the chief, whose run is in `folder`, and a worker that is given another one."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    with ExitStack() as processes:
        started = []
        for index, own in enumerate((folder, folder.with_name("nowhere"))):
            task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            process = subprocess.Popen(
                train(recipe, own, "--strategy", "multiworker", *words),
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": json.dumps(task)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.append(processes.enter_context(process))
            processes.callback(process.kill)
        yield started


@pytest.fixture(scope="module")
def alone(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A recipe, and the folder of its run on one device."""
    folder = tmp_path_factory.mktemp("alone") / request.param
    subprocess.run(train(request.param, folder), cwd=ROOT, capture_output=True, check=True)
    return request.param, folder


@pytest.mark.slow
class TestTrainings:
    """Whole trainings of the recipes: the curve of the loss is that of one device."""

    @pytest.mark.parametrize(
        "alone", ["sentiment", "forecasting", "speech", "video"], indirect=True
    )
    def test_of_two_workers(self, alone: tuple[str, Path], tmp_path: Path):
        recipe, one = alone
        folder = tmp_path / "two"
        with two_workers(recipe, folder) as (chief, worker):
            said, _ = chief.communicate(timeout=600)
            silent, noise = worker.communicate(timeout=60)
        assert (chief.returncode, worker.returncode) == (0, 0)
        assert "run folder: " in said
        assert silent == "" and "epoch" not in noise
        assert {each.name for each in tmp_path.iterdir()} == {"two"}
        assert {each.name for each in folder.iterdir()} == {each.name for each in one.iterdir()}
        np.testing.assert_allclose(losses(folder), losses(one), rtol=0, atol=1e-4)
        scores, expected = (
            json.loads((each / "metrics.json").read_text())["test"] for each in (folder, one)
        )
        metric = known(recipe).HEADLINE.metric
        assert scores[metric] == pytest.approx(expected[metric], rel=1e-3, abs=1e-4)

    @pytest.mark.parametrize("alone", ["sentiment", "forecasting"], indirect=True)
    def test_of_two_devices(self, alone: tuple[str, Path], tmp_path: Path):
        recipe, one = alone
        folder = tmp_path / "two"
        code = (
            "import sys, tensorflow as tf; from recipes.__main__ import main\n"
            "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
            "cpu = tf.config.list_physical_devices('CPU')[0]\n"
            "tf.config.set_logical_device_configuration(cpu, two)\n"
            "sys.exit(main(sys.argv[1:]))"
        )
        words = train(recipe, folder, "--strategy", "mirrored")[3:]
        command = [sys.executable, "-c", code, *words]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        np.testing.assert_allclose(losses(folder), losses(one), rtol=0, atol=1e-4)

    @pytest.mark.parametrize("victim", [0, 1], ids=["chief", "worker"])
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
    def test_of_two_workers_one_of_which_is_gone(self, victim: int, how: int, tmp_path: Path):
        folder = tmp_path / "two"
        with two_workers("forecasting", folder, "--epochs", "500") as processes:
            wait_until((folder / "history.json").is_file, 120)
            processes[victim].send_signal(how)
            began = time.monotonic()
            _, said = processes[1 - victim].communicate(timeout=60)
            assert time.monotonic() - began < 30
        assert processes[1 - victim].returncode == 1
        assert errors(said) == [
            "error: another worker is gone: start all of them again with the same command, and "
            "the training goes on from the last checkpoint"
        ]
        assert "Traceback" not in said

    def test_that_were_killed_and_started_again_end_like_one_that_was_not(self, tmp_path: Path):
        words = ("--dropout", "0.2", "--epochs", "12")
        killed, whole = tmp_path / "killed", tmp_path / "whole"
        kill_in_between(killed, *words)
        for folder in (killed, whole):
            with two_workers("forecasting", folder, *words) as processes:
                for process in processes:
                    process.communicate(timeout=600)
                    assert process.returncode == 0
        assert losses(killed) == losses(whole)
        with (
            np.load(killed / "checkpoint.npz") as ours,
            np.load(whole / "checkpoint.npz") as theirs,
        ):
            for name in set(ours.files) - {"state"}:
                np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-6)

    def test_that_were_killed_go_on_on_one_device(self, tmp_path: Path):
        killed, whole = tmp_path / "killed", tmp_path / "whole"
        kill_in_between(killed, "--epochs", "12")
        for folder in (killed, whole):
            command = train("forecasting", folder, "--epochs", "12")
            subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        np.testing.assert_allclose(losses(killed), losses(whole), rtol=0, atol=1e-4)


def kill_in_between(folder: Path, *words: str) -> None:
    """Train forecasting with two workers, and kill both behind the first epoch."""
    with two_workers("forecasting", folder, *words) as processes:
        wait_until((folder / "history.json").is_file, 120)
        for process in processes:
            process.kill()
    assert not (folder / "metrics.json").exists()
