"""Encrypted connections of the client: whom it trusts, who it says it is, files that are none."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest

from serving import errors
from serving.async_client import AsyncClient
from serving.client import Client, Retries, Tls
from serving.protocol import messages
from serving.values import VersionStatus
from tests.serving import certificates

ONCE = Retries(attempts=1)
AVAILABLE = [VersionStatus(1, "AVAILABLE")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `certificates.make`."""
    return certificates.make(tmp_path_factory.mktemp("certificates"))


class RestStatus(BaseHTTPRequestHandler):
    """Says that version 1 is available."""

    def do_GET(self) -> None:
        """Answer."""
        status = {"error_code": "OK", "error_message": ""}
        version = {"version": "1", "state": "AVAILABLE", "status": status}
        body = json.dumps({"model_version_status": [version]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def rest_server(folder: Path, verify: bool) -> Iterator[str]:
    """Serve `RestStatus` over TLS; yield the URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    if verify:
        context.load_verify_locations(folder / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
    with HTTPServer(("127.0.0.1", 0), RestStatus) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def grpc_server(folder: Path, verify: bool) -> Iterator[str]:
    """Serve the same over gRPC; yield the target."""
    response = messages.GetModelStatusResponse()
    response.model_version_status.add(version=1, state=30)
    handler = grpc.unary_unary_rpc_method_handler(lambda *_: response.SerializeToString())
    *_, service, method = messages.GET_MODEL_STATUS.split("/")
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    own = tuple((folder / f"server.{kind}").read_bytes() for kind in ("key", "crt"))
    credentials = grpc.ssl_server_credentials(
        [own], (folder / "ca.crt").read_bytes() if verify else None, verify
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


SERVERS = {"rest": rest_server, "grpc": grpc_server}


def ask(transport: str, address: str, tls: Tls | None) -> list[VersionStatus]:
    """Ask with the sync and with the async client, and return the one answer of both."""
    make, make_async = {
        "rest": (Client.rest, AsyncClient.rest),
        "grpc": (Client.grpc, AsyncClient.grpc),
    }[transport]

    async def ask_async() -> list[VersionStatus]:
        async with make_async(address, "toy", tls=tls, retries=ONCE) as client:
            return await client.status()

    with make(address, "toy", tls=tls, retries=ONCE) as client:
        answer = client.status()
    assert asyncio.run(ask_async()) == answer
    return answer


@pytest.mark.parametrize("transport", SERVERS)
def test_a_server_of_a_trusted_authority_answers(transport: str, folder: Path) -> None:
    with SERVERS[transport](folder, verify=False) as address:
        assert ask(transport, address, Tls(folder / "ca.crt")) == AVAILABLE
        with pytest.raises(errors.Unreachable):
            ask(transport, address, Tls(folder / "client.crt"))
        with pytest.raises(errors.Unreachable):
            ask(transport, address, Tls())


@pytest.mark.parametrize("transport", SERVERS)
def test_a_client_shows_its_certificate(transport: str, folder: Path) -> None:
    own = Tls(folder / "ca.crt", folder / "client.crt", folder / "client.key")
    with SERVERS[transport](folder, verify=True) as address:
        assert ask(transport, address, own) == AVAILABLE
        with pytest.raises(errors.Unreachable):
            ask(transport, address, Tls(folder / "ca.crt"))


def test_files_that_cannot_be_used_are_named(folder: Path) -> None:
    nonsense = folder / "nonsense"
    nonsense.write_text("no certificate")
    for tls, named in (
        (Tls(folder / "missing.crt"), "missing.crt"),
        (Tls(nonsense), "nonsense"),
        (Tls(folder / "ca.crt", folder / "client.crt", folder / "server.key"), "server.key"),
    ):
        for make, address in ((Client.rest, "https://localhost:9"), (Client.grpc, "localhost:9")):
            with pytest.raises(errors.InvalidArgument, match=named):
                make(address, "toy", tls=tls)


def test_options_that_contradict_each_other_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="needs both, 'cert' and 'key'"):
        Tls(cert=folder / "client.crt")
    with pytest.raises(ValueError, match="begins with https://, not 'http://localhost:9'"):
        Client.rest("http://localhost:9", tls=Tls())
