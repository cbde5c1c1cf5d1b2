"""The version folders under a model's base path."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class VersionFolder(NamedTuple):
    """A folder whose name is a version number; leading zeros do not count."""

    number: int
    folder: Path


def version_folders(base_path: Path) -> list[VersionFolder]:
    """Return the version folders, the newest first; none if the base path does not exist."""
    try:
        children = sorted(base_path.iterdir())
    except OSError:
        return []
    found = [
        VersionFolder(int(child.name), child)
        for child in children
        if child.name.isascii() and child.name.isdigit() and child.is_dir()
    ]
    return sorted(found, key=lambda version: version.number, reverse=True)


def latest_version(base_path: Path) -> VersionFolder | None:
    """Return the version folder with the largest number, or None if there is none."""
    return next(iter(version_folders(base_path)), None)


def fingerprint(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and time of each file: it changes while a folder is being copied."""
    files = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()
        except OSError:  # removed since it was listed
            continue
        files.append((str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns))
    return tuple(files)
