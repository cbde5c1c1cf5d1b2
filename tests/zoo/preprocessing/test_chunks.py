"""Sound in chunks: the same frames as in one piece, whatever the chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError
from zoo.preprocessing import ChunkEncoder, RunningNormalisation, SpeechEncoder, waveform

RATE = 8000
LENGTHS = np.array([1, 150, 200, 281, 999, 4000], np.int32)
RNG = np.random.default_rng(0)
SAMPLES = (RNG.normal(size=(6, 4000)) * (np.arange(4000) < LENGTHS[:, None])).astype(np.float32)
USUAL = ([-1.0] * 12, [2.0] * 12)
ENCODER = SpeechEncoder(RATE, bins=12, normalisation="running", usual=USUAL)


def chunk_encoder(multiple: int) -> ChunkEncoder:
    return ChunkEncoder(ENCODER, RunningNormalisation(12, *USUAL), multiple)


def heard(chunk: int, multiple: int) -> list[np.ndarray]:
    """Return the frames of each row, collected from chunks."""
    encoder = chunk_encoder(multiple)
    state: dict[str, Any] = encoder.initial_state(len(LENGTHS))
    parts = []
    for start in range(0, SAMPLES.shape[1], chunk):
        piece = SAMPLES[:, start : start + chunk]
        length = np.clip(LENGTHS - start, 0, piece.shape[1])
        features, frames, state = encoder.step(tf.constant(piece), tf.constant(length), state)
        assert not np.any(frames.numpy() % multiple)
        parts.append((features.numpy(), frames.numpy()))
    features, frames = encoder.end(state)
    parts.append((features.numpy(), frames.numpy()))
    return [
        np.concatenate([features[row, : frames[row]] for features, frames in parts])
        for row in range(len(LENGTHS))
    ]


class TestChunks:
    @pytest.mark.parametrize("multiple", [1, 3])
    @pytest.mark.parametrize("chunk", [37, 160, 333, 1600, 4000])
    def test_chunks_give_the_frames_of_one_piece(self, chunk: int, multiple: int):
        whole, counts = ENCODER.encode(tf.constant(SAMPLES), tf.constant(LENGTHS))
        for row, frames in enumerate(heard(chunk, multiple)):
            assert len(frames) == counts[row]
            np.testing.assert_allclose(frames, whole[row, : counts[row]], atol=1e-4)

    def test_a_stream_without_a_sample_has_no_frame(self):
        encoder = chunk_encoder(2)
        _, frames = encoder.end(encoder.initial_state(3))
        assert frames.numpy().tolist() == [0, 0, 0]

    def test_features_that_look_ahead_are_refused(self):
        with pytest.raises(ConfigError, match="orders must be 0, not 2"):
            ChunkEncoder(SpeechEncoder(RATE, bins=12, orders=2), RunningNormalisation(12), 1)


class TestRunningNormalisation:
    def test_it_is_the_mean_and_the_variance_so_far(self):
        running = RunningNormalisation(2, [1.0, 2.0], [3.0, 4.0])
        x = RNG.normal(size=(1, 50, 2)).astype(np.float32)
        got, _ = running.step(tf.constant(x), tf.constant([50]), running.initial_state(1))
        scaled = (x[0] - [1.0, 2.0]) / [3.0, 4.0]
        for frame in (0, 1, 49):
            so_far = scaled[: frame + 1]
            weight = 100 + frame + 1
            mean = so_far.sum(axis=0) / weight
            variance = (100 + np.square(so_far).sum(axis=0)) / weight - mean**2
            expected = (scaled[frame] - mean) / np.sqrt(variance)
            np.testing.assert_allclose(got[0, frame], expected, atol=1e-4)

    def test_another_loudness_is_soon_the_usual_one(self):
        running = RunningNormalisation(1)
        x = tf.constant(20 + RNG.normal(size=(1, 3000, 1)), tf.float32)
        got, _ = running.step(x, tf.constant([3000]), running.initial_state(1))
        assert abs(float(np.mean(got[0, 2000:]))) < 0.5


class TestSamples:
    def check(self, samples: Any, length: Any) -> waveform.Waveforms:
        rows = tf.constant(samples, tf.float32)
        return waveform.check_samples(rows, tf.constant(length, tf.int32), RATE, 0.001)

    def test_each_row_has_its_own_status(self):
        audio = self.check(
            [[0.5] * 9, [0.5] * 9, [np.nan] + [0] * 8, [0, np.inf] + [0] * 7, [1.0] * 9],
            [8, 0, 3, 1, 9],
        )
        assert [status.decode() for status in audio.status.numpy()] == [
            "",
            waveform.NO_SAMPLES,
            waveform.NOT_FINITE,
            "",
            waveform.too_long(0.001),
        ]
        assert audio.lengths.numpy().tolist() == [8, 0, 0, 1, 0]
        assert audio.samples.shape == (5, 8)
        assert np.isfinite(audio.samples).all()

    def test_a_length_beyond_the_row_is_all_of_it(self):
        assert self.check([[0.1, 0.2]], [99]).lengths.numpy().tolist() == [2]

    def test_no_samples_at_all_are_one_step_of_silence(self):
        assert self.check(np.zeros((2, 0)), [0, 5]).samples.shape == (2, 1)
