"""The charts of a search beside the parallel coordinates; each takes a completed trial at least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recipes.report.style import (
    BLUE,
    INK,
    MUTED,
    NARROW,
    ORANGE,
    short,
    styled_axes,
    title,
    write_beside,
)
from tuning.report.importance import Importance
from tuning.report.records import base_trial, objective, pareto
from tuning.report.scale import Range, is_logarithmic, shown_range, text
from tuning.trials import COMPLETED, RUNNING, Search, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#a9abb0"
_TALL = 3.9  # inches
_MOST_BARS = 15
_UNFINISHED = {"color": MUTED, "linestyle": (0, (2, 2))}
_UNITS = (("seconds", 1, 180), ("minutes", 60, 180 * 60), ("hours", 3600, float("inf")))
"""Name, seconds, and up to which length in seconds it is used."""


def importance_bars(found: Importance) -> Figure:
    """Draw what each parameter accounts for, the most important on top.

    Args:
        found: With at least one value.
    """
    names = list(found.values)[:_MOST_BARS]
    values = np.array([found.values[name] for name in names])
    spread = [found.spread[name] for name in names]
    figure, (axes,) = styled_axes(1, 1, (NARROW, max(2.2, 1.3 + 0.26 * len(names))))
    places = np.arange(len(names))
    axes.barh(places, values, height=0.62, color=BLUE, alpha=0.8)
    axes.errorbar(values, places, xerr=spread, fmt="none", ecolor=INK, elinewidth=1, capsize=2.5)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(places, map(short, names), parse_math=False)
    axes.set_ylim(max(len(names), 3) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    title(axes, "Parameter importance")
    _label(axes, "share of the variance of the trials' order, ± one deviation", "")
    return figure


def best_over_time(search: Search) -> Figure:
    """Draw every trial when it ended, and the best score up to then.

    Time runs while any trial does: the hours in which the search was switched off are left out.
    """
    ended = [trial for trial in search.trials if trial.status != RUNNING]
    clock = running_clock([trial.span for trial in search.trials])
    unit, length, _ = next(each for each in _UNITS if clock(float("inf")) <= each[2])
    figure, axes, lower = _with_strip(len(ended) > len(search.completed))
    times = {trial.id: clock(trial.span[1]) / length for trial in ended}
    completed = sorted(search.completed, key=lambda trial: times[trial.id])
    scores, x = _scores(completed), np.array([times[trial.id] for trial in completed])
    shown = _fit_scores(axes, search, scores, "trials")
    _draw_base(axes, search)
    _draw_trials(axes, x, scores, shown)
    keep = np.minimum if search.objective.lower_is_better else np.maximum
    best = np.clip(keep.accumulate(scores), *axes.get_ylim())
    line = [*x, max(times.values())]
    axes.step(line, [*best, best[-1]], where="post", color=BLUE, linewidth=2, label="best so far")
    axes.set_xlim(left=0)
    if lower is not axes:
        failed = [times[trial.id] for trial in ended if trial not in completed]
        lower.plot(failed, np.zeros(len(failed)), "x", color=ORANGE, markersize=5)
        lower.set_xlim(axes.get_xlim())
        axes.tick_params(labelbottom=False)
    title(axes, "Best score over time")
    _label(lower, f"{unit} in which trials were running", lower.get_ylabel())
    _label(axes, axes.get_xlabel(), objective(search))
    _legend(figure, axes)
    return figure


def learning_curves(search: Search) -> Figure:
    """Draw the objective of every trial after each epoch, the best one highlighted."""
    from matplotlib.ticker import MaxNLocator

    best = search.completed[0]
    curves = [trial for trial in search.trials if len(trial.curve) and trial.id != best.id]
    figure, (axes,) = styled_axes(1, 1, (NARROW, _TALL))
    values = [value for trial in [*curves, best] for value in trial.curve]
    _fit_scores(axes, search, np.array(values, dtype=np.float64), "values")
    alpha = float(np.clip(25 / max(len(curves), 1), 0.25, 0.9))
    for trial in curves:
        done = trial.status == COMPLETED
        style: dict[str, Any] = {"color": GREY, "alpha": alpha} if done else dict(_UNFINISHED)
        style["label"] = "completed" if done else "running, failed or refused"
        _curve(axes, trial, linewidth=1, markersize=2.5, **style)
    name = f"best: trial {best.id}"
    _curve(axes, best, color=ORANGE, linewidth=2.4, markersize=4, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    title(axes, "Learning curves")
    _label(axes, "epoch", objective(search))
    _legend(figure, axes)
    return figure


def against_latency(search: Search) -> Figure:
    """Draw score against latency with the Pareto front; some trial must have a latency."""
    figure, axes = _scatter(search, lambda trial: trial.latency_ms)
    front = pareto(search)
    x = np.array([trial.latency_ms for trial in front], dtype=np.float64)
    y = np.clip(_scores(front), *axes.get_ylim())
    axes.step(x, y, where="post", color=BLUE, linewidth=1.5, zorder=2)
    axes.plot(x, y, "o", color=BLUE, markersize=6, zorder=5, label="Pareto front")
    _name_points(axes, front, x, y)
    title(axes, "Quality against latency")
    _label(axes, "median answer to one row, milliseconds", objective(search))
    _legend(figure, axes)
    return figure


def against_size(search: Search) -> Figure:
    """Draw score against the number of weights; some trial must have a size."""
    from matplotlib.ticker import EngFormatter

    figure, axes = _scatter(search, lambda trial: trial.size)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    title(axes, "Quality against size")
    _label(axes, "weights", objective(search))
    _legend(figure, axes)
    return figure


def running_clock(spans: Sequence[tuple[float, float]]) -> Callable[[float], float]:
    """Return the function from a moment to the time up to it that any span covers.

    Args:
        spans: Beginning and end of each, in any order; they may overlap.
    """
    merged: list[list[float]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return lambda moment: sum(max(0.0, min(moment, end) - begin) for begin, end in merged)


def _scores(trials: Sequence[Trial]) -> NDArray[np.float64]:
    return np.array([trial.score for trial in trials], dtype=np.float64)


def _with_strip(strip: bool) -> tuple[Figure, Axes, Axes]:
    """Return a figure with a chart and, if asked for, a strip below it for trials without a score.

    Without one the chart stands for it.
    """
    if not strip:
        figure, (axes,) = styled_axes(1, 1, (NARROW, _TALL))
        return figure, axes, axes
    figure, (axes, lower) = styled_axes(2, 1, (NARROW, _TALL), heights=(12, 1))
    lower.set_yticks([0], ["no score"])
    lower.set_ylim(-1, 1)
    lower.grid(False, axis="y")
    lower.tick_params(axis="y", length=0)
    return figure, axes, lower


def _scatter(search: Search, measure: Callable[[Trial], float | None]) -> tuple[Figure, Axes]:
    """Draw the score of each completed trial that has this measure against it."""
    trials = [trial for trial in search.completed if measure(trial) is not None]
    x = np.array([measure(trial) for trial in trials], dtype=np.float64)
    figure, (axes,) = styled_axes(1, 1, (NARROW, _TALL))
    if is_logarithmic(x):
        _make_logarithmic(axes)
    scores = _scores(trials)
    shown = _fit_scores(axes, search, scores, "trials")
    _draw_trials(axes, x, scores, shown)
    for trial, color, name in _landmarks(search):
        if trial in trials:
            at = trials.index(trial)
            point = (x[at : at + 1], np.clip(scores[at : at + 1], *axes.get_ylim()))
            ring: dict[str, Any] = {
                "markersize": 10,
                "markerfacecolor": "none",
                "markeredgewidth": 1.8,
            }
            axes.plot(*point, "o", color=color, label=name, zorder=4, **ring)
    return figure, axes


def _landmarks(search: Search) -> list[tuple[Trial, str, str]]:
    """Return the trials that every reader looks for, with colour and name."""
    best, base = search.completed[0], base_trial(search)
    marks = [(best, ORANGE, f"best: trial {best.id}")]
    if base and base.id != best.id:
        marks.append((base, INK, f"base: trial {base.id}"))
    return marks


def _fit_scores(axes: Axes, search: Search, scores: NDArray[np.float64], what: str) -> Range:
    """Set the axis of the score without far outliers, and write how many of `what` lie beyond."""
    shown = shown_range(scores, search.objective.lower_is_better)
    margin = 0.06 * (shown.high - shown.low) or 0.05 * abs(shown.high) or 0.05
    axes.set_ylim(shown.low - margin, shown.high + margin)
    if shown.outside:
        side = "above" if shown.worse_is_high else "below"
        note = f"{shown.outside} {what if shown.outside > 1 else what[:-1]} {side} the axis"
        axes.set_title(note, loc="right", fontsize=9, color=MUTED)
    return shown


def _draw_trials(
    axes: Axes, x: NDArray[np.float64], scores: NDArray[np.float64], shown: Range
) -> None:
    """Draw a dot per trial, and a triangle at the edge for one that lies beyond the axis."""
    beyond = (scores < shown.low) | (scores > shown.high)
    style: dict[str, Any] = {"linestyle": "", "color": GREY, "zorder": 3}
    axes.plot(x[~beyond], scores[~beyond], marker="o", markersize=4.5, label="trial", **style)
    if beyond.any():
        edge = axes.get_ylim()[1 if shown.worse_is_high else 0]
        marker = "^" if shown.worse_is_high else "v"
        places = np.full(int(beyond.sum()), edge)
        axes.plot(x[beyond], places, marker=marker, markersize=6, clip_on=False, **style)


def _draw_base(axes: Axes, search: Search) -> None:
    base = base_trial(search)
    if base and base in search.completed:
        style: dict[str, Any] = {"color": INK, "linewidth": 1, "linestyle": (0, (4, 3))}
        axes.axhline(base.score or 0.0, label="base configuration", zorder=1, **style)


def _curve(axes: Axes, trial: Trial, **style: Any) -> None:
    values = np.array(trial.curve, dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    axes.plot(np.arange(1, len(values) + 1), values, marker="o", **style)


def _make_logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def _name_points(
    axes: Axes, trials: Sequence[Trial], x: NDArray[np.float64], y: NDArray[np.float64]
) -> None:
    """Write the trial's number below each point, from the best on where they do not touch."""
    last = np.array([np.inf, np.inf])
    for trial, right, up in reversed(list(zip(trials, x, y, strict=True))):
        pixel = axes.transData.transform((right, up))
        if abs(pixel[0] - last[0]) < 34 and abs(pixel[1] - last[1]) < 14:
            continue
        last = pixel
        write_beside(axes, trial.id, (right, up), (5, -6))


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=MUTED)
    axes.set_ylabel(y, fontsize=9, color=MUTED, parse_math=False)


def _legend(figure: Figure, axes: Axes) -> None:
    """Draw the legend with each name once, below the chart, where it covers nothing."""
    handles, names = axes.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    style: dict[str, Any] = {"fontsize": 9, "frameon": False, "labelcolor": INK}
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=2, **style)
