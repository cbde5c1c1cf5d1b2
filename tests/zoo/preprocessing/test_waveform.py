"""WAV files of every kind, whole and broken, decoded in the graph."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ConfigError
from zoo.preprocessing import decode_wav, resample, waveform
from zoo.sound import RATES, encode_wav

RATE, LIMIT = 16_000, 2.0
decode = tf.function(
    lambda contents: decode_wav(contents, RATE, LIMIT),
    input_signature=[tf.TensorSpec([None], tf.string)],
)


def tone(seconds: float = 0.1, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def wav(samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16", **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=options.get("format", "WAV"))
    return file.getvalue()


def decoded(*files: bytes) -> list[tuple[np.ndarray, str]]:
    """Return samples and status of each file, decoded together."""
    samples, lengths, status = (each.numpy() for each in decode(tf.constant(list(files))))
    for row, length in zip(samples, lengths, strict=True):
        assert not row[length:].any()
    return [
        (row[:length], text.decode())
        for row, length, text in zip(samples, lengths, status, strict=True)
    ]


GOOD = encode_wav(tone(), RATE)


class TestGoodFiles:
    @pytest.mark.parametrize(
        ("subtype", "error"),
        [("PCM_U8", 8e-3), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("PCM_32", 1e-6)]
        + [("FLOAT", 1e-6), ("DOUBLE", 1e-6)],
    )
    @pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
    def test_every_encoding(self, subtype: str, error: float, kind: str):
        ((samples, status),) = decoded(wav(tone(), subtype=subtype, format=kind))
        assert status == ""
        np.testing.assert_allclose(samples, tone(), atol=error)

    def test_channels_are_averaged(self):
        both = np.stack([tone(), np.zeros_like(tone()), -0.5 * tone()], axis=1)
        ((samples, _),) = decoded(wav(both))
        np.testing.assert_allclose(samples, both.mean(axis=1), atol=1e-4)

    @pytest.mark.parametrize("rate", RATES)
    def test_every_rate_is_resampled(self, rate: int):
        ((samples, status),) = decoded(wav(tone(0.5, rate), rate, "FLOAT"))
        assert status == ""
        assert len(samples) == RATE // 2
        np.testing.assert_allclose(samples[400:-400], tone(0.5)[400:-400], atol=2e-4)

    def test_chunks_before_the_sound_and_open_ends(self):
        note = b"LIST" + struct.pack("<I", 5) + b"hello\0"
        listed = GOOD[:12] + note + GOOD[12:]
        (expected, _), *others = decoded(
            GOOD,
            listed,
            GOOD[:40] + struct.pack("<I", 0) + GOOD[44:],
            GOOD[:40] + struct.pack("<I", 2**32 - 1) + GOOD[44:],
            GOOD + b"id3 junk",
        )
        for samples, status in others:
            assert status == ""
            np.testing.assert_array_equal(samples, expected)

    def test_one_sample_and_clipping_are_legal(self):
        (one, first), (loud, second) = decoded(
            encode_wav(np.array([0.5]), RATE), encode_wav(4 * tone(), RATE)
        )
        assert first == second == ""
        assert one.tolist() == [0.5]
        assert loud.max() <= 1
        assert loud.min() == -1


BAD = {
    waveform.EMPTY: b"",
    waveform.NO_WAV: b"this is a text file that poses as a WAV",
    waveform.NO_HEADER: GOOD[:30],
    waveform.NO_ENCODING: wav(tone(), subtype="IMA_ADPCM"),
    waveform.NO_RATE: wav(tone(), 12_345),
    waveform.CUT_OFF: GOOD[:1000],
    waveform.NO_SAMPLES: encode_wav(np.zeros(0), RATE),
    waveform.NOT_FINITE: wav(np.array([0.0, np.nan]), subtype="FLOAT"),
    waveform.too_long(LIMIT): wav(np.zeros(17_000), 8000, "PCM_U8"),
}


class TestBadFiles:
    def test_each_gets_its_status_and_no_samples(self):
        for (samples, status), expected in zip(decoded(*BAD.values()), BAD, strict=True):
            assert status == expected
            assert not len(samples)

    @pytest.mark.parametrize("reason", BAD)
    def test_alone_as_among_good_ones(self, reason: str):
        ((_, status),) = decoded(BAD[reason])
        assert status == reason
        (first, good), (_, status), (second, also) = decoded(GOOD, BAD[reason], GOOD)
        assert (good, status, also) == ("", reason, "")
        np.testing.assert_array_equal(first, second)

    @pytest.mark.parametrize("bits", [0, 1, 12, 15, 20, 40])
    def test_bits_that_fill_no_bytes_are_refused(self, bits: int):
        ((_, status),) = decoded(GOOD[:34] + struct.pack("<H", bits) + GOOD[36:])
        assert status == waveform.NO_ENCODING

    def test_a_batch_of_none_is_a_batch(self):
        assert decode(tf.constant([], tf.string)).samples.shape[0] == 0

    @settings(max_examples=150, deadline=None)
    @given(
        places=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=6),
        length=st.integers(0, 120),
    )
    def test_no_mutation_of_a_file_raises(self, places: list[tuple[int, int]], length: int):
        content = bytearray(encode_wav(tone(0.002), RATE)[: max(length, 1)])
        for place, value in places:
            content[place % len(content)] = value
        (samples, status), (same, good) = decoded(bytes(content), GOOD)
        assert np.isfinite(samples).all()
        assert bool(status) != bool(len(samples))
        assert good == ""
        assert len(same) == len(tone())


class TestResampling:
    @pytest.mark.parametrize(("old", "new"), [(44_100, 16_000), (16_000, 8000), (8000, 16_000)])
    def test_tones_in_the_pass_band_survive_and_others_vanish(self, old: int, new: int):
        half = min(old, new) / 2
        for hertz in (0.0, 100.0, 0.45 * half, 0.85 * half):
            got = resample(tf.constant(tone(0.5, old, hertz), tf.float32), old, new).numpy()
            np.testing.assert_allclose(got[500:-500], tone(0.5, new, hertz)[500:-500], atol=1e-3)
        if new < old:
            above = resample(tf.constant(tone(0.5, old, 1.1 * half), tf.float32), old, new)
            assert np.abs(above.numpy()[500:-500]).max() < 1e-3

    @pytest.mark.parametrize("length", [0, 1, 2, 159, 441, 442])
    def test_lengths_are_rounded_up(self, length: int):
        got = resample(tf.ones([length]), 44_100, 16_000)
        assert got.shape[0] == -(-length * 160 // 441)


def test_what_is_encoded_is_one_row_of_samples():
    with pytest.raises(ConfigError, match=r"samples must be \[time\], not \[2, 3\]"):
        encode_wav(np.zeros((2, 3)), RATE)
