"""Models without TensorFlow: version folders of one small file, and what loads them."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving import errors
from serving.server.core import ServerCore
from serving.server.lifecycle import Retries
from serving.values import ModelRef
from tests.tools import DEADLINE

GOOD, BROKEN = "good", "broken"
"""What the file of a version says."""
NO_RETRIES = Retries(count=0)


class FakeServable:
    """A loaded model: what its file said."""

    def __init__(self, content: str) -> None:
        self.content = content


class Loader:
    """Loads fake models, and notes which.

    Attributes:
        loaded: Model and version of every attempt, in order.
        gate: What loading waits for; open at first.
    """

    def __init__(self) -> None:
        self.loaded: list[tuple[str, int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, name: str, folder: Path) -> Any:
        self.loaded.append((name, int(folder.name)))
        assert self.gate.wait(DEADLINE)
        file = folder / "model"
        if not file.exists():
            raise errors.NotFound(f"Could not find {file}")
        content = file.read_text()
        if content == "surprising":
            raise RuntimeError(content)
        if content == BROKEN:
            raise errors.InternalFault("the model is broken")
        return FakeServable(content)


def put(base: Path, number: int, content: str = GOOD) -> Path:
    """Write a version, at one stroke; return its folder."""
    aside = base.with_name(f"{base.name}-{number}")
    aside.mkdir(parents=True)
    (aside / "model").write_text(content)
    base.mkdir(exist_ok=True)
    return aside.rename(base / str(number))


def remove(base: Path, *numbers: int) -> None:
    """Remove versions."""
    for number in numbers:
        shutil.rmtree(base / str(number))


def config_of(**base_paths: Path) -> Any:
    """Return a ModelServerConfig message with models by name."""
    config = ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, base in base_paths.items():
        config.model_config_list.config.add(
            name=name, base_path=str(base), model_platform="tensorflow"
        )
    return config


def core_of(
    loader: Loader, retries: Retries = NO_RETRIES, label_unavailable: bool = False
) -> ServerCore:
    """Return the core of a server without models."""
    return ServerCore(loader, retries, label_unavailable)


def available(core: ServerCore, name: str) -> set[int]:
    """Return the versions of a model that can be asked."""
    try:
        versions = core.status(ModelRef(name))
    except errors.NotFound:
        return set()
    return {each.version for each in versions if each.state == "AVAILABLE"}
