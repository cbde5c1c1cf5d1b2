"""Data files on this machine: found by path and sha256, else downloaded with pooch.

The cache folder is `SEQZOO_DATA`, by default the user's cache. A folder that is read-only, or
lacks a file, still serves the files that it has; the others go to the user's cache then.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import DataError, DataUnavailableError

if TYPE_CHECKING:
    from rich.progress import Progress

FOLDER_VARIABLE = "SEQZOO_DATA"


@dataclass(frozen=True)
class DataFile:
    """A file that is published under a fixed URL.

    Attributes:
        path: Where it lies below the cache folder, with forward slashes.
        sha256: The hexadecimal sha256 of its bytes.
        url: Where it is downloaded from.
    """

    path: str
    sha256: str
    url: str


def fetch(file: DataFile) -> Path:
    """Return the local path of a file, downloading it if no cache folder has it.

    Raises:
        DataError: If a cache folder has the file with another sha256.
        DataUnavailableError: If it can be neither found nor downloaded; nothing is left behind.
    """
    return find(file.path, file.sha256) or _download(file)


def find(path: str, sha256: str) -> Path | None:
    """Return where a cache folder has the file, or None.

    Raises:
        DataError: If the file is there with another sha256: it is never overwritten.
    """
    for folder in _folders():
        candidate = folder / path
        if candidate.is_file():
            check(candidate, sha256)
            return candidate
    return None


def check(path: Path, sha256: str) -> None:
    """Raise DataError unless the file's bytes have the given sha256."""
    try:
        with path.open("rb") as stream:
            received = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if received != sha256:
        raise DataError(
            f"{path} is not the published file: its sha256 must be {sha256} and is {received}; "
            "move it away or delete it"
        )


def storage(path: str) -> Path:
    """Return where a new file goes: below the first cache folder that can be written to."""
    candidates = [folder / path for folder in _folders()]
    return next((place for place in candidates if _is_writable(place.parent)), candidates[-1])


def unavailable(place: Path, sha256: str, origin: str, reason: str) -> DataUnavailableError:
    """Return the error for a file that cannot be had, with all that is needed to place it by hand.

    Args:
        place: Where the file belongs.
        sha256: What its bytes must hash to.
        origin: How to get it: "from" and a URL, or "with" and a command.
        reason: Why the download failed, in a few words.
    """
    return DataUnavailableError(
        f"no {place.name} in the cache and no download ({reason}): get it {origin}, "
        f"sha256 {sha256}, and put it into {place.parent}"
    )


def _folders() -> list[Path]:
    """Return the cache folders in the order in which they are searched."""
    import pooch  # with requests, a quarter of a second that `--help` does not need

    named = os.environ.get(FOLDER_VARIABLE)
    return [*([Path(named).expanduser()] if named else []), Path(pooch.os_cache("seqzoo"))]


def _is_writable(folder: Path) -> bool:
    """Tell whether a file could be created in the folder, or in it once it is made."""
    while not folder.exists():
        folder = folder.parent
    # The mode is looked at too because root may write to a folder that is marked read-only.
    return folder.is_dir() and os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


def _download(file: DataFile) -> Path:
    import pooch
    from rich.console import Console
    from rich.progress import Progress

    place = storage(file.path)
    pooch.get_logger().setLevel("WARNING")
    quiet = not sys.stderr.isatty()
    try:
        with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
            # pooch writes aside, checks the hash, and only then moves the file into its place.
            pooch.retrieve(
                url=file.url,
                known_hash=f"sha256:{file.sha256}",
                fname=place.name,
                path=place.parent,
                downloader=pooch.HTTPDownloader(
                    progressbar=_Bar(progress, place.name), chunk_size=2**16
                ),
            )
    except (OSError, ValueError) as error:
        raise unavailable(place, file.sha256, f"from {file.url}", _reason(error)) from error
    return place


def _reason(error: OSError | ValueError) -> str:
    """Say in a few words why pooch gave up; its own messages run over several lines."""
    response = getattr(error, "response", None)
    if response is not None:
        response.close()  # pooch leaves the connection of a refused request open
        return f"the server answered {response.status_code}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "the server sent a file with another sha256"
    return getattr(error, "strerror", None) or type(error).__name__


class _Bar:
    """The progress bar that pooch drives, drawn by rich."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None)

    @property
    def total(self) -> float | None:
        """Bytes to come, or None while that is unknown."""
        return self._progress.tasks[0].total

    @total.setter
    def total(self, size: int) -> None:
        self._progress.update(self._task, total=size or None)

    def update(self, size: int) -> None:
        """Count further bytes."""
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        """Start again at 0, which pooch does before it fills the bar."""
        self._progress.reset(self._task)

    def close(self) -> None:
        """Do nothing: the context that made the bar closes it."""
