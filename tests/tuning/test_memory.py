"""Chief and search do not grow with the trials behind them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.tuning.commands import command, named
from tuning.folder import read_search
from zoo.errors import DataError

SPACE = '''
"""A space whose trials take a second and train nothing."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from recipes import sentiment
from recipes.run import CHECKPOINT


def train(config, data, pipeline, run):
    time.sleep(0.5)
    history = [{"epoch": 1, "loss": 1.0, "accuracy": config.dropout}]
    state = json.dumps({"history": history, "best_epoch": 0})
    run.write(CHECKPOINT, lambda file: np.savez(file, state=state))
    return {}


def space(hp, base):
    if base.seed == 1:
        sentiment.train = train
        sentiment.build = lambda config, data: SimpleNamespace(
            model=SimpleNamespace(count_params=lambda: 7),
            finish=SimpleNamespace(get_config=dict),
        )
    return replace(base, dropout=hp.Float("dropout", 0.0, 0.9))
'''


def resident(process: int) -> int:
    """Return the resident memory of a process, in KiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def wait_for(count: int, folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many trials have ended."""
    while process.poll() is None:
        try:
            if len(read_search(folder).completed) >= count:
                return
        except DataError:  # it has not begun
            pass
        time.sleep(0.2)
    pytest.fail(f"the search ended before {count} trials had")


@pytest.mark.slow
def test_a_hundred_trials_leave_nothing_behind(tmp_path: Path) -> None:
    space, folder = tmp_path / "quick.py", tmp_path / "run"
    space.write_text(SPACE)
    words = ["run", "sentiment", "--preset", "tiny", "--seed", "1", "--trials", "102"]
    words += ["--space", str(space), "--run-dir", str(folder)]
    process = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
    sizes = []
    try:
        for count in (10, 100):
            wait_for(count, folder, process)
            (chief,) = named(process.pid, "chief")
            sizes.append((resident(process.pid), resident(chief)))
    finally:
        process.kill()
        process.wait()
    for early, late in zip(*sizes, strict=True):
        assert late <= 1.1 * early
