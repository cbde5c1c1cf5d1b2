"""The one style of all charts: colours, axes, and how names are spelled on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# From Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE = "#0072B2", "#D55E00"
INK, MUTED, LINE, EMPTY = "#1d1f23", "#5c616b", "#dcdcd6", "#ececea"
NARROW, WIDE = 5.4, 10.8
"""Inches: half and all of the page's width."""

_DPI = 100
_LONGEST_LABEL = 22  # characters
_SPELLINGS = {
    "smape": "sMAPE",
    **{name: name.upper() for name in ("cer", "mae", "mase", "mse", "psnr", "ssim", "wer")},
}


def styled_axes(
    rows: int, columns: int, size: tuple[float, float], heights: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Return a figure with styled axes; pyplot, which keeps figures alive, is not involved.

    Args:
        rows: Of axes.
        columns: Of axes.
        size: Width and height of the figure in inches.
        heights: Of the rows, relative to each other.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12)
    figure = Figure(figsize=size, dpi=_DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flat)
    for axes in grid:
        axes.set_axisbelow(True)
        axes.grid(color=LINE, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(LINE)
        axes.tick_params(color=LINE, labelcolor=MUTED, labelsize=9)
    return figure, grid


def title(axes: Axes, text: str) -> None:
    """Write what a panel shows above its left edge."""
    axes.set_title(text, loc="left", fontsize=10.5, color=INK, weight="bold", parse_math=False)


def write_beside(
    axes: Axes, words: str, place: tuple[float, float], shift: tuple[float, float]
) -> None:
    """Write a small label beside a place of the chart, readable on top of lines.

    Args:
        axes: To write on.
        words: The label.
        place: x and y in the units of the axes.
        shift: How far away, in points; on the left of the place if x is negative, below it if y is.
    """
    from matplotlib.patheffects import withStroke

    axes.annotate(
        words,
        place,
        xytext=shift,
        textcoords="offset points",
        fontsize=7.5,
        color=INK,
        ha="right" if shift[0] < 0 else "left",
        va="top" if shift[1] < 0 else "center",
        zorder=6,
        parse_math=False,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def written(metric: str) -> str:
    """Return a metric as it is written within a sentence, such as "sMAPE" or "loss"."""
    return _SPELLINGS.get(metric, short(metric.replace("_", " ")))


def spelled(metric: str) -> str:
    """Return a metric as it is written at the head of a chart, such as "sMAPE" or "Loss"."""
    words = written(metric)
    return words if metric in _SPELLINGS else words[:1].upper() + words[1:]


def short(label: str) -> str:
    """Return a label on one line that the font can draw and the figure can hold."""
    line = " ".join("".join(c if c.isprintable() else " " for c in label).split())
    return line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"
