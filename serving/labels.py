"""Labels of model versions: promoted, rolled back, and written where the server reads them.

The ModelServerConfig text file that a server was started with is the source of truth. A label
is changed there, in place and as a whole; every change is a line of JSON in the file's history
(`models.config` -> `models.config.history.jsonl`), which is what a rollback goes by. A server
that polls its file takes the change up by itself; one that is named is told, and waited for.
If that server refuses, the file is as it was before.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from serving import files
from serving.client import Client
from serving.config_text import with_label
from serving.errors import RequestRefused, ServingError, TimedOut
from serving.protocol import messages, rpc
from serving.server.versions import served, version_folders
from serving.tls import Tls
from serving.transports import GrpcTransport
from serving.values import ModelRef
from zoo.errors import DataError, UnknownNameError

STABLE = "stable"
WAIT, PAUSE, UNDO = 60.0, 0.1, 5.0
"""Seconds to wait for a server to take a change up, between two looks, and to take it back."""


@dataclass(frozen=True)
class Target:
    """A running server.

    Attributes:
        address: "host:port" of its gRPC interface.
        tls: How it is talked to in secret; None for openly.
    """

    address: str
    tls: Tls | None = None

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True)
class Change:
    """One line of the history.

    Attributes:
        action: What was asked for.
        model: Name of the model.
        label: The label.
        version: The version that it stands for from now on.
        previous: The version that it stood for before; None if there was no such label.
        time: When, in UTC, as ISO 8601 writes it.
    """

    action: Literal["promote", "rollback"]
    model: str
    label: str
    version: int
    previous: int | None
    time: str

    def describe(self, target: Target | None = None) -> str:
        """Return the change as a line for people; `target` is a server that answers with it."""
        before = "new" if self.previous is None else f"before: {self.previous}"
        answers = f"; {target} answers with it" if target else ""
        return (
            f"label '{self.label}' of model '{self.model}' stands for version {self.version} "
            f"({before}){answers}"
        )


def promote(
    config: Path, model: str, version: int, label: str = STABLE, target: Target | None = None
) -> Change:
    """Let a label stand for a version.

    Args:
        config: The ModelServerConfig text file.
        model: Name of a model in it.
        version: A version that the model's version policy serves.
        label: The label; made if there is none of this name.
        target: A running server that is to take it up now.

    Returns:
        The change, also when the label stood for this version before.

    Raises:
        DataError: The file cannot be read, parsed or written, or the version is not served.
        UnknownNameError: The file has no such model.
        ServingError: The running server cannot be reached, or refuses; nothing has changed.
    """
    with _locked(config) as settings:
        entry = _entry(settings, model)
        _require_version(entry, version, target)
        change = _change("promote", entry, label, version)
        _write(config, settings, change, target)
    return change


def rollback(config: Path, model: str, label: str = STABLE, target: Target | None = None) -> Change:
    """Let a label stand for the version that it stood for before its last promotion.

    Arguments, result and errors are those of `promote`.

    Raises:
        DataError: Also if the history knows of no earlier version.
    """
    with _locked(config) as settings:
        entry = _entry(settings, model)
        current = entry.version_labels[label] if label in entry.version_labels else None
        known = [each for each in _changes(config) if (each.model, each.label) == (model, label)]
        version = earlier_version(known, current)
        if version is None:
            raise DataError(
                f"label '{label}' of model '{model}' has no earlier version in '{_history(config)}'"
            )
        _require_version(entry, version, target)
        change = _change("rollback", entry, label, version)
        _write(config, settings, change, target)
    return change


def earlier_version(changes: Sequence[Change], current: int | None) -> int | None:
    """Return the version that a label stood for before the current one.

    Args:
        changes: What happened to the label, the oldest first.
        current: The version that it stands for now; None if there is no such label.
    """
    if changes and current == changes[-1].previous != changes[-1].version:
        changes = changes[:-1]  # noted, but the process ended before the file was written
    stood_for: list[int] = []
    for change in changes:
        if change.previous is not None and stood_for[-1:] != [change.previous]:
            stood_for.append(change.previous)
        if change.action == "promote":
            stood_for.append(change.version)
        while stood_for and stood_for[-1] != change.version:
            stood_for.pop()
    if stood_for[-1:] == [current]:
        stood_for.pop()
    return stood_for[-1] if stood_for else None


@contextlib.contextmanager
def _locked(config: Path) -> Iterator[Any]:
    """Yield the parsed file, while nobody else changes a label in its folder."""
    try:
        folder = os.open(config.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield parse(config.read_text(encoding="utf-8"), str(config))
        finally:
            os.close(folder)
    except OSError as error:
        raise DataError(f"cannot use '{config}': {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"'{config}' is not UTF-8: {error}") from error


def _history(config: Path) -> Path:
    return config.with_name(f"{config.name}.history.jsonl")


def parse(text: str, name: str) -> Any:
    """Return the ModelServerConfig message of a text.

    Raises:
        DataError: It is none; the message names the line.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    try:
        return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise DataError(f"'{name}' is not a ModelServerConfig: {error}") from error


def _entry(settings: Any, model: str) -> Any:
    """Return the ModelConfig of a model."""
    models = {each.name: each for each in settings.model_config_list.config}
    if model not in models:
        raise UnknownNameError("model", model, models)
    return models[model]


def _require_version(entry: Any, version: int, target: Target | None) -> None:
    """Refuse a version that is not there, or that the version policy leaves out."""
    there = [each.number for each in version_folders(Path(entry.base_path))]
    taken = served(entry.model_version_policy, there)
    if not there and target:  # the server may see folders that this machine does not
        there = _available(entry.name, target)
        taken = set(there)
    if not there:
        raise DataError(f"model '{entry.name}' has no version under '{entry.base_path}'")
    listing = ", ".join(map(str, sorted(there)))
    if version not in there:
        near = min(there, key=lambda each: abs(each - version))
        raise DataError(
            f"model '{entry.name}' has no version {version}; the nearest is {near} "
            f"(known: {listing})"
        )
    if version not in taken:
        raise DataError(
            f"version {version} of model '{entry.name}' is not served: its model_version_policy "
            f"takes {', '.join(map(str, sorted(taken))) or 'none'} of {listing}"
        )


def _available(model: str, target: Target) -> list[int]:
    """Return the versions of a model that a running server serves."""
    with Client.grpc(target.address, model, tls=target.tls) as client:
        return [each.version for each in client.status() if each.state == "AVAILABLE"]


def _change(action: Literal["promote", "rollback"], entry: Any, label: str, version: int) -> Change:
    previous = entry.version_labels[label] if label in entry.version_labels else None
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Change(action, entry.name, label, version, previous, now)


def _changes(config: Path) -> list[Change]:
    """Return the lines of the history, the oldest first."""
    history = _history(config)
    if not history.exists():
        return []
    try:
        lines = history.read_text(encoding="utf-8").splitlines()
        return [Change(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise DataError(f"the history '{history}' cannot be read: {error}") from error


def _write(config: Path, settings: Any, change: Change, target: Target | None) -> None:
    """Write a change down, and tell a server; undo both if that fails."""
    old = config.read_text(encoding="utf-8")
    changes = _changes(config)
    _entry(settings, change.model).version_labels[change.label] = change.version
    try:
        if change.version != change.previous:
            _write_changes(config, [*changes, change])
            files.replace(config, _text(old, settings, change).encode())
        if target:
            take_up(settings, change, target)
    except BaseException:
        if change.version != change.previous:
            files.replace(config, old.encode())
            _write_changes(config, changes)
        if target:  # it may have taken the change up without saying so
            with contextlib.suppress(ServingError):
                _send(parse(old, config.name), target, UNDO)
        raise


def _write_changes(config: Path, changes: Sequence[Change]) -> None:
    lines = "".join(json.dumps(asdict(each)) + "\n" for each in changes)
    files.replace(_history(config), lines.encode())


def _text(old: str, settings: Any, change: Change) -> str:
    """Return the file's text with the change, its comments kept where that can be done."""
    from google.protobuf import text_format

    new = with_label(old, change.model, change.label, change.version)
    try:
        if new is not None and parse(new, "") == settings:
            return new
    except DataError:
        pass
    return text_format.MessageToString(settings)


def take_up(settings: Any, change: Change, target: Target, wait: float = WAIT) -> None:
    """Hand a configuration to a running server, and wait until the label answers.

    Args:
        settings: The whole configuration, a ModelServerConfig.
        change: What is new in it.
        target: The server.
        wait: Seconds for everything.

    Raises:
        ServingError: The server cannot be reached or refuses.
        TimedOut: The label still stands for another version.
    """
    _send(settings, target, wait)
    end = time.monotonic() + wait
    ref = ModelRef(change.model, label=change.label)
    transport = GrpcTransport(target.address, target.tls)
    try:
        while True:
            try:
                answers = transport.send(rpc.version(ref), max(end - time.monotonic(), PAUSE))
            except RequestRefused:  # the label is not there yet
                answers = None
            if answers == change.version:
                return
            if time.monotonic() > end:
                raise TimedOut(
                    f"{target}: label '{change.label}' of model '{change.model}' stands for "
                    f"version {answers} after {wait:.0f} s, not for {change.version}"
                )
            time.sleep(PAUSE)
    finally:
        transport.close()


def _send(settings: Any, target: Target, wait: float = WAIT) -> None:
    """Hand a configuration to a running server."""
    transport = GrpcTransport(target.address, target.tls)
    try:
        transport.send(_reload(settings), wait)
    finally:
        transport.close()


def _reload(settings: Any) -> rpc.Exchange[None]:
    """Make the request that gives a server another configuration."""
    from tensorflow_serving.apis import model_management_pb2

    request = model_management_pb2.ReloadConfigRequest(config=settings)
    return rpc.Exchange(
        messages.HANDLE_RELOAD_CONFIG,
        request.SerializeToString(),
        model_management_pb2.ReloadConfigResponse,
        lambda _: None,
    )
