"""The benchmark of the server runs, and its record has what is shown of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import serving
from benchmarks.results import serving_table, stale


@pytest.mark.slow
def test_a_quick_measurement(tiny_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "serving.json"
    assert serving.main([str(tiny_run), "--json", str(file), "--quick"]) == 0
    record = json.loads(file.read_text())
    assert record["summary"].keys() == serving.BARS.keys()
    assert all(value > 0 for value in record["summary"].values())
    assert stale("speed/serving", record) == []
    lines = serving_table(record).splitlines()
    assert len([line for line in lines if ", gRPC |" in line]) == 3
    assert len([line for line in lines if ", REST |" in line]) == 3
