"""A search on one machine: a chief and its workers as processes, kept running, and shown.

Nothing of the search is in this process. Whatever is killed is started again, and if it is this
one, the others end with it and the same command goes on.
"""

from __future__ import annotations

import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recipes.commands import read_metrics
from tuning.board import Board
from tuning.folder import BEAT, LOG, best_folder, read_search, refuse_other_search, worker_folder
from tuning.options import LocalOptions, Settings, seconds
from tuning.processes import WORKERS, Child, last_line
from tuning.trials import Search
from zoo.errors import MisuseError, TrainingError

MOST_RESTARTS = 5
"""Of a process within `RESTART_SECONDS`; one that ends more often will not stop doing so."""

RESTART_SECONDS = 60.0
START_SECONDS = 60.0
"""A worker that has just started may be silent for so long."""

_TICK = 0.1
_LOCAL = ("--workers", "--port")


def search(name: str, words: Sequence[str], settings: Settings, options: LocalOptions[Any]) -> None:
    """Run a search to its end and print what it found.

    Args:
        name: Name of the recipe.
        words: The options as they were given, for the chief.
        settings: What decides about the result.
        options: The rest.

    Raises:
        MisuseError: What was asked for cannot be done.
        TrainingError: No trial succeeded, or the chief or a worker cannot be kept running.
    """
    folder = options.run_dir
    refuse_other_search(folder, settings)
    with Board(folder, seconds(options.budget, "budget")) as board:
        crew = Crew(name, words, options, board.tell)
        try:
            while not crew.is_done():
                board.show()
                time.sleep(_TICK)
            board.show()
        finally:
            crew.dismiss()
    _print_result(read_search(folder), folder)


class Crew:
    """The processes of a search.

    Args:
        name: Name of the recipe.
        words: Options of the search.
        options: The same, read.
        tell: Called with every line that the chief prints.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        options: LocalOptions[Any],
        tell: Callable[[str], None],
    ) -> None:
        self._folder = options.run_dir
        self._lease = seconds(options.lease, "lease")
        port = options.port or _free_port()
        self._names = [f"worker-{number}" for number in range(options.workers)]
        self._place = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}
        self._options = options
        self._tell, self._complaint = tell, "it printed nothing"
        self._chief = Child(
            ["chief", name, *without(words, *_LOCAL)],
            self._hear,
            {**self._place, WORKERS: " ".join(self._names)},
        )
        self._workers: dict[str, Child] = {}
        self._restarts: dict[str, list[float]] = defaultdict(list)
        self._started: dict[str, float] = {}

    def is_done(self) -> bool:
        """Restart what ended before its time; True when the search is over.

        Raises:
            SeqZooError: The chief gave up, for the reason that it printed.
        """
        code = self._chief.process.poll()
        if code == 0:
            return True
        if code in (1, 2):
            self._chief.listen()
            raise MisuseError(self._complaint) if code == 2 else TrainingError(self._complaint)
        if code is not None:
            self._restart("chief", self._chief, self._complaint)
        if (self._folder / "config.json").exists():
            self._watch_workers()
        return False

    def dismiss(self) -> None:
        """End every process."""
        for child in (*self._workers.values(), self._chief):
            child.kill()

    def _watch_workers(self) -> None:
        for name in self._names:
            if name not in self._workers:
                self._workers[name] = self._hire(name)
                self._started[name] = time.time()
            code = self._workers[name].process.poll()
            if code not in (None, 0) or (code is None and self._hangs(name)):
                log = worker_folder(self._folder, name) / LOG
                self._restart(name, self._workers[name], f"{last_line(log)} (see {log})")
                self._started[name] = time.time()

    def _hire(self, name: str) -> Child:
        log = worker_folder(self._folder, name) / LOG
        words = ["worker", "--run-dir", str(self._folder), "--lease", self._options.lease]
        words += ["--threads", str(self._options.cores)]
        return Child(words, log, {**self._place, "KERASTUNER_TUNER_ID": name})

    def _hangs(self, name: str) -> bool:
        beat = worker_folder(self._folder, name) / BEAT
        last = beat.stat().st_mtime if beat.exists() else 0.0
        return time.time() - max(last, self._started[name] + START_SECONDS) > self._lease

    def _hear(self, line: str) -> None:
        if line.startswith("error: "):
            self._complaint = line.removeprefix("error: ")
        else:
            self._tell(line)

    def _restart(self, name: str, child: Child, complaint: str) -> None:
        now = time.monotonic()
        recent = [at for at in self._restarts[name] if now - at < RESTART_SECONDS]
        self._restarts[name] = [*recent, now]
        if len(self._restarts[name]) > MOST_RESTARTS:
            raise TrainingError(f"{name} does not stay alive: {complaint}")
        child.restart()


def without(words: Sequence[str], *names: str) -> list[str]:
    """Return a command line without some options and their values."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in names:
            skip = True
        elif not word.startswith(tuple(f"{name}=" for name in names)):
            kept.append(word)
    return kept


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _print_result(search: Search, folder: Path) -> None:
    """Print the best trials beside the first one, and what became of the best on the test part."""
    metric = search.objective.metric
    by_status = Counter(each.status for each in search.trials)
    print(", ".join(f"{count} {status}" for status, count in by_status.items()))
    first, best = search.trials[0], search.best
    assert best is not None, "the chief has failed if there is none"
    shown = "none" if first.score is None else f"{first.score:.4f}"
    print(f"best validated {metric}: {best.score:.4f}, trial {best.id} (start: {shown})")
    for name, value in best.parameters.items():
        if value != search.base.get(name, value):
            print(f"  {name} {value} instead of {search.base[name]}")
    run = best_folder(folder, best.id)
    results = read_metrics(run)
    print(f"test {metric}: {results['test'][metric]:.4f}")
    for name, scores in results["baselines"].items():
        print(f"  {name}: {scores[metric]:.4f}")
    print(f"search folder: {folder}; its best model: {run}")
