"""The forecasting recipe on tables as people have them: few series, odd ones, columns that move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.__main__ import main

Captured = pytest.CaptureFixture[str]
STEPS = np.arange(40)
WAVE = 100 + 20 * np.sin(STEPS / 2)


@pytest.fixture(autouse=True)
def few_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are drawn of the oddest series alone."""
    if "odd_series" not in request.node.name:
        monkeypatch.setattr("recipes.forecasting.forecast_page", lambda *_: None)


def train(folder: Path, table: str, *words: str) -> dict[str, Any]:
    """Train for a moment on a table, and return `metrics.json`, which must be strict JSON."""
    file = folder / "mine.csv"
    file.write_text(table)
    told = ["forecasting", "train", "--preset", "tiny", "--data", str(file), "--epochs", "2"]
    assert main([*told, "--run-dir", str(folder / "run"), *words]) == 0
    text = (folder / "run" / "metrics.json").read_text()
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def predict(folder: Path, table: str, capsys: Captured, code: int = 0) -> list[dict[str, Any]]:
    """Return the answers to another table."""
    file = folder / "later.csv"
    file.write_text(table)
    capsys.readouterr()
    assert main(["forecasting", "predict", "--run-dir", str(folder / "run"), str(file)]) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def wide(**columns: Any) -> str:
    """Return a table in wide form, of numbered steps."""
    lines = [",".join(["ds", *columns])]
    for step, row in enumerate(zip(*columns.values(), strict=True)):
        lines.append(",".join([str(step), *map(str, row)]))
    return "\n".join(lines) + "\n"


def test_odd_series_are_trained_on_and_forecast(tmp_path: Path, capsys: Captured):
    gaps = np.where(STEPS % 7 == 3, np.nan, WAVE)
    few = np.where(STEPS < 22, np.nan, WAVE)
    odd = {"constant": WAVE * 0 + 5, "zero": WAVE * 0, "huge": 1e12 * WAVE, "tiny": 1e-12 * WAVE}
    odd |= {"negative": -WAVE, "gaps": gaps, "few": few, "nothing": WAVE * np.nan, "wave": WAVE}
    results = train(tmp_path, wide(**odd), "--period", "6")
    said = capsys.readouterr().err
    assert "note: series 'nothing': no value is known" in said
    assert "fewer than the 40 that outer quantiles take" not in said  # 8 series, 5 windows each
    assert results["calibrated_on"] == 40
    assert all(row["smape"] is not None for row in results["baselines"].values())
    answers = {row["unique_id"]: row for row in predict(tmp_path, wide(**odd), capsys, 2)}
    assert answers.keys() == odd.keys() - {"nothing"}
    for name in answers:
        assert answers[name]["status"] == "" and np.isfinite(answers[name]["quantiles"]).all()
    np.testing.assert_allclose(
        answers["huge"]["mean"], 1e24 * np.array(answers["tiny"]["mean"]), rtol=1e-5
    )


def test_short_series_are_trained_on_without_a_validation_part(tmp_path: Path, capsys: Captured):
    short = {f"s{place}": WAVE[place : place + 6] for place in range(9)}
    results = train(tmp_path, wide(**short), "--horizon", "3")
    assert "training windows choose the epoch, and intervals are fitted" in capsys.readouterr().err
    assert results["calibrated_on"] == 0


def test_intervals_of_a_single_series_are_no_point(tmp_path: Path, capsys: Captured):
    noise = 10 * np.random.default_rng(0).standard_normal(90)
    results = train(tmp_path, wide(alone=100 + noise), "--windows", "3")
    said = capsys.readouterr().err
    assert "note: 18 validation windows are fewer than the 40" in said
    assert results["data"]["test"] == 3
    (answer,) = predict(tmp_path, wide(alone=100 + noise), capsys)
    widths = np.array(answer["quantiles"])[:, -1] - np.array(answer["quantiles"])[:, 0]
    assert (widths > 20).all()  # 95 % of the noise need 39


def test_logarithms_are_undone(tmp_path: Path, capsys: Captured):
    noise = np.exp(0.1 * np.random.default_rng(0).standard_normal((6, 40)))
    growing = {f"s{n}": 2.0**n * 1.1**STEPS * noise[n] for n in range(6)}
    results = train(tmp_path, wide(**growing), "--log", "True", "--base", "last")
    assert results["test"]["smape"] < results["baselines"]["naive"]["smape"]
    answers = predict(tmp_path, wide(**growing), capsys)
    for name, answer in zip(growing, answers, strict=True):
        assert min(min(row) for row in answer["quantiles"]) > 0
        np.testing.assert_allclose(answer["mean"], growing[name][-1], rtol=0.8)
    file = tmp_path / "mine.csv"
    file.write_text(wide(a=WAVE - 101))
    told = ["forecasting", "train", "--preset", "tiny", "--data", str(file), "--log", "True"]
    assert main([*told, "--run-dir", str(tmp_path / "no")]) == 2
    assert "a logarithm takes values above 0, and series 'a' has -" in capsys.readouterr().err


def test_channels_are_known_by_their_names(tmp_path: Path, capsys: Captured):
    north, south = WAVE, 5 * np.roll(WAVE, 3)
    results = train(tmp_path, wide(north=north, south=south), "--together", "True")
    assert results["series"] == 1
    (one,) = predict(tmp_path, wide(north=north, south=south), capsys)
    (other,) = predict(tmp_path, wide(south=south, north=north, west=WAVE), capsys)
    assert np.shape(one["mean"]) == (8, 2) and one["mean"] == other["mean"]
    file = tmp_path / "less.csv"
    file.write_text(wide(north=north, west=south))
    assert main(["forecasting", "predict", "--run-dir", str(tmp_path / "run"), str(file)]) == 2
    said = capsys.readouterr().err
    assert "needs the column 'south', by which the model was trained; it has 'north', 'we" in said


def long(*names: str, steps: int = 30) -> str:
    """Return a table in long form, y known but for four steps, with these covariates."""
    lines = [",".join(["unique_id", "ds", "y", *names])]
    for series in "abcdefgh":
        for step in range(steps + 4):
            price, rain = step % 5, (step + ord(series)) % 3
            known = {"price": price, "rain": rain}
            value = "" if step >= steps else 50 + 9 * price - 5 * rain
            lines.append(",".join(map(str, [series, step, value, *(known[n] for n in names)])))
    return "\n".join(lines) + "\n"


def test_covariates_are_known_by_their_names(tmp_path: Path, capsys: Captured):
    train(tmp_path, long("price", "rain"), "--horizon", "4")
    one = predict(tmp_path, long("price", "rain"), capsys)
    other = predict(tmp_path, long("rain", "price"), capsys)
    assert len(one) == 8 and one == other
    file = tmp_path / "less.csv"
    file.write_text(long("rain"))
    assert main(["forecasting", "predict", "--run-dir", str(tmp_path / "run"), str(file)]) == 2
    assert "needs the column 'price', by which the model was tra" in capsys.readouterr().err


def test_what_is_left_out_of_a_prediction_is_told(tmp_path: Path, capsys: Captured):
    train(tmp_path, wide(a=WAVE, b=WAVE))
    file = tmp_path / "gappy.csv"
    file.write_text(
        "unique_id,ds,y\na,1,1\na,9,2\n" + "".join(f"b,{n},{n + 1}\n" for n in range(9))
    )
    told = ["forecasting", "predict", "--run-dir", str(tmp_path / "run"), str(file)]
    assert main(told) == 0
    assert "series 'a' left out: 7 of 9 steps missing" in capsys.readouterr().err
    file.write_text("unique_id,ds,y\na,1,1\na,9,2\na,10,2\n")
    assert main(told) == 2
    assert "can be used: series 'a' left out: 7 of 10 steps mis" in capsys.readouterr().err


def test_a_look_back_too_short_for_the_season_is_told(tmp_path: Path, capsys: Captured):
    results = train(tmp_path, wide(a=WAVE, b=-WAVE), "--period", "13")
    assert (
        "Theta takes out no season of 13 steps; with --look-back 26 it would"
        in capsys.readouterr().err
    )
    # Baselines and the scale of errors know of the season too.
    baselines = results["baselines"]
    assert baselines["seasonal_naive"]["mae"] < 0.9 * baselines["naive"]["mae"]
