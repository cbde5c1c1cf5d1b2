"""The versions of a model: loaded, served, tried again, let go.

A version that takes over is loaded before the old one is let go, and calls that run on the old
one keep it in memory until they are done. A version that does not load leaves the others alone;
it is tried again after a while, or as soon as its folder changes (it may still be being copied).
"""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from serving import errors
from serving.server.versions import Fingerprint, fingerprint
from serving.server.workers import Workers
from serving.values import ModelRef, VersionStatus

if TYPE_CHECKING:
    from serving.server.servable import Servable

log = logging.getLogger(__name__)

PAUSES = 0.05, 5.0
"""Seconds between two looks at whether a version is still in use: at first, and at last."""


class Loaded(NamedTuple):
    """A version that can be asked."""

    number: int
    servable: Servable


@dataclass(frozen=True)
class Retries:
    """What becomes of a version that does not load.

    Attributes:
        count: How often it is tried again with the same content; 0 gives it up for good.
        seconds: Time between two such tries.
    """

    count: int = 5
    seconds: float = 60.0


@dataclass(eq=False)
class _Version:
    """What is known of one version.

    Attributes:
        number, folder: Which one it is, and where it lies.
        wanted: Whether it is to be served.
        state: A state of the published protocol; "END" is left only for another beginning.
        servable: The loaded model, while it is available.
        error: Why it did not load the last time.
        tries: How often its content has been found not to load.
        tried: What its folder looked like then; None if it has never failed.
        timer: Waits for the next try.
    """

    number: int
    folder: Path
    wanted: bool = True
    state: str = "START"
    servable: Servable | None = None
    error: errors.ServingError | None = None
    tries: int = 0
    tried: Fingerprint | None = None
    timer: threading.Timer | None = None


class ModelVersions:
    """One model's versions. Everything may be called from any thread.

    Args:
        name: Name under which the model is served.
        load: Loads a version folder; raises a `ServingError` if that cannot be done.
        retries: What becomes of a version that does not load.
        workers: Where versions are loaded.
        changed: Called whenever the state of a version may have changed.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[Path], Servable],
        retries: Retries,
        workers: Workers,
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self._load, self._retries = load, retries
        self._workers, self._changed = workers, changed
        self._versions: dict[int, _Version] = {}
        self._lock = threading.Lock()
        # By number, the newest first. Replaced as a whole, so that calls need no lock.
        self._available: Mapping[int, Loaded] = {}

    def want(self, folders: Mapping[int, Path]) -> None:
        """Say which versions are to be served from now on, and where they lie.

        Returns before that is so: versions are loaded and let go by other threads.
        """
        with self._lock:
            for number, version in self._versions.items():
                if number not in folders:
                    self._do_without(version)
            for number, folder in folders.items():
                known = self._versions.get(number)
                moved = known is not None and known.folder != folder
                if known is None or known.state == "END" and (moved or not known.wanted):
                    self._versions[number] = _Version(number, folder)
                else:
                    known.wanted = True
            failed = [version for version in self._versions.values() if self._may_retry(version)]
        for version in failed:
            if fingerprint(version.folder) != version.tried:
                self._try_anew(version)
        self._settle()

    def get(self, version: int | None = None) -> Loaded:
        """Return the version of a number, or the newest one that is available.

        Raises:
            NotFound: It is not available.
        """
        available = self._available
        number = next(iter(available), None) if version is None else version
        if number is None or number not in available:
            raise servable_not_found(ModelRef(self.name, version))
        return available[number]

    def is_available(self, version: int | None = None) -> bool:
        """Say whether a version, or any at all, can be asked."""
        return bool(self._available) if version is None else version in self._available

    def has_settled(self) -> bool:
        """Say whether one of the versions can be asked and each has been tried, or none ever will.

        A model without versions waits for the first one.
        """
        with self._lock:
            wanted = [version for version in self._versions.values() if version.wanted]
            if any(each.state not in ("AVAILABLE", "END") and not each.tries for each in wanted):
                return False
            given_up = bool(wanted) and all(version.state == "END" for version in wanted)
            return given_up or bool(self._available)

    def status(self) -> list[VersionStatus]:
        """Return the state of every version that was ever wanted, the newest first."""
        with self._lock:
            return [
                VersionStatus(number, version.state)
                if version.error is None or version.state != "END"
                else VersionStatus(
                    number, version.state, errors.row_of(version.error).name, str(version.error)
                )
                for number, version in sorted(self._versions.items(), reverse=True)
            ]

    def _do_without(self, version: _Version) -> None:
        """Note that a version is not wanted any more; what is loading finds out by itself."""
        version.wanted = False
        if version.timer is not None:
            version.timer.cancel()
            version.timer, version.state = None, "END"

    def _may_retry(self, version: _Version) -> bool:
        """Say whether a version has failed and would be tried again if its folder changed."""
        failed = version.error is not None and version.state == "END"
        return version.wanted and bool(self._retries.count) and (failed or bool(version.timer))

    def _try_anew(self, version: _Version) -> None:
        """Begin with a version whose folder has changed, as if it were new."""
        with self._lock:
            if not self._may_retry(version):  # it is being tried right now
                return
            if version.timer is not None:
                version.timer.cancel()
            version.timer, version.tries, version.state = None, 0, "START"

    def _settle(self) -> None:
        """Let go of versions that are not needed any more, and begin to load those that are."""
        with self._lock:
            for version in self._surplus():
                self._let_go(version)
            for _, version in sorted(self._versions.items(), reverse=True):
                if version.state == "START":
                    version.state = "LOADING"
                    self._workers.submit(partial(self._try, version))
        self._changed()

    def _surplus(self) -> list[_Version]:
        """Return the versions that can be let go: what is available stays so."""
        available = [self._versions[number] for number in sorted(self._available)]
        unwanted = [version for version in available if not version.wanted]
        none_takes_over = unwanted == available and any(
            version.wanted for version in self._versions.values()
        )
        return unwanted[:-1] if none_takes_over else unwanted

    def _try(self, version: _Version) -> None:
        """Load a version, and note how that went."""
        seen, loaded, failure = fingerprint(version.folder), None, None
        if version.wanted:
            log.info("Loading servable version %s", self._id(version))
            try:
                loaded = self._load(version.folder)
            except errors.ServingError as error:
                failure = error
            except Exception as error:
                log.exception("a version failed in an unexpected way")
                failure = errors.InternalFault(f"cannot load '{version.folder}': {error}")
        with self._lock:
            if failure:
                self._note_failure(version, failure, seen)
            elif loaded is None or not version.wanted:
                version.state = "END"
                version.error = errors.Cancelled("Loading of servable cancelled")
            else:
                version.state, version.servable, version.error = "AVAILABLE", loaded, None
                self._publish()
                log.info("Successfully loaded servable version %s", self._id(version))
        self._settle()

    def _note_failure(
        self, version: _Version, failure: errors.ServingError, seen: Fingerprint
    ) -> None:
        """Plan the next try, or give a version up."""
        version.error, version.tried = failure, seen
        version.tries += 1
        log.error("Loading servable: %s failed: %s", self._id(version), failure)
        if version.tries > self._retries.count or not version.wanted:
            version.state = "END"
            return
        version.timer = threading.Timer(max(self._retries.seconds, 0), self._retry, [version])
        version.timer.daemon = True
        version.timer.start()

    def _retry(self, version: _Version) -> None:
        """Try a version again; called by its timer."""
        with self._lock:
            if version.timer is not threading.current_thread():  # it was called off
                return
            version.timer = None
            log.info("Retrying of loading servable: %s retry: %d", self._id(version), version.tries)
            self._workers.submit(partial(self._try, version))

    def _publish(self) -> None:
        """Let calls see what is available now."""
        self._available = {
            number: Loaded(number, version.servable)
            for number, version in sorted(self._versions.items(), reverse=True)
            if version.servable is not None
        }

    def _let_go(self, version: _Version) -> None:
        """Take a version away from new calls; it ends with the last one that it has."""
        held = [version.servable]
        version.state, version.servable = "UNLOADING", None
        self._publish()
        threading.Thread(target=self._await_end, args=(version, held), daemon=True).start()

    def _await_end(self, version: _Version, held: list[Servable | None]) -> None:
        """Wait until no call uses a version any more, and its memory has been given back."""
        servable = weakref.ref(held.pop())
        pause, longest = PAUSES
        gc.collect()
        while servable() is not None:
            time.sleep(pause)
            pause = min(2 * pause, longest)
            gc.collect()  # what a model is made of refers to itself
        log.info("Done unloading servable version %s", self._id(version))
        with self._lock:
            version.state = "START" if version.wanted else "END"
        self._settle()

    def _id(self, version: _Version) -> str:
        return servable_id(self.name, version.number)


def servable_id(name: str, version: int) -> str:
    """Return a version of a model as the reference's messages write it."""
    return f"{{name: {name} version: {version}}}"


def servable_not_found(ref: ModelRef) -> errors.NotFound:
    """Return the error for a model or version that is not available."""
    wanted = (
        f"Latest({ref.name})" if ref.version is None else f"Specific({ref.name}, {ref.version})"
    )
    return errors.NotFound(f"Servable not found for request: {wanted}")
