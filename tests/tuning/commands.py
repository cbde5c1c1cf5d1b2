"""Commands of `python -m tuning` as processes, and the processes below them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TINY = ["sentiment", "--preset", "tiny", "--epochs", "3", "--max-length", "16"]
SHORT = [*TINY[:-1], "4"]
"""The same with texts of one length, for which a step is compiled once."""


def command(*words: str) -> list[str]:
    """Return a command line."""
    return [sys.executable, "-m", "tuning", *words]


def run(*words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=timeout)


def descendants(process: int) -> list[tuple[int, list[str]]]:
    """Return the processes below one, with their command lines."""
    parents: dict[int, list[tuple[int, list[str]]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
            parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
        except (OSError, ValueError):
            continue
        parents.setdefault(parent, []).append((int(folder.name), words))
    found = list(parents.get(process, []))
    for child, _ in parents.get(process, []):
        found += descendants(child)
    return found


def named(process: int, role: str) -> list[int]:
    """Return the processes below one that run a command of `python -m tuning`."""
    return [child for child, words in descendants(process) if words[1:4] == ["-m", "tuning", role]]
