"""The run folder: everything that one training leaves behind.

    config.json        the resolved configuration         environment.json   versions, hardware
    checkpoint.npz     the last state of training         logs/              TensorBoard
    model.keras        the best weights                   pipeline/          rebuilds the pipeline
    metrics.json       quality, baselines, speed          *.png, index.html  for people
    sources.json       sha256 of the code that ran

A folder belongs to one configuration. The same command on the same folder goes on where
the last one stopped, and every file is replaced as a whole or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from zoo.environment import environment
from zoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from recipes.training import OneDevice

CHECKPOINT = "checkpoint.npz"
HISTORY = "history.json"

PACKAGES = ("tensorflow", "tensorflow-text", "keras", "numpy", "protobuf", "sentencepiece")


class Run:
    """A run folder, locked by this process until the end of the `with` block.

    Args:
        folder: Created if it does not exist.
        recipe: Name of the recipe.
        config: The resolved configuration as JSON values.
        devices: What the training runs on; one device by default.

    Raises:
        ConfigError: The folder belongs to another recipe or configuration, or another
            process is writing to it.
        DataError: The folder cannot be created.
    """

    def __init__(
        self,
        folder: Path,
        recipe: str,
        config: Mapping[str, Any],
        devices: OneDevice | None = None,
    ) -> None:
        self.folder, self.devices = folder, devices
        refuse_other(folder, recipe, config)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
        except OSError as error:
            raise DataError(f"run folder '{folder}' cannot be used: {error.strerror}") from None
        self.write_json("config.json", {"recipe": recipe, **config})
        self.write_json("environment.json", environment(*PACKAGES))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def goes_on(self, history: Sequence[Mapping[str, float]]) -> bool:
        """Say whether training goes on behind these epochs; a search may have seen enough."""
        return True

    def path(self, name: str) -> Path:
        """Return the path of one of the folder's files."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        """Return the content of a file of this folder, nothing if there is none."""
        file = self.path(name)
        return file.read_bytes() if file.is_file() else b""

    def read_json(self, name: str) -> Any:
        """Return the content of a JSON file of this folder."""
        return json.loads(self.path(name).read_text(encoding="utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file of this folder."""
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        self.write(name, lambda file: file.write(text.encode()))

    def write(self, name: str, fill: Callable[[IO[bytes]], Any]) -> None:
        """Replace a file as a whole: written aside, flushed to disk, then renamed."""
        aside = self.folder / f".{name}.{os.getpid()}"
        try:
            with aside.open("wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.folder / name)
        finally:
            aside.unlink(missing_ok=True)


def read_config(folder: Path) -> dict[str, Any]:
    """Return `config.json` of a run folder, the recipe's name under "recipe".

    Raises:
        DataError: The folder holds no run.
    """
    file = folder / "config.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"'{folder}' is not a run folder: it has no readable config.json") from None


def refuse_other(folder: Path, recipe: str, config: Mapping[str, Any]) -> None:
    """Check that a folder, if it is a run, belongs to this recipe and configuration.

    Raises:
        ConfigError: It belongs to another.
    """
    if not (folder / "config.json").is_file():
        return
    existing, wanted = read_config(folder), {"recipe": recipe, **config}
    for name in sorted(existing.keys() | wanted.keys()):
        if existing.get(name) != wanted.get(name):
            raise ConfigError(
                f"run folder '{folder}' was started with {name}={existing.get(name)!r}, not "
                f"{wanted.get(name)!r}: a folder belongs to one configuration, choose another "
                "--run-dir"
            )


def _lock(folder: Path) -> IO[str]:
    """Hold the folder until the process ends, however it ends."""
    lock = (folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ConfigError(f"run folder '{folder}' is in use by another process") from None
    return lock
