"""Noise made from rules, so that nothing needs to be downloaded.

Each function takes a generator, a number of samples, at least 1, and the samples per second,
and returns `float64[samples]` of any loudness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

_MAINS = 50.0
"""Hertz."""

_SYLLABLES = 4.0
"""Per second, in the swell and fade of speech."""


def white(generator: np.random.Generator, size: int, rate: int) -> np.ndarray:
    """Return noise with equal power at all frequencies: a bad microphone."""
    return generator.standard_normal(size)


def pink(generator: np.random.Generator, size: int, rate: int) -> np.ndarray:
    """Return noise whose power falls by 3 dB per octave: rain, an audience."""
    return _coloured(generator, size, rate, lambda hertz: hertz**-0.5)


def brown(generator: np.random.Generator, size: int, rate: int) -> np.ndarray:
    """Return noise whose power falls by 6 dB per octave: a distant road."""
    return _coloured(generator, size, rate, lambda hertz: 1 / hertz)


def hum(generator: np.random.Generator, size: int, rate: int) -> np.ndarray:
    """Return harmonics of the mains, with a little hiss: an amplifier."""
    time = np.arange(size) / rate
    sound = 0.05 * generator.standard_normal(size)
    for harmonic in range(1, 13):
        phase = generator.uniform(0, 2 * np.pi)
        strength = generator.uniform(0.2, 1) / harmonic
        sound += strength * np.sin(2 * np.pi * _MAINS * harmonic * time + phase)
    return sound


def wind(generator: np.random.Generator, size: int, rate: int) -> np.ndarray:
    """Return low noise in gusts: a microphone outdoors."""
    low = _coloured(generator, size, rate, lambda hertz: np.where(hertz < 300, 1 / hertz, 1e-4))
    return low * _swell(generator, size, rate, per_second=0.7)


def clicks(generator: np.random.Generator, size: int, rate: int) -> np.ndarray:
    """Return short bursts at random times: a keyboard."""
    sound = 0.02 * generator.standard_normal(size)
    length = rate // 100
    fade = np.exp(-np.arange(length) / (length / 5))
    for _ in range(1 + generator.poisson(6 * size / rate)):
        start = int(generator.integers(size))
        burst = (generator.standard_normal(length) * fade)[: size - start]
        sound[start : start + length] += generator.uniform(0.5, 2) * burst
    return sound


def babble(generator: np.random.Generator, size: int, rate: int) -> np.ndarray:
    """Return six voices without words: the spectrum of speech that swells like syllables.

    The spectrum falls by 9 dB per octave above 500 Hz (Byrne et al. 1994, An international
    comparison of long-term average speech spectra).
    """
    voices = np.zeros(size)
    for _ in range(6):
        pitch = generator.uniform(90, 240)
        voice = _coloured(generator, size, rate, partial(_speech, pitch=pitch))
        voices += voice * _swell(generator, size, rate, _SYLLABLES)
    return voices


def fan(generator: np.random.Generator, size: int, rate: int) -> np.ndarray:
    """Return pink noise with the tones of blades: a ventilator."""
    blades = generator.uniform(60, 180)
    time = np.arange(size) / rate
    tones = sum(np.sin(2 * np.pi * blades * k * time) / k for k in (1, 2, 3))
    hiss = pink(generator, size, rate)
    return hiss / max(hiss.std(), 1e-9) + 0.5 * tones


NOISES: Mapping[str, Callable[[np.random.Generator, int, int], np.ndarray]] = MappingProxyType(
    {
        "white": white,
        "pink": pink,
        "brown": brown,
        "hum": hum,
        "wind": wind,
        "clicks": clicks,
        "babble": babble,
        "fan": fan,
    }
)


def _coloured(
    generator: np.random.Generator,
    size: int,
    rate: int,
    gain: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return white noise whose amplitude at each frequency, in hertz, is multiplied by a gain."""
    # A longer one is made, so that a short row has low frequencies as well.
    made = max(size, rate)
    spectrum = np.fft.rfft(generator.standard_normal(made))
    hertz = np.maximum(np.fft.rfftfreq(made, 1 / rate), 20.0)
    return np.fft.irfft(spectrum * gain(hertz), made)[:size]


def _speech(hertz: np.ndarray, pitch: float) -> np.ndarray:
    """Return the amplitude of a voice, strongest at multiples of its pitch."""
    slope = np.minimum(1.0, (hertz / 500) ** -1.5)
    return slope * (0.2 + np.cos(np.pi * hertz / pitch) ** 2)


def _swell(generator: np.random.Generator, size: int, rate: int, per_second: float) -> np.ndarray:
    """Return a loudness from 0 to 1 that comes and goes so many times per second."""
    knots = 2 + int(size / rate * per_second * 2)
    values = generator.uniform(0, 1, knots) ** 2
    return np.interp(np.linspace(0, knots - 1, size), np.arange(knots), values)
