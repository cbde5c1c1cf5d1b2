"""What a person sees of a training: a live line on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import rich.progress
from rich.console import Console


class Progress:
    """Shows epoch, loss, examples per second, validation metrics and time left.

    Args:
        epochs: Number of epochs of the whole training.
        console: Where to write; standard error by default.
    """

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        self.epochs = epochs
        self.console = console or Console(stderr=True)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=24),
            rich.progress.TextColumn("{task.fields[rate]:>6.0f} examples/s"),
            rich.progress.TextColumn("loss {task.fields[loss]:.4f}"),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, rate=0.0, loss=0.0)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def start(self, epoch: int, steps: int, done: int) -> None:
        """Begin epoch `epoch` (from 0) of `steps` steps, `done` of which lie behind."""
        self._epoch, self._examples, self._since = epoch, 0, time.monotonic()
        self._bar.update(
            self._task,
            description=f"epoch {epoch + 1}/{self.epochs}",
            # The whole training is one bar, so that the time left is the whole training's.
            total=steps * self.epochs,
            completed=steps * epoch + done,
        )

    def step(self, examples: int, loss: float) -> None:
        """Count one step over `examples` rows."""
        self._examples += examples
        self._bar.update(self._task, advance=1, rate=self._rate(), loss=loss)

    def end(self, row: dict[str, float], is_best: bool) -> None:
        """Print the finished epoch's line of the history; a star marks the best so far."""
        metrics = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
        best = "  *" if is_best else ""
        line = f"epoch {self._epoch + 1:>2}/{self.epochs}  {metrics}  {self._rate():.0f}/s{best}"
        self.console.print(line, highlight=False, soft_wrap=True)

    def _rate(self) -> float:
        return self._examples / max(time.monotonic() - self._since, 1e-9)
