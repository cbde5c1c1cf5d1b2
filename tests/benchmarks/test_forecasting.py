"""The benchmarks of forecasting run, and keep to their documentation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import forecasting, forecasting_scale


def test_without_its_peer_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(forecasting.importlib.util, "find_spec", lambda name: None)
    assert forecasting.main(["--json", str(tmp_path / "report.json")]) == 2
    assert "pip install -r requirements-bench.txt" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_each_size_has_its_time_and_memory(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert forecasting_scale.main(["--json", str(report), "--quick"]) == 0
    record = json.loads(report.read_text(encoding="utf-8"))
    (row,) = record["sizes"]
    assert row["series"] == 200
    assert 0 < row["peak_gib"] < forecasting_scale.MOST_GIB
    assert "recipes/forecasting.py" in record["files"]
    assert not any(file.startswith("recipes/report/") for file in record["files"])
