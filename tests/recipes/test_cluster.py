"""The workers of a training: what TF_CONFIG says of them, and how they meet."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recipes.__main__ import main
from recipes.cluster import Cluster, meet, read
from tests.serving.conformance.process import free_ports
from tests.sources import ROOT
from zoo.errors import ConfigError, MisuseError, UnknownNameError

JOB = {"recipe": "sentiment", "units": 16}
TWO = ["one:1001", "two:1001"]


def config(cluster: Any, kind: Any = "worker", index: Any = 0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


class TestRead:
    """Who the workers are."""

    def test_workers_are_ranked_in_their_order(self):
        assert read(config({"worker": TWO}, index=1)) == Cluster(tuple(TWO), 1)

    def test_a_chief_comes_before_the_workers(self):
        both = {"worker": TWO, "chief": ["zero:1001"]}
        assert read(config(both, "chief")) == Cluster(("zero:1001", *TWO), 0)
        assert read(config(both, "worker", 1)).rank == 2

    def test_an_index_may_be_text_as_job_files_fill_it_in(self):
        assert read(config({"worker": TWO}, index="1")).rank == 1

    @pytest.mark.parametrize(
        ("environment", "message"),
        [
            ({}, "needs TF_CONFIG in the environment of every worker, such as {"),
            ({"TF_CONFIG": "{'cluster'"}, "TF_CONFIG is not JSON: "),
            ({"TF_CONFIG": "[]"}, 'must have "cluster" and "task"'),
            ({"TF_CONFIG": '{"cluster": {}}'}, 'must have "cluster" and "task"'),
            (config({"worker": []}), 'must list the addresses of "worker", not []'),
            (config({"worker": "one:1"}), "must list the addresses of \"worker\", not 'one:1'"),
            (config({"worker": ["one"]}), "must be HOST:PORT, not 'one'"),
            (config({"worker": ["one:70000"]}), "must be HOST:PORT, not 'one:70000'"),
            (config({"worker": ["one:1", "one:1"]}), "must name every worker once"),
            (config({"chief": TWO}, "chief"), "one chief at most"),
            (
                config({"worker": TWO}, index=2),
                "must be from 0 to 1, that of the last worker, not 2",
            ),
            (config({"worker": TWO}, index=-1), "not -1"),
            (config({"worker": TWO}, index=None), "not None"),
        ],
    )
    def test_what_describes_no_cluster_is_refused(self, environment: Any, message: str):
        with pytest.raises(ConfigError, match=re.escape(message)):
            read(environment)

    def test_other_types_of_tasks_are_refused(self):
        with pytest.raises(UnknownNameError, match="'ps'"):
            read(config({"worker": TWO, "ps": ["three:1"]}))
        with pytest.raises(UnknownNameError, match="'wroker'; did you mean 'worker'"):
            read(config({"worker": TWO}, "wroker"))
        with pytest.raises(UnknownNameError, match="'chief'"):
            read(config({"worker": TWO}, "chief"))


@pytest.fixture
def start() -> Any:
    """Start workers, each in a thread, on ports of this machine."""
    with ThreadPoolExecutor() as threads:
        yield lambda *jobs, patience=20.0: _started(threads, jobs, patience)


def _started(threads: Any, jobs: tuple[Any, ...], patience: float) -> list[Future[None] | None]:
    """Return what becomes of each worker; None for one that is not started.

    The chief is the first to lose patience, so that it does not miss one that lost it before.
    """
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(len(jobs)))
    return [
        job and threads.submit(meet, Cluster(addresses, rank), job, patience + rank)
        for rank, job in enumerate(jobs)
    ]


def error(worker: Future[None]) -> str:
    return str(worker.exception(30))


class TestMeeting:
    """All come, or all hear why not."""

    def test_all_go_on_once_all_are_there(self, start: Callable[..., Any]):
        for worker in start(JOB, JOB, JOB):
            assert worker.result(30) is None

    def test_a_worker_alone_has_nobody_to_wait_for(self, start: Callable[..., Any]):
        assert start(JOB)[0].result(30) is None

    def test_who_was_asked_for_something_else_is_refused_on_both_sides(
        self, start: Callable[..., Any]
    ):
        chief, worker = start(JOB, {**JOB, "units": 32})
        assert re.search("worker 1 at .* is 32 for a worker and 16 for the chief", error(chief))
        assert re.search("the chief at .* units is 32 for a worker", error(worker))
        assert isinstance(chief.exception(), ConfigError)
        assert isinstance(worker.exception(), ConfigError)

    def test_who_does_not_come_is_named(self, start: Callable[..., Any]):
        chief, worker, _ = start(JOB, JOB, None, patience=1.0)
        assert re.match("worker 2 at .* did not come within 1 s: start every worker", error(chief))
        assert re.match("the chief at .* did not come within 2 s", error(worker))
        assert isinstance(chief.exception(), MisuseError)

    def test_without_a_chief_a_worker_gives_up(self, start: Callable[..., Any]):
        _, worker = start(None, JOB, patience=0.5)
        assert "the chief at" in error(worker)

    def test_who_is_waited_for_is_told_once(
        self,
        start: Callable[..., Any],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr("recipes.cluster._MOMENT", 0.05)
        chief, *_ = start(JOB, None, None, patience=0.5)
        assert "did not come" in error(chief)
        told = capsys.readouterr().err
        assert re.fullmatch(r"waiting for worker 1 at \S+ and worker 2 at \S+\n", told)

    def test_a_port_that_is_taken_is_named(self):
        with socket.create_server(("", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(ConfigError, match=f"port {port} of worker 1 .* address already in"):
                meet(Cluster(("127.0.0.1:1", f"127.0.0.1:{port}"), 1), JOB)

    def test_strangers_and_who_hangs_up_again_are_not_counted(self):
        ports = free_ports(3)
        addresses = tuple(f"127.0.0.1:{port}" for port in ports)
        with ThreadPoolExecutor() as threads:
            chief = threads.submit(meet, Cluster(addresses, 0), JOB, 20.0)
            for words in (b"GET / HTTP/1.1\r\n\r\n", b'{"rank": 7, "job": {}}\n', b"[1]\n", b""):
                call(ports[0], words)
            call(ports[0], json.dumps({"rank": 1, "job": JOB}).encode() + b"\n")
            workers = [threads.submit(meet, Cluster(addresses, 2), JOB, 20.0)]
            time.sleep(1.5)
            assert not chief.done() and not workers[0].done()
            workers.append(threads.submit(meet, Cluster(addresses, 1), JOB, 20.0))
            for each in (chief, *workers):
                assert each.result(30) is None


def call(port: int, words: bytes) -> None:
    """Say something to a port, once it is listened on, and hang up."""
    end = time.monotonic() + 10
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(words)
            return
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)


class TestCommand:
    """As a user meets it: one line, exit code 2, and nothing written."""

    def test_a_port_that_is_taken_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        with socket.create_server(("", 0)) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            given = config({"worker": [address, "127.0.0.1:1"]})
            monkeypatch.setenv("TF_CONFIG", given["TF_CONFIG"])
            words = ["sentiment", "train", "--preset", "tiny", "--strategy", "multiworker"]
            assert main([*words, "--run-dir", str(tmp_path / "run")]) == 2
        told = capsys.readouterr()
        assert (
            f"of the chief at {address} cannot be used: address already in use; choose" in told.err
        )
        assert told.err.count("\n") == 1 and told.out == ""
        assert not (tmp_path / "run").exists()

    def refused(self, folder: Any, environment: dict[str, str]) -> str:
        command = [sys.executable, "-m", "recipes", "sentiment", "train", "--preset", "tiny"]
        command += ["--strategy", "multiworker", "--run-dir", str(folder / "run")]
        given = {**os.environ, **environment}
        done = subprocess.run(
            command, cwd=ROOT, env=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1 and done.stdout == ""
        assert not (folder / "run").exists()
        return done.stderr

    def test_a_bad_configuration_is_refused_before_tensorflow_is_loaded(self, tmp_path: Any):
        assert "needs TF_CONFIG" in self.refused(tmp_path, {"TF_CONFIG": ""})
        assert "not JSON" in self.refused(tmp_path, {"TF_CONFIG": "worker"})
        assert "'wroker'" in self.refused(tmp_path, config({"worker": TWO}, "wroker"))
        assert "from 0 to 1" in self.refused(tmp_path, config({"worker": TWO}, index=5))
