"""A recording as a picture: its spectrum over time, and the words that were heard in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WINDOW, _HOP = 0.025, 0.010
"""Seconds."""

_RANGE_DB = 70.0
"""Between the loudest place and what is drawn as silence, in decibels."""

_WORD = "#f2c14e"


def spectrogram(samples: np.ndarray, rate: int, words: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Draw the loudness of each frequency over time, with words above.

    Args:
        samples: `float32[time]`.
        rate: Samples per second.
        words: Each with "word", "start" and "end", both in seconds.
    """
    from matplotlib.figure import Figure

    seconds = len(samples) / rate
    figure = Figure(figsize=(10.8, 3.6), dpi=100, layout="constrained")
    heard, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1, 7))
    image = axes.imshow(
        _decibels(samples, rate),
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, rate / 2000),
        cmap="magma",
        vmin=-_RANGE_DB,
        vmax=0,
    )
    axes.set_xlabel("seconds")
    axes.set_ylabel("kHz")
    figure.colorbar(image, ax=axes, label="dB", pad=0.01)
    heard.axis("off")
    heard.set_ylim(0, 1)
    for word in words:
        # One character is emitted at one step, which would be too thin to be seen.
        end = max(word["end"], word["start"] + 0.03)
        heard.axvspan(word["start"], end, ymax=0.2, color=_WORD)
        heard.text(
            (word["start"] + end) / 2, 0.35, word["word"], ha="center", va="bottom", fontsize=11
        )
        axes.axvline(word["start"], color="white", linewidth=0.6, alpha=0.6)
    return figure


def _decibels(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return `float64[frequencies, frames]`, the loudest place at 0."""
    window, hop = round(_WINDOW * rate), round(_HOP * rate)
    padded = np.pad(samples, (0, max(0, window - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    energies = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    return 10 * np.log10(np.maximum(energies / max(energies.max(), 1e-12), 1e-10)).T
