"""The forecasting recipe: it learns, its intervals hold, and it answers however it is asked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recipes import forecasting as recipe
from recipes.__main__ import main
from recipes.config import from_json, to_json
from recipes.report import typical_rows
from recipes.run import Run
from serving.export import export
from zoo.datasets.series import SeriesExamples, split_series
from zoo.errors import ConfigError, DataError
from zoo.pipeline import Pipeline

TINY = recipe.PRESETS["tiny"]
TABLE = "unique_id,ds,y\n" + "".join(
    f"{name},2024-{month:02},{month * 10 * factor}\n"
    for name, factor in (("north", 1), ("south", 7))
    for month in range(1, 13)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `forecasting train --preset tiny`."""
    folder = tmp_path_factory.mktemp("runs") / "forecasting"
    assert main(["forecasting", "train", "--preset", "tiny", "--run-dir", str(folder)]) == 0
    return folder


class TestTraining:
    def test_it_beats_the_naive_forecasts(self, run: Path):
        results = json.loads((run / "metrics.json").read_text())
        test = results["test"]
        assert set(results["baselines"]) == {"naive", "seasonal_naive", "drift", "theta", "linear"}
        for name in ("naive", "seasonal_naive", "drift"):
            assert test["smape"] < results["baselines"][name]["smape"]
        assert test["owa"] < 1
        assert test["mase"] < 1

    def test_the_intervals_hold(self, run: Path):
        test = json.loads((run / "metrics.json").read_text())["test"]
        assert test["coverage"]["80"] == pytest.approx(0.80, abs=0.08)
        assert test["coverage"]["95"] == pytest.approx(0.95, abs=0.05)
        assert test["msis"]["80"] < test["msis"]["95"]
        assert test["pinball"] < test["crps"] < test["mae"]

    def test_the_page_shows_forecasts_and_errors(self, run: Path):
        page = (run / "index.html").read_text(encoding="utf-8")
        for text in ("test smape", "seasonal_naive", "How errors are counted"):
            assert text in page
        for name in ("forecasts", "error_by_horizon", "coverage_by_horizon"):
            assert (run / f"{name}.png").stat().st_size > 5_000


class TestChannels:
    def test_series_that_are_observed_together_are_forecast_together(self, tmp_path: Path):
        step = np.arange(300)
        values = np.stack([np.sin(step / 4), 50 + 9 * np.cos(step / 4)], axis=1)
        examples = SeriesExamples(
            "waves", ("w",), (values,), "other", 4, borders=(200, 250), channels=("a", "b")
        )
        config = dataclasses.replace(
            TINY, base="last", model="segment", segment=4, loss="absolute", epochs=2
        )
        data = split_series(examples)
        pipeline = recipe.build(config, data)
        with Run(tmp_path / "run", "forecasting", {}) as folder:
            trained = recipe.train(config, data, pipeline, folder)
            scores, answers = recipe.evaluate(config, data, pipeline)
            results = {
                **trained,
                "test": scores,
                "baselines": recipe.baselines(config, data),
                "parameters": 1,
            }
            recipe.report(config, data, folder, results, answers)
        assert trained["headline"] == "mse"
        assert answers["mean"].shape == (2 * len(data.test), 4)
        assert "owa" not in scores
        # In units of each channel's deviation, so that the large one does not decide alone.
        assert scores["mse"] < results["baselines"]["naive"]["mse"] < 1
        assert (tmp_path / "run" / "index.html").is_file()


@pytest.fixture(scope="module")
def promotions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty days of four series, which are high where there is a promotion, and four to come."""
    generator = np.random.default_rng(0)
    lines = ["unique_id,ds,y,promotion"]
    for name in "abcd":
        for day in range(64):
            on = int(generator.random() < 0.3)
            date = np.datetime64("2024-01-01") + day
            value = "" if day >= 60 else f"{100 + 60 * on + generator.normal():.2f}"
            lines.append(f"{name},{date},{value},{on}")
    file = tmp_path_factory.mktemp("own") / "promotions.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


class TestPaths:
    def test_futures_are_drawn_and_learned_from(self, tmp_path: Path):
        folder = tmp_path / "run"
        words = ["forecasting", "train", "--preset", "tiny", "--model", "autoregressive"]
        words += ["--base", "last", "--loss", "likelihood", "--run-dir", str(folder)]
        assert main(words) == 0
        results = json.loads((folder / "metrics.json").read_text())
        assert results["test"]["smape"] < results["baselines"]["naive"]["smape"] / 2
        assert results["test"]["coverage"]["80"] == pytest.approx(0.80, abs=0.1)


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of 40 series, many of one region and few of the other, seldom observed."""
    generator = np.random.default_rng(0)
    lines = ["unique_id,ds,y,region,size"]
    for place in range(40):
        region, rate = ("north", 40) if place % 2 else ("south", 4)
        for step in range(20):
            count = generator.negative_binomial(1, 1 / (1 + rate))
            # So little is observed that the history alone says little.
            shown = "" if step < 12 and generator.random() < 0.7 else count
            lines.append(f"s{place},{step},{shown},{region},{1 + place % 4}")
    file = tmp_path_factory.mktemp("own") / "visits.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def counted(visits: Path) -> Path:
    """The run folder of a model of counts that is told region and size."""
    folder = visits.parent / "run"
    words = ["forecasting", "train", "--preset", "counts", "--data", str(visits), "--horizon", "4"]
    words += ["--statics", "region", "size", "--units", "16", "--layers", "1", "--look-back", "24"]
    words += ["--seen", "24", "--epochs", "8", "--windows-per-epoch", "600", "--dropout", "0"]
    words += ["--batch-size", "32", "--learning-rate", "0.01", "--run-dir", str(folder)]
    assert main(words) == 0
    return folder


class TestCountsAndStatics:
    """An own table of counts that says what each series is, as far as the exported model."""

    def test_it_learns_counts(self, counted: Path):
        results = json.loads((counted / "metrics.json").read_text())
        others = [results["baselines"][name]["mae"] for name in ("naive", "drift", "theta")]
        assert results["test"]["mae"] < min(others)
        assert results["test"]["coverage"]["80"] > 0.7

    def test_predict_reads_the_statics_of_a_table(
        self, counted: Path, visits: Path, capsys: pytest.CaptureFixture[str]
    ):
        assert main(["forecasting", "predict", "--run-dir", str(counted), str(visits)]) == 0
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(answers) == 40
        lowest = [min(step) for answer in answers for step in answer["quantiles"]]
        assert min(lowest) >= 0

    def test_the_signature_takes_them_and_answers_without(self, counted: Path, tmp_path: Path):
        folder = export(counted, tmp_path, "visits")
        served = tf.saved_model.load(str(folder)).signatures["serving_default"]
        history = np.full((4, 12), np.nan, np.float32)
        history[:, 8] = [13.0, 13.0, 13.0, 2.5]
        raw = {
            "history": history,
            "length": np.full(4, 12, np.int32),
            "static_region": np.array(["north", "south", "nowhere", "south"]),
            "static_size": np.array([1, 1, np.nan, 1], np.float32),
        }
        answer = served(**{name: tf.constant(values) for name, values in raw.items()})
        assert set(served.structured_input_signature[1]) == set(raw)
        reason = b"history must hold counts: whole numbers from 0 on"
        assert answer["status"].numpy().tolist() == [b"", b"", b"", reason]
        north, south, neutral, refused = answer["mean"].numpy().mean(axis=1)
        # One history, told apart by the static alone; an unknown region lies between.
        assert 1.2 * south < north
        assert south < neutral < north
        assert refused == 0

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (["--preset", "counts"], "counts must be whole numbers from 0 on, and series '"),
            (["--preset", "tiny", "--statics", "size"], "statics is about an own table"),
        ],
    )
    def test_what_is_no_count_or_no_table_is_refused(
        self, words: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        words = ["forecasting", "train", "--dataset", "synthetic", *words]
        assert main([*words, "--run-dir", str(tmp_path / "run")]) == 2
        assert reason in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


class TestKnownAhead:
    """An own table with dates and a covariate."""

    def test_the_network_learns_what_it_is_told(
        self, promotions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        folder = tmp_path / "run"
        words = [
            "forecasting",
            "train",
            "--preset",
            "tiny",
            "--data",
            str(promotions),
            "--base",
            "last",
        ]
        words += ["--horizon", "4", "--calendar", "week", "--epochs", "30", "--loss", "absolute"]
        assert main([*words, "--run-dir", str(folder)]) == 0
        results = json.loads((folder / "metrics.json").read_text())
        others = [row["smape"] for row in results["baselines"].values()]
        assert results["test"]["smape"] < min(others)
        capsys.readouterr()
        assert main(["forecasting", "predict", "--run-dir", str(folder), str(promotions)]) == 0
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [answer["unique_id"] for answer in answers] == list("abcd")
        promoted = [line.endswith(",1") for line in promotions.read_text().splitlines()[61:65]]
        assert [mean > 130 for mean in answers[0]["mean"]] == promoted

    def test_what_is_known_must_reach_as_far_as_the_forecast(
        self, promotions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        folder = tmp_path / "run"
        words = [
            "forecasting",
            "train",
            "--preset",
            "tiny",
            "--data",
            str(promotions),
            "--epochs",
            "1",
        ]
        assert main([*words, "--horizon", "4", "--run-dir", str(folder)]) == 0
        short = tmp_path / "short.csv"
        short.write_text("\n".join(promotions.read_text().splitlines()[:62]) + "\n")
        assert main(["forecasting", "predict", "--run-dir", str(folder), str(short)]) == 2
        said = capsys.readouterr().err
        assert "series 'a' needs its covariates of 4 steps behind its last value; it has" in said

    def test_a_calendar_needs_dates(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        words = ["forecasting", "train", "--preset", "tiny", "--calendar", "day"]
        assert main([*words, "--run-dir", str(tmp_path / "run")]) == 2
        assert "calendar needs dated series" in capsys.readouterr().err


class TestPredict:
    def test_it_takes_tables_of_series(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        table = tmp_path / "mine.csv"
        table.write_text(TABLE + "".join(f"west,2024-{month:02},\n" for month in range(1, 13)))
        capsys.readouterr()
        words = ["forecasting", "predict", "--run-dir", str(run), str(table)]
        assert main(words) == DataError.exit_code
        said = capsys.readouterr()
        north, south = map(json.loads, said.out.splitlines())
        assert (north["unique_id"], south["unique_id"]) == ("north", "south")
        np.testing.assert_allclose(south["mean"], 7 * np.array(north["mean"]), rtol=1e-4)
        assert north["mean"][0] > 110
        assert np.shape(north["quantiles"]) == (4, 7)
        assert said.err == "error: west: history must hold at least one number\n"

    def test_a_number_that_is_none_is_named(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        table = tmp_path / "mine.csv"
        table.write_text(TABLE + "north,2025-01,much\n")
        assert main(["forecasting", "predict", "--run-dir", str(run), str(table)]) == 2
        assert "mine.csv, line 26: column 'y' must be a number" in capsys.readouterr().err


class TestEndpoints:
    def test_one_value_at_a_time_ends_with_the_forecast_of_the_whole(self, run: Path):
        pipeline = Pipeline.load(run)
        endpoints = pipeline.endpoints()
        assert set(endpoints) == set(recipe.SIGNATURES)
        update = endpoints["update"]
        values = np.array([[10, 20, np.nan, 12, 22, 31], [5, 4, 3, 2, 1, 0]], np.float32)
        state = update.inputs.dummy(2)["state"]
        for column in values.T:
            answer = update.call({"state": state, "value": column})
            state = answer["state"].numpy()
        whole = pipeline.predict({"history": values, "length": np.array([6, 6], np.int32)})
        assert answer["status"].numpy().tolist() == whole["status"].tolist() == [b"", b""]
        for name in ("mean", "quantiles"):
            np.testing.assert_allclose(answer[name].numpy(), whole[name], rtol=1e-5)

    def test_a_value_that_is_refused_counts_as_missing_from_then_on(self, run: Path):
        update = Pipeline.load(run).endpoints()["update"]
        state = update.inputs.dummy(1)["state"]
        statuses = []
        for value in (10.0, np.inf, 12.0, 13.0):
            answer = update.call({"state": state, "value": np.array([value], np.float32)})
            state = answer["state"].numpy()
            statuses.append(answer["status"].numpy()[0].decode())
        assert np.isfinite(state).all()
        assert [status[:22] for status in statuses] == ["", "history must be finite", "", ""]


def test_typical_rows_run_from_the_best_to_the_worst():
    truth = np.array([[1.0], [1.0], [1.0], [np.nan]])
    mean = np.array([[3.0], [1.0], [2.0], [1.0]])
    assert typical_rows(truth, mean, np.ones(4)) == [1, 2, 0]


class TestConfig:
    def test_it_survives_json(self):
        for config in recipe.PRESETS.values():
            assert from_json(recipe.Config, json.loads(json.dumps(to_json(config)))) == config

    @pytest.mark.parametrize(
        ("fields", "rule"),
        [
            ({"windows": 0}, "windows must be at least 1, not 0"),
            ({"look_back": 1}, "look_back must be at least 2, not 1"),
            ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
            ({"levels": (0.5, 0.1)}, "levels must rise and be between 0 and 1"),
            ({"loss": "likelihood"}, "'autoregressive' and loss 'likelihood' need each other"),
            (
                {"model": "autoregressive", "loss": "likelihood"},
                "with distribution 'student_t' takes base 'last', not 'theta'",
            ),
            (
                {
                    "model": "autoregressive",
                    "loss": "likelihood",
                    "base": "last",
                    "distribution": "negative_binomial",
                },
                "with distribution 'negative_binomial' takes base 'zero', not 'last'",
            ),
            ({"base": "zero"}, "base 'zero' takes distribution 'negative_binomial'"),
            ({"levels": ()}, "levels must rise and be between 0 and 1"),
        ],
    )
    def test_a_value_out_of_range_is_named(self, fields: dict[str, object], rule: str):
        with pytest.raises(ConfigError, match=rule):
            dataclasses.replace(TINY, **fields)
