"""Processes that end with the one that started them, however that one ends.

A parent that gives its child a pipe as standard input, and the variable `FOLLOWS`, needs to do
nothing more: the system closes its end of the pipe even for kill -9.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

FOLLOWS = "SEQZOO_FOLLOWS"
"""Set for a process whose standard input is the pipe of its parent."""


def follow_parent() -> None:
    """Let this process end when the one that started it does, if that one wants it so."""
    if os.environ.pop(FOLLOWS, ""):
        end_with(lambda: os.read(0, 1))  # raw: a buffered reader cannot be left at exit


def end_with(wait: Callable[[], Any]) -> None:
    """End this process as soon as `wait` returns or fails."""

    def watch() -> None:
        try:
            wait()
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
