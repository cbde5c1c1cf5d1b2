"""Recordings to log-mel spectra or MFCCs, inside the graph.

A row of n samples has 1 + floor((n - window) / hop) frames; one that is shorter than a window
is filled up with zeros to a single frame. What stands behind a row's length reaches none of
its frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf
from scipy.fft import dct

from zoo.errors import ConfigError, UnknownNameError
from zoo.ports import Endpoint, Port, Ports
from zoo.preprocessing import waveform
from zoo.preprocessing.chunks import ChunkEncoder
from zoo.preprocessing.normalisation import RunningNormalisation, normalise
from zoo.sound import encode_wav
from zoo.streaming import Stream

KINDS = ("log_mel", "mfcc")
NORMALISATIONS = ("utterance", "running", "none")
LOWEST = 20.0
"""Hertz at which the mel bands begin; they end at half of the rate."""

_FLOOR = 1e-10
"""Added to energies, so that digital silence has a logarithm."""


def mel_filters(bins: int, fft: int, rate: int) -> np.ndarray:
    """Return triangles over frequency, `float32[fft // 2 + 1, bins]`, each with the height 1.

    Their corners are equally spaced on the mel scale, 2595 log10(1 + f / 700).
    Source: Young et al. 2006, The HTK Book, section 5.4.

    Raises:
        ConfigError: There are so many that one holds no frequency of the FFT.
    """
    lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST, rate / 2))
    corners = 700 * (10 ** (np.linspace(lowest, highest, bins + 2) / 2595) - 1)
    hertz = np.arange(fft // 2 + 1)[:, None] * rate / fft
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
    filters = np.clip(np.minimum(rising, falling), 0, None).astype(np.float32)
    if not filters.any(axis=0).all():
        raise ConfigError(
            f"{bins} mel bands are too many for {rate} samples per second: some hold no frequency"
        )
    return filters


def deltas(features: Any, lengths: Any, width: int = 2) -> Any:
    """Return the slope of a line through each frame and `width` neighbours on either side.

    The first and the last frame of a row are repeated beyond its ends.
    Source: Young et al. 2006, The HTK Book, equation 5.16.

    Args:
        features: `float32[batch, frames, bins]`.
        lengths: `int32[batch]`, at least 1.
        width: Neighbours, at least 1.
    """
    places = tf.range(tf.shape(features)[1])[None]
    slope = tf.zeros_like(features)
    for reach in range(1, width + 1):
        later = tf.minimum(places + reach, lengths[:, None] - 1)
        earlier = tf.clip_by_value(places - reach, 0, lengths[:, None] - 1)
        difference = _frames_at(features, later) - _frames_at(features, earlier)
        slope += reach * difference
    return slope / (2 * sum(reach**2 for reach in range(1, width + 1)))


def _frames_at(features: Any, places: Any) -> Any:
    return tf.gather(features, places, batch_dims=1)


class SpeechEncoder(tf.Module):
    """Recordings to features; the `prepare` of a speech pipeline. Never raises for a row.

    Takes `audio: string[batch]`, WAV files. Gives `features: float32[batch, frames, bins]`,
    right-padded with 0, `lengths: int32[batch]`, at least 1, and `status: string[batch]`, ''
    for a good row. A bad row is one frame of silence.

    Args:
        rate: Samples per second of the features; files are resampled to it.
        kind: "log_mel", or "mfcc": the cosine transform of that.
        bins: Mel bands.
        coefficients: Of "mfcc", the lowest ones.
        orders: Slopes that are appended: 0 none, 1 of the features, 2 also of their slopes.
        window_seconds: Length of a frame.
        hop_seconds: From frame to frame.
        normalisation: "utterance" for mean 0 and variance 1 over each row; "running" for that
            over what was heard so far, which can be streamed; or "none".
        max_seconds: Longer recordings get a status.
        usual: Mean and deviation of each feature, from which "running" starts; 0 and 1 if it
            is not given.

    Raises:
        ConfigError: A value breaks its rule.
        UnknownNameError: There is no such kind or normalisation.
    """

    inputs = Ports(audio=Port((), "string", "a WAV file: PCM or float, any channels"))

    def __init__(
        self,
        rate: int = 16_000,
        kind: str = "log_mel",
        bins: int = 80,
        coefficients: int = 13,
        orders: int = 0,
        window_seconds: float = 0.025,
        hop_seconds: float = 0.010,
        normalisation: str = "utterance",
        max_seconds: float = 60.0,
        usual: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise UnknownNameError("kind of features", kind, KINDS)
        if normalisation not in NORMALISATIONS:
            raise UnknownNameError("normalisation", normalisation, NORMALISATIONS)
        if kind == "mfcc" and not 1 <= coefficients <= bins:
            raise ConfigError(f"coefficients must be from 1 to bins = {bins}, not {coefficients}")
        if orders not in (0, 1, 2):
            raise ConfigError(f"orders must be 0, 1 or 2, not {orders}")
        if not 0 < hop_seconds <= window_seconds < max_seconds:
            raise ConfigError(
                "hop, window and the longest recording must be above 0 and in rising order, not "
                f"{hop_seconds}, {window_seconds} and {max_seconds} seconds"
            )
        self.rate, self.kind, self.bins = rate, kind, bins
        self.coefficients, self.orders, self.normalisation = coefficients, orders, normalisation
        self.window_seconds, self.hop_seconds = window_seconds, hop_seconds
        self.max_seconds = max_seconds
        self.window, self.hop = round(window_seconds * rate), round(hop_seconds * rate)
        self.usual = usual and tuple(map(tuple, usual))
        self._running = RunningNormalisation(self.features, *(usual or ()))
        self._fft = 1 << (self.window - 1).bit_length()
        self._filters = mel_filters(bins, self._fft, rate)
        self._cosines = dct(np.eye(bins), norm="ortho")[:, :coefficients].astype(np.float32)

    @property
    def features(self) -> int:
        """Numbers per frame."""
        return (self.bins if self.kind == "log_mel" else self.coefficients) * (1 + self.orders)

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        audio = waveform.decode_wav(raw["audio"], self.rate, self.max_seconds)
        return self._encoded(audio)

    def of_samples(self, samples: Any, length: Any) -> dict[str, Any]:
        """Return what the call returns, of `float32[batch, time]` and `int32[batch]`."""
        audio = waveform.check_samples(samples, length, self.rate, self.max_seconds)
        return self._encoded(audio)

    def _encoded(self, audio: waveform.Waveforms) -> dict[str, Any]:
        features, lengths = self.encode(audio.samples, audio.lengths)
        return {"features": features, "lengths": lengths, "status": audio.status}

    def encode(self, samples: Any, lengths: Any) -> tuple[Any, Any]:
        """Return features and their lengths.

        Args:
            samples: `float32[batch, time]`, time at least 1.
            lengths: `int32[batch]`.
        """
        counts = 1 + tf.maximum(lengths - self.window, 0) // self.hop
        features = self.describe(waveform.emphasise(samples, lengths), counts)
        if self.normalisation == "utterance":
            return normalise(features, counts), counts
        if self.normalisation == "running":
            state = self._running.initial_state(tf.shape(samples)[0])
            return self._running.step(features, counts, state)[0], counts
        real = tf.sequence_mask(counts, tf.shape(features)[1])[:, :, None]
        return tf.where(real, features, 0.0), counts

    def describe(self, clean: Any, counts: Any) -> Any:
        """Return the features of frames before they are normalised.

        Args:
            clean: `float32[batch, time]`, samples that are emphasised.
            counts: `int32[batch]`, frames of each row.

        Returns:
            `float32[batch, frames, features]`, at least one frame; anything behind a row's count.
        """
        longest = tf.reduce_max(tf.concat([counts, [1]], axis=0))
        missing = self.window + (longest - 1) * self.hop - tf.shape(clean)[1]
        clean = tf.pad(clean, [[0, 0], [0, tf.maximum(missing, 0)]])
        frames = tf.signal.frame(clean, self.window, self.hop)[:, :longest]
        spectra = tf.signal.rfft(frames * tf.signal.hann_window(self.window), [self._fft])
        energies = tf.matmul(tf.square(tf.abs(spectra)), self._filters)
        features = tf.math.log(energies + _FLOOR)
        if self.kind == "mfcc":
            features = tf.matmul(features, self._cosines)
        parts = [features]
        for _ in range(self.orders):
            parts.append(deltas(parts[-1], counts))
        return tf.concat(parts, axis=-1)

    def entrances(self, model: Any, finish: Any) -> dict[str, Endpoint]:
        """Return what else is served: samples instead of a file, and streams where they can be."""
        outputs = finish.outputs
        inputs = Ports(
            samples=Port((None,), "float32", f"{self.rate} per second, from -1 to 1"),
            length=Port((), "int32", "how many of them are real"),
        )

        def answer(raw: Mapping[str, Any]) -> dict[str, Any]:
            features = self.of_samples(raw["samples"], raw["length"])
            status = features.pop("status")
            return finish(model(features, training=False), status)

        served = {"waveform": Endpoint(answer, inputs, outputs)}
        if self.normalisation == "running":
            encoder = ChunkEncoder(self, self._running, model.reduction)
            served |= Stream(encoder, model, finish, self.rate).endpoints()
        return served

    def probe_rows(self) -> dict[str, np.ndarray]:
        """Return rows at the edges of what may be sent: `audio: object[rows]` of bytes."""
        time = np.arange(self.rate) / self.rate
        # In noise, as every recording is: what an FFT leaves in the empty bands of a pure tone
        # is rounding, which differs with the number of rows.
        hiss = np.random.default_rng(0).normal(0, 0.1, self.rate)
        tone = 0.3 * np.sin(2 * np.pi * 440 * time) + hiss
        good = encode_wav(tone, self.rate)
        rows = [
            b"",
            b"a text file that poses as a recording",
            good[:20],
            good[: len(good) // 2],
            encode_wav(np.zeros(0), self.rate),
            encode_wav(np.array([0.5]), self.rate),
            encode_wav(np.zeros(self.rate), self.rate),
            encode_wav(9 * tone, self.rate),
            encode_wav(tone, 44_100),
            encode_wav(tone, 12_345),
            encode_wav(np.zeros(round(8000 * (self.max_seconds + 1))), 8000),
        ]
        return {"audio": np.array(rows, dtype=object)}

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this encoder, as JSON values."""
        return {
            "rate": self.rate,
            "kind": self.kind,
            "bins": self.bins,
            "coefficients": self.coefficients,
            "orders": self.orders,
            "window_seconds": self.window_seconds,
            "hop_seconds": self.hop_seconds,
            "normalisation": self.normalisation,
            "max_seconds": self.max_seconds,
            "usual": self.usual,
        }

    def save_assets(self, folder: Path) -> None:
        """Write nothing: the configuration is all there is."""

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> Self:
        """Rebuild from `get_config`."""
        return cls(**config)
