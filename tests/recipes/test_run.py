"""The run folder: one configuration, whole files, one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recipes.run import Run, read_config
from zoo.errors import ConfigError, DataError


def test_a_run_records_configuration_and_environment(tmp_path: Path) -> None:
    with Run(tmp_path / "a" / "b", "sentiment", {"units": 3}) as run:
        environment = run.read_json("environment.json")
    assert read_config(run.folder) == {"recipe": "sentiment", "units": 3}
    assert run.read("config.json").startswith(b"{") and run.read("checkpoint.npz") == b""
    assert environment["packages"]["tensorflow"].startswith("2.20.")
    assert environment["cores"] >= 1


def test_another_configuration_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    with Run(tmp_path, "sentiment", {"units": 3}):
        pass
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"was started with units=3, not 4.*another --run-dir"):
        Run(tmp_path, "sentiment", {"units": 4})
    with pytest.raises(ConfigError, match="was started with recipe='sentiment', not 'speech'"):
        Run(tmp_path, "speech", {"units": 3})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_folder_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from recipes.run import Run\n"
        "run = Run(Path(sys.argv[1]), 'sentiment', {})\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="in use by another process"):
            Run(tmp_path, "sentiment", {})
        other.kill()
    # The lock goes with the process, also when it is killed.
    with Run(tmp_path, "sentiment", {}) as run:
        assert run.folder == tmp_path


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    def break_off(file: object) -> None:
        raise OSError("disk full")

    with Run(tmp_path, "sentiment", {}) as run:
        run.write("table.csv", lambda file: file.write(b"old"))
        with pytest.raises(OSError, match="disk full"):
            run.write("table.csv", break_off)
    assert run.path("table.csv").read_bytes() == b"old"
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".table")]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a run folder"):
        read_config(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be used"):
        Run(tmp_path / "file", "sentiment", {})
