"""Recordings heard otherwise: faster or slower, and through noise.

Each wraps another recording and is made when it is read, so nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from zoo.datasets.speech.examples import Recording, SpeechExamples, replaced
from zoo.datasets.speech.noise import NOISES
from zoo.errors import ConfigError, UnknownNameError

SNR_DB = (5.0, 20.0)
"""Noise is from so much to so much weaker than the speech, in decibels."""

_FINEST = 20
"""Speeds are multiples of one part of so many."""


def is_speed(speed: float) -> bool:
    """Say whether a recording can be played so fast: from 0.5 to 2, in steps of 0.05."""
    return 0.5 <= speed <= 2 and abs(speed * _FINEST - round(speed * _FINEST)) < 1e-6


@dataclass(frozen=True)
class FasterRecording:
    """A recording played at another speed, as a tape is: its pitch moves too.

    Source: Ko et al. 2015, Audio augmentation for speech recognition.

    Attributes:
        recording: What is played.
        speed: Above 1 is faster.

    Raises:
        ConfigError: The speed is not from 0.5 to 2, or no multiple of 0.05.
    """

    recording: Recording
    speed: float

    def __post_init__(self) -> None:
        if not is_speed(self.speed):
            raise ConfigError(f"speed must be from 0.5 to 2 in steps of 0.05, not {self.speed}")

    @property
    def name(self) -> str:
        """The recording's, and the speed."""
        return f"{self.recording.name} at {self.speed:g} times the speed"

    def read(self) -> tuple[np.ndarray, int]:
        """Return `float32[samples / speed]` and the samples per second."""
        from scipy.signal import resample_poly

        samples, rate = self.recording.read()
        share = Fraction(self.speed).limit_denominator(_FINEST)
        played = resample_poly(samples, share.denominator, share.numerator)
        return played.astype(np.float32), rate


@dataclass(frozen=True)
class NoisyRecording:
    """A recording with noise on top.

    Attributes:
        recording: The speech alone.
        kind: One of `noise.NOISES`.
        snr_db: How much stronger the speech is than the noise, in decibels, both as means of
            squares over the whole recording.
        seed: Seed of the noise.

    Raises:
        UnknownNameError: There is no such noise.
    """

    recording: Recording
    kind: str
    snr_db: float
    seed: int

    def __post_init__(self) -> None:
        if self.kind not in NOISES:
            raise UnknownNameError("noise", self.kind, NOISES)

    @property
    def name(self) -> str:
        """The recording's, and the noise."""
        return f"{self.recording.name} with {self.kind} noise at {self.snr_db:.0f} dB"

    def read(self) -> tuple[np.ndarray, int]:
        """Return `float32[samples]`, of the loudness of the speech, and the samples per second."""
        samples, rate = self.recording.read()
        noise = NOISES[self.kind](np.random.default_rng(self.seed), len(samples), rate)
        wanted = _power(samples) / 10 ** (self.snr_db / 10)
        mixed = samples + noise * np.sqrt(wanted / max(_power(noise), 1e-12))
        # So that the sum clips no more than the speech did.
        peak = max(float(np.abs(mixed).max(initial=0)), 1e-12)
        return (mixed * min(1.0, 1.0 / peak)).astype(np.float32), rate


def augment(
    examples: SpeechExamples, speeds: Sequence[float], noise: float, seed: int
) -> SpeechExamples:
    """Return every row at every speed, a share of them with noise.

    Args:
        examples: Rows to be trained on.
        speeds: Each at least 0.5 and at most 2; 1 is as recorded.
        noise: Share of the rows that get noise of a random kind and strength.
        seed: Seed of these choices.
    """
    generator = np.random.default_rng(seed)
    recordings: list[Recording] = []
    for speed in speeds:
        for recording in examples.recordings:
            heard = recording if speed == 1 else FasterRecording(recording, speed)
            if generator.random() < noise:
                heard = noisy(heard, tuple(NOISES), generator)
            recordings.append(heard)
    rows = [*range(len(examples))] * len(speeds)
    return replaced(examples.select(rows), recordings)


def noisy(
    recording: Recording, kinds: Sequence[str], generator: np.random.Generator
) -> NoisyRecording:
    """Return a recording with noise of a random kind, strength and seed."""
    kind = kinds[int(generator.integers(len(kinds)))]
    return NoisyRecording(
        recording, kind, float(generator.uniform(*SNR_DB)), int(generator.integers(2**31))
    )


def without_noise(examples: SpeechExamples) -> SpeechExamples | None:
    """Return the same rows without the noise that was put on them; None if there was none."""
    quiet = [r.recording if isinstance(r, NoisyRecording) else r for r in examples.recordings]
    return None if quiet == list(examples.recordings) else replaced(examples, quiet)


def _power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
