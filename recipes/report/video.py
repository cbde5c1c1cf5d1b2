"""The page of a recipe that predicts frames, and the films beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.report.figures import learning_curves
from recipes.report.page import Picture, Score, Section, Table
from recipes.report.style import BLUE, INK, MUTED, ORANGE, WIDE, spelled, styled_axes
from recipes.report.summary import Summary, write_page
from recipes.run import Run
from zoo.video import encode_gif, encode_mp4, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 3
_FILMS = 4
_LEAST_PIXELS = 192
"""Height of a film on a screen; smaller frames are enlarged."""

_FEW = 6
"""Columns up to which a frame keeps its size: fewer frames are not drawn larger."""

_TALLEST = 3 * WIDE
"""Inches of the largest grid of frames."""

_RATE = Fraction(5)
"""Frames per second, slow enough to compare."""

_ERRORS = ("mse", "mae", "psnr", "ssim")
_COLOURS = (BLUE, MUTED, ORANGE)


@dataclass(frozen=True)
class Frames:
    """The test part and what was predicted.

    Attributes:
        clips: `uint8[clips, seen + horizon, height, width, channels]`.
        seen: Frames of a clip that the model looked at.
        predicted: `uint8[clips, horizon, height, width, channels]`.
    """

    clips: np.ndarray
    seen: int
    predicted: np.ndarray

    def typical(self, count: int) -> list[int]:
        """Return clips from the best to the worst predicted, at even steps between them."""
        pairs = zip(self.clips[:, self.seen :], self.predicted, strict=True)
        ranked = np.argsort([np.square(true - np.float32(said)).mean() for true, said in pairs])
        places = np.linspace(0, len(ranked) - 1, min(count, len(ranked)))
        return [int(ranked[round(place)]) for place in places]


def video_page(
    run: Run,
    title: str,
    text: str,
    test: Frames,
    results: Mapping[str, Any],
    published: Sequence[Score] = (),
) -> Path:
    """Write `index.html` with scores, strips of frames and errors, and films as GIF and MP4.

    Args:
        run: The run folder; its `history.json` gives the learning curves.
        title: Headline of the page.
        text: What was trained on what, in a sentence or two.
        test: The test part, answered.
        results: As for `metrics.json`.
        published: What others reach on this data set.
    """
    film = _film(test)
    run.write("prediction.gif", lambda file: file.write(encode_gif(film, _RATE)))
    run.write("prediction.mp4", lambda file: file.write(encode_mp4(film, _RATE)))
    summary = Summary(
        text=text,
        metric="test error, squares summed over a frame",
        model=Score("model", results["test"]["mse"]),
        baselines=[Score(name, row["mse"]) for name, row in results["baselines"].items()],
        published=published,
        larger_is_better=False,
        percent=False,
        facts={
            "parameters": results["parameters"],
            "training, seconds": round(results["train_seconds"], 1),
            "best epoch": results["best_epoch"],
        },
    )
    return write_page(
        run, title, summary, [_score_table(results)], _pictures(run, test, results), [_films()]
    )


def _score_table(results: Mapping[str, Any]) -> Table:
    rows = {"model": results["test"], **results["baselines"]}
    return Table(
        "Test part",
        ("method", *_ERRORS),
        [(name, *(row[error] for error in _ERRORS)) for name, row in rows.items()],
    )


def _films() -> Section:
    return Section(
        "Films, and how errors are counted",
        "prediction.gif and prediction.mp4 in the run folder show truth and prediction side by "
        "side; while frames are still seen both show them.\n\n"
        "MSE and MAE are summed over the pixels of a frame, whose values run from 0 to 1; in "
        "colour, where others add up red, green and blue, they are their mean. PSNR is "
        "in decibels, SSIM at most 1; of these two more is better. Published scores of Moving "
        "MNIST are those of another test file of the same kind, and some assume a range of 2 for "
        "SSIM.",
    )


def _pictures(run: Run, test: Frames, results: Mapping[str, Any]) -> list[Picture]:
    return [
        Picture(
            "strips",
            "The last frames that were seen, what came, what was predicted, and the difference "
            "(red: too bright, blue: too dark), from the clip that was predicted best to the one "
            "that was predicted worst.",
            "Strips of seen, true and predicted frames and of their differences",
            _strips(test),
            keep_colours=True,
        ),
        Picture(
            "error_by_lead_time",
            "Squared error and structural similarity by the frames ahead, beside methods that "
            "learn nothing.",
            "Line charts of error and similarity over the frames ahead",
            _by_lead_time(results),
        ),
        Picture(
            "learning_curves",
            "Loss of the training clips and errors of the validation clips; the weights of the "
            "marked epoch were kept.",
            "Line charts of loss and errors over the epochs",
            learning_curves(run.read_json("history.json"), results["best_epoch"]),
        ),
    ]


def _film(test: Frames) -> np.ndarray:
    """Return some clips below each other, truth on the left and prediction on the right."""
    height = test.clips.shape[2]
    scale = max(_LEAST_PIXELS // height, 1)
    rows = []
    for row in test.typical(_FILMS):
        seen = test.clips[row, : test.seen]
        predicted = np.concatenate([seen, test.predicted[row]])
        rows.append(side_by_side([test.clips[row], predicted], scale))
    line = np.full((len(rows[0]), 4, *rows[0].shape[2:]), 128, np.uint8)
    return np.concatenate([part for film in rows for part in (film, line)][:-1], axis=1)


def _strips(test: Frames) -> Figure:
    from matplotlib.figure import Figure

    horizon = test.predicted.shape[1]
    columns = min(horizon, 10)
    steps = np.unique(np.linspace(0, horizon - 1, columns).round().astype(int))
    chosen = test.typical(_SHOWN)
    size = _size(len(chosen) * 4, columns, test.clips.shape[2] / test.clips.shape[3])
    figure = Figure(figsize=size, dpi=100, layout="compressed", facecolor="white")
    grid = figure.subplots(len(chosen) * 4, len(steps), squeeze=False)
    for place, row in enumerate(chosen):
        truth, predicted = test.clips[row, test.seen :], test.predicted[row]
        seen = test.clips[row, max(test.seen - len(steps), 0) : test.seen]
        seen = np.concatenate([np.repeat(seen[:1], len(steps) - len(seen), axis=0), seen])
        difference = (predicted.astype(np.float32) - truth).mean(axis=-1)
        rows = {
            "seen": list(seen),
            "truth": [truth[step] for step in steps],
            "prediction": [predicted[step] for step in steps],
            "difference": [difference[step] for step in steps],
        }
        for (name, pictures), line in zip(rows.items(), grid[4 * place :], strict=False):
            for axes, picture in zip(line, pictures, strict=True):
                _show(axes, picture)
            line[0].set_ylabel(name, fontsize=8, color=INK)
    for axes, step in zip(grid[1], steps, strict=True):
        axes.set_title(f"+{step + 1}", fontsize=8, color=MUTED, pad=2)
    return figure


def _size(rows: int, columns: int, steepness: float) -> tuple[float, float]:
    """Return the inches of a grid of frames, of which a few are not drawn as wide as many are.

    Args:
        rows, columns: Of frames.
        steepness: Height of a frame by its width.
    """
    margin = 0.8  # of the rows' names, in frames
    width = WIDE / (max(columns, _FEW) + margin)
    width = min(width, _TALLEST / (rows * steepness))
    return width * (columns + margin), width * rows * steepness


def _show(axes: Any, picture: np.ndarray) -> None:
    """Draw a frame, or a difference of frames, `[height, width]`."""
    if picture.ndim == 2:
        axes.imshow(picture, cmap="RdBu_r", vmin=-255, vmax=255)
    elif picture.shape[-1] == 1:
        axes.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=255)
    else:
        axes.imshow(picture)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _by_lead_time(results: Mapping[str, Any]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, grid = styled_axes(1, 2, (WIDE, 3.4))
    rows = {"model": results["test"], **results["baselines"]}
    for axes, error in zip(grid, ("mse", "ssim"), strict=True):
        for (name, row), colour in zip(rows.items(), _COLOURS, strict=False):
            values = row["by_lead_time"][error]
            steps = [int(step) for step in values]
            label = name.replace("_", " ")
            axes.plot(steps, [*values.values()], color=colour, label=label, marker=".")
        axes.set_xlabel("frames ahead", color=INK)
        axes.set_ylabel(spelled(error), color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
    grid[0].legend(frameon=False, fontsize=9)
    return figure
