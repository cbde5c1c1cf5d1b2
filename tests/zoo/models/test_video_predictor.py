"""Video predictors: rollouts of any length, steps, and what they are taught."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from zoo.errors import ConfigError
from zoo.models import PREDICTORS

DRAW = np.random.default_rng(0)
BOTH = pytest.mark.parametrize("name", [*PREDICTORS, "moved"])


def model_of(name: str, **arguments: Any) -> Any:
    keras.utils.set_random_seed(1)
    sizes = {"filters": 5, "layers": 2, "kernel_size": 3, **arguments}
    if name != "moved":
        return PREDICTORS[name](4, 3, 8, 12, **sizes)
    model = PREDICTORS["encoder-forecaster"](4, 3, 8, 12, moved=True, **sizes)
    for head in ("pixels", "motion"):  # which are 0 at first
        kernel = model.get_layer(head).kernel
        kernel.assign(DRAW.normal(size=kernel.shape))
    return model


def frames(time: int = 4) -> np.ndarray:
    return DRAW.random((2, time, 8, 12, 1), np.float32)


@BOTH
def test_a_rollout_over_the_horizon_is_the_model(name: str):
    model, seen = model_of(name), frames()
    whole = np.clip(model({"frames": seen}), 0, 1)
    np.testing.assert_allclose(model.rollout(seen, 3), whole, atol=1e-6)
    np.testing.assert_allclose(np.asarray(model.rollout(seen, 7))[:, :3], whole, atol=1e-6)


@BOTH
def test_a_rollout_of_100_frames_stays_finite_and_in_range(name: str):
    model = model_of(name)
    rolled = np.asarray(model.rollout(frames(), 100))
    assert rolled.shape == (2, 100, 8, 12, 1)
    assert np.isfinite(rolled).all()
    assert rolled.min() >= 0 and rolled.max() <= 1


@BOTH
def test_any_number_of_frames_may_be_seen(name: str):
    model = model_of(name)
    for time in (1, 2, 9):
        assert model.rollout(frames(time), 2).shape == (2, 2, 8, 12, 1)


@BOTH
def test_steps_of_any_length_are_the_whole(name: str):
    model, seen = model_of(name), frames()
    first = np.clip(model({"frames": seen}), 0, 1)[:, :1]
    for cuts in ((0, 4), (0, 1, 4), (0, 1, 2, 3, 4)):
        state = model.initial_state(2)
        for start, end in zip(cuts, cuts[1:], strict=False):
            predicted, state = model.step(seen[:, start:end], state)
        np.testing.assert_allclose(predicted, first, atol=1e-5)


def test_a_forecaster_is_taught_the_frames_to_come():
    model, clip = model_of("encoder-forecaster"), frames(7)
    taught = model.taught(clip, 0.0)
    np.testing.assert_allclose(taught, model({"frames": clip[:, :4]}), atol=1e-6)


def test_scheduled_sampling_goes_from_true_frames_to_predicted_ones():
    model, clip = model_of("predrnn"), frames(7)
    shown, alone = np.asarray(model.taught(clip, 1.0)), np.asarray(model.taught(clip, 0.0))
    assert shown.shape == alone.shape == (2, 6, 8, 12, 1)
    np.testing.assert_allclose(alone[:, 3:], model({"frames": clip[:, :4]}), atol=1e-5)
    np.testing.assert_allclose(alone[:, :4], shown[:, :4], atol=1e-6)
    assert np.abs(alone[:, 4:] - shown[:, 4:]).max() > 1e-4
    # Shown everything, each prediction is that behind true frames.
    np.testing.assert_allclose(shown[:, 5:], model.rollout(clip[:, :6], 1), atol=1e-5)


def test_what_is_shown_is_part_of_the_state_of_a_model():
    model, clip = model_of("predrnn"), frames(7)
    before = [np.asarray(variable) for variable in model.variables]
    first = np.asarray(model.taught(clip, 0.5))
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(model.taught(clip, 0.5), first)
    assert len(model.variables) == len(model.weights) + 1


@BOTH
def test_weights_move_between_precisions(name: str):
    model = model_of(name)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        other = model_of(name)
    finally:
        keras.config.set_dtype_policy(before)
    other.set_weights(model.get_weights())
    seen = frames()
    assert other({"frames": seen}).dtype == "float32"
    np.testing.assert_allclose(other({"frames": seen}), model({"frames": seen}), atol=0.02)


@pytest.mark.parametrize("name", PREDICTORS)
@pytest.mark.parametrize(("seen", "horizon", "layers"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_sizes_below_1_are_refused(name: str, seen: int, horizon: int, layers: int):
    with pytest.raises(ConfigError, match="must be at least 1"):
        PREDICTORS[name](seen, horizon, 8, 8, layers=layers)


def test_a_moved_frame_stands_still_before_anything_is_learnt():
    seen = frames()
    model = PREDICTORS["encoder-forecaster"](4, 3, 8, 12, moved=True, filters=5)
    np.testing.assert_allclose(
        model({"frames": seen}), np.repeat(seen[:, -1:], 3, axis=1), atol=0.02
    )


@pytest.mark.parametrize("name", PREDICTORS)
def test_what_is_untrained_predicts_the_brightness_that_is_expected(name: str):
    model = model_of(name)
    for brightness in (0.05, 0.6):
        model.expect(brightness)
        predicted = np.asarray(model({"frames": np.zeros((1, 4, 8, 12, 1), np.float32)}))
        # PredRNN sees what it predicts, and goes on from that.
        first = predicted[:, :1] if name == "predrnn" else predicted
        np.testing.assert_allclose(first, brightness, atol=1e-6)
    model.expect(0.0)  # whose logarithm would be infinite
    assert 0 < np.asarray(model({"frames": frames()})).min()
