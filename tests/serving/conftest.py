"""One saved model and one running server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.client import Client
from serving.server import RunningServer, launch


@pytest.fixture(scope="session")
def toy_base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of the toy model, with version 1 in it. Not to be written to."""
    from tests.serving import models

    base_path = tmp_path_factory.mktemp("toy")
    models.save(base_path / "1")
    return base_path


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
