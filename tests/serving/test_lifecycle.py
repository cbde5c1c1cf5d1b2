"""Versions come and go on disk; the newest that loads is served."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serving import errors
from serving.server.app import wait_for_models
from serving.server.core import ServerCore
from serving.server.lifecycle import ModelVersions
from serving.server.versions import latest_version, version_folders
from serving.values import ModelRef

HALF = {"x": np.float32([2])}


@pytest.fixture
def model(tmp_path: Path) -> ModelVersions:
    """A model without versions yet."""
    return ModelVersions("toy", tmp_path)


@pytest.fixture
def put(toy_base_path: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Put a version of the toy model under the base path."""

    def put(number: int) -> Path:
        return Path(shutil.copytree(toy_base_path / "1", tmp_path / str(number)))

    return put


def states(model: ModelVersions) -> dict[int, str]:
    """Return the state of each version."""
    return {status.version: status.state for status in model.status()}


def test_version_folders_are_numbers(tmp_path: Path) -> None:
    for name in ("1", "002", "10", "latest", "-1", "²"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file")
    assert [version.number for version in version_folders(tmp_path)] == [10, 2, 1]
    assert latest_version(tmp_path / "missing") is None


def test_the_newest_version_is_served_and_the_old_one_unloaded(
    model: ModelVersions, put: Callable[[int], Path]
) -> None:
    put(1)
    model.refresh()
    old = model.get(ModelRef("toy"))
    put(2)
    model.refresh()
    assert states(model) == {2: "AVAILABLE", 1: "END"}
    assert model.get(ModelRef("toy")).number == 2
    with pytest.raises(errors.NotFound, match=r"Specific\(toy, 1\)"):
        model.get(ModelRef("toy", version=1))
    # A call that began on the old version still ends on it.
    assert old.servable.predict("half", HALF)["y"] == [3]


def test_a_broken_version_leaves_the_old_one_alone(
    model: ModelVersions, put: Callable[[int], Path], caplog: pytest.LogCaptureFixture
) -> None:
    put(1)
    (put(2) / "saved_model.pb").write_bytes(b"not a protobuf")
    model.refresh()
    assert states(model) == {2: "END", 1: "AVAILABLE"}
    newest = model.status()[0]
    assert newest.code == "INTERNAL" and "cannot load" in newest.message
    assert "toy version 2: cannot load" in caplog.text
    caplog.clear()
    model.refresh()
    assert not caplog.text, "a folder that did not change is not tried again"


@pytest.mark.parametrize("missing", ["saved_model.pb", "variables"])
def test_a_half_copied_version_is_served_once_it_is_whole(
    model: ModelVersions, put: Callable[[int], Path], tmp_path: Path, missing: str
) -> None:
    put(1)
    folder = put(2)
    (folder / missing).rename(tmp_path / "aside")
    model.refresh()
    assert states(model) == {2: "END", 1: "AVAILABLE"}
    (tmp_path / "aside").rename(folder / missing)
    model.refresh()
    assert states(model) == {2: "AVAILABLE", 1: "END"}


def test_removed_versions(model: ModelVersions, put: Callable[[int], Path]) -> None:
    put(1)
    folder = put(2)
    model.refresh()
    shutil.rmtree(folder)
    model.refresh()
    assert states(model) == {2: "END", 1: "AVAILABLE"}
    shutil.rmtree(model.base_path)
    model.refresh()
    assert states(model)[1] == "AVAILABLE", "the last version is never unloaded"


def test_no_versions(model: ModelVersions, caplog: pytest.LogCaptureFixture) -> None:
    model.refresh()
    assert "No versions of servable toy found" in caplog.text
    core = ServerCore({"toy": model})
    assert not core.is_ready() and core.failures() == []
    with pytest.raises(errors.NotFound, match=r"Servable not found for request: Latest\(toy\)"):
        core.get(ModelRef("toy"))
    with pytest.raises(errors.NotFound, match="Could not find any versions of model toy"):
        core.status(ModelRef("toy"))


def test_a_server_does_not_start_when_nothing_loads(
    model: ModelVersions, put: Callable[[int], Path]
) -> None:
    (put(1) / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(errors.FailedPrecondition, match="cannot load"):
        wait_for_models(ServerCore({"toy": model}), 1, threading.Event())


def test_a_server_waits_for_the_first_version(
    model: ModelVersions, put: Callable[[int], Path]
) -> None:
    core = ServerCore({"toy": model})
    copying = threading.Timer(0.1, put, [1])
    copying.start()
    deadline = time.monotonic() + 60
    while not core.is_ready() and time.monotonic() < deadline:
        # Half a copy may be found first, which is an error that passes.
        with contextlib.suppress(errors.FailedPrecondition):
            wait_for_models(core, 0.05, threading.Event())
    copying.join()
    assert core.get(ModelRef("toy")).number == 1
