"""The charts of a search: honest axes, readable labels, and any search that they are given."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
from PIL import Image

from recipes.headline import Headline
from tests.tuning.report_searches import BEGAN, DEGENERATE, only, search
from tuning.report import figures
from tuning.report.figures import running_clock
from tuning.report.importance import Importance
from tuning.report.parallel import parallel_coordinates
from tuning.report.records import parameter_names
from tuning.report.scale import axis, is_logarithmic, shown_range, text
from tuning.trials import COMPLETED, FAILED, Search, Trial

USUAL, ERRORS = search(), search(40, lower_is_better=True)
ANY = {"usual": USUAL, "errors": ERRORS}
ANY |= {name: found for name, found in DEGENERATE.items() if found.best}


def drawn(figure: object) -> np.ndarray:
    """Return the pixels of a figure, which must not be empty."""
    content = io.BytesIO()
    figure.savefig(content, format="png")  # type: ignore[attr-defined]
    pixels = np.asarray(Image.open(content).convert("L"))
    assert pixels.std() > 1
    return pixels


def labels(axes: object) -> list[str]:
    """Return the names in the legend of a figure."""
    (legend,) = axes.figure.legends  # type: ignore[attr-defined]
    return [each.get_text() for each in legend.get_texts()]


class TestAnySearch:
    """Every chart that the page may show is drawn without a warning."""

    @pytest.mark.parametrize("name", ANY)
    def test_scores_over_time_and_epochs(self, name: str):
        drawn(figures.best_over_time(ANY[name]))
        drawn(figures.learning_curves(ANY[name]))

    @pytest.mark.parametrize("name", ANY)
    def test_parallel_coordinates(self, name: str):
        drawn(parallel_coordinates(ANY[name], parameter_names(ANY[name])))

    @pytest.mark.parametrize("found", [USUAL, ERRORS, search(1)])
    def test_quality_against_latency_and_size(self, found: Search):
        drawn(figures.against_latency(found))
        drawn(figures.against_size(found))

    @pytest.mark.parametrize("count", [1, 40])
    def test_importance(self, count: int):
        values = {f"parameter_{index}": 1.0 / (index + 1) for index in range(count)}
        figure = figures.importance_bars(Importance(values, values, 0.5, 60))
        drawn(figure)
        names = [each.get_text() for each in figure.axes[0].get_yticklabels()]
        assert names == list(values)[:15]
        assert figure.axes[0].yaxis_inverted()  # the most important on top

    def test_names_that_matplotlib_would_read_as_formulas(self):
        trials = [Trial(str(n), COMPLETED, {"$x_{": "$\\frac{" * n}, n, (n,)) for n in (1, 2)]
        found = only(trials=tuple(trials), objective=Headline("$x_{"))
        drawn(parallel_coordinates(found, ["$x_{"]))
        drawn(figures.best_over_time(found))
        drawn(figures.importance_bars(Importance({"$x_{": 1.0}, {"$x_{": 0.1})))


class TestBestOverTime:
    """Every trial as a dot, and the best so far as steps."""

    @pytest.mark.parametrize("found", [USUAL, ERRORS])
    def test_dots_and_steps_are_the_scores(self, found: Search):
        axes = figures.best_over_time(found).axes[0]
        lines = {line.get_label(): line for line in axes.lines}
        count = sum(len(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "None")
        assert count == len(found.completed)
        best = np.asarray(lines["best so far"].get_ydata())
        assert found.best and best[-1] == found.best.score
        steps = np.diff(best)
        assert (steps <= 0).all() if found.objective.lower_is_better else (steps >= 0).all()

    def test_a_night_without_a_trial_is_left_out(self):
        trials = [
            Trial("0", COMPLETED, {}, 0.5, began=BEGAN, ended=BEGAN + 60),
            Trial("1", COMPLETED, {}, 0.6, began=BEGAN + 30_000, ended=BEGAN + 30_060),
        ]
        axes = figures.best_over_time(only(trials=tuple(trials))).axes[0]
        times = [x for line in axes.lines if line.get_label() == "trial" for x in line.get_xdata()]
        assert times == [60.0, 120.0]
        assert axes.get_xlabel() == "seconds in which trials were running"

    @pytest.mark.parametrize(("seconds", "unit"), [(60, "sec"), (600, "min"), (60_000, "hours")])
    def test_the_unit_fits_the_length(self, seconds: float, unit: str):
        one = Trial("0", COMPLETED, {}, 0.5, began=BEGAN, ended=BEGAN + seconds)
        axes = figures.best_over_time(only(trials=(one,))).axes[0]
        assert axes.get_xlabel().startswith(unit)

    def test_trials_without_a_score_stand_below(self):
        figure = figures.best_over_time(DEGENERATE["one of many failed"])
        upper, lower = figure.axes
        assert lower.lines[0].get_xdata() == [2.0]
        assert lower.get_xlim() == upper.get_xlim()
        assert len(figures.best_over_time(DEGENERATE["equal scores"]).axes) == 1

    def test_the_base_configuration_is_a_line(self):
        assert "base configuration" in labels(figures.best_over_time(USUAL).axes[0])
        assert "base configuration" not in labels(figures.best_over_time(only(0.5)).axes[0])

    def test_the_clock_runs_while_any_trial_does(self):
        clock = running_clock([(10, 14), (0, 5), (12, 13), (3, 7)])
        assert [clock(moment) for moment in (0, 4, 7, 9, 10, 12, 14, 99)] == [
            0,
            4,
            7,
            7,
            7,
            9,
            11,
            11,
        ]
        assert running_clock([])(5.0) == 0


class TestScores:
    """The axis of the score shows what matters and says what it leaves out."""

    def test_a_far_outlier_is_at_the_edge_and_counted(self):
        axes = figures.best_over_time(DEGENERATE["an outlier"]).axes[0]
        low, high = axes.get_ylim()
        assert 0.7 < low < 0.79 and 0.82 < high < 0.85
        assert axes.get_title(loc="right") == "1 trial below the axis"
        (triangle,) = [line for line in axes.lines if line.get_marker() == "v"]
        assert list(triangle.get_ydata()) == [low]

    @pytest.mark.parametrize("lower", [False, True])
    def test_only_bad_scores_are_left_out(self, lower: bool):
        sign = -1 if lower else 1
        scores = sign * np.array([0.8, 0.81, 0.79, 0.8, 0.82, 0.78, 0.8, 0.99, 0.1])
        shown = shown_range(scores, lower)
        assert shown.outside == 1 and shown.worse_is_high is lower
        assert sign * 0.99 in (shown.low, shown.high)
        assert shown.places(scores).min() == 0 and shown.places(scores).max() == 1
        end = shown.ticks(3)[-1 if lower else 0][1]
        assert end.startswith("≥ " if lower else "≤ ")

    @pytest.mark.parametrize("scores", [[0.5], [0.1, 0.9, 0.91], [0.5] * 9, [0.1, 0.5] * 5])
    def test_else_all_are_shown(self, scores: list[float]):
        shown = shown_range(np.array(scores), lower_is_better=False)
        assert (shown.low, shown.high, shown.outside) == (min(scores), max(scores), 0)
        assert not any("≤" in words for _, words in shown.ticks(5))

    def test_curves_keep_their_gaps(self):
        trials = [
            Trial("0", COMPLETED, {}, 0.6, (0.5, 0.6, 0.55)),
            Trial("1", FAILED, {}, None, (0.5, math.nan, math.inf)),
        ]
        axes = figures.learning_curves(only(trials=tuple(trials))).axes[0]
        assert labels(axes) == ["running, failed or refused", "best: trial 0"]
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.5, math.nan, math.nan])
        assert list(axes.lines[1].get_xdata()) == [1, 2, 3]


class TestPareto:
    """The front, the best and the base stand out."""

    def test_the_front_is_named_from_the_best_on(self):
        axes = figures.against_latency(USUAL).axes[0]
        assert USUAL.best and USUAL.best.id in [each.get_text() for each in axes.texts]
        assert labels(axes) == [
            "trial",
            f"best: trial {USUAL.best.id}",
            "base: trial 0000",
            "Pareto front",
        ]

    def test_a_trial_without_latency_is_no_point(self):
        trials = [dataclasses.replace(each, latency_ms=None) for each in USUAL.trials[:20]]
        found = dataclasses.replace(USUAL, trials=(*trials, *USUAL.trials[20:]))
        axes = figures.against_latency(found).axes[0]
        count = sum(
            len(line.get_xdata()) for line in axes.lines if line.get_color() == figures.GREY
        )
        assert count == len([each for each in found.completed if each.latency_ms is not None])


class TestAxes:
    """Where a parameter's values lie on its axis."""

    def test_numbers_lie_on_a_line(self):
        column = axis("dropout", [0.0, 0.5, 0.25])
        np.testing.assert_allclose(column.places, [0, 1, 0.5])
        assert column.ticks == [(0.0, "0"), (0.5, "0.25"), (1.0, "0.5")]

    def test_decades_lie_on_a_logarithmic_one(self):
        column = axis("learning_rate", [1e-4, 1e-3, 1e-2])
        np.testing.assert_allclose(column.places, [0, 0.5, 1], atol=1e-12)
        assert [words for _, words in column.ticks] == ["0.0001", "0.001", "0.01"]

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([32, 64, 96, 128, 192, 256], True),
            (list(np.geomspace(5e-4, 5e-3, 30)), True),
            (list(np.linspace(0.001, 0.3, 30)), False),
            (list(np.linspace(0.2, 0.7, 30)), False),
            ([-10, 1, 1000], False),
            ([0, 1, 1000], False),
            ([5], False),
        ],
    )
    def test_what_counts_as_decades(self, values: list[float], expected: bool):
        assert is_logarithmic(np.array(values, dtype=np.float64)) is expected

    def test_anything_else_is_spelled_at_even_distances(self):
        column = axis("cell", ["lstm", "gru", None, "rnn"])
        np.testing.assert_allclose(column.places, [0.5, 0, math.nan, 1])
        assert column.ticks == [(0.0, "gru"), (0.5, "lstm"), (1.0, "rnn")]
        assert [words for _, words in axis("flag", [True, False]).ticks] == ["False", "True"]
        assert [words for _, words in axis("mixed", [1, "auto"]).ticks] == ["1", "auto"]

    def test_one_value_lies_in_the_middle(self):
        for value in (3, "conv"):
            assert axis("same", [value, value]).places.tolist() == [0.5, 0.5]

    def test_names_do_not_touch(self):
        random = np.random.default_rng(0)
        numbers = [random.uniform(0, 0.7, 50), 10 ** random.uniform(-6, 0, 50), [1, 2, 3, 99]]
        names = [f"category {index:02d}" for index in range(40)]
        for values in [*([float(each) for each in column] for column in numbers), names]:
            places = [place for place, _ in axis("x", values).ticks]
            assert places[0] == 0 and places[-1] == pytest.approx(1)
            assert min(np.diff(places)) >= 0.07

    def test_an_absent_parameter_has_a_place_of_its_own(self):
        axes = parallel_coordinates(USUAL, ["strides", "stacked"]).axes[0]
        assert [each.get_text() for each in axes.texts].count("absent") == 2
        axes = parallel_coordinates(USUAL, ["units", "cell"]).axes[0]
        words = [each.get_text() for each in axes.texts]
        assert "absent" not in words and {"lstm", "gru", "32", "256"} <= {*words}

    @pytest.mark.parametrize(
        ("number", "words"),
        [
            (0, "0"),
            (64, "64"),
            (1536.0, "1536"),
            (0.5, "0.5"),
            (1e-4, "0.0001"),
            (1.234e-5, "1.23e-5"),
            (2_500_000, "2.5e6"),
            (-0.25, "-0.25"),
        ],
    )
    def test_numbers_are_short(self, number: float, words: str):
        assert text(number) == words
