"""What a person sees of a search: a live table on a terminal, a line per trial elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tuning.folder import ORACLE, best_folder, curve_of, read_search
from tuning.trials import FAILED, REFUSED, RUNNING, Search, Trial

ROWS = 12
"""Trials in the table: those that run, and the best of the others."""

_BARS = "▁▂▃▄▅▆▇█"
_PERIOD = 0.5


class Board:
    """Shows a search folder.

    Args:
        folder: The search folder; need not exist yet.
        budget: Seconds for all of it, 0 for no limit.
        console: Where to write; standard error by default.
    """

    def __init__(self, folder: Path, budget: float, console: Console | None = None) -> None:
        self._folder, self._budget = folder, budget
        self.console = console or Console(stderr=True)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._live.__exit__(kind, error, trace)

    def tell(self, line: str) -> None:
        """Print a line, above the table where there is one."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self) -> None:
        """Draw the table anew, twice a second at the most."""
        now = time.monotonic()
        if not self.console.is_terminal or now - self._shown < _PERIOD:
            return
        self._shown = now
        if (self._folder / ORACLE).exists():
            search = read_search(self._folder)
            best = best_folder(self._folder, search.best.id) if search.best else None
            under_way = best is not None and best.is_dir()
            finishing = curve_of(best, search.objective.metric) if best and under_way else None
            self._live.update(picture(search, self._budget, finishing), refresh=True)


def picture(search: Search, budget: float = 0.0, finishing: Sequence[float] | None = None) -> Group:
    """Return the table.

    Args:
        search: What is shown.
        budget: Seconds for all of it, 0 for no limit.
        finishing: Curve of the best one's last training, if that is under way.
    """
    base = search.base
    names = [name for name in _names(search.trials) if len(_values(search, name)) > 1]
    table = Table(box=None, pad_edge=False)
    for column in ("trial", "worker", "", "epochs", search.objective.metric, *names):
        table.add_column(column, no_wrap=True)
    for trial in _chosen(search):
        values = [_spelled(trial.parameters.get(name)) for name in names]
        style = "bold" if trial is search.best else "dim" if trial.status != RUNNING else ""
        table.add_row(
            trial.id, trial.worker, *_progress(trial, base.get("epochs")), *values, style=style
        )
    return Group(table, Text(_summary(search, budget, finishing)))


def _chosen(search: Search) -> list[Trial]:
    running = [each for each in search.trials if each.status == RUNNING]
    others = search.completed + [t for t in search.trials if t.status in (FAILED, REFUSED)]
    return (running + others)[:ROWS]


def _progress(trial: Trial, epochs: object) -> tuple[str, str, str]:
    """Return a curve, how many epochs, and score or reason."""
    if trial.status in (FAILED, REFUSED):
        return trial.status, "", trial.reason[:30]
    done = f"{len(trial.curve)}/{epochs}"
    latest = trial.score if trial.score is not None else next(iter(trial.curve[-1:]), None)
    return sparkline(trial.curve), done, "" if latest is None else f"{latest:.4f}"


def sparkline(values: Sequence[float]) -> str:
    """Return a curve as one line of bars, the lowest value as the lowest bar."""
    known = [value for value in values if value == value]
    if not known:
        return ""
    low, high = min(known), max(known)
    width = (high - low) or 1.0
    heights = [round((value - low) / width * (len(_BARS) - 1)) for value in known]
    return "".join(_BARS[height] for height in heights)


def _summary(search: Search, budget: float, finishing: Sequence[float] | None) -> str:
    ended = [each for each in search.trials if each.status != RUNNING]
    known = f" of {search.planned}" if search.planned else ""
    parts = [f"{len(ended)}{known} trials"]
    if search.best and search.best.score is not None:
        parts.append(f"best {search.objective.metric} {search.best.score:.4f}")
    if finishing is not None:
        parts.append(f"the best one is trained to its end: epoch {len(finishing)}")
    elif (left := _seconds_left(search, len(ended), budget)) is not None:
        parts.append(f"about {timedelta(seconds=round(left))} left")
    return "  ".join(parts)


def _seconds_left(search: Search, ended: int, budget: float) -> float | None:
    """Return how long the search will take yet, None if nothing says so."""
    left = [budget - search.seconds] if budget else []
    if search.planned and ended:
        left.append(search.seconds / ended * (search.planned - ended))
    return max(min(left), 0.0) if left else None


def _names(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(name for trial in trials for name in trial.parameters))


def _values(search: Search, name: str) -> set[object]:
    return {trial.parameters.get(name) for trial in search.trials}


def _spelled(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
