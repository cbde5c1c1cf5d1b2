"""The commands of `python -m tuning`.

Nothing here imports TensorFlow before the command line has been read.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from recipes.config import parse, require
from tuning.options import LocalOptions, SearchOptions, lease_seconds, read_options, seconds
from tuning.trials import Search
from zoo.errors import ConfigError, MisuseError, TrainingError


@dataclass(frozen=True)
class WorkerOptions:
    """Take trials from a chief; variables say where it is, as with KerasTuner's own workers."""

    run_dir: Path = Path("runs")
    """Folder of the search, on a file system that chief and workers share."""
    threads: int = 0
    """Cores to use; 0: all of the machine."""
    lease: str = "15m"
    """Time without a finished epoch or another checkpoint, of which there is one a minute, after
    which a trial is taken to hang, and time that a chief which gives no answer is waited for."""

    def __post_init__(self) -> None:
        """Check every value, so that a bad one is named before anything starts."""
        require(self, "at least 0", lambda value: value >= 0, "threads")
        lease_seconds(self.lease)


@dataclass(frozen=True)
class FolderOptions:
    """Tell what a search found."""

    folder: tyro.conf.Positional[str] = ""
    """Folder of the search; it may be running."""


@dataclass(frozen=True)
class ReportOptions(FolderOptions):
    """Write the page of a search, its pictures, and its trials for TensorBoard."""

    json: Path | None = None
    """File for the numbers as JSON."""
    csv: Path | None = None
    """File for the numbers as CSV."""
    log: tuple[Literal["mlflow", "wandb"], ...] = ()
    """Trackers to hand the trials to; each is told of a trial once."""


@dataclass(frozen=True)
class ConfirmOptions(FolderOptions):
    """Train start and best few of a search with several seeds, choose by the mean validation score,
    and compare start and chosen on the test part."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the trainings."""
    finalists: int = 3
    """How many of the best configurations are trained beside the start."""
    threads: int = 0
    """Cores to use; 0: all of the machine."""

    def __post_init__(self) -> None:
        """Check every value, so that a bad one is named before anything starts."""
        require(self, "at least 1", lambda value: value >= 1, "finalists")
        require(self, "at least 0", lambda value: value >= 0, "threads")
        if not self.seeds or len({*self.seeds}) < len(self.seeds):
            given = ", ".join(map(str, self.seeds)) or "none"
            raise ConfigError(f"seeds must be one or more, each once, not {given}")


def run(arguments: Sequence[str]) -> None:
    """Search with workers on this machine."""
    from tuning.search import search

    name, words = _recipe(arguments, "run")
    settings, options = read_options(LocalOptions, name, words, "run")
    search(name, words, settings, options)


def chief(arguments: Sequence[str]) -> None:
    """Hand out the trials of a search to workers elsewhere."""
    name, words = _recipe(arguments, "chief")
    settings, options = read_options(SearchOptions, name, words, "chief")
    from tuning.chief import Address, Chief
    from tuning.processes import WORKERS

    host = os.environ.get("KERASTUNER_ORACLE_IP", "127.0.0.1")
    port = os.environ.get("KERASTUNER_ORACLE_PORT", "0")
    if not port.isdecimal() or int(port) > 65535:
        raise MisuseError(f"KERASTUNER_ORACLE_PORT must be from 0 to 65535, not '{port}'")
    known = os.environ.get(WORKERS)
    boss = Chief(settings, options, Address(host, int(port)), known.split() if known else None)
    print(f"chief of '{options.run_dir}' listens on {host}:{boss.port}", flush=True)
    try:
        boss.serve()
        boss.finish()
    except OSError as error:
        raise TrainingError(f"the chief cannot go on: {error}") from error
    finally:
        boss.close()


def worker(arguments: Sequence[str]) -> None:
    """Run trials that a chief hands out."""
    options = parse(WorkerOptions, arguments, WorkerOptions(), "python -m tuning worker")
    from tuning.worker import Worker

    name = os.environ.get("KERASTUNER_TUNER_ID", "")
    if not name:
        raise MisuseError("KERASTUNER_TUNER_ID must name this worker, and is not set")
    lease = seconds(options.lease, "lease")
    _wait_for(options.run_dir / "config.json", lease)
    Worker(options.run_dir, name, options.threads or os.cpu_count() or 1, lease).work()


def report(arguments: Sequence[str]) -> None:
    """Write page, pictures and numbers of a search."""
    options = parse(ReportOptions, arguments, ReportOptions(), "python -m tuning report")
    from tuning.report import LOGGERS, to_json, write_csv, write_report
    from tuning.report.records import write

    search = _search(options, "report")
    for file in write_report(search, Path(options.folder)):
        print(file)
    if options.json:
        text = json.dumps(to_json(search), indent=2, ensure_ascii=False) + "\n"
        write(options.json, text.encode())
    if options.csv:
        write_csv(search, options.csv)
    for name in options.log:
        print(LOGGERS[name](search, Path(options.folder)))


def best(arguments: Sequence[str]) -> None:
    """Print the best configuration, which `recipes RECIPE train --config` takes.

    It is what `confirm` chose, if that was called, or else that of the best trial.
    """
    options = parse(FolderOptions, arguments, FolderOptions(), "python -m tuning best")
    from tuning.confirm import chosen_config

    search = _search(options, "best")
    print(json.dumps(chosen_config(Path(options.folder), search), indent=2))


def confirm(arguments: Sequence[str]) -> None:
    """Choose among the best few by several seeds, and say what that gains on the test part."""
    options = parse(ConfirmOptions, arguments, ConfirmOptions(), "python -m tuning confirm")
    from tuning.confirm import confirm as compare

    _search(options, "confirm")
    folder = Path(options.folder)
    print(compare(folder, options.seeds, options.finalists, options.threads, print))


def jobs(arguments: Sequence[str]) -> None:
    """Write job files for Slurm or Kubernetes."""
    from tuning.jobs.command import jobs as write

    write(arguments)


def _search(options: FolderOptions, command: str) -> Search:
    from tuning.folder import read_search

    if not options.folder:
        raise MisuseError(f"name a search folder: python -m tuning {command} FOLDER")
    return read_search(Path(options.folder), whole=True)


def _wait_for(file: Path, limit: float) -> None:
    """Wait until the chief has written its folder."""
    deadline = time.monotonic() + limit
    while not file.exists():
        if time.monotonic() > deadline:
            raise MisuseError(f"no chief has begun a search in '{file.parent}'")
        time.sleep(0.5)


def _recipe(arguments: Sequence[str], command: str) -> tuple[str, Sequence[str]]:
    from recipes import recipe

    if not arguments or arguments[0].startswith("-"):
        raise MisuseError(f"name a recipe: python -m tuning {command} RECIPE")
    recipe(arguments[0])
    return arguments[0], arguments[1:]


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "run": run,
    "chief": chief,
    "worker": worker,
    "report": report,
    "best": best,
    "confirm": confirm,
    "jobs": jobs,
}
