"""The report of a search: its numbers, its page, and what it costs to ask for it."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from recipes import config as configuration
from recipes import sentiment
from recipes.headline import Headline
from tests.tuning.report_searches import BASE, DEGENERATE, only, search
from tuning.report import best_config, figures, to_json, write_csv, write_report
from tuning.report.page import search_page, summary_line
from tuning.report.records import base_trial, pareto
from tuning.trials import COMPLETED, FAILED, REFUSED, RUNNING, Search, Trial
from zoo.errors import DataError

EVIL = "<script>alert('x')</script>"
EVERY = {"usual": search(), "errors": search(30, lower_is_better=True), **DEGENERATE}


def trial(id: str, score: float, latency_ms: float | None = None, **other: object) -> Trial:
    return Trial(id, COMPLETED, {}, score, latency_ms=latency_ms, **other)  # type: ignore[arg-type]


class TestTrials:
    """Which trials have completed, and which of them is the best."""

    @pytest.mark.parametrize(("lower", "best"), [(False, "0003"), (True, "0002")])
    def test_what_is_no_number_is_no_score(self, lower: bool, best: str):
        found = only(math.nan, -math.inf, 0.5, 0.6, math.inf, None)
        found = dataclasses.replace(found, objective=Headline("loss", lower))
        assert {each.id for each in found.completed} == {"0002", "0003"}
        assert found.best and found.best.id == best

    def test_of_equal_scores_the_earlier_is_the_better(self):
        assert [each.id for each in only(0.5, 0.7, 0.7).completed] == ["0001", "0002", "0000"]


class TestJson:
    """What programs read."""

    @pytest.mark.parametrize("name", EVERY)
    def test_any_search_is_valid_json(self, name: str):
        found = EVERY[name]
        record = json.loads(json.dumps(to_json(found), allow_nan=False))
        assert [each["id"] for each in record["trials"]] == [each.id for each in found.trials]
        assert (record["best"] is None) == (found.best is None)

    def test_it_holds_what_the_search_holds(self):
        record = to_json(search())
        assert record["recipe"] == "speech" and record["algorithm"] == "bayesian"
        assert record["objective"] == "accuracy" and record["direction"] == "max"
        first = search().trials[0]
        assert record["trials"][0] == {
            **{name: getattr(first, name) for name in ("id", "status", "parameters", "score")},
            **{name: getattr(first, name) for name in ("seconds", "overhead_seconds", "worker")},
            **{name: getattr(first, name) for name in ("size", "latency_ms", "reason")},
            "curve": list(first.curve),
        }
        best = search().best
        assert best and record["best"] == {
            "id": best.id,
            "score": best.score,
            "parameters": best.parameters,
            "config": best.config,
        }
        assert to_json(search(lower_is_better=True))["direction"] == "min"

    def test_speed_counts_every_trial_that_ended(self):
        one = Trial("0000", COMPLETED, {}, 0.5, overhead_seconds=1.0)
        others = [Trial("0001", FAILED, {}, overhead_seconds=2.0), Trial("0002", REFUSED, {})]
        trials = (one, *others, Trial("0003", RUNNING, {}, overhead_seconds=9.0))
        record = to_json(only(trials=trials, seconds=360.0))
        assert record["trials_per_hour"] == 30.0
        assert record["overhead_seconds_per_trial"] == 1.0

    @pytest.mark.parametrize("found", [only(), DEGENERATE["running only"]])
    def test_without_an_ended_trial_speed_is_unknown(self, found: Search):
        for each in (found, dataclasses.replace(found, seconds=5.0)):
            record = to_json(each)
            assert record["trials_per_hour"] is None
            assert record["overhead_seconds_per_trial"] is None

    def test_no_time_at_all_divides_by_nothing(self):
        assert to_json(only(0.5, seconds=0.0))["trials_per_hour"] is None

    def test_what_is_no_number_is_null(self):
        bad = Trial("0000", COMPLETED, {"dropout": math.inf}, math.nan, (0.5, math.nan))
        (row,) = to_json(only(trials=(bad,)))["trials"]
        assert row["score"] is None and row["curve"] == [0.5, None]
        assert row["parameters"] == {"dropout": None}


class TestPareto:
    """Trials that no other beats in both score and latency."""

    def front(self, *trials: Trial, lower: bool = False) -> list[str]:
        found = only(trials=trials, objective=Headline("score", lower))
        return [each.id for each in pareto(found)]

    def test_by_hand(self):
        points = [trial("slow", 0.9, 5.0), trial("beaten", 0.8, 6.0), trial("quick", 0.7, 1.0)]
        points += [trial("equally slow", 0.6, 1.0), trial("middle", 0.85, 3.0)]
        assert self.front(*points) == ["quick", "middle", "slow"]
        assert self.front(*points, lower=True) == ["equally slow"]

    def test_of_equals_the_earliest_stands_for_all(self):
        assert self.front(trial("a", 0.9, 1.0), trial("b", 0.9, 1.0)) == ["a"]
        assert self.front(trial("a", 0.9, 1.0), trial("b", 0.9, 2.0)) == ["a"]

    def test_without_latency_there_is_none(self):
        assert self.front(trial("a", 0.9)) == []
        page = search_page(search(20, latency=False), Path())
        assert "latency" not in {picture.name for picture in page.pictures}
        assert len(page.tables) == 1
        refused = Trial("r", REFUSED, {}, None, latency_ms=0.1)
        assert self.front(refused, trial("a", 0.9, 1.0)) == ["a"]


class TestBest:
    """The configuration that is trained again."""

    def base(self) -> dict[str, object]:
        return configuration.to_json(sentiment.PRESETS["base"])

    def test_train_takes_it(self, tmp_path: Path):
        found = dataclasses.replace(only(0.5, 0.6, 0.7), base=self.base())
        file = tmp_path / "best.json"
        file.write_text(json.dumps(best_config(found)), encoding="utf-8")
        taken = configuration.starting_point(sentiment.PRESETS, ["--config", str(file)])
        assert taken == dataclasses.replace(sentiment.PRESETS["base"], dropout=0.2)

    def test_it_is_what_the_space_made_of_the_parameters(self):
        found = search()
        assert found.best and "stacked" in found.best.parameters
        assert best_config(found) == found.best.config
        assert best_config(found).keys() == BASE.keys()
        assert best_config(found)["reduction"] == found.best.parameters["stacked"]

    def test_a_parameter_that_is_no_field_needs_the_configuration(self):
        found = only(trials=(Trial("0000", COMPLETED, {"strides": 2}, 0.5),))
        with pytest.raises(DataError, match="parameter 'strides' is no field of the recipe"):
            best_config(found)

    @pytest.mark.parametrize(
        ("name", "words"),
        [("nothing tried", "none was started"), ("all failed", "3 trials: 3 failed")],
    )
    def test_without_a_completed_trial_there_is_none(self, name: str, words: str):
        with pytest.raises(DataError, match=f"no completed trial yet, so no best one .{words}"):
            best_config(DEGENERATE[name])

    def test_the_base_configuration_is_found_among_the_trials(self):
        assert base_trial(only(0.5, 0.6)) is None
        values = [Trial(str(score), COMPLETED, {"dropout": 0.5}, score) for score in (1, 3)]
        failed = Trial("2", FAILED, {"dropout": 0.5})
        assert base_trial(only(trials=(failed, *values))) == values[1]
        assert base_trial(only(trials=(failed,))) == failed
        other = dataclasses.replace(values[0], config={**BASE, "units": 1})
        assert base_trial(only(trials=(other,))) is None


class TestCsv:
    """The trials as a table."""

    def rows(self, found: Search, file: Path) -> list[dict[str, str]]:
        write_csv(found, file)
        with file.open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))

    def test_a_line_per_trial_with_empty_cells_for_what_is_absent(self, tmp_path: Path):
        found = search()
        rows = self.rows(found, tmp_path / "trials.csv")
        assert [row["id"] for row in rows] == [each.id for each in found.trials]
        for row, each in zip(rows, found.trials, strict=True):
            assert row["score"] == ("" if each.score is None else str(each.score))
            assert row["parameters.stacked"] == str(each.parameters.get("stacked", ""))
            assert row["reason"] == each.reason
        assert rows[0]["epochs"] == "8" and rows[0]["parameters.epochs"] == "8"

    def test_a_reason_may_hold_anything(self, tmp_path: Path):
        reason = 'a "quoted",\nlonger reason \ud800'
        found = only(trials=(Trial("0000", FAILED, {}, math.nan, reason=reason),))
        (row,) = self.rows(found, tmp_path / "trials.csv")
        assert row["reason"] == reason.replace("\ud800", "?") and row["score"] == ""

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path):
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match="trials.csv' cannot be written"):
            write_csv(search(3), tmp_path / "file" / "trials.csv")


class TestPage:
    """What a person looks at."""

    @pytest.mark.parametrize("name", EVERY)
    def test_any_search_has_a_page_that_stands_alone(self, name: str, tmp_path: Path):
        found = EVERY[name]
        written = write_report(found, tmp_path)
        source = (tmp_path / "index.html").read_text("utf-8")
        pngs = [file for file in written if file.suffix == ".png"]
        assert [file.name for file in written if file not in pngs] == ["index.html", "tensorboard"]
        assert source.count("data:image/png;base64,") == len(pngs) == source.count("<img")
        assert "<script" not in source and 'src="http' not in source
        assert bool(pngs) == bool(found.best)
        assert all(file.exists() for file in written)

    def test_pictures_are_what_the_search_can_show(self):
        pages = {name: search_page(each, Path()) for name, each in EVERY.items()}
        pictures = {name: [each.name for each in page.pictures] for name, page in pages.items()}
        assert pictures["usual"] == [
            "parallel",
            "importance",
            "best_over_time",
            "trial_curves",
            "size",
            "latency",
        ]
        assert pictures["nothing tried"] == pictures["all failed"] == []
        assert pictures["one trial"] == ["best_over_time", "trial_curves"]
        assert pictures["equal scores"] == ["parallel", "best_over_time", "trial_curves"]

    def test_pictures_are_sharp_and_fit_the_page(self, tmp_path: Path):
        for file in write_report(search(20), tmp_path):
            if file.suffix == ".png":
                with Image.open(file) as image:
                    assert image.width in (1080, 2160)

    def test_the_summary_counts_and_compares(self):
        found = search()
        best, base = found.best, base_trial(found)
        assert best and base and base.score
        line = summary_line(found)
        assert line.startswith("60 trials of the recipe speech by bayesian search, seed 0: ")
        assert f"{len(found.completed)} completed, " in line and "2 running" in line
        assert f"accuracy is {best.score:.4f}, by trial {best.id}" in line
        assert line.endswith(f"the base configuration (0000) reached {base.score:.4f}.")

    @pytest.mark.parametrize(
        ("found", "words"),
        [
            (only(), "0 trials of the recipe sentiment by random search, seed 0. No trial has"),
            (only(0.8), "by trial 0000; the base configuration was not tried."),
            (only(0.8, 0, 0, 0, 0, 0.9), "by trial 0005; that is the base configuration."),
            (only(0.8, 0, 0, 0, 0, None), "the base configuration (0005) is failed."),
        ],
    )
    def test_the_summary_says_what_became_of_the_base(self, found: Search, words: str):
        assert words in summary_line(found)

    @pytest.mark.parametrize(
        ("scores", "lower", "verdict", "loses"),
        [
            ((0.8, 0, 0, 0, 0, 0.7), False, "beats the base configuration by 0.1.", False),
            ((0.5, 1, 1, 1, 1, 0.75), True, "beats the base configuration by 0.25.", False),
            ((0.6, 0, 0, 0, 0, 0.7), False, "No trial beats the base configuration.", True),
            ((0.8, 0.1), False, "The base configuration has no score", False),
        ],
    )
    def test_the_verdict(self, scores: tuple, lower: bool, verdict: str, loses: bool):
        found = dataclasses.replace(only(*scores), objective=Headline("wer", lower))
        card = search_page(found, Path()).card
        assert card and verdict in card.verdict and card.loses is loses
        assert card.larger_is_better is not lower and card.metric == "validation WER"

    def test_tables_hold_the_changes_the_front_and_every_trial(self):
        found = search()
        page = search_page(found, Path())
        changes, front = page.tables
        assert found.best and ("units", "64", str(found.best.parameters["units"])) in changes.rows
        assert {row[0] for row in changes.rows} <= BASE.keys()
        assert [row[0] for row in front.rows] == [each.id for each in pareto(found)]
        tables = {each.title: each.table for each in page.sections if each.table}
        trials, failures = tables["All trials"], tables["Failed and refused trials"]
        scores = [row[2] for row in trials.rows]
        assert scores == [each.score for each in found.completed] + [None] * 10
        assert (
            len({*trials.columns}) == len(trials.columns) and "parameter epochs" in trials.columns
        )
        assert {row[1] for row in failures.rows} == {FAILED, REFUSED}
        assert all(row[4] for row in failures.rows)

    def test_the_commands_train_the_best_again(self, tmp_path: Path):
        folder = tmp_path / "my search"
        sections = {each.title: each for each in search_page(search(), folder).sections}
        assert sections["Train the best again"].code.splitlines() == [
            f"python -m tuning confirm '{folder}' --seeds 0 1 2",
            f"python -m tuning best '{folder}' > best.json",
            "python -m recipes speech train --config best.json --run-dir runs/speech-best",
        ]
        assert "Train the best again" not in {e.title for e in search_page(only(), folder).sections}

    def test_many_parameters_show_the_most_important(self):
        found = search(40)
        more = {f"extra_{index}": 0 for index in range(12)}
        trials = [
            dataclasses.replace(each, parameters={**dict.fromkeys(more, n % 3), **each.parameters})
            for n, each in enumerate(found.trials)
        ]
        pictures = search_page(dataclasses.replace(found, trials=trials), Path()).pictures
        (axes,) = pictures[0].figure.axes
        names = [label.get_text() for label in axes.get_xticklabels()]
        assert len(names) == 15 and "learning_rate" in names
        assert "The 14 most important are shown." in pictures[0].caption

    def test_every_text_is_escaped(self, tmp_path: Path):
        trials = [
            Trial("0000", COMPLETED, {EVIL: EVIL}, 0.5, (0.5,), config={**BASE, "data": EVIL}),
            Trial("0001", FAILED, {EVIL: "$x_{"}, worker=EVIL, reason=EVIL),
            Trial("0002", COMPLETED, {EVIL: "b\n\ud800", "\ud800": 1}, 0.4, (0.4,), config=BASE),
        ]
        write_report(only(trials=tuple(trials), recipe=EVIL), tmp_path)
        source = (tmp_path / "index.html").read_text("utf-8")
        assert "<script" not in source.lower() and source.count("&lt;script&gt;") > 5

    def test_the_environment_of_the_search_is_shown(self, tmp_path: Path):
        (tmp_path / "environment.json").write_text('{"git_commit": "abc", "cores": 2}')
        write_report(only(0.5), tmp_path)
        assert "git commit" in (tmp_path / "index.html").read_text("utf-8")

    def test_a_later_report_replaces_the_earlier_one(self, tmp_path: Path):
        write_report(search(5), tmp_path)
        write_report(search(12), tmp_path)
        assert "12 trials" in (tmp_path / "index.html").read_text("utf-8")
        assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]

    def test_nothing_is_written_if_a_picture_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(figures, "against_size", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_report(search(5), tmp_path)
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path):
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match="cannot be written: "):
            write_report(only(0.5), tmp_path / "file")


class TestCost:
    """A report is asked for often, also of a search that runs."""

    def test_no_tensorflow_and_no_pyplot_is_imported(self, tmp_path: Path):
        code = (
            "import sys; from pathlib import Path; import tuning.report as report;"
            "late = {'matplotlib', 'sklearn', 'jinja2', 'tensorboard', 'numpy.random'};"
            "assert not late & set(sys.modules), late & set(sys.modules);"
            "from tests.tuning.report_searches import search; found = search(12);"
            "report.to_json(found); report.best_config(found);"
            "assert not late - {'numpy.random'} & set(sys.modules);"
            f"report.write_report(found, Path({str(tmp_path)!r}));"
            "heavy = {'tensorflow', 'keras', 'matplotlib.pyplot', 'mlflow', 'wandb'};"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
