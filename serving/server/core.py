"""What both interfaces of the server ask: which models there are, and what they answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving import errors
from serving.server import model_list
from serving.server.engine import cores
from serving.server.lifecycle import (
    Loaded,
    ModelVersions,
    Retries,
    servable_id,
    servable_not_found,
)
from serving.server.versions import scan, served
from serving.server.workers import Workers
from serving.values import ModelRef, VersionStatus

if TYPE_CHECKING:
    from serving.server.servable import Servable

log = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds after which a wait looks whether the server is to stop."""


class ServerCore:
    """The models of one server. Everything may be called from any thread.

    Args:
        load: Loads the version in a folder, for the model of a name; raises a `ServingError` if
            that cannot be done.
        retries: What becomes of a version that does not load.
        label_unavailable: Whether a label that is not in use may stand for a version that is
            not available.
        stop: Ends waiting when it is set.
    """

    def __init__(
        self,
        load: Callable[[str, Path], Servable],
        retries: Retries | None = None,
        label_unavailable: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        self._load, self._retries = load, retries or Retries()
        self._label_unavailable = label_unavailable
        self._stop = stop or threading.Event()
        self._workers = Workers(cores())
        self._config: Any = ModelServerConfig()
        self._labels: Mapping[str, Mapping[str, int]] = {}
        # Models that have been taken out of the configuration stay: their states can be asked.
        self._models: dict[str, ModelVersions] = {}
        self._warned: dict[str, str] = {}
        self._lock = threading.Lock()  # held while the configuration is changed or gone by
        self._changed = threading.Condition()

    def get(self, ref: ModelRef) -> Loaded:
        """Return the loaded version that a request is meant for.

        Raises:
            InvalidArgument: The request names no model, or an unknown label.
            NotFound: The model or version is not loaded.
        """
        if not ref.name:
            raise errors.InvalidArgument("ModelSpec has no name specified.")
        version = ref.version if ref.label is None else self._version_of(ref.name, ref.label)
        model = self._models.get(ref.name)
        if model is None:
            raise servable_not_found(ModelRef(ref.name, version))
        return model.get(version)

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

    def is_ready(self) -> bool:
        """Say whether every model has a version that can be asked."""
        models = self._config.model_config_list.config
        return all(self._models[model.name].is_available() for model in models)

    def reload(self, config: Any) -> None:
        """Serve the models of another configuration, and wait for those that are new.

        Args:
            config: A ModelServerConfig message.

        Raises:
            InvalidArgument: It cannot be served; the old one stays in force.
            FailedPrecondition: It has a label for a version that is not available, or no list
                of models; the old one stays in force.
            ServerFault: It is in force, but a new model does not load.
            Unreachable: It is in force, but the server stops before its models are loaded.
        """
        first = not self._config.WhichOneof("config")
        self._wait_for(self.apply(config), "servable" if first else "model")

    def apply(self, config: Any) -> set[str]:
        """Do as `reload` without waiting; return the names of the new models."""
        with self._lock:
            if config == self._config:
                return set()
            model_list.check(config, self._config)
            labels = self._checked_labels(config)
            old = {model.name for model in self._config.model_config_list.config}
            new = {model.name for model in config.model_config_list.config}
            for name in new - self._models.keys():
                load = partial(self._load, name)
                self._models[name] = ModelVersions(
                    name, load, self._retries, self._workers, self._notify
                )
            self._config, self._labels = ModelServerConfig(), labels
            self._config.CopyFrom(config)
            for name in old - new:
                self._models[name].want({})
            self._look()
        return new - old

    def refresh(self) -> None:
        """Look once for new versions of every model; they are loaded by other threads."""
        with self._lock:
            self._look()

    def watch(self, seconds: float) -> None:
        """Look for new versions every so many seconds until told to stop."""
        while not self._stop.wait(seconds):
            try:
                self.refresh()
            except Exception:  # the watcher must outlive whatever a disk does
                log.exception("could not look for new versions")

    def _version_of(self, name: str, label: str) -> int:
        try:
            return self._labels[name][label]
        except KeyError:
            message = f"Unrecognized servable version label: {label}"
            raise errors.InvalidArgument(message) from None

    def _checked_labels(self, config: Any) -> dict[str, dict[str, int]]:
        """Return the labels of a configuration by model.

        Raises:
            FailedPrecondition: One stands for a version that is not available.
        """
        labels: dict[str, dict[str, int]] = {}
        for model in config.model_config_list.config:
            known = self._models.get(model.name)
            labels[model.name] = dict(model.version_labels)
            for label, version in model.version_labels.items():
                before = self._labels.get(model.name, {}).get(label, version)
                if self._label_unavailable and before == version:
                    continue
                if known is None or not known.is_available(version):
                    raise errors.FailedPrecondition(
                        f"Request to assign label to version {version} of model {model.name}, "
                        "which is not currently available for inference"
                    )
        return labels

    def _look(self) -> None:
        """Find the version folders of every model, and say which are wanted."""
        for model in self._config.model_config_list.config:
            try:
                folders = dict(scan(Path(model.base_path)))
            except OSError as error:
                self._warn(
                    model.name,
                    f"Could not find base path {model.base_path} for servable {model.name} with "
                    f"error {error.strerror or error}",
                )
                continue
            wanted = served(model.model_version_policy, folders)
            self._warn(model.name, _missing(model, wanted))
            self._models[model.name].want({number: folders[number] for number in wanted})

    def _warn(self, name: str, text: str) -> None:
        """Log what is wrong with a model's folders, if it is not what was wrong before."""
        if text and text != self._warned.get(name):
            log.warning("%s", text)
        self._warned[name] = text

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait_for(self, names: Iterable[str], kind: str) -> None:
        """Wait until models have been loaded, or taken out of the configuration again."""
        models = [self._models[name] for name in sorted(names)]
        with self._changed:
            while not all(model.has_settled() for model in models):
                self._changed.wait(PAUSE)
                if self._stop.is_set():
                    raise errors.Unreachable("the server stops")
                configured = {model.name for model in self._config.model_config_list.config}
                models = [model for model in models if model.name in configured]
        failures = [_failure(model) for model in models if not model.is_available()]
        if failures:
            raise errors.ServerFault(
                f"{len(failures)} {kind}(s) did not become available: {{{''.join(failures)}}}"
            )


def _missing(model: Any, wanted: set[int]) -> str:
    """Return which versions a model should have and lacks; empty if it has all."""
    if missing := set(model.model_version_policy.specific.versions) - wanted:
        numbers = ", ".join(map(str, sorted(missing)))
        return (
            f"Versions {numbers} of servable {model.name}, which its version policy asks for, "
            f"were not found under base path {model.base_path}"
        )
    if not wanted:
        return (
            f"No versions of servable {model.name} found under base path {model.base_path}. Did "
            "you forget to name your leaf directory as a number (eg. '/1/')?"
        )
    return ""


def _failure(model: ModelVersions) -> str:
    """Return why a model did not load, by its newest version that failed."""
    for version in model.status():
        if version.message:
            error = f"due to error: {version.code}: {version.message}"
            return f"{{{servable_id(model.name, version.version)} {error}}}, "
    return f"{{{model.name}}}, "
