"""One small trained run and its export, shared by all tests that need a real model."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.__main__ import main as recipes


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `sentiment train --preset tiny`. Not to be written to."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert recipes(["sentiment", "train", "--preset", "tiny", "--run-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def tiny_export(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 of the model "tiny", exported from `tiny_run`. Not to be written to."""
    base = tmp_path_factory.mktemp("models")
    words = ["sentiment", "export", "--run-dir", str(tiny_run), "--out", str(base)]
    assert recipes([*words, "--name", "tiny"]) == 0
    return base / "tiny" / "1"
