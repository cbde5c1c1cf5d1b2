from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.zoo.datasets.conftest import FileServer
from zoo.datasets import cache
from zoo.errors import DataError, DataUnavailableError

CONTENT = b"one\ntwo\n" * 50_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(server: FileServer) -> cache.DataFile:
    server.contents["/a.txt"] = CONTENT
    return cache.DataFile(path="set/a.txt", sha256=SHA256, url=server.url("/a.txt"))


def files_below(folder: Path) -> list[Path]:
    return [entry for entry in folder.rglob("*") if entry.is_file()]


def test_downloads_once(file, server, data_folder, capfd):
    assert cache.fetch(file) == data_folder / "set/a.txt"
    assert cache.fetch(file).read_bytes() == CONTENT
    assert server.asked == ["/a.txt"]
    assert capfd.readouterr() == ("", "")


def test_without_variable_uses_the_user_cache(file, user_cache, monkeypatch):
    monkeypatch.delenv("SEQZOO_DATA")
    assert cache.fetch(file) == user_cache / "set/a.txt"


@pytest.mark.parametrize("folder", ["data", "user"])
def test_file_in_either_folder_is_used(file, server, tmp_path, folder):
    place = tmp_path / folder / "set/a.txt"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert cache.fetch(file) == place
    assert server.asked == []


def test_read_only_folder_sends_downloads_to_the_user_cache(file, data_folder, user_cache):
    data_folder.chmod(0o555)
    try:
        assert cache.fetch(file) == user_cache / "set/a.txt"
        assert files_below(data_folder) == []
    finally:
        data_folder.chmod(0o755)


def test_wrong_hash_in_the_cache_is_reported_and_kept(file, server, data_folder):
    place = data_folder / "set/a.txt"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    with pytest.raises(DataError) as caught:
        cache.fetch(file)
    for part in (str(place), SHA256, hashlib.sha256(b"mine").hexdigest()):
        assert part in str(caught.value)
    assert place.read_bytes() == b"mine"
    assert server.asked == []


def message_of(file: cache.DataFile) -> str:
    with pytest.raises(DataUnavailableError) as caught:
        cache.fetch(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_network(server, data_folder):
    server.server_close()  # nobody listens there any more
    file = cache.DataFile(path="set/a.txt", sha256=SHA256, url=server.url("/a.txt"))
    message = message_of(file)
    for part in ("a.txt", file.url, SHA256, str(data_folder / "set")):
        assert part in message
    assert files_below(data_folder) == []


def test_missing_on_the_server(file, server, data_folder):
    server.contents.clear()
    assert "the server answered 404" in message_of(file)
    assert files_below(data_folder) == []


def test_other_content_on_the_server(file, server, data_folder):
    server.contents["/a.txt"] = b"something else"
    assert "another sha256" in message_of(file)
    assert files_below(data_folder) == []


def test_progress_is_drawn_on_a_terminal(file, monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    cache.fetch(file)
    out, err = capfd.readouterr()
    assert out == "" and "a.txt" in err


def test_unreadable_file(data_folder):
    with pytest.raises(DataError, match="cannot read"):
        cache.check(data_folder / "absent", SHA256)
