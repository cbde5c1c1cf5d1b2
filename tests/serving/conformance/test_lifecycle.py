"""Versions come and go while the server runs, and none of it is felt by a call."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.serving.conformance import models
from tests.serving.conformance.calls import (
    AVAILABLE,
    END,
    LOADING,
    half,
    predict,
    predict_request,
    refused,
    spec,
    states,
    status,
)
from tests.serving.conformance.conftest import Started, add_version, model, write_config
from tests.serving.conformance.process import PATIENCE, Executable, Server, wait_until

POLICIES: dict[str, dict[str, Any]] = {
    "newest": {},
    "latest": {"latest": {"num_versions": 2}},
    "all": {"all": {}},
    "specific": {"specific": {"versions": [1, 4]}},
}


Bases = dict[str, Path]


@pytest.fixture(scope="module")
def bases(half_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """Base paths by model, one for each version policy and two more, with versions 1 and 2."""
    folder = tmp_path_factory.mktemp("bases")
    bases: Bases = {}
    for name in (*POLICIES, "moving", "broken"):
        bases[name] = folder / name
        bases[name].mkdir()
        for version in (1, 2):
            add_version(bases[name], version, half_base / str(version))
    return bases


@pytest.fixture(scope="module")
def server(start: Started, bases: Bases, tmp_path_factory: Any) -> Server:
    """A server of these models; what does not load is tried again five times a second."""
    configs = [model(name, base, **POLICIES.get(name, {})) for name, base in bases.items()]
    file = write_config(tmp_path_factory.mktemp("lifecycle") / "models.txt", *configs)
    return start(
        model_config_file=file,
        file_system_poll_wait_seconds=1,
        num_load_threads=2,
        max_num_load_retries=1_000_000,
        load_retry_interval_micros=200_000,
    ).wait()


def available(server: Server, name: str) -> set[int]:
    """Return the versions of a model that can be asked."""
    return {version for version, state in states(server, name).items() if state == AVAILABLE}


class TestPolicies:
    def test_choose_versions_at_the_start_and_later(self, server: Server, bases: Bases):
        before = {"newest": {2}, "latest": {1, 2}, "all": {1, 2}, "specific": {1}}
        wait_until(lambda: {name: available(server, name) for name in POLICIES} == before)
        for name in POLICIES:
            for version in (3, 4):
                add_version(bases[name], version, bases[name] / "1")
        after = {"newest": {4}, "latest": {3, 4}, "all": {1, 2, 3, 4}, "specific": {1, 4}}
        wait_until(lambda: {name: available(server, name) for name in POLICIES} == after)
        with refused(
            grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(latest, 2)"
        ):
            half(server, spec("latest", version=2))


class TestMoving:
    def test_a_new_version_takes_over_without_a_gap(self, server: Server, bases: Bases):
        stop, seen = threading.Event(), []

        def ask() -> None:
            while not stop.is_set():
                seen.append(half(server, "moving"))

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            models.save_half(bases["moving"] / "aside", 7.0)  # no number: no version yet
            add_version(bases["moving"], 3, bases["moving"] / "aside")
            wait_until(lambda: 8.0 in seen)
            wait_until(lambda: states(server, "moving")[2] == END)
            stop.set()
            for each in asking:
                each.result()
        assert {*seen} == {3.0, 8.0}

    def test_removing_the_newest_brings_the_one_before_back(self, server: Server, bases: Bases):
        wait_until(lambda: available(server, "moving") == {3})
        shutil.rmtree(bases["moving"] / "3")
        wait_until(lambda: available(server, "moving") == {2})
        assert half(server, "moving") == 3.0

    def test_a_call_in_flight_ends_on_the_version_that_took_it(self, server: Server, bases: Bases):
        wait_until(lambda: available(server, "moving") == {2})
        request = predict_request(spec("moving", "hold"), seconds=[4.0])
        call = server.predictor.Predict.future(request, timeout=PATIENCE)
        time.sleep(0.5)
        add_version(bases["moving"], 5, bases["all"] / "1")
        wait_until(lambda: half(server, "moving") == 2.0)
        assert not call.done()
        response = call.result()
        assert response.model_spec.version.value == 2
        assert [*response.outputs["seconds"].float_val] == [4.0]


class TestBroken:
    def test_a_broken_version_is_tried_again_until_it_loads(self, server: Server, bases: Bases):
        base = bases["broken"]
        aside = base.with_name("broken-3")
        aside.mkdir()
        aside.rename(base / "3")
        wait_until(lambda: states(server, "broken").get(3) == LOADING)
        with refused(
            grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(broken, 3)"
        ):
            half(server, spec("broken", version=3))
        assert states(server, "broken")[2] == AVAILABLE
        assert half(server, "broken") == 3.0
        for each in (base / "1").iterdir():
            copy = shutil.copytree if each.is_dir() else shutil.copy
            if each.name != "saved_model.pb":
                copy(each, base / "3" / each.name)
        shutil.copy(base / "1" / "saved_model.pb", base / "3" / "aside")
        (base / "3" / "aside").rename(base / "3" / "saved_model.pb")
        wait_until(lambda: available(server, "broken") == {3})
        assert half(server, "broken") == 2.0


@pytest.fixture(scope="module")
def lonely(start: Started, tmp_path_factory: pytest.TempPathFactory) -> tuple[Server, Path]:
    """A server that has been started without a version, and its base path."""
    base = tmp_path_factory.mktemp("lonely")
    started = start(
        model_name="lonely",
        model_base_path=base,
        max_num_load_retries=0,
        file_system_poll_wait_seconds=1,
    )
    return started, base


class TestWithoutRetries:
    """In this order: the server waits, serves, tells of broken versions, and stops."""

    def test_a_server_without_a_version_waits_for_one(
        self, lonely: tuple[Server, Path], half_base: Path
    ):
        server, base = lonely
        time.sleep(1)
        assert server.process.poll() is None
        add_version(base, 1, half_base / "1")
        server.wait()
        assert half(server, "lonely") == 2.0

    def test_a_broken_version_is_told_and_given_up(self, lonely: tuple[Server, Path]):
        server, base = lonely
        (base / "2").mkdir()
        wait_until(lambda: states(server.wait(), "lonely").get(2) == END)
        told = status(server, spec("lonely", version=2))[0].status
        assert told.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        text = f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {base}"
        assert told.error_message.startswith(text)
        shutil.copytree(base / "1", base / "2", dirs_exist_ok=True)
        time.sleep(2.5)
        assert states(server, "lonely") == {2: END, 1: AVAILABLE}
        assert half(server, "lonely") == 2.0

    def test_a_version_whose_warm_up_fails_is_not_served(self, lonely: tuple[Server, Path]):
        server, base = lonely
        aside = base.with_name("warm")
        shutil.copytree(base / "1", aside)
        models.save_warm_up(aside, "nothing")
        aside.rename(base / "3")
        wait_until(lambda: states(server.wait(), "lonely").get(3) == END)
        told = status(server, spec("lonely", version=3))[0].status
        assert told.error_message == 'Serving signature key "nothing" not found.'
        assert told.error_code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        assert half(server, "lonely") == 2.0

    @pytest.mark.usefixtures("beyond_reference")
    def test_sigterm_lets_calls_end_and_takes_no_new_ones(self, lonely: tuple[Server, Path]):
        server, _ = lonely
        request = predict_request(spec("lonely", "hold"), seconds=[3.0])
        call = server.wait().predictor.Predict.future(request, timeout=PATIENCE)
        rest = ThreadPoolExecutor(1).submit(
            server.post,
            "/v1/models/lonely:predict",
            {"signature_name": "hold", "instances": [3.0]},
        )
        time.sleep(0.7)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.7)
        with refused(grpc.StatusCode.UNAVAILABLE):
            half(server, "lonely")
        assert [*call.result().outputs["seconds"].float_val] == [3.0]
        assert rest.result().json() == {"predictions": [3.0]}
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_a_killed_server_starts_again_on_its_port(
    executable: Executable, half_base: Path, tmp_path: Path
):
    flags = {"model_name": "half", "model_base_path": half_base}
    with Server(executable, tmp_path, flags) as server:
        assert half(server.wait()) == 4.0
        server.process.kill()
        server.process.wait()
        ports = {"port": server.port, "rest_api_port": server.rest_port}
        with Server(executable, tmp_path, flags | ports) as again:
            assert half(again.wait()) == 4.0
            assert half(server) == 4.0  # the client of the first has found the second


LARGE = 24
"""Megabytes of a version whose memory is to come back."""


def memory_of(process_id: int) -> int:
    """Return the bytes that a process has in memory."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )


class Load:
    """Callers that ask a model without a pause until told to stop.

    Args:
        server: Whom they ask.
        name: Which model.
        callers: How many of them ask at once.
    """

    def __init__(self, server: Server, name: str, callers: int) -> None:
        self.answers, self.failures = 0, []
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._server, self._name = server, name
        self._pool = ThreadPoolExecutor(callers)
        self._asking = [self._pool.submit(self._ask) for _ in range(callers)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                half(self._server, self._name)
                with self._lock:
                    self.answers += 1
            except grpc.RpcError as error:
                self.failures.append(error)

    def stop(self) -> None:
        """Let all callers end."""
        self._stop.set()
        self._pool.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_versions_in_a_minute_fail_no_call_and_leave_no_memory(
    start: Started, tmp_path: Path
):
    from tests.serving.conformance import models

    base, large = tmp_path / "swapped", tmp_path / "large"
    base.mkdir()
    for number in (1, 2, 3):
        models.save_half(large / str(number), float(number), LARGE)
    add_version(base, 1, large / "1")
    server = start(
        model_name="swapped", model_base_path=base, file_system_poll_wait_seconds=1
    ).wait()
    load = Load(server, "swapped", callers=16)
    wait_until(lambda: load.answers > 2000)
    for version in (2, 3):  # the first change of versions is part of the start
        add_version(base, version, large / "1")
        wait_until(lambda version=version: available(server, "swapped") == {version})
    before = memory_of(server.process.pid)
    for version in range(4, 24):
        began = time.monotonic()
        add_version(base, version, large / str(1 + version % 3))
        wait_until(lambda version=version: available(server, "swapped") == {version})
        time.sleep(max(0.0, 3.0 - (time.monotonic() - began)))
    load.stop()
    after = memory_of(server.process.pid)
    assert not load.failures, load.failures[:3]
    # Of twenty versions that were let go not even three may still be there.
    assert after <= before + 2.5 * LARGE * 2**20, f"{before} bytes have become {after}"
    assert after <= 1.1 * before, f"{before} bytes have become {after}"


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_long_run_grows_nothing(start: Started, half_base: Path):
    seconds = float(os.environ.get("SEQZOO_SOAK_SECONDS", "60"))
    server = start(model_name="half", model_base_path=half_base).wait()
    load = Load(server, "half", callers=8)
    body = {"instances": [2.0]}
    half_way = time.monotonic() + seconds / 2
    while time.monotonic() < half_way:
        server.post("/v1/models/half:predict", body)
    before = memory_of(server.process.pid)
    while time.monotonic() < half_way + seconds / 2:
        server.post("/v1/models/half:predict", body)
    load.stop()
    after = memory_of(server.process.pid)
    assert not load.failures, load.failures[:3]
    assert predict(server, "half", x=[2.0])["y"] == [4.0]
    assert after <= 1.05 * before, f"{before} bytes have become {after}"
