"""The versions of one model come and go on disk; calls never notice."""

from __future__ import annotations

import gc
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
    FileSystemStoragePathSourceConfig,
)

from serving import errors
from serving.server import lifecycle
from serving.server.core import ServerCore
from serving.server.lifecycle import Retries
from serving.values import ModelRef, VersionStatus
from tests.serving.fakes import (
    BROKEN,
    GOOD,
    NO_RETRIES,
    Loader,
    available,
    config_of,
    core_of,
    put,
    remove,
)
from tests.tools import wait_until

TOY = ModelRef("toy")
SOON = Retries(count=2, seconds=0.02)
LATE = Retries(count=2, seconds=3600)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The base path of the model "toy"."""
    folder = tmp_path / "toy"
    folder.mkdir()
    return folder


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loader]:
    """What loads it; whether a version is still in use is looked at often."""
    monkeypatch.setattr(lifecycle, "PAUSES", (0.01, 0.01))
    loader = Loader()
    yield loader
    loader.gate.set()


def serve(loader: Loader, base: Path, retries: Retries = NO_RETRIES, **policy: Any) -> ServerCore:
    """Return a core that serves the model, once it does."""
    core = core_of(loader, retries)
    config = config_of(toy=base)
    config.model_config_list.config[0].model_version_policy.MergeFrom(
        FileSystemStoragePathSourceConfig.ServableVersionPolicy(**policy)
    )
    core.reload(config)
    return core


def states(core: ServerCore) -> dict[int, str]:
    """Return the state of each version."""
    return {status.version: status.state for status in core.status(TOY)}


def refresh_until(core: ServerCore, expected: dict[int, str]) -> None:
    """Let the core look at the disk once, and wait for what comes of it."""
    core.refresh()
    wait_until(lambda: states(core) == expected)


class TestPolicies:
    @pytest.mark.parametrize(
        ("policy", "first", "later"),
        [
            ({}, {2}, {4}),
            ({"latest": {"num_versions": 0}}, {2}, {4}),
            ({"latest": {"num_versions": 2}}, {1, 2}, {3, 4}),
            ({"all": {}}, {1, 2}, {1, 2, 3, 4}),
            ({"specific": {"versions": [1, 4]}}, {1}, {1, 4}),
        ],
        ids=["newest", "zero", "latest", "all", "specific"],
    )
    def test_choose_what_is_served(
        self, loader: Loader, base: Path, policy: Any, first: set[int], later: set[int]
    ):
        put(base, 1)
        put(base, 2)
        core = serve(loader, base, **policy)
        assert available(core, "toy") == first and core.get(TOY).number == max(first)
        put(base, 3)
        put(base, 4)
        core.refresh()
        wait_until(lambda: available(core, "toy") == later)
        assert core.get(TOY).number == 4
        assert len(loader.loaded) == len(set(loader.loaded)), "nothing is loaded twice"

    def test_what_a_specific_policy_misses_is_told_once(
        self, loader: Loader, base: Path, caplog: pytest.LogCaptureFixture
    ):
        put(base, 1)
        core = serve(loader, base, specific={"versions": [1, 7, 8]})
        core.refresh()
        assert caplog.text.count("Versions 7, 8 of servable toy") == 1


class TestTakingOver:
    def test_a_new_version_is_loaded_before_the_old_one_goes(self, loader: Loader, base: Path):
        put(base, 1, "old")
        core = serve(loader, base)
        loader.gate.clear()
        put(base, 2, "new")
        refresh_until(core, {2: "LOADING", 1: "AVAILABLE"})
        assert core.get(TOY).servable.content == "old"
        loader.gate.set()
        wait_until(lambda: states(core) == {2: "AVAILABLE", 1: "END"})
        assert core.get(TOY).servable.content == "new"
        with pytest.raises(errors.NotFound, match=r"Servable not found for request: Specific\(toy"):
            core.get(ModelRef("toy", version=1))

    def test_a_call_in_flight_keeps_its_version_until_it_is_done(self, loader: Loader, base: Path):
        put(base, 1, "old")
        core = serve(loader, base)
        in_flight = core.get(TOY)
        put(base, 2, "new")
        refresh_until(core, {2: "AVAILABLE", 1: "UNLOADING"})
        assert in_flight.servable.content == "old"
        assert core.get(TOY).number == 2
        del in_flight
        wait_until(lambda: states(core) == {2: "AVAILABLE", 1: "END"})

    def test_a_version_that_is_garbage_is_found(self, loader: Loader, base: Path):
        put(base, 1)
        core = serve(loader, base)
        knot: list[Any] = [core.get(TOY)]
        knot.append(knot)
        gc.disable()
        try:
            del knot
            put(base, 2)
            refresh_until(core, {2: "AVAILABLE", 1: "END"})
        finally:
            gc.enable()

    def test_removing_the_newest_brings_the_one_before_back(self, loader: Loader, base: Path):
        put(base, 1)
        put(base, 2)
        core = serve(loader, base)
        remove(base, 2)
        refresh_until(core, {2: "END", 1: "AVAILABLE"})
        put(base, 2, "again")
        refresh_until(core, {2: "AVAILABLE", 1: "END"})
        assert core.get(TOY).servable.content == "again"

    def test_an_empty_base_path_leaves_nothing(self, loader: Loader, base: Path):
        put(base, 1)
        core = serve(loader, base)
        remove(base, 1)
        refresh_until(core, {1: "END"})
        with pytest.raises(errors.NotFound, match=r"Latest\(toy\)"):
            core.get(TOY)
        assert not core.is_ready()

    def test_a_base_path_that_is_gone_changes_nothing(
        self, loader: Loader, base: Path, caplog: pytest.LogCaptureFixture
    ):
        put(base, 1)
        core = serve(loader, base)
        shutil.rmtree(base)
        core.refresh()
        core.refresh()
        assert states(core) == {1: "AVAILABLE"} and core.is_ready()
        assert caplog.text.count(f"Could not find base path {base} for servable toy") == 1

    def test_a_version_wanted_again_while_it_ends_is_loaded_again(self, loader: Loader, base: Path):
        put(base, 1)
        core = serve(loader, base)
        in_flight = core.get(TOY)
        put(base, 2)
        refresh_until(core, {2: "AVAILABLE", 1: "UNLOADING"})
        remove(base, 2)
        core.refresh()
        assert core.get(TOY).number == 2, "it stays until the other one is back"
        del in_flight
        wait_until(lambda: states(core) == {2: "END", 1: "AVAILABLE"})

    def test_a_version_that_goes_while_it_is_loaded_is_not_served(self, loader: Loader, base: Path):
        put(base, 1)
        core = serve(loader, base)
        loader.gate.clear()
        put(base, 2)
        refresh_until(core, {2: "LOADING", 1: "AVAILABLE"})
        wait_until(lambda: ("toy", 2) in loader.loaded)
        remove(base, 2)
        core.refresh()
        loader.gate.set()
        wait_until(lambda: states(core) == {2: "END", 1: "AVAILABLE"})
        assert core.status(TOY)[0].code in ("CANCELLED", "NOT_FOUND")


class TestBroken:
    def test_a_broken_version_leaves_the_old_one_alone(self, loader: Loader, base: Path):
        put(base, 1)
        core = serve(loader, base)
        put(base, 2, BROKEN)
        refresh_until(core, {2: "END", 1: "AVAILABLE"})
        broken = VersionStatus(2, "END", "INTERNAL", "the model is broken")
        assert core.status(TOY)[0] == broken
        assert core.status(ModelRef("toy", version=2)) == [broken]
        assert core.get(TOY).number == 1

    def test_an_error_of_any_kind_is_an_error_of_that_version(self, loader: Loader, base: Path):
        put(base, 1)
        core = serve(loader, base)
        folder = put(base, 2, "surprising")
        refresh_until(core, {2: "END", 1: "AVAILABLE"})
        assert core.status(TOY)[0].message == f"cannot load '{folder}': surprising"

    def test_one_broken_version_of_several_does_not_keep_the_others_from_starting(
        self, loader: Loader, base: Path
    ):
        put(base, 1)
        put(base, 2, BROKEN)
        core = serve(loader, base, LATE, all={})
        assert states(core) == {2: "LOADING", 1: "AVAILABLE"} and core.is_ready()

    def test_without_retries_it_is_given_up_for_good(self, loader: Loader, base: Path):
        put(base, 1)
        core = serve(loader, base)
        put(base, 2, BROKEN)
        refresh_until(core, {2: "END", 1: "AVAILABLE"})
        (base / "2" / "model").write_text("now it is good")
        core.refresh()
        assert states(core) == {2: "END", 1: "AVAILABLE"}
        assert loader.loaded.count(("toy", 2)) == 1

    def test_it_is_tried_as_often_as_flagged(
        self, loader: Loader, base: Path, caplog: pytest.LogCaptureFixture
    ):
        put(base, 1)
        core = serve(loader, base, SOON)
        put(base, 2, BROKEN)
        refresh_until(core, {2: "END", 1: "AVAILABLE"})
        assert loader.loaded.count(("toy", 2)) == 1 + SOON.count
        text = "Loading servable: {name: toy version: 2} failed: the model is broken"
        assert caplog.text.count(text) == 1 + SOON.count

    def test_a_negative_interval_does_not_wait(self, loader: Loader, base: Path):
        put(base, 1, BROKEN)
        with pytest.raises(errors.ServerFault):
            serve(loader, base, Retries(3, -1))
        assert len(loader.loaded) == 4

    @pytest.mark.parametrize("retries", [LATE, Retries(1, 0)], ids=["waiting", "given up"])
    def test_a_folder_that_changes_is_tried_at_once(
        self, loader: Loader, base: Path, caplog: pytest.LogCaptureFixture, retries: Retries
    ):
        put(base, 1)
        core = serve(loader, base, retries)
        put(base, 2, BROKEN)
        tries = 1 if retries == LATE else 2
        core.refresh()
        wait_until(lambda: caplog.text.count("failed: the model is broken") == tries)
        core.refresh()
        assert loader.loaded.count(("toy", 2)) == tries, "nothing has changed"
        (base / "2" / "model").write_text("it is whole now")
        refresh_until(core, {2: "AVAILABLE", 1: "END"})

    def test_waiting_for_the_next_try_ends_with_the_folder(
        self, loader: Loader, base: Path, caplog: pytest.LogCaptureFixture
    ):
        put(base, 1)
        core = serve(loader, base, LATE)
        put(base, 2, BROKEN)
        core.refresh()
        wait_until(lambda: "failed: the model is broken" in caplog.text)
        assert states(core) == {2: "LOADING", 1: "AVAILABLE"}
        remove(base, 2)
        refresh_until(core, {2: "END", 1: "AVAILABLE"})
        assert core.status(TOY)[0].message == "the model is broken"
        put(base, 2, GOOD)
        refresh_until(core, {2: "AVAILABLE", 1: "END"})

    def test_a_slow_version_does_not_keep_calls_from_being_answered(
        self, loader: Loader, base: Path
    ):
        put(base, 1)
        core = serve(loader, base)
        loader.gate.clear()
        put(base, 2)
        core.refresh()
        asked = threading.Thread(target=core.get, args=(TOY,))
        asked.start()
        asked.join(10)
        assert not asked.is_alive()
        assert core.status(TOY)[0].state == "LOADING"
