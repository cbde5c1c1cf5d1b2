"""The figures that a classifier's report shows; matplotlib is imported when one is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipes.report.style import (
    BLUE,
    EMPTY,
    INK,
    LINE,
    MUTED,
    NARROW,
    ORANGE,
    WIDE,
    short,
    spelled,
    styled_axes,
    title,
)
from zoo.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUMBERED_CLASSES = 16  # with more classes a cell is too small for its numbers


def learning_curves(
    history: Sequence[Mapping[str, float]], best_epoch: int | None = None
) -> Figure:
    """Draw the loss and every further metric over the epochs.

    `loss` is the training's, `validation_x` shares the panel of `x`, and a metric without
    such a partner is the validation's. Values that are not finite leave a gap.

    Args:
        history: Per epoch `epoch` (from 1) and values by name.
        best_epoch: The epoch to mark, from 1.
    """
    if not history:
        raise DataError("learning curves: at least one epoch is needed, received none")
    names = list(dict.fromkeys(name for row in history for name in row if name != "epoch"))
    panels = list(dict.fromkeys(name.removeprefix("validation_") for name in names))
    columns = 1 if len(panels) <= 2 else 2 if len(panels) == 4 else 3
    rows = math.ceil(len(panels) / columns)
    figure, grid = styled_axes(rows, columns, (NARROW if columns == 1 else WIDE, 2.625 * rows))
    for axes, panel in zip(grid, panels, strict=False):
        parts = {"train": panel, "validation": f"validation_{panel}"}
        if panel != "loss" and parts["validation"] not in names:
            parts = {"validation": panel}
        curves = {part: name for part, name in parts.items() if name in names}
        _curves(axes, panel, history, curves, best_epoch)
    for axes in grid[len(panels) :]:
        axes.remove()
    return figure


def confusion_matrix(matrix: ArrayLike, labels: Sequence[str]) -> Figure:
    """Draw how often each true class (rows) was predicted as each class (columns).

    Colour is the share of the row; up to 16 classes have count and percentage written in.

    Args:
        matrix: int[classes, classes].
        labels: The classes' names, in the matrix' order.
    """
    counts, classes = np.asarray(matrix), len(labels)
    if counts.shape != (classes, classes) or not classes:
        raise DataError(
            f"confusion matrix: {classes} labels need {classes} rows and columns, received "
            f"{list(counts.shape)}"
        )
    totals = counts.sum(axis=1, keepdims=True)
    # A class without rows has no percentages, which is not the same as 0 %.
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
    numbered = classes <= _NUMBERED_CLASSES
    width = min(max(NARROW, 2.2 + (0.52 if numbered else 0.21) * classes), WIDE)
    figure, (axes,) = styled_axes(1, 1, (width, width * (0.93 if numbered else 0.88)))
    _heat(figure, axes, shares, numbered)
    _name_classes(axes, [short(label) for label in labels])
    if numbered:
        _write_numbers(axes, counts, shares)
    return figure


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Figure:
    """Draw accuracy against confidence, and the number of rows of each confidence.

    The bins are those of `zoo.metrics.expected_calibration_error`.

    Args:
        probabilities: float[rows, classes].
        labels: True class indices, int[rows].
        bins: Number of bins of equal width over [0, 1].
    """
    table, true = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if table.ndim != 2 or true.shape != table.shape[:1] or not table.size:
        raise DataError(
            "reliability: probabilities [rows, classes] and labels [rows] are needed, received "
            f"{list(table.shape)} and {list(true.shape)}"
        )
    confidence = table.max(axis=1)
    member = np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")
    rows = np.bincount(member, minlength=bins)
    hits = np.bincount(member, weights=table.argmax(axis=1) == true, minlength=bins)
    sure = np.bincount(member, weights=confidence, minlength=bins)
    filled = np.flatnonzero(rows)
    figure, (upper, lower) = styled_axes(2, 1, (NARROW, 5.25), heights=(3, 1))
    _calibration(upper, sure[filled] / rows[filled], hits[filled] / rows[filled], rows[filled])
    _histogram(lower, rows)
    for axes in (upper, lower):
        axes.set_xlim(filled[0] / bins - 0.015, 1.015)
    upper.tick_params(labelbottom=False)
    return figure


def _curves(
    axes: Axes,
    panel: str,
    history: Sequence[Mapping[str, float]],
    curves: Mapping[str, str],
    best_epoch: int | None,
) -> None:
    """Fill one panel; `curves` maps "train" and "validation" to the history's names."""
    from matplotlib.ticker import MaxNLocator

    epochs = [int(row["epoch"]) for row in history]
    for part, name in curves.items():
        values = np.array([row.get(name, math.nan) for row in history], dtype=np.float64)
        values[~np.isfinite(values)] = math.nan
        color, marker = (ORANGE, "s") if part == "validation" else (BLUE, "o")
        size = 3.5 if len(epochs) <= 40 else 0
        axes.plot(
            epochs, values, label=part, color=color, marker=marker, markersize=size, linewidth=1.8
        )
    if not any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set_yticks([])
    if best_epoch in epochs:
        # The last curve is the validation's, wherever there is one.
        _mark_best(axes, best_epoch, values[epochs.index(best_epoch)], marker)
    title(axes, spelled(panel))
    axes.legend(fontsize=9, frameon=False, labelcolor=INK)
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", fontsize=9, color=MUTED)


def _mark_best(axes: Axes, epoch: int, value: float, marker: str) -> None:
    axes.axvline(epoch, color=MUTED, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
    axes.plot([epoch], [value], marker=marker, markersize=9, color=INK, markerfacecolor="none")
    number = f"{value:.4f}" if math.isfinite(value) else "not a number"
    axes.set_title(f"epoch {epoch}: {number}", loc="right", fontsize=9, color=MUTED)


def _heat(figure: Figure, axes: Axes, shares: NDArray[np.float64], numbered: bool) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize, PowerNorm
    from matplotlib.ticker import PercentFormatter

    # Where no numbers stand, the few mistakes must show beside a diagonal near 100 %.
    norm = Normalize(0, 1) if numbered else PowerNorm(1 / 3, 0, 1)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_facecolor(EMPTY)
    edges = np.arange(len(shares) + 1) - 0.5
    width = 2 if numbered else 0.5
    mesh = axes.pcolormesh(
        edges, edges, np.ma.masked_invalid(shares), cmap=colormaps["Blues"], norm=norm
    )
    mesh.set(edgecolor="white", linewidth=width)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    if not numbered:
        bar = figure.colorbar(mesh, ax=axes, shrink=0.6, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        bar.ax.tick_params(color=LINE, labelcolor=MUTED, labelsize=9)
        bar.set_label("share of the true class, cube-root scale", color=MUTED, fontsize=9)


def _name_classes(axes: Axes, labels: Sequence[str]) -> None:
    classes, longest = len(labels), max(map(len, labels))
    size = 10 if classes <= 6 else 9 if classes <= _NUMBERED_CLASSES else 7
    style: dict[str, Any] = {"fontsize": size, "color": INK, "parse_math": False}
    ticks = np.arange(classes)
    axes.set_yticks(ticks, labels, **style)
    if classes * longest > 40:
        steep = classes > _NUMBERED_CLASSES
        turn = {"rotation": 90} if steep else {"rotation": 45, "rotation_mode": "anchor"}
        style |= {**turn, "ha": "center" if steep else "right"}
    axes.set_xticks(ticks, labels, **style)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted", fontsize=10, color=MUTED)
    axes.set_ylabel("true", fontsize=10, color=MUTED)


def _write_numbers(axes: Axes, counts: NDArray[Any], shares: NDArray[np.float64]) -> None:
    classes = len(counts)
    size = 12 if classes <= 4 else 9 if classes <= 8 else 7
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        text = f"{count:,}" if math.isnan(share) else f"{count:,}\n{share:.0%}"
        if classes <= 4 and not math.isnan(share):
            text = f"{count:,}\n{share:.1%}"
        color = "white" if share > 0.65 else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)


def _calibration(
    axes: Axes,
    confidence: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), label="perfectly calibrated")
    # Without the spread a bin of three rows would look as sure as one of a thousand.
    spread = np.sqrt(accuracy * (1 - accuracy) / rows)
    axes.errorbar(
        confidence,
        accuracy,
        yerr=spread,
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.8,
        elinewidth=1.2,
        capsize=2.5,
        label="model, ± one standard error",
    )
    axes.set_ylim(max(min(*confidence, *(accuracy - spread)) - 0.08, -0.03), 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("accuracy", fontsize=9, color=MUTED)
    axes.legend(fontsize=9, frameon=False, labelcolor=INK, loc="best")


def _histogram(axes: Axes, rows: NDArray[np.int64]) -> None:
    from matplotlib.ticker import PercentFormatter

    bins = len(rows)
    axes.bar((np.arange(bins) + 0.5) / bins, rows, width=0.88 / bins, color=BLUE, alpha=0.55)
    crowded = np.count_nonzero(rows) > 8
    for index in np.flatnonzero(rows):
        axes.annotate(
            f"{rows[index]:,}",
            xy=((index + 0.5) / bins, float(rows[index])),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=90 if crowded else 0,
            fontsize=7.5,
            color=MUTED,
        )
    axes.set_ylim(0, rows.max() * (1.75 if crowded else 1.3))
    axes.grid(False)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("confidence: probability of the predicted class", fontsize=9, color=MUTED)
    axes.set_ylabel("rows", fontsize=9, color=MUTED)
