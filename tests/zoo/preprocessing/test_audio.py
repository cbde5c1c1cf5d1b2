"""Features beside librosa's, and what lengths, padding and bad rows do to them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError, UnknownNameError
from zoo.pipeline import Prepare
from zoo.preprocessing import SpeechEncoder, deltas, normalise, waveform
from zoo.preprocessing.audio import mel_filters
from zoo.preprocessing.waveform import emphasise
from zoo.sound import encode_wav

RATE = 16_000
RNG = np.random.default_rng(0)
NOISE = (0.1 * RNG.normal(size=RATE)).astype(np.float32)


def encode(encoder: SpeechEncoder, *rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features and lengths of samples."""
    samples = np.zeros((len(rows), max(1, *map(len, rows), 1)), np.float32)
    for target, row in zip(samples, rows, strict=True):
        target[: len(row)] = row
    lengths = np.array([len(row) for row in rows], np.int32)
    features, counts = traced(encoder)(tf.constant(samples), tf.constant(lengths))
    return features.numpy(), counts.numpy()


@functools.cache
def traced(encoder: SpeechEncoder) -> Any:
    """Return the features of an encoder as a graph for any size."""
    specs = [tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32)]
    return tf.function(encoder.encode, input_signature=specs)


def theirs(samples: np.ndarray, bins: int = 40) -> np.ndarray:
    """Return log-mel spectra by librosa, `[frames, bins]`."""
    energies = librosa.feature.melspectrogram(
        y=librosa.effects.preemphasis(samples, coef=0.97, zi=[0.0]),
        sr=RATE,
        n_fft=512,
        win_length=400,
        hop_length=160,
        center=False,
        n_mels=bins,
        fmin=20,
        htk=True,
        norm=None,
    )
    return np.log(energies + 1e-10).T


class TestAgainstLibrosa:
    """librosa puts a window of 400 in the middle of 512 samples, so its frames begin 56 later."""

    def test_log_mel_spectra_differ_by_less_than_a_thousandth(self):
        encoder = SpeechEncoder(bins=40, normalisation="none")
        (ours, *_), _ = encode(encoder, NOISE[56:])
        emphasised = theirs(NOISE)
        # The first sample of ours has none before it.
        count = min(len(ours), len(emphasised))
        np.testing.assert_allclose(ours[1:count], emphasised[1:count], atol=1e-3)

    def test_mfccs_differ_by_less_than_a_thousandth(self):
        encoder = SpeechEncoder(kind="mfcc", bins=40, coefficients=13, normalisation="none")
        (ours, *_), _ = encode(encoder, NOISE[56:])
        expected = librosa.feature.mfcc(S=theirs(NOISE).T, n_mfcc=13, dct_type=2, norm="ortho").T
        np.testing.assert_allclose(ours[1:90], expected[1:90], atol=1e-3)

    def test_the_mel_bands_are_theirs(self):
        expected = librosa.filters.mel(sr=8000, n_fft=256, n_mels=20, fmin=20, htk=True, norm=None)
        np.testing.assert_allclose(mel_filters(20, 256, 8000), expected.T, atol=1e-6)

    def test_slopes_are_those_of_a_savitzky_golay_filter(self):
        values = RNG.normal(size=(1, 30, 4)).astype(np.float32)
        expected = librosa.feature.delta(values[0], width=5, axis=0, mode="nearest")
        got = deltas(tf.constant(values), tf.constant([30]))
        np.testing.assert_allclose(got[0], expected, atol=1e-5)


class TestLengths:
    @pytest.mark.parametrize(
        ("samples", "frames"),
        [(0, 1), (1, 1), (399, 1), (400, 1), (559, 1), (560, 2), (16_000, 98)],
    )
    def test_frames_of_samples(self, samples: int, frames: int):
        features, counts = encode(SpeechEncoder(bins=20), NOISE[:samples])
        assert counts.tolist() == [frames]
        assert features.shape == (1, frames, 20)
        assert np.isfinite(features).all()

    @pytest.mark.parametrize(
        "options",
        [{}, {"kind": "mfcc", "orders": 2}, {"normalisation": "none"}],
        ids=["log_mel", "mfcc and slopes", "plain"],
    )
    def test_company_changes_nothing(self, options: dict[str, Any]):
        encoder = SpeechEncoder(bins=20, **options)
        rows = [NOISE[:5000], NOISE[:700], NOISE[:0], NOISE[:3333]]
        together, counts = encode(encoder, *rows)
        assert together.shape[2] == encoder.features
        for row, samples in enumerate(rows):
            alone, (count,) = encode(encoder, samples)
            assert count == counts[row]
            np.testing.assert_allclose(together[row, :count], alone[0], atol=1e-5)
            assert not together[row, count:].any()

    def test_emphasis_ends_with_the_row(self):
        got = emphasise(tf.constant([[1.0, 2.0, 9.0]]), tf.constant([2]))
        np.testing.assert_allclose(got, [[1.0, 2.0 - 0.97, 0.0]])

    def test_normalised_rows_have_mean_0_and_variance_1(self):
        values = tf.constant(3 + 5 * RNG.normal(size=(2, 40, 3)), tf.float32)
        got = normalise(values, tf.constant([40, 25])).numpy()
        for row, length in zip(got, (40, 25), strict=True):
            np.testing.assert_allclose(row[:length].mean(axis=0), 0, atol=1e-5)
            np.testing.assert_allclose(row[:length].std(axis=0), 1, atol=1e-4)


class TestFiles:
    def test_a_file_gives_what_its_samples_give(self):
        encoder: Prepare = SpeechEncoder()
        given = encoder({"audio": tf.constant([encode_wav(NOISE, RATE)])})
        expected, _ = encode(SpeechEncoder(), np.round(NOISE * 2**15) / 2**15)
        np.testing.assert_allclose(given["features"], expected, atol=1e-4)
        assert given["status"].numpy().tolist() == [b""]

    def test_rows_at_the_edge_have_a_status_or_features(self):
        encoder = SpeechEncoder(max_seconds=3.0)
        rows = encoder.probe_rows()["audio"]
        given = {name: value.numpy() for name, value in encoder({"audio": rows}).items()}
        assert np.isfinite(given["features"]).all()
        assert given["status"].tolist() == [
            status.encode()
            for status in (
                waveform.EMPTY,
                waveform.NO_WAV,
                waveform.NO_HEADER,
                waveform.CUT_OFF,
                waveform.NO_SAMPLES,
                "",
                "",
                "",
                "",
                waveform.NO_RATE,
                waveform.too_long(3.0),
            )
        ]
        bad = given["status"] != b""
        assert (given["lengths"][bad] == 1).all()
        # Nobody's padding grows with a row that is refused.
        assert given["features"].shape[1] == 98

    def test_it_is_rebuilt_from_its_configuration(self, tmp_path: Path):
        encoder = SpeechEncoder(8000, "mfcc", 30, 12, 1, 0.03, 0.015, "none", 5.0)
        encoder.save_assets(tmp_path)
        config = json.loads(json.dumps(encoder.get_config()))
        again = SpeechEncoder.load(config, tmp_path)
        assert again.get_config() == config
        assert again.features == 24
        np.testing.assert_array_equal(encode(again, NOISE)[0], encode(encoder, NOISE)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "mfc"}, "unknown kind of features 'mfc'; did you mean 'mfcc'"),
        ({"normalisation": "row"}, "unknown normalisation 'row'"),
        ({"kind": "mfcc", "coefficients": 99}, "coefficients must be from 1 to bins = 80, not 99"),
        ({"orders": 3}, "orders must be 0, 1 or 2, not 3"),
        ({"hop_seconds": 0.1}, "in rising order, not 0.1, 0.025 and 60.0 seconds"),
        ({"rate": 8000, "bins": 200}, "200 mel bands are too many for 8000 samples per second"),
    ],
)
def test_other_values_are_refused(options: dict[str, Any], message: str):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        SpeechEncoder(**options)


def test_coefficients_are_of_mfccs_alone():
    assert SpeechEncoder(bins=10).features == 10
