"""Words made of tones, for tests: learnable in seconds, and made without any file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.datasets.examples import Source
from zoo.datasets.speech.examples import SpeechExamples

RATE = 8000
WORDS = {"aba": (500, 1200, 500), "cab": (2200, 500, 1200), "bc": (1200, 2200)}
"""The tones of each word, in hertz: one per letter."""

TONE, GAP = 0.08, 0.08
"""Seconds of a tone, and of the silence around words."""

SOURCE = Source(url="made on the spot", licence="none needed", citation="none")


@dataclass(frozen=True)
class ToneRecording:
    """Words as tones with a little hiss.

    Attributes:
        text: The words.
        seed: Seed of hiss, loudness and pace.
    """

    text: str
    seed: int

    @property
    def name(self) -> str:
        """What identifies it."""
        return f"tones {self.seed}"

    def read(self) -> tuple[np.ndarray, int]:
        """Return `float32[samples]` and the samples per second."""
        generator = np.random.default_rng(self.seed)
        time = np.arange(round(TONE * generator.uniform(0.9, 1.2) * RATE)) / RATE
        gap = np.zeros(round(GAP * RATE))
        parts = [gap]
        for word in self.text.split():
            parts += [np.sin(2 * np.pi * hertz * time) for hertz in WORDS[word]] + [gap]
        sound = np.concatenate(parts) * generator.uniform(0.1, 0.5)
        sound += 0.01 * generator.standard_normal(len(sound))
        return sound.astype(np.float32), RATE


def load() -> SpeechExamples:
    """Return 240 recordings of one to three words by six speakers."""
    generator = np.random.default_rng(0)
    words = list(WORDS)
    texts = [
        " ".join(words[int(place)] for place in generator.integers(len(words), size=size))
        for size in generator.integers(1, 4, size=240)
    ]
    return SpeechExamples(
        "synthetic",
        tuple(ToneRecording(text, row) for row, text in enumerate(texts)),
        tuple(texts),
        speakers=tuple(f"s{row % 6}" for row in range(len(texts))),
        source=SOURCE,
    )
