"""Processes that end with the one that started them, however that one ends.

A `Child` is a command, a `Fresh` a function in a process of its own, forked from one that has
TensorFlow and Keras loaded: a new interpreter would import them for 7 seconds. Either notices that
its parent is gone by the end of a pipe, which the system closes even for kill -9.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from serving.following import FOLLOWS, end_with

PRELOADED = (
    "tensorflow",
    "keras",
    "keras_tuner",
    "recipes.training",
    "recipes.backtest",
    "zoo.layers.recurrent",
    "zoo.models.forecaster",
    "zoo.models.sequence_classifier",
    "zoo.models.acoustic",
    "tuning.trial",
)
"""Modules that a fresh process starts with."""


class Child:
    """A command of this package as a process.

    Args:
        words: Behind `python -m tuning`.
        output: File that receives what it prints, or a function that is called with every line.
        environment: Further variables.
    """

    def __init__(
        self,
        words: Sequence[str],
        output: Path | Callable[[str], None],
        environment: Mapping[str, str],
    ) -> None:
        self._words, self._output = words, output
        self._environment = {**os.environ, **environment, FOLLOWS: "1"}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tuning", *self._words]
        with contextlib.ExitStack() as stack:
            stdout: Any = subprocess.PIPE
            if isinstance(self._output, Path):
                self._output.parent.mkdir(parents=True, exist_ok=True)
                stdout = stack.enter_context(self._output.open("ab"))
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            if callable(self._output):
                self._output(line.decode(errors="replace").rstrip())

    def listen(self) -> None:
        """Wait until everything that it printed was read, after it ended."""
        self._reader.join()

    def restart(self) -> None:
        """Start it again, after it ended or instead of ending by itself."""
        self.kill()
        self.process = self._start()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


WORKERS = "SEQZOO_WORKERS"
"""Names of all workers there are, for a chief whose workers are on its own machine."""


class Fresh:
    """A function that runs in a process of its own.

    Args:
        function: Importable by its name.
        *arguments: That can be pickled.
        log: File that receives what it prints.
        warm: Fork it from a process that has everything loaded, which then stays; or else start it
            from nothing, for what happens once.
    """

    def __init__(
        self, function: Callable[..., Any], *arguments: Any, log: Path, warm: bool = True
    ) -> None:
        context: Any = multiprocessing.get_context("forkserver" if warm else "spawn")
        # Neither kind inherits our end, so that it sees the other end close when we are gone.
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, log, function, arguments))
        self._process.start()
        theirs.close()

    @property
    def exit_code(self) -> int:
        """How it ended; -N for signal N."""
        return self._process.exitcode or 0

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most so many seconds, and say whether it has come."""
        self._process.join(timeout)
        return not self._process.is_alive()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join()


def preload(log: Path) -> None:
    """Load what warm processes start with, and return when the first of them could start."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    Fresh(_nothing, log=log).join()


def _nothing() -> None:
    """What a process does that is only started to see whether it can be."""


def last_line(log: Path) -> str:
    """Return the last line that a process printed, without the word "error"."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        lines = []
    return lines[-1].removeprefix("error: ") if lines else "it printed nothing"


def cause(exit_code: int) -> str:
    """Say why a trial's process may have ended without a word."""
    if exit_code >= 0:
        return f"the trial's process ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    memory = "; the machine may have run out of memory" if name == "SIGKILL" else ""
    return f"the trial's process was ended by {name}{memory}"


def _run(pipe: Connection, log: Path, function: Callable[..., Any], arguments: Any) -> None:
    """What a fresh process does: print into the log, and end with its parent."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    end_with(pipe.recv)  # nothing is ever sent: it fails when the parent is gone
    sys.exit(function(*arguments) or 0)
