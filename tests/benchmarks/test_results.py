"""Records of long runs, and the README's table made from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import quality, results
from benchmarks.quality import make_record, summarise
from zoo.environment import digest, environment

MARKERS = "# Title\n<!-- results: begin -->\nold\n<!-- results: end -->\nrest\n"


def run(folder: Path, accuracy: float) -> Path:
    """Write the files of a finished run that a record is made from."""
    metrics = {
        "test": {"accuracy": accuracy},
        "baselines": {"nb_svm": {"accuracy": 0.8}},
        "seconds": 70.0,
        "train_seconds": 40.0,
        "examples_per_second": 2000.0,
        "parameters": 10,
        "data": {"name": "some", "train": 8000, "validation": 900, "test": 1000},
    }
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "environment.json").write_text(json.dumps(environment()))
    (folder / "sources.json").write_text(json.dumps(SOURCES))
    return folder


SOURCES = {
    file: digest(quality.ROOT / file)
    for file in ("recipes/sentiment.py", "zoo/models/sequence_classifier.py")
}


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    runs = [run(tmp_path / name, accuracy) for name, accuracy in (("a", 0.7), ("b", 0.9))]
    return make_record("sentiment", ["--epochs", "3"], [0, 1], runs, "one\ntwo\n")


def test_mean_and_spread_are_those_of_the_seeds() -> None:
    assert summarise([1.0, 3.0]) == {"mean": 2.0, "spread": 2**0.5, "values": [1.0, 3.0]}
    assert summarise([4.0])["spread"] == 0.0
    assert summarise([{"a": 1.0}, {"a": 3.0}])["a"]["mean"] == 2.0


def test_a_record_holds_command_scores_and_the_files_behind_them(record: dict[str, Any]) -> None:
    assert record["command"] == "python -m recipes sentiment train --epochs 3 --seed SEED"
    assert record["test"]["accuracy"]["values"] == [0.7, 0.9]
    assert record["log"] == ["one", "two"]
    assert record["files"] == SOURCES


def test_the_table_has_a_row_per_record(record: dict[str, Any]) -> None:
    *_, row = results.table({"sentiment-some": record}).splitlines()
    assert (
        "| some (8,000 / 900 / 1,000) | accuracy 80.0 ± 14.1 % | nb_svm 80.0 % | 0, 1 | 40 of 70 s"
        in row
    )


def test_scores_are_means_over_the_values_of_a_field_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def train(recipe: str, folder: Path, fields: list[str]) -> str:
        asked.append(fields)
        run(tmp_path / folder, 0.7 if "64" in fields else 0.9)
        return "log"

    (tmp_path / "runs" / "quality").mkdir(parents=True)
    monkeypatch.setattr(quality, "_train", train)
    monkeypatch.setattr(quality, "ROOT", tmp_path)
    monkeypatch.setattr(quality, "RESULTS", tmp_path)
    words = ["sentiment", "--seeds", "3", "--name", "some", "--over", "units", "64", "128"]
    quality.main([*words, "--", "--epochs", "1"])
    assert asked == [["--epochs", "1", "--units", units, "--seed", "3"] for units in ("64", "128")]
    record = json.loads((tmp_path / "sentiment-some.json").read_text())
    assert record["test"]["accuracy"]["mean"] == pytest.approx(0.8)
    assert record["command"].endswith("train --epochs 1 --units VALUE --seed SEED")
    assert ", mean over 2 times --units |" in results.table({"sentiment-some": record})
    with pytest.raises(SystemExit):
        quality.main(["sentiment", "--over", "units"])


def test_seeds_join_a_record_that_still_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = []

    def train(recipe: str, folder: Path, fields: list[str]) -> str:
        seed = int(fields[-1])
        trained.append(seed)
        run(tmp_path / folder, 0.7 + seed / 10)
        return f"seed {seed}"

    (tmp_path / "runs" / "quality").mkdir(parents=True)
    for file in SOURCES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((quality.ROOT / file).read_bytes())
    monkeypatch.setattr(quality, "_train", train)
    monkeypatch.setattr(quality, "ROOT", tmp_path)
    monkeypatch.setattr(quality, "RESULTS", tmp_path)
    record = tmp_path / "sentiment-some.json"
    words = ["sentiment", "--name", "some", "--seeds"]
    quality.main([*words, "0"])
    quality.main([*words, "0", "1", "2"])
    assert trained == [0, 1, 2]
    joined = json.loads(record.read_text())
    assert (joined["seeds"], joined["log"]) == ([0, 1, 2], ["seed 2"])
    assert joined["test"]["accuracy"]["values"] == pytest.approx([0.7, 0.8, 0.9])
    assert joined["test"]["accuracy"]["mean"] == pytest.approx(0.8)
    assert joined["files"] == SOURCES
    quality.main([*words, "2"])
    assert "sentiment-some.json holds these seeds already" in capsys.readouterr().out

    (tmp_path / "recipes" / "sentiment.py").write_text("# other\n")
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "runs" / "quality").mkdir(parents=True)
    quality.main([*words, "1"])
    assert json.loads(record.read_text())["seeds"] == [1]


def forecast(name: str, smape: float, coverage: float, windows: int) -> dict[str, Any]:
    """A record of a forecasting run, as far as its table is concerned."""
    return {
        "recipe": "forecasting",
        "headline": "smape",
        "data": {"name": name, "test": windows},
        "test": summarise([{"smape": smape, "owa": 0.8, "coverage": {"80": coverage, "95": 0.95}}]),
        "baselines": summarise([{"theta": {"smape": 14.0}, "linear": {"smape": 16.0}}]),
    }


def test_all_of_m3_is_a_mean_over_the_steps_of_its_frequencies() -> None:
    sizes = {"m3-yearly": 645, "m3-quarterly": 756, "m3-monthly": 1428, "m3-other": 174}
    records = {name: forecast(name, 10.0, 0.8, size) for name, size in sizes.items()}
    records["m3-monthly"] = forecast("m3-monthly", 20.0, 0.7, 1428)
    *rows, last = results.intervals_table(records).splitlines()
    assert rows[-2] == ("| m3-monthly | smape 20.00 | 14.00 | 16.00 | 0.800 | 70.0 % | 95.0 % |")
    # 1428 * 18 of 645 * 6 + 756 * 8 + 1428 * 18 + 174 * 8 steps.
    assert last == "| all of M3, by steps | smape 16.94 | 14.00 | 16.00 |  | 73.1 % | 95.0 % |"
    assert "all of M3" not in results.intervals_table({"m3-other": records["m3-other"]})


def scores(mse: float) -> dict[str, Any]:
    """Errors of two frames to come, as a record holds them."""

    def mean(value: float) -> dict[str, float]:
        return {"mean": value, "spread": 0.0}

    errors = {name: mean(value) for name, value in {"mae": 9.0, "psnr": 20.0, "ssim": 0.5}.items()}
    steps = {"1": mean(mse - 1), "2": mean(mse + 1)}
    return {"mse": mean(mse), **errors, "by_lead_time": {"mse": steps}}


def test_predicted_frames_have_a_row_per_method() -> None:
    record = {
        "recipe": "video",
        "data": {"name": "radar"},
        "test": scores(5.0),
        "baselines": {"copy_last": scores(7.0)},
    }
    *_, model, copy = results.frames_table({"video-radar": record}).splitlines()
    assert model == "| radar | model | 5.00 | 9.00 | 20.00 | 0.500 | 6.00 |"
    assert copy == "| radar | copy last | 7.00 | 9.00 | 20.00 | 0.500 | 8.00 |"


def test_what_a_search_gained_is_told_with_its_spread() -> None:
    found = {
        "metric": "accuracy",
        "lower_is_better": False,
        "seeds": [0, 1],
        "chosen": "07",
        "validated": {},
        "start": [0.5, 0.5],
        "best": [0.5, 0.6],
        "baselines": {},
    }
    *_, row = results.gain_table({"some": {"trials": 9, "confirmation": found}}).splitlines()
    assert row == (
        "| some | 9 | accuracy | 0.5000 ± 0.0000 | trial 07: 0.5500 ± 0.0707 | +0.0500 |"
    )
    kept = {"trials": 9, "confirmation": {**found, "chosen": "start", "best": [0.5, 0.5]}}
    assert "the start: 0.5000" in results.gain_table({"some": kept})


def test_a_changed_file_makes_a_record_stale(record: dict[str, Any]) -> None:
    assert quality.stale("some", record) == []
    record["files"]["recipes/sentiment.py"] = "0" * 64
    (line,) = quality.stale("some", record)
    assert line.startswith("some: recipes/sentiment.py has changed since")


def test_the_readme_gets_the_table_and_the_check_then_passes(
    record: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "sentiment-some.json").write_text(json.dumps(record))
    (tmp_path / "README.md").write_text(MARKERS)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "README", tmp_path / "README.md")
    assert results.main(["--check"]) == 1
    assert "the tables are not those of the records" in capsys.readouterr().out
    assert results.main([]) == 0
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("# Title\n")
    assert readme.endswith("rest\n")
    assert "old" not in readme
    assert results.main(["--check"]) == 0


def test_the_committed_records_agree_with_the_readme() -> None:
    readme = results.README.read_text()
    records = results.read(results.RESULTS)
    assert results.table(records) in readme
    assert results.intervals_table(records) in readme
    if any(record["recipe"] == "video" for record in records.values()):
        assert results.frames_table(records) in readme
    if gain := results.read(results.RESULTS / results.GAIN):
        assert results.gain_table(gain) in readme
    for name, speed in results.read(results.RESULTS / results.SPEED).items():
        assert results.SPEED_TABLES[name](speed) in readme
