"""What both interfaces of the server ask: which models there are, and what they answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from serving import errors
from serving.server.lifecycle import Loaded, ModelVersions, servable_not_found
from serving.values import ModelRef, VersionStatus

log = logging.getLogger(__name__)


class ServerCore:
    """The models of one server.

    Args:
        models: The models by name.
    """

    def __init__(self, models: Mapping[str, ModelVersions]) -> None:
        self._models = dict(models)

    def get(self, ref: ModelRef) -> Loaded:
        """Return the loaded version that a request is meant for.

        Raises:
            InvalidArgument: The request names no model, or an unknown label.
            NotFound: The model or version is not loaded.
        """
        if not ref.name:
            raise errors.InvalidArgument("ModelSpec has no name specified.")
        if ref.name in self._models:
            return self._models[ref.name].get(ref)
        if ref.label is not None:
            raise errors.InvalidArgument(f"Unrecognized servable version label: {ref.label}")
        raise servable_not_found(ref)

    def status(self, ref: ModelRef) -> list[VersionStatus]:
        """Return the states of a model's versions, or of the one that is named.

        Raises:
            NotFound: There is no such model or version.
        """
        model = self._models.get(ref.name)
        versions = model.status() if model else []
        if ref.version is not None:
            versions = [each for each in versions if each.version == ref.version]
            if not versions:
                raise errors.NotFound(f"Could not find version {ref.version} of model {ref.name}")
        elif not versions:
            raise errors.NotFound(f"Could not find any versions of model {ref.name}")
        return versions

    def refresh(self) -> None:
        """Look once for new versions of every model."""
        for model in self._models.values():
            model.refresh()

    def failures(self) -> list[str]:
        """Return why versions do not load, by model, the newest first."""
        return [reason for model in self._models.values() for reason in model.failures()]

    def is_ready(self) -> bool:
        """Say whether every model has a version that can be asked."""
        return all(
            any(version.state == "AVAILABLE" for version in model.status())
            for model in self._models.values()
        )

    def watch(self, seconds: float, stop: threading.Event) -> None:
        """Look for new versions every so many seconds until told to stop."""
        while not stop.wait(seconds):
            try:
                self.refresh()
            except Exception:  # the watcher must outlive whatever a disk or a model does
                log.exception("could not look for new versions")
