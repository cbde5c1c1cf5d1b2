"""The benchmark of recurrent layers counts as its documentation says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import recurrent, results
from benchmarks.timing import alternate


def row(cell: str, dtype: str = "float32", **times: tuple[float, float]) -> dict[str, Any]:
    """Return a row of the record; `times` are milliseconds of training and inference."""
    made = {"cell": cell, "dtype": dtype, "directions": 1, "masked": False}
    for kind, place in (("training", 0), ("inference", 1)):
        made[kind] = {peer: {"median": each[place]} for peer, each in times.items()}
    made["ratios"] = recurrent.ratios(made)
    return made


def rows() -> list[dict[str, Any]]:
    exported = {"seqzoo_exported": (1, 3), "keras_exported": (1, 6)}
    others = {"torch": (8, 4), "keras": (16, 8), "matmul": (1, 1), **exported}
    plain = [row("LSTM", seqzoo=(4, 4), **others), row("GRU", seqzoo=(16, 1), **others)]
    reduced = [row("LSTM", "bfloat16", seqzoo=(2, 4), **others)]
    masked = [row("LSTM", seqzoo=(800, 1), **others) | {"masked": True}]
    return [*plain, *reduced, *masked]


GROWTH = [
    {"layer": layer, "steps": steps, "milliseconds": {"median": median}}
    for steps, layer, median in ((8, "lstm", 1.0), (8, "minlstm", 9.0), (16, "lstm", 10.0))
] + [{"layer": "minlstm", "steps": 16, "milliseconds": {"median": 2.0}}]


def test_a_row_holds_our_time_over_each_peers():
    ratios = rows()[0]["ratios"]
    assert ratios["training_vs_torch"] == 0.5
    assert ratios["training_vs_keras"] == 0.25
    assert ratios["inference_vs_keras"] == 0.5
    assert ratios["exported_inference_vs_keras"] == 0.5
    assert ratios["training_vs_matmul"] == pytest.approx(4 / 3, abs=1e-4)


def test_the_summary_is_the_geometric_mean_of_plain_float32_rows():
    summary = recurrent.summarise(rows(), GROWTH, {"ratio": 0.7})
    assert summary == {
        "train_vs_torch": 1.0,
        "worst_train_vs_torch": 2.0,
        "train_vs_keras": 0.5,
        "exported_inference_vs_keras": 0.5,
        "inference_vs_torch": 0.5,
        "bfloat16_train_vs_torch": 0.25,
        "minlstm_vs_lstm_4096": 0.2,
        "convlstm_vs_keras": 0.7,
    }
    assert summary.keys() == recurrent.BARS.keys()


def test_the_summary_says_what_is_missed(capsys: pytest.CaptureFixture[str]):
    recurrent.print_summary({"train_vs_torch": 0.8, "worst_train_vs_torch": 1.2})
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["train_vs_torch", "0.800", "bar", "0.90", "reached"]
    assert second.split() == ["worst_train_vs_torch", "1.200", "bar", "1.10", "missed"]


def test_the_ratios_become_a_picture(tmp_path: Path):
    named = [each | {"name": f"{each['cell']} 1x1x1x1 float32"} for each in rows()]
    recurrent.draw(named, tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")


def test_the_record_becomes_a_table():
    named = [each | {"name": f"{each['cell']} 1x1x1x1 {each['dtype']}"} for each in rows()[:2]]
    record = {
        "layers": named,
        "summary": recurrent.summarise(rows(), GROWTH, {"ratio": 0.7}),
        "environment": {"processor": "Abacus", "cores": 2},
    }
    table = results.recurrent_table(record).splitlines()
    assert table[2] == "| LSTM 1x1x1x1 | 0.50 | 0.25 | 1.00 | 0.50 | 0.50 |"
    assert table[4].startswith("| geometric mean | 1.00 | 0.50 | 0.50 |")
    assert table[-1].endswith("ConvLSTM2D / Keras, training 0.70. Abacus, 2 cores.")


def test_every_file_that_decides_about_speed_is_there():
    assert all(file.is_file() for file in recurrent._sources())


def test_a_missing_peer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(recurrent, "_installed", lambda module: module != "torch")
    assert recurrent.main(["--json", str(tmp_path / "some.json")]) == 2
    said = capsys.readouterr().out
    assert said == "not installed: torch; pip install -r requirements-bench.txt\n"
    assert not list(tmp_path.iterdir())


def test_peers_are_called_in_turn():
    called: list[str] = []
    timings = alternate({name: lambda n=name: called.append(n) for name in "ab"}, rounds=3)
    turns = [
        name for name, before in zip(called, [None, *called[:-1]], strict=True) if name != before
    ]
    assert turns == ["a", "b"] * 4
    assert all(0 <= each.low <= each.median <= each.high for each in timings.values())


def test_no_round_begins_past_the_limit_once_three_were_measured():
    timings = alternate({"a": lambda: None}, rounds=9, limit=0)
    assert timings["a"].calls == 3
    assert alternate({"a": lambda: None}, rounds=9)["a"].calls == 9
