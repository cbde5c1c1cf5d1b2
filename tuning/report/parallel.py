"""Parallel coordinates: every trial as a line over the axes of its parameters to its score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recipes.report.style import INK, ORANGE, WIDE, short, styled_axes, write_beside
from tuning.report.records import objective
from tuning.report.scale import Axis, Range, axis, shown_range
from tuning.trials import FAILED, REFUSED, Search

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "viridis_r"
"""From bad to good: the good ones are dark, and drawn last."""

_ABSENT = -0.14
"""Where a line crosses the axis of a parameter that its trial does not have."""

_FAILED: dict[str, Any] = {"color": "#a9abb0", "linewidth": 0.8, "linestyle": (0, (2, 2))}
_CHARACTERS = 132  # that fit side by side, on the axes of all parameters together
_STRIP = 0.012  # width of the score's axis, as a share of the figure's


def parallel_coordinates(search: Search, names: Sequence[str]) -> Figure:
    """Draw every completed trial from its parameters to its score, and failed ones in grey.

    Args:
        search: With at least one completed trial.
        names: The parameters to draw, from left to right; at least one.
    """
    failed = [trial for trial in search.trials if trial.status in (FAILED, REFUSED)]
    trials = [*failed, *reversed(search.completed)]
    columns = [axis(name, [trial.parameters.get(name) for trial in trials]) for name in names]
    lines = np.stack([np.nan_to_num(each.places, nan=_ABSENT) for each in columns], axis=1)
    scores = np.array([trial.score for trial in search.completed[::-1]], dtype=np.float64)
    shown = shown_range(scores, search.objective.lower_is_better)
    figure, (axes,) = styled_axes(1, 1, (WIDE, 4.8))
    _name_axes(axes, [*map(short, names), objective(search)])
    _draw_lines(axes, lines, shown.places(scores), search.objective.lower_is_better)
    for place, each in enumerate(columns):
        _draw_axis(axes, place, each, _CHARACTERS // len(names))
    _draw_strip(axes, len(names), shown, search.objective.lower_is_better)
    _draw_legend(axes, search, bool(failed))
    return figure


def _draw_lines(
    axes: Axes, lines: NDArray[np.float64], ends: NDArray[np.float64], lower_is_better: bool
) -> None:
    """Draw the trials, the best last; those without a score come first and end before it.

    Args:
        axes: To draw on.
        lines: `float[trials, parameters]`.
        ends: Places of the scores, `float[completed]`.
        lower_is_better: Whether the dark end of the colours is at 0.
    """
    from matplotlib import colormaps

    x = np.arange(lines.shape[1] + 1)
    failed = len(lines) - len(ends)
    for line in lines[:failed]:
        axes.plot(x[:-1], line, **_FAILED)
        axes.plot(x[-2:-1], line[-1:], **_FAILED, marker="x", markersize=4)
    alpha = float(np.clip(20 / len(ends), 0.35, 0.85))
    for line, end in zip(lines[failed:], ends, strict=True):
        color = colormaps[COLOURS](1 - end if lower_is_better else end)
        axes.plot(x, [*line, end], color=color, linewidth=1.2, alpha=alpha)
    best = [*lines[-1], ends[-1]]
    axes.plot(x, best, color="white", linewidth=5, solid_joinstyle="round")
    axes.plot(x, best, color=ORANGE, linewidth=2.6, marker="o", markersize=5)


def _draw_axis(axes: Axes, place: int, column: Axis, longest: int) -> None:
    axes.plot([place, place], [0, 1], color=INK, linewidth=1)
    ticks = list(column.ticks)
    if np.isnan(column.places).any():
        ticks.append((_ABSENT, "absent"))
        axes.set_ylim(bottom=_ABSENT - 0.04)
    for height, words in ticks:
        axes.plot([place], [height], marker="_", markersize=5, color=INK)
        words = words if len(words) <= longest else f"{words[: longest - 1]}…"
        write_beside(axes, words, (place, height), (-5, 0))


def _draw_strip(axes: Axes, place: int, shown: Range, lower_is_better: bool) -> None:
    """Draw the axis of the score, which is the key to the colours as well."""
    width = _STRIP * (place + 1)
    gradient = np.linspace(0, 1, 256)[:, None]
    axes.imshow(
        1 - gradient if lower_is_better else gradient,
        extent=(place, place + width, 0, 1),
        origin="lower",
        aspect="auto",
        cmap=COLOURS,
        vmin=0,
        vmax=1,
    )
    for height, words in shown.ticks(5):
        write_beside(axes, words, (place + width, height), (5, 0))


def _name_axes(axes: Axes, names: Sequence[str]) -> None:
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.set_ylim(-0.04, 1.02)
    axes.set_yticks([])
    axes.xaxis.tick_top()
    crowded = len(names) > 8
    turn: dict[str, Any] = (
        {"rotation": 25, "ha": "left", "rotation_mode": "anchor"} if crowded else {}
    )
    axes.set_xticks(range(len(names)), names, color=INK, fontsize=9, parse_math=False, **turn)
    axes.tick_params(length=0)


def _draw_legend(axes: Axes, search: Search, has_failed: bool) -> None:
    from matplotlib.lines import Line2D

    best = f"best: trial {search.completed[0].id}"
    handles = [Line2D([], [], color=ORANGE, linewidth=2.6, marker="o", markersize=5, label=best)]
    if has_failed:
        handles.append(Line2D([], [], **_FAILED, label="failed or refused"))
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=2,
        fontsize=9,
        frameon=False,
        labelcolor=INK,
    )
