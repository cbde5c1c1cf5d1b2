"""How a chief ends a search: the best trial, or the next best, is trained to its end."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from keras_tuner.src import protos

from tests.tuning.report_searches import search as made
from tests.tuning.searches import close, open_oracle
from tuning import chief as module
from tuning.__main__ import main
from tuning.chief import LONELY_SECONDS, Chief, Servicer
from tuning.folder import LOG, best_folder
from tuning.trials import FAILED
from zoo.errors import TrainingError

TRIALS = made(12)
BEST, NEXT, *_ = [trial.id for trial in TRIALS.completed]


class Ends:
    """Processes that train a trial to its end, and end as they are told.

    Args:
        codes: Exit codes, one after the other.
    """

    def __init__(self, *codes: int) -> None:
        self._codes: Iterator[int] = iter(codes)
        self.trained: list[str] = []

    def __call__(self, function: Any, folder: Path, trial: str, cores: int, **options: Any) -> Any:
        """Stand in for `Fresh`."""
        self.trained.append(trial)
        options["log"].parent.mkdir(parents=True, exist_ok=True)
        options["log"].write_text("error: the loss is nan\n")
        return SimpleNamespace(join=lambda: None, exit_code=next(self._codes))


@pytest.fixture
def chief(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chief:
    """A chief at the end of a search."""
    failed: dict[str, str] = {}

    def read_search(folder: Path) -> Any:
        trials = [
            replace(each, status=FAILED, score=None, reason=failed[each.id])
            if each.id in failed
            else each
            for each in TRIALS.trials
        ]
        return replace(TRIALS, trials=trials)

    monkeypatch.setattr(module, "read_search", read_search)
    found = object.__new__(Chief)
    found.folder = tmp_path
    found.options = SimpleNamespace(threads=1)  # type: ignore[assignment]
    found.oracle = SimpleNamespace(fail=failed.__setitem__)  # type: ignore[assignment]
    return found


@pytest.mark.parametrize(
    ("codes", "trained"),
    [
        ((0,), [BEST]),
        ((1, 0), [BEST, NEXT]),
        ((-9, 0), [BEST, BEST]),  # killed once, perhaps by chance
        ((-9, -9, 0), [BEST, BEST, NEXT]),
    ],
)
def test_what_cannot_be_trained_to_its_end_leaves_it_to_the_next_best(
    codes: tuple[int, ...],
    trained: list[str],
    chief: Chief,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ends = Ends(*codes)
    monkeypatch.setattr(module, "Fresh", ends)
    chief.finish()
    assert ends.trained == trained
    told = capsys.readouterr().out
    assert told.endswith(f"in {best_folder(chief.folder, trained[-1])}\n")
    why = {1: "the loss is nan", -9: "ended by SIGKILL; the machine may have run out of memory"}
    assert (f"trial {BEST} could not be trained to its end" in told) is (NEXT in trained)
    assert NEXT not in trained or why[codes[0]] in told


def test_what_is_no_trial_s_fault_fails_none(chief: Chief, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = Ends(2)
    monkeypatch.setattr(module, "Fresh", ends)
    with pytest.raises(TrainingError, match=f"trial {BEST} cannot be trained to its end: the loss"):
        chief.finish()
    assert ends.trained == [BEST]
    assert (best_folder(chief.folder, BEST) / LOG).exists()


def test_if_none_can_be_trained_the_search_has_failed(
    chief: Chief, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Fresh", Ends(*[1] * len(TRIALS.trials)))
    with pytest.raises(TrainingError, match=r"none of \d+ trials has a score; the last one"):
        chief.finish()


class Aborted(Exception):
    """What a context of gRPC raises to end a call."""


class Context:
    """Of a call: it is ended with a status."""

    def abort(self, code: grpc.StatusCode, message: str) -> None:
        """End the call."""
        raise Aborted(code, message)


def full_disk(*_: object) -> None:
    """Stand in for what writes."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_chief_that_cannot_write_lets_no_call_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = open_oracle(tmp_path)
    servicer = Servicer(oracle)
    monkeypatch.setattr(oracle._run, "write_json", full_disk)
    request = protos.get_service().CreateTrialRequest(tuner_id="worker-0")
    for _ in range(3):  # each in a thread of its own, as gRPC's calls are
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(servicer.CreateTrial, request, Context())
            with pytest.raises(Aborted, match="INTERNAL.*No space left on device"):
                call.result(timeout=30)
    assert isinstance(servicer.fault, OSError)
    close(oracle)


def test_a_chief_without_workers_gives_up(chief: Chief) -> None:
    chief._servicer = SimpleNamespace(heard=time.monotonic())  # type: ignore[assignment]
    chief._workers_are_known = False
    chief._refuse_to_be_alone()
    chief._servicer.heard -= LONELY_SECONDS + 1
    with pytest.raises(TrainingError, match="no worker has asked for 60 minutes"):
        chief._refuse_to_be_alone()
    chief._workers_are_known = True
    chief._refuse_to_be_alone()


def test_a_disk_that_is_full_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends: list[str] = []
    boss = SimpleNamespace(port=1, serve=full_disk, close=lambda: ends.append("closed"))
    monkeypatch.setattr(module, "Chief", lambda *_: boss)
    monkeypatch.delenv("KERASTUNER_ORACLE_PORT", raising=False)
    assert main(["chief", "sentiment", "--run-dir", str(tmp_path / "search")]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told == ["error: the chief cannot go on: [Errno 28] No space left on device"]
    assert ends == ["closed"]
