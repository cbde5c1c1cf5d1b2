"""A training that is killed and started again ends like one that is left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from recipes.__main__ import main


def start(recipe: str, epochs: int, folder: Path) -> subprocess.Popen[bytes]:
    recipe, *fields = recipe.split()
    command = [sys.executable, "-m", "recipes", recipe, "train", "--preset", "tiny", *fields]
    command += ["--epochs", str(epochs), "--run-dir", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("recipe", "epochs"),
    [
        ("sentiment", 5),
        pytest.param("speech", 6, marks=pytest.mark.slow),
        pytest.param("forecasting", 12, marks=pytest.mark.slow),
        pytest.param("video --model predrnn", 40, marks=pytest.mark.slow),
    ],
)
def test_kill_9_and_the_same_command_end_with_the_weights_of_a_run_without(
    recipe: str, epochs: int, tiny_run: Path, tmp_path: Path
) -> None:
    killed, whole = tmp_path / "killed", tiny_run
    process = start(recipe, epochs, killed)
    while not (killed / "history.json").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "metrics.json").exists()

    if recipe == "sentiment":  # the process that is asked again may be this one
        words = ["--preset", "tiny", "--epochs", str(epochs), "--run-dir", str(killed)]
        assert main(["sentiment", "train", *words]) == 0
    else:
        assert start(recipe, epochs, killed).wait() == 0
        whole = tmp_path / "whole"
        assert start(recipe, epochs, whole).wait() == 0
    with np.load(killed / "checkpoint.npz") as ours, np.load(whole / "checkpoint.npz") as theirs:
        assert set(ours.files) == set(theirs.files)
        for name in set(ours.files) - {"state"}:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-6)
