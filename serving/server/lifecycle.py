"""The versions of a model: found on disk, loaded, served, unloaded.

The newest version that loads is served. A new one is loaded before the old one is let go,
and calls that run on the old one keep it in memory until they are done. A version that does
not load is reported and left alone until its folder changes (it may still be being copied).
"""

from __future__ import annotations

import gc
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from serving import errors
from serving.server.servable import Servable, one_line
from serving.server.versions import VersionFolder, fingerprint, version_folders
from serving.values import ModelRef, VersionStatus

log = logging.getLogger(__name__)


@dataclass
class _Version:
    """What is known of one version."""

    state: str = "START"
    error: errors.ServingError | None = None
    servable: Servable | None = None
    tried: tuple[tuple[str, int, int], ...] | None = None
    """The folder's fingerprint when it was last found not to load."""


class Loaded(NamedTuple):
    """A version that can be asked."""

    number: int
    servable: Servable


class ModelVersions:
    """One model's versions.

    `refresh` is for one thread alone; everything else may be called from any thread.

    Args:
        name: Name under which the model is served.
        base_path: Folder of the version folders.
    """

    def __init__(self, name: str, base_path: Path) -> None:
        self.name = name
        self.base_path = base_path
        self._versions: dict[int, _Version] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Look at the disk once: load the newest version that loads, let go of the others."""
        folders = version_folders(self.base_path)
        if not folders:
            log.warning(
                "No versions of servable %s found under base path %s. Did you forget to name "
                "your leaf directory as a number (eg. '/1/')?",
                self.name,
                self.base_path,
            )
        for version in folders:
            if self._ensure_loaded(version):
                self._unload_all_but(version.number)
                return

    def get(self, ref: ModelRef) -> Loaded:
        """Return the version that a request is meant for.

        Raises:
            NotFound: It is not loaded.
            InvalidArgument: The request names a label.
        """
        if ref.label is not None:
            raise errors.InvalidArgument(f"Unrecognized servable version label: {ref.label}")
        with self._lock:
            loaded = [
                Loaded(number, version.servable)
                for number, version in self._versions.items()
                if version.servable is not None and ref.version in (None, number)
            ]
        if not loaded:
            raise servable_not_found(ref)
        return max(loaded)

    def status(self) -> list[VersionStatus]:
        """Return the state of every version that was ever seen, the newest first."""
        with self._lock:
            versions = sorted(self._versions.items(), reverse=True)
            return [
                VersionStatus(number, version.state)
                if version.error is None
                else VersionStatus(
                    number, version.state, errors.row_of(version.error).name, str(version.error)
                )
                for number, version in versions
            ]

    def failures(self) -> list[str]:
        """Return why versions do not load, the newest first."""
        return [status.message for status in self.status() if status.message]

    def _ensure_loaded(self, folder: VersionFolder) -> bool:
        """Load a version unless it is loaded, or known not to load; say whether it is."""
        with self._lock:
            version = self._versions.setdefault(folder.number, _Version())
        if version.servable is not None:
            return True
        now = fingerprint(folder.folder)
        if version.tried == now:
            return False
        self._set(version, "LOADING")
        try:
            servable = Servable(folder.folder)
        except errors.ServingError as error:
            version.tried = now
            self._set(version, "END", error=error)
            log.error("%s version %d: %s", self.name, folder.number, one_line(error))
            return False
        version.tried = None
        self._set(version, "AVAILABLE", servable=servable)
        log.info("Successfully loaded servable version {%s, %d}", self.name, folder.number)
        return True

    def _unload_all_but(self, number: int) -> None:
        """Let go of every other loaded version."""
        for other, version in list(self._versions.items()):
            if other != number and version.servable is not None:
                self._set(version, "UNLOADING", servable=version.servable)
                self._set(version, "END")
                gc.collect()  # a loaded model is full of cycles, and large
                log.info("Unloaded servable version {%s, %d}", self.name, other)

    def _set(
        self,
        version: _Version,
        state: str,
        error: errors.ServingError | None = None,
        servable: Servable | None = None,
    ) -> None:
        with self._lock:
            version.state, version.error, version.servable = state, error, servable


def servable_not_found(ref: ModelRef) -> errors.NotFound:
    """Return the error for a model or version that is not loaded."""
    wanted = (
        f"Latest({ref.name})" if ref.version is None else f"Specific({ref.name}, {ref.version})"
    )
    return errors.NotFound(f"Servable not found for request: {wanted}")
