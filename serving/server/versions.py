"""The version folders under a model's base path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

Fingerprint = tuple[tuple[str, int, int], ...]
"""Name, size and time of each file of a folder."""


class VersionFolder(NamedTuple):
    """A folder whose name is a version number; leading zeros do not count."""

    number: int
    folder: Path


def version_folders(base_path: Path) -> list[VersionFolder]:
    """Return the version folders, the newest first; none if the base path does not exist."""
    try:
        return scan(base_path)
    except OSError:
        return []


def scan(base_path: Path) -> list[VersionFolder]:
    """Return the version folders, the newest first.

    Of two folders that stand for one number, "1" and "001", the one with fewer zeros counts.

    Raises:
        OSError: The base path does not exist, or cannot be read.
    """
    found = {
        int(child.name): child
        for child in sorted(base_path.iterdir())
        if child.name.isascii() and child.name.isdigit() and child.is_dir()
    }
    numbers = sorted((number for number in found if number < 2**63), reverse=True)
    return [VersionFolder(number, found[number]) for number in numbers]


def latest_version(base_path: Path) -> VersionFolder | None:
    """Return the version folder with the largest number, or None if there is none."""
    return next(iter(version_folders(base_path)), None)


def served(policy: Any, numbers: Iterable[int]) -> set[int]:
    """Return the versions that a policy takes of those that are there.

    Args:
        policy: The ServableVersionPolicy message of a model; an empty one takes the newest.
        numbers: The versions that are there.
    """
    there = sorted(numbers, reverse=True)
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return set(there)
    if kind == "specific":
        return set(policy.specific.versions) & set(there)
    return set(there[: policy.latest.num_versions or 1])


def fingerprint(folder: Path) -> Fingerprint:
    """Return what changes while a folder is being copied."""
    found = []
    for parent, folders, files in os.walk(folder):  # folders that vanish meanwhile are left out
        for path in (Path(parent, name) for name in (*folders, *files)):
            try:
                stat = path.stat()
            except OSError:  # removed since it was listed
                continue
            found.append((str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns))
    return tuple(sorted(found))
