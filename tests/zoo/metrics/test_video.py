"""Errors of frames, on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.metrics import frame_errors, frame_scores


def test_errors_are_summed_over_a_frame_and_averaged_over_clips():
    truth = np.zeros((2, 2, 8, 10, 1), np.uint8)
    predicted = truth.copy()
    predicted[0, 1, :2] = 255  # 20 of 80 pixels are wrong by 1
    errors = frame_errors(truth, predicted)
    assert errors["mse"].tolist() == [0, 10] and errors["mae"].tolist() == [0, 10]
    assert errors["psnr"][0] == 100
    assert errors["psnr"][1] == pytest.approx((100 + 10 * np.log10(4)) / 2)
    assert errors["ssim"][0] == 1 and 0 < errors["ssim"][1] < 1


def test_scores_are_means_over_the_steps_and_each_step():
    truth = np.zeros((2, 2, 8, 10, 1), np.uint8)
    predicted = truth.copy()
    predicted[0, 1, :2] = 255
    scores = frame_scores(truth, predicted)
    assert scores["mse"] == 5 and scores["by_lead_time"]["mse"] == {"1": 0, "2": 10}
    assert scores.keys() == {"mse", "mae", "psnr", "ssim", "by_lead_time"}


def test_channels_are_averaged():
    truth = np.zeros((1, 1, 8, 8, 3), np.uint8)
    predicted = truth.copy()
    predicted[..., 0] = 255
    assert frame_errors(truth, predicted)["mse"][0] == pytest.approx(64 / 3)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_frames_smaller_than_a_window_are_measured_too(size: int):
    frames = np.full((1, 1, size, size, 1), 9, np.uint8)
    assert frame_errors(frames, frames)["ssim"].tolist() == [1]
