"""Frames of any form in, what the model looks at out; no row ever raises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo.decoding import FrameDecoder, as_pixels
from zoo.errors import ConfigError
from zoo.models import EncoderForecaster, PredRNN
from zoo.pipeline import Pipeline
from zoo.preprocessing import FrameEncoder
from zoo.preprocessing.frame_stream import FrameStream
from zoo.preprocessing.video import CHANNELS, NO_FRAME, NO_STRIP, encoded_strips
from zoo.video import encode_png

DRAW = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return DRAW.integers(0, 256, shape, dtype=np.uint8)


class TestFrameEncoder:
    """Bring frames to the model's size."""

    encoder = FrameEncoder(3, 8, 12)
    compiled = staticmethod(
        tf.function(encoder.__call__, input_signature=[encoder.inputs.tensor_specs()])
    )

    def ask(self, frames: np.ndarray) -> tuple[np.ndarray, list[str]]:
        answer = self.compiled({"frames": frames})
        return answer["frames"].numpy(), [each.decode() for each in answer["status"].numpy()]

    def test_frames_of_the_right_form_come_out_as_they_are(self):
        frames = noise(2, 3, 8, 12, 1)
        received, status = self.ask(frames)
        np.testing.assert_array_equal(np.round(received * 255), frames)
        assert status == ["", ""]

    def test_the_last_frames_of_a_longer_video_count(self):
        frames = noise(1, 7, 8, 12, 1)
        np.testing.assert_array_equal(self.ask(frames)[0], self.ask(frames[:, 4:])[0])

    def test_a_shorter_one_stands_still_before_it_begins(self):
        frames = noise(1, 2, 8, 12, 1)
        expected = np.concatenate([frames[:, :1], frames], axis=1)
        np.testing.assert_array_equal(np.round(self.ask(frames)[0] * 255), expected)

    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("size", [(5, 5), (9, 13), (64, 31), (8, 12)])
    def test_any_size_and_channels(self, size: tuple[int, int], channels: int):
        frames = np.full((2, 3, *size, channels), 100, np.uint8)
        frames[..., 3:] = 7  # transparency does not count
        received, status = self.ask(frames)
        assert received.shape == (2, 3, 8, 12, 1) and status == ["", ""]
        np.testing.assert_allclose(received * 255, 100, atol=1e-3)

    def test_large_frames_are_averaged(self):
        frames = np.zeros((1, 1, 80, 120, 1), np.uint8)
        frames[:, :, ::2] = 255
        inner = self.ask(frames)[0][0, 0, 2:-2, 2:-2]
        assert np.abs(inner - 0.5).max() < 0.05

    def test_grey_is_as_bright_as_the_colour_looks(self):
        frames = np.zeros((1, 1, 8, 12, 3), np.uint8)
        frames[..., 1] = 200
        np.testing.assert_allclose(self.ask(frames)[0] * 255, 117, atol=1e-3)

    def test_a_model_in_colour_takes_grey(self):
        frames = noise(1, 3, 8, 12, 1)
        answer = FrameEncoder(3, 8, 12, 3)({"frames": frames})
        np.testing.assert_array_equal(
            answer["frames"].numpy() * np.float32(255), np.repeat(frames, 3, -1)
        )

    @pytest.mark.parametrize(
        ("shape", "reason"),
        [
            ((0, 8, 12, 1), NO_FRAME),
            ((3, 0, 12, 1), NO_FRAME),
            ((3, 8, 0, 3), NO_FRAME),
            ((3, 8, 12, 0), CHANNELS),
            ((3, 8, 12, 2), CHANNELS),
            ((3, 8, 12, 5), CHANNELS),
        ],
    )
    def test_what_is_no_video_has_a_status(self, shape: tuple[int, ...], reason: str):
        received, status = self.ask(np.zeros((2, *shape), np.uint8))
        assert received.shape == (2, 3, 8, 12, 1) and not received.any()
        assert status == [reason, reason]

    def test_no_rows_at_all(self):
        received, status = self.ask(np.zeros((0, 3, 9, 9, 3), np.uint8))
        assert received.shape == (0, 3, 8, 12, 1) and status == []

    def test_fit_is_what_a_request_meets(self):
        frames = noise(3, 21, 17, 3)
        fitted = self.encoder.fit(frames)
        np.testing.assert_array_equal(np.round(self.ask(frames[None])[0][0] * 255), fitted)

    @pytest.mark.parametrize("sizes", [(0, 8, 8, 1), (3, 0, 8, 1), (3, 8, 8, 2)])
    def test_bad_sizes_are_refused(self, sizes: tuple[int, int, int, int]):
        with pytest.raises(ConfigError, match="must be"):
            FrameEncoder(*sizes)


class TestStrips:
    """Filmstrips as PNG."""

    encoder = FrameEncoder(3, 8, 12)

    def test_a_strip_is_its_frames(self):
        frames = noise(5, 8, 12, 1)
        strip = encode_png(frames.reshape(40, 12, 1))
        received, status = self.encoder.strips(tf.constant([strip]))
        np.testing.assert_array_equal(np.round(received[0].numpy() * 255), frames[2:])
        assert status.numpy().tolist() == [b""]

    def test_a_bad_file_costs_nobody_else_the_answer(self):
        good = encode_png(noise(24, 12, 1))
        wrong = [b"", b"text", good[:40], good[:-20], encode_png(noise(20, 12, 1)), good[:8]]
        wrong += [encode_png(noise(24, 13, 1)), good[:60] + b"\0" + good[61:]]
        received, status = self.encoder.strips(tf.constant([good, *wrong, good]))
        said = [each.decode() for each in status.numpy()]
        assert said == ["", *[NO_STRIP] * len(wrong), ""]
        assert not received[1:-1].numpy().any() and received[0].numpy().any()

    def test_frames_become_a_strip(self):
        frames = noise(2, 3, 8, 12, 1)
        strips = encoded_strips(tf.constant(frames)).numpy()
        read = [tf.io.decode_png(strip).numpy().reshape(3, 8, 12, 1) for strip in strips]
        np.testing.assert_array_equal(read, frames)


@pytest.fixture(scope="module", params=[EncoderForecaster, PredRNN])
def pipeline(request: Any) -> Pipeline:
    model = request.param(3, 2, 8, 12, filters=4, layers=2, kernel_size=3)
    return Pipeline(FrameEncoder(3, 8, 12), model, FrameDecoder(2, 8, 12, 1))


class TestStream:
    """A frame in, the next one out."""

    def test_frame_by_frame_is_the_whole(self, pipeline: Pipeline):
        frames = noise(2, 3, 8, 12, 1)
        step = pipeline.endpoints()["step"]
        assert isinstance(step.call.__self__, FrameStream)  # type: ignore[attr-defined]
        state = np.zeros((2, *step.inputs["state"].shape), np.float32)
        for place in range(3):
            answer = step.call({"frame": frames[:, place], "state": state})
            state = answer["state"].numpy()
        whole = pipeline.predict({"frames": frames})["frames"][:, 0]
        assert np.abs(answer["frame"].numpy().astype(int) - whole).max() <= 1

    def test_a_frame_that_is_none_leaves_the_state(self, pipeline: Pipeline):
        step = pipeline.endpoints()["step"]
        state = DRAW.normal(size=(2, *step.inputs["state"].shape)).astype(np.float32)
        answer = step.call({"frame": np.zeros((2, 4, 4, 2), np.uint8), "state": state})
        np.testing.assert_array_equal(answer["state"].numpy(), state)
        assert answer["status"].numpy().tolist() == [CHANNELS.encode()] * 2
        assert not answer["frame"].numpy().any()

    def test_a_state_without_numbers_does_not_stay(self, pipeline: Pipeline):
        step = pipeline.endpoints()["step"]
        state = np.full((1, *step.inputs["state"].shape), np.nan, np.float32)
        answer = step.call({"frame": noise(1, 8, 12, 1), "state": state})
        assert not answer["state"].numpy().any()
        assert answer["status"].numpy().tolist() == [b"state must be zeros, or what step gave"]


def test_pixels_are_cut_off_at_black_and_white():
    values = tf.constant([-1.0, 0.0, 0.5, 1.0, 7.0, np.nan, np.inf])
    assert as_pixels(values).numpy().tolist() == [0, 0, 128, 255, 255, 0, 0]
