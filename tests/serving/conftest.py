"""One saved model and one running server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.client import Client
from serving.server import RunningServer, launch
from serving.server.core import ServerCore
from tests.serving.configurations import model_config


@pytest.fixture(scope="session")
def toy_base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of the toy model, with version 1 in it. Not to be written to."""
    from tests.serving import models

    base_path = tmp_path_factory.mktemp("toy")
    models.save(base_path / "1")
    return base_path


@pytest.fixture(scope="session")
def toy_core(toy_base_path: Path) -> ServerCore:
    """The toy model in this process, as both interfaces of a server ask it."""
    from serving.server.servable import Servable

    core = ServerCore(lambda name, folder: Servable(folder, name=name))
    core.reload(model_config({"toy": toy_base_path}))
    return core


@pytest.fixture(scope="session")
def toy_server(toy_base_path: Path) -> Iterator[RunningServer]:
    """A server of the toy model under the name "toy"."""
    with launch("toy", toy_base_path) as server:
        yield server


@pytest.fixture(scope="session")
def toy_clients(toy_server: RunningServer, toy_base_path: Path) -> Iterator[dict[str, Client]]:
    """A client of the toy model over each transport."""
    with (
        Client.rest(toy_server.rest_url, "toy") as rest,
        Client.grpc(toy_server.grpc_address, "toy") as grpc,
        Client.in_process(toy_base_path, "toy") as local,
    ):
        yield {"rest": rest, "grpc": grpc, "in_process": local}
