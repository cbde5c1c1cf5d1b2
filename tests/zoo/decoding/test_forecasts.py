"""Answers in the shape of the request, and intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from zoo.decoding import ForecastDecoder, fit_offsets
from zoo.errors import ConfigError

LEVELS = (0.1, 0.5, 0.9)


def test_the_answer_is_split_into_mean_and_quantiles():
    output = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    answer = ForecastDecoder(3, LEVELS)(tf.constant(output), tf.constant(["", "no"]))
    np.testing.assert_array_equal(answer["mean"][0], output[0, :, 0])
    np.testing.assert_array_equal(answer["quantiles"][0], output[0, :, 1:])
    assert not answer["mean"][1].numpy().any()
    assert not answer["quantiles"][1].numpy().any()
    np.testing.assert_allclose(answer["levels"], [LEVELS] * 2)
    assert answer["status"].numpy().tolist() == [b"", b"no"]


def test_channels_get_an_axis_behind_the_steps():
    output = np.arange(48, dtype=np.float32).reshape(4, 3, 4)
    decoder = ForecastDecoder(3, LEVELS, channels=2)
    answer = decoder(tf.constant(output), tf.constant(["", ""]))
    assert decoder.outputs["quantiles"].shape == (3, 2, 3)
    np.testing.assert_array_equal(answer["mean"][1, :, 0], output[2, :, 0])
    np.testing.assert_array_equal(answer["quantiles"][1, 2, 1], output[3, 2, 1:])


@pytest.mark.parametrize("levels", [(0.5, 0.1), (0.0, 0.5), (0.5, 0.5)])
def test_levels_rise_between_0_and_1(levels: tuple[float, ...]):
    with pytest.raises(ConfigError, match="levels must rise and be between 0 and 1"):
        ForecastDecoder(3, levels)


def test_offsets_make_quantiles_hold_on_what_comes_next():
    generator = np.random.default_rng(0)
    # The spread grows with the step, and the quantiles know nothing of it.
    draws = generator.standard_normal((4000, 4)) * np.array([1.0, 2.0, 3.0, 4.0])
    quantiles = np.zeros((2000, 4, 3))
    offsets = fit_offsets(draws[:2000], quantiles, LEVELS)
    below = (draws[2000:, :, None] <= quantiles + offsets).mean(axis=0)
    np.testing.assert_allclose(below, np.tile(LEVELS, (4, 1)), atol=0.03)


def test_few_outcomes_give_the_outermost_and_none_give_0():
    truth = np.array([[-1.0, np.nan], [3.0, np.nan]])
    offsets = fit_offsets(truth, np.zeros((2, 2, 3)), LEVELS)
    assert offsets[0, [0, 2]].tolist() == [-1, 3]
    assert offsets[1].tolist() == [0, 0, 0]


def test_few_outcomes_never_narrow_what_was_learned():
    quantiles = np.tile([-9.0, 0.0, 9.0], (3, 1, 1))
    offsets = fit_offsets(np.array([[1.0], [2.0], [3.0]]), quantiles, LEVELS)
    assert offsets[0].tolist() == [0, 2, 0]


def test_what_counts_for_more_decides():
    truth = np.repeat([[0.0], [10.0]], 500, axis=0)
    weights = np.repeat([1.0, 9.0], 500)
    (offsets,) = fit_offsets(truth, np.zeros((1000, 1, 3)), LEVELS, weights)
    assert offsets.tolist() == [0, 10, 10]
    (offsets,) = fit_offsets(truth, np.zeros((1000, 1, 3)), LEVELS, weights[::-1])
    assert offsets.tolist() == [0, 0, 10]
