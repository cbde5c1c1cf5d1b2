"""The page of a recipe that forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.report.figures import learning_curves
from recipes.report.page import Picture, Score, Section, Table
from recipes.report.style import BLUE, ORANGE
from recipes.report.summary import Summary, write_page
from recipes.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = 6
_PAST = 3
"""Horizons of history that are drawn before a forecast."""

_INTERVALS = ((0.025, 0.975), (0.1, 0.9))
_ERRORS = ("smape", "mase", "mae", "mse")


@dataclass(frozen=True)
class Forecasts:
    """Windows of the test part and what was forecast; a row is a channel of a window.

    Attributes:
        pasts: Of the rows that are shown: name and history, `float[time]`.
        rows: Which rows these are.
        truth: `float[rows, horizon]`, NaN = unknown.
        scale: `float[rows]`, what the error of a row is counted in.
        mean: `float[rows, horizon]`.
        quantiles: `float[rows, horizon, levels]`.
        levels: Of the quantiles.
    """

    pasts: Sequence[tuple[str, np.ndarray]]
    rows: Sequence[int]
    truth: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    quantiles: np.ndarray
    levels: tuple[float, ...]

    def bounds(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Return two quantiles of every step, None if they were not forecast."""
        if low not in self.levels or high not in self.levels:
            return None
        places = (self.levels.index(low), self.levels.index(high))
        return self.quantiles[:, :, places[0]], self.quantiles[:, :, places[1]]


def typical_rows(truth: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> list[int]:
    """Return rows from the best to the worst forecast, at even steps between them."""
    errors = _mean_of_known(np.abs(truth - mean), axis=1) / np.where(scale > 0, scale, np.nan)
    ranked = np.argsort(errors)
    ranked = ranked[~np.isnan(errors[ranked])]
    if not len(ranked):
        return list(range(min(_SHOWN, len(truth))))
    places = np.linspace(0, len(ranked) - 1, min(_SHOWN, len(ranked)))
    return [int(ranked[round(place)]) for place in places]


def forecast_page(
    run: Run,
    title: str,
    text: str,
    test: Forecasts,
    results: Mapping[str, Any],
    published: Sequence[Score] = (),
) -> Path:
    """Write `index.html` with scores, curves, forecasts, and errors by the step ahead.

    Args:
        run: The run folder; its `history.json` gives the learning curves.
        title: Headline of the page.
        text: What was trained on what, in a sentence or two.
        test: The test part, answered.
        results: As for `metrics.json`.
        published: What others reach on this data set.
    """
    metric = results["headline"]
    summary = Summary(
        text=text,
        metric=f"test {metric}",
        model=Score("model", results["test"][metric]),
        baselines=[Score(name, row[metric]) for name, row in results["baselines"].items()],
        published=published,
        larger_is_better=False,
        percent=False,
        facts={
            "parameters": results["parameters"],
            "series": results["series"],
            "training, seconds": round(results["train_seconds"], 1),
            "best epoch": results["best_epoch"],
            "windows that intervals were calibrated on": results["calibrated_on"],
        },
    )
    tables = [_score_table(results), _interval_table(results)]
    return write_page(run, title, summary, tables, _pictures(run, test, results), [_notes()])


def _score_table(results: Mapping[str, Any]) -> Table:
    rows = {"model": results["test"], **results["baselines"]}
    return Table(
        "Test part",
        ("method", *_ERRORS),
        [(name, *(row[error] for error in _ERRORS)) for name, row in rows.items()],
    )


def _interval_table(results: Mapping[str, Any]) -> Table:
    test = results["test"]
    return Table(
        "Intervals",
        ("interval", "holds", "MSIS"),
        [(f"{name} %", share, test["msis"][name]) for name, share in test["coverage"].items()],
        ("holds",),
    )


def _notes() -> Section:
    return Section(
        "How errors are counted",
        "sMAPE runs from 0 to 200. MASE counts in mean changes over a season of the history. Of "
        "series with several channels, MAE and MSE count in the standard deviation of the "
        "channel over the training part; else in the units of the data.",
    )


def _pictures(run: Run, test: Forecasts, results: Mapping[str, Any]) -> list[Picture]:
    return [
        Picture(
            "forecasts",
            "History (grey), what came (black), the forecast and its 80 and 95 % intervals, from "
            "the window that was forecast best to the one that was forecast worst.",
            "Line charts of histories with forecasts and intervals",
            _forecasts(test),
            keep_colours=True,
        ),
        Picture(
            "error_by_horizon",
            "Mean absolute error by the step ahead, in mean changes over a season.",
            "Line chart of the error over the steps of the horizon",
            _error_by_horizon(test),
        ),
        Picture(
            "coverage_by_horizon",
            "Share of the outcomes inside the intervals by the step ahead; dashed, what they are "
            "to hold.",
            "Line chart of the coverage over the steps of the horizon",
            _coverage_by_horizon(test),
        ),
        Picture(
            "learning_curves",
            "Loss of the training windows and errors of the validation windows; the weights of "
            "the marked epoch were kept.",
            "Line charts of loss and errors over the epochs",
            learning_curves(run.read_json("history.json"), results["best_epoch"]),
        ),
    ]


def _forecasts(test: Forecasts) -> Figure:
    rows = max((len(test.rows) + 1) // 2, 1)
    figure, grid = _figure(rows, 2, (10.8, 2.6 * rows))
    for axes, row, (name, past) in zip(grid, test.rows, test.pasts, strict=False):
        horizon = test.mean.shape[1]
        past = past[-max(_PAST * horizon, 12) :]
        ahead = np.arange(1, horizon + 1)
        axes.plot(np.arange(1 - len(past), 1), past, color="#7a7f89", linewidth=1)
        for (low, high), strength in zip(_INTERVALS, (0.18, 0.32), strict=True):
            if (bounds := test.bounds(low, high)) is not None:
                axes.fill_between(
                    ahead, *(b[row] for b in bounds), color=BLUE, alpha=strength, linewidth=0
                )
        axes.plot(ahead, test.truth[row], color="#1d1f23", linewidth=1.2)
        axes.plot(ahead, test.mean[row], color=ORANGE, linewidth=1.4)
        axes.set_title(name, fontsize=9, loc="left")
    for axes in grid[len(test.rows) :]:
        axes.remove()
    return figure


def _error_by_horizon(test: Forecasts) -> Figure:
    figure, (axes,) = _figure(1, 1, (5.4, 3.2))
    errors = np.abs(test.truth - test.mean) / np.where(test.scale > 0, test.scale, np.nan)[:, None]
    axes.plot(np.arange(1, errors.shape[1] + 1), _mean_of_known(errors, axis=0), color=BLUE)
    axes.set_xlabel("steps ahead")
    axes.set_ylabel("scaled absolute error")
    axes.set_ylim(bottom=0)
    return figure


def _coverage_by_horizon(test: Forecasts) -> Figure:
    figure, (axes,) = _figure(1, 1, (5.4, 3.2))
    for (low, high), colour in zip(_INTERVALS, (BLUE, ORANGE), strict=True):
        if (bounds := test.bounds(low, high)) is None:
            continue
        inside = (test.truth >= bounds[0]) & (test.truth <= bounds[1])
        known = ~np.isnan(test.truth)
        held = inside.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        label = f"{100 * (high - low):.0f} %"
        axes.plot(np.arange(1, len(held) + 1), 100 * held, color=colour, label=label)
        axes.axhline(100 * (high - low), color=colour, linestyle="--", linewidth=0.8)
    axes.set_xlabel("steps ahead")
    axes.set_ylabel("outcomes inside, %")
    axes.legend(frameon=False, fontsize=9)
    return figure


def _mean_of_known(values: np.ndarray, axis: int) -> np.ndarray:
    """Return means over an axis without what is NaN; NaN where everything is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=axis)
    sums = np.where(known, values, 0).sum(axis=axis)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=size, dpi=100, layout="constrained")
    grid = list(np.atleast_1d(figure.subplots(rows, columns)).reshape(-1))
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, grid
