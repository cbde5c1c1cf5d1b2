"""Every test here has cache folders of its own and a server on the loopback, no network."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

REAL_VARIABLE = os.environ.get("SEQZOO_DATA", "")
REAL_USER_CACHE = pooch.os_cache("seqzoo")


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty SEQZOO_DATA; the user's cache is `user_cache`."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("SEQZOO_DATA", str(folder))
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "user")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@pytest.fixture
def user_cache(tmp_path: Path) -> Path:
    """The user's cache folder, which does not exist at first."""
    return tmp_path / "user"


class FileServer(ThreadingHTTPServer):
    """Serves the bytes in `contents` by path and writes down what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents: dict[str, bytes] = {}
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.contents.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def real_data(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache folders that the tests were started with."""
    monkeypatch.setenv("SEQZOO_DATA", REAL_VARIABLE)
    monkeypatch.setattr(pooch, "os_cache", lambda project: REAL_USER_CACHE)
