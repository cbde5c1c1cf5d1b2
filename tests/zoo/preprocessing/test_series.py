"""Histories become features that do not know their units, and a base that does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ConfigError, UnknownNameError
from zoo.preprocessing import SeriesEncoder, Theta

STEPS = np.arange(60)
SEASONAL = (100 + STEPS) * (1 + 0.3 * np.sin(2 * np.pi * STEPS / 12))


def encode(encoder: SeriesEncoder, *rows: Any, lengths: Any = None) -> dict[str, np.ndarray]:
    time = max(len(row) for row in rows)
    history = np.zeros((len(rows), time, *np.shape(rows[0])[1:]), np.float32)
    for place, row in enumerate(rows):
        history[place, : len(row)] = row
    length = [len(row) for row in rows] if lengths is None else lengths
    raw = {"history": tf.constant(history), "length": tf.constant(length, tf.int32)}
    return {name: value.numpy() for name, value in encoder(raw).items()}


def theta() -> SeriesEncoder:
    return SeriesEncoder(horizon=12, look_back=48, period=12)


def last(**options: Any) -> SeriesEncoder:
    return SeriesEncoder(horizon=3, look_back=8, base="last", **options)


def logs() -> SeriesEncoder:
    return last(log=True)


def zero() -> SeriesEncoder:
    return SeriesEncoder(horizon=3, look_back=8, base="zero")


class TestTheta:
    """The Theta method in the graph."""

    def test_agrees_with_statsforecast(self):
        models = pytest.importorskip("statsforecast.models")
        generator = np.random.default_rng(0)
        rows = []
        for _ in range(20):
            noise = np.exp(0.03 * generator.standard_normal(60).cumsum())
            rows.append(SEASONAL * noise * generator.uniform(0.1, 1e4))
        encoder = SeriesEncoder(horizon=12, look_back=60, period=12)
        ours = encode(encoder, *rows)["base"]
        peer = models.Theta(season_length=12)
        theirs = np.stack([peer.forecast(y=row, h=12)["mean"] for row in rows])
        # Theirs finds the smoothing rate by descent, ours among 25.
        assert np.median(np.abs(ours / theirs - 1)) < 0.01

    def test_a_season_is_found_where_there_is_one(self):
        found = Theta(48, 12, 12)(
            *(
                tf.constant(x, tf.float32)
                for x in (np.stack([SEASONAL[-48:] / 100, np.linspace(1, 2, 48)]), np.ones((2, 48)))
            )
        )
        season = found.season.numpy()
        expected = 1 + 0.3 * np.sin(2 * np.pi * np.arange(60, 72) / 12)
        np.testing.assert_allclose(season[0], expected, atol=0.03)
        np.testing.assert_array_equal(season[1], np.ones(12))

    def test_a_line_goes_on_at_half_its_slope_at_least(self):
        base = encode(SeriesEncoder(4, 24), 10 + 2.0 * STEPS[:24])["base"][0]
        # Smoothing follows the line closely, and the drift is half of its slope.
        np.testing.assert_allclose(np.diff(base), 1, rtol=1e-3)
        assert 54 < base[0] <= 58


class TestUnits:
    """Units, lengths and gaps."""

    @pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
    @pytest.mark.parametrize("make", [theta, last])
    def test_features_know_no_units_and_base_and_scale_do(self, make: Any, factor: float):
        plain, scaled = encode(make(), SEASONAL), encode(make(), SEASONAL * factor)
        np.testing.assert_allclose(scaled["features"], plain["features"], atol=2e-5)
        np.testing.assert_allclose(scaled["static"], plain["static"], atol=2e-5)
        np.testing.assert_allclose(scaled["base"] / factor, plain["base"], rtol=2e-5)
        assert np.isfinite(scaled["scale"]).all()

    def test_the_last_season_comes_again(self):
        encoder = SeriesEncoder(horizon=5, look_back=8, period=3, base="season")
        found = encode(encoder, np.array([9.0, 9, 9, 1, 2, 3, 4, 5, 6]))
        assert found["base"][0].tolist() == [4, 5, 6, 4, 5]
        # Features are seen from the mean of that season.
        np.testing.assert_allclose(found["features"][0, -3:, 0].sum(), 0, atol=1e-5)

    def test_steps_before_the_look_back_change_nothing(self):
        long = np.concatenate([[1e6, -5.0], SEASONAL[-48:]])
        for name, values in encode(theta(), SEASONAL[-48:]).items():
            np.testing.assert_array_equal(encode(theta(), long)[name], values)

    def test_what_stands_behind_the_length_changes_nothing(self):
        alone = encode(theta(), SEASONAL[:30])
        among = encode(theta(), SEASONAL[:30], SEASONAL, 7 * SEASONAL[:40])
        spoiled = encode(theta(), np.append(SEASONAL[:30], [9e9, np.inf]), lengths=[30])
        for name, values in alone.items():
            np.testing.assert_array_equal(spoiled[name], values)
            if values.dtype == np.float32:
                np.testing.assert_allclose(among[name][:1], values, rtol=1e-5, atol=1e-5)

    def test_a_missing_value_repeats_the_one_before_it_and_is_told(self):
        row = np.array([np.nan, 2.0, np.nan, np.nan, 5.0, 6.0, np.nan, 8.0])
        filled = np.array([2.0, 2.0, 2.0, 2.0, 5.0, 6.0, 6.0, 8.0])
        found = encode(last(), row)
        assert found["features"][0, :, 1].tolist() == [0, 1, 0, 0, 1, 1, 0, 1]
        assert found["base"][0].tolist() == [8, 8, 8]
        assert (found["features"][0, :, 0][row != row] == 0).all()
        known = found["features"][0, :, 0][row == row]
        np.testing.assert_allclose(
            known * found["scale"][0, 0], (filled - 8)[row == row], rtol=1e-5
        )

    def test_channels_are_rows_of_their_own(self):
        both = np.stack([SEASONAL[:20], -3 * SEASONAL[:20]], axis=1)
        found = encode(last(usual={"north": 10.0, "south": 30.0}), both, both)
        assert found["features"].shape == (4, 8, 2)
        assert found["static"].tolist() == [[1, 0], [0, 1]] * 2
        np.testing.assert_allclose(found["features"][1], found["features"][3])
        np.testing.assert_allclose(found["base"][1], -3 * found["base"][0], rtol=1e-6)
        assert found["status"].tolist() == [b"", b""]

    @pytest.mark.parametrize("make", [theta, last, zero])
    def test_which_channel_a_row_is_of_comes_first_whatever_the_base(self, make: Any):
        config = {**make().get_config(), "usual": {"north": 10.0, "south": 30.0}}
        encoder = SeriesEncoder(**config)
        assert encoder.channel_names == ("north", "south")
        both = np.floor(np.stack([SEASONAL[:20], 3 * SEASONAL[:20]], axis=1))
        found = encode(encoder, both, both)
        assert found["static"].shape == (4, encoder.known)
        assert found["static"][:, :2].tolist() == [[1, 0], [0, 1]] * 2

    def test_a_row_with_a_silent_channel_is_refused(self):
        silent = np.stack([SEASONAL[:20], np.full(20, np.nan)], axis=1)
        encoder = last(usual={"north": 10.0, "south": 30.0})
        found = encode(encoder, silent, np.full_like(silent, np.nan))
        assert [reason.decode() for reason in found["status"]] == [
            "history must hold at least one number of each channel",
            "history must hold at least one number",
        ]


class TestLogarithms:
    """Histories that are seen as their logarithms."""

    def test_they_are_encoded_as_the_logarithms_would_be(self):
        row = np.append(SEASONAL[:20], np.nan)
        found, expected = encode(logs(), row), encode(last(), np.log(row))
        for name, values in expected.items():
            if values.dtype == np.float32:
                np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)

    def test_what_has_none_is_refused(self):
        found = encode(logs(), [1.0, 2, 0], [1.0, -2, 3], [1.0, 2, 3])
        wrong = b"history must be above 0: the model takes its logarithm"
        assert found["status"].tolist() == [wrong, wrong, b""]
        assert all(
            np.isfinite(found[name]).all() for name in ("features", "static", "base", "scale")
        )


class TestSpread:
    """Windows that have become restless."""

    def encoder(self) -> SeriesEncoder:
        return SeriesEncoder(horizon=3, look_back=8, base="last", recent=2)

    def test_it_grows_with_the_last_changes(self):
        restless = [0.0, 1, 0, 1, 0, 1, 4, 1]
        quiet = [0.0, 4, 0, 4, 0, 4, 4, 4]
        found = encode(self.encoder(), restless, quiet, [7.0] * 8, [np.nan] * 8)
        share = found["spread"] / np.maximum(found["scale"], 1e-30)
        # Of changes of 1, 1, 1, 1, 1, 3, 3; and of 4 and 0, which is quieter than is believed.
        np.testing.assert_allclose(share[:, 0], [3 / (11 / 7), 0.25, 1, 0], rtol=1e-5)

    @pytest.mark.parametrize("factor", [1e-12, 1e12])
    def test_it_knows_units_and_gaps(self, factor: float):
        row = np.array([0.0, 1, 0, np.nan, 0, 1, 4, 1])
        plain, scaled = encode(self.encoder(), row), encode(self.encoder(), row * factor)
        np.testing.assert_allclose(scaled["spread"] / factor, plain["spread"], rtol=2e-5)
        # Both changes beside the gap are unknown.
        expected = plain["scale"] * 3 / (9 / 5)
        np.testing.assert_allclose(plain["spread"], expected, rtol=1e-5)

    def test_without_it_the_spread_is_the_scale(self):
        found = encode(last(), SEASONAL)
        np.testing.assert_array_equal(found["spread"], found["scale"])


class TestCounts:
    """Histories of counts, which are seen from 0."""

    def test_the_scale_is_1_and_the_mean(self):
        found = encode(zero(), [9.0, 0, 2, 4, 6], [0.0], [np.nan, 2, np.nan, 4])
        assert found["base"].tolist() == [[0] * 3] * 3
        np.testing.assert_allclose(found["scale"], [[5.2] * 3, [1] * 3, [4] * 3], rtol=1e-6)
        np.testing.assert_allclose(found["features"][0, -3:, 0] * 5.2, [2, 4, 6], rtol=1e-6)
        assert found["features"][2, -4:, 1].tolist() == [0, 1, 0, 1]
        assert found["static"].shape == (3, zero().known)
        np.testing.assert_allclose(found["static"][:, 1], np.log([5.2, 1, 4]), rtol=1e-6)

    def test_what_is_no_count_gets_a_status(self):
        rows = [1.0, 2.5], [3.0, -1.0], [3.0, np.inf], [1e9, 0.0], [np.nan, np.nan]
        found = encode(zero(), *rows)
        wrong = b"history must hold counts: whole numbers from 0 on"
        assert found["status"].tolist()[:2] == [wrong, wrong]
        assert b"must be finite" in found["status"][2]
        assert found["status"][3] == b""
        assert b"at least one number" in found["status"][4]
        assert not found["features"][0].any()


class TestBadRows:
    """Rows that hold nothing to go by."""

    @pytest.mark.parametrize("make", [theta, last])
    def test_they_get_a_status_and_finite_numbers(self, make: Any):
        missing, infinite = np.full(9, np.nan), np.append(SEASONAL[:8], np.inf)
        found = encode(make(), missing, infinite, SEASONAL[:9], np.zeros(9), [4.0])
        assert [reason.decode() for reason in found["status"]] == [
            "history must hold at least one number",
            "history must be finite; what is missing is written as NaN",
            "",
            "",
            "",
        ]
        assert all(
            np.isfinite(found[name]).all() for name in ("features", "static", "base", "scale")
        )
        assert found["base"][3].tolist() == [0] * make().horizon
        np.testing.assert_allclose(found["base"][4], 4, rtol=1e-5)

    def test_no_steps_at_all_are_an_empty_history(self):
        raw = {"history": tf.zeros([1, 0]), "length": tf.constant([0])}
        assert theta()(raw)["status"].numpy().tolist() == [b"history must hold at least one number"]


def test_sizes_and_names_are_checked():
    with pytest.raises(UnknownNameError, match="base"):
        SeriesEncoder(1, 2, base="thta")
    with pytest.raises(ConfigError, match="look_back at least 2 and a period, not 1, 1 and 1"):
        SeriesEncoder(1, 1)


@pytest.mark.parametrize(
    "make", [theta, last, lambda: last(usual={"a": 1.0, "b": 2.0}), zero, logs]
)
def test_it_is_rebuilt_from_its_config(make: Any, tmp_path: Any):
    encoder = make()
    again = SeriesEncoder.load(encoder.get_config(), tmp_path)
    rows = encoder.probe_rows()
    for name, values in encoder(rows).items():
        np.testing.assert_array_equal(again(rows)[name].numpy(), values.numpy())


class TestKnownAhead:
    """Calendar and covariates."""

    def encoder(self) -> SeriesEncoder:
        return SeriesEncoder(
            2,
            4,
            base="last",
            calendar=("day", "week"),
            covariates={"price": (10.0, 5.0), "open": (1.0, 0.0)},
        )

    def raw(self) -> dict[str, Any]:
        # A Thursday at midnight, and from then on six hours apart.
        times = 6 * 3600 * np.arange(5, dtype=np.int64)
        known = np.stack([10.0 + 5 * np.arange(7), np.ones(7)], axis=1).astype(np.float32)
        return {
            "history": np.array([[1, 2, 3, 4, 5]], np.float32),
            "length": np.array([5], np.int32),
            "timestamps": times[None],
            "covariates": known[None, :5],
            "future_covariates": known[None, 5:],
        }

    def test_the_steps_to_come_are_told_their_place_in_the_day(self):
        encoder = self.encoder()
        found = {name: value.numpy() for name, value in encoder(self.raw()).items()}
        assert found["features"].shape == (1, 4, encoder.columns) == (1, 4, 2 + 4 + 2)
        assert found["static"].shape == (1, encoder.known) == (1, 1 + 2 * 6)
        day = found["features"][0, :, 2:4]
        np.testing.assert_allclose(day, [[1, 0], [0, -1], [-1, 0], [0, 1]], atol=1e-6)
        ahead = found["static"][0, 1:].reshape(2, 6)
        np.testing.assert_allclose(ahead[:, :2], [[1, 0], [0, -1]], atol=1e-6)
        # The fifth and sixth multiple of a quarter of a day are 5/28 and 6/28 of a week.
        week = 2 * np.pi * np.array([5, 6]) / 28
        np.testing.assert_allclose(ahead[:, 2], np.sin(week), atol=1e-6)

    def test_covariates_are_scaled_and_constant_ones_are_0(self):
        found = self.encoder()(self.raw())
        np.testing.assert_allclose(found["features"][0, :, 6], [1, 2, 3, 4], rtol=1e-6)
        np.testing.assert_array_equal(found["features"][0, :, 7], np.zeros(4))
        np.testing.assert_allclose(found["static"][0, 1:].numpy().reshape(2, 6)[:, 4], [5, 6])

    def test_it_declares_them_and_is_rebuilt_from_its_config(self, tmp_path: Any):
        encoder = self.encoder()
        names = ["history", "length", "timestamps", "covariates", "future_covariates"]
        assert list(encoder.inputs) == names
        assert encoder.covariate_names == ("price", "open")
        assert encoder.inputs["covariates"].meaning.endswith(": price, open")
        rows = encoder.inputs.check(encoder.probe_rows())
        again = SeriesEncoder.load(encoder.get_config(), tmp_path)
        for name, values in encoder(rows).items():
            np.testing.assert_array_equal(again(rows)[name].numpy(), values.numpy())
        assert np.isfinite(encoder(rows)["features"]).all()
        assert encoder.entrances(None, None) == {}

    def test_an_unknown_cycle_is_named(self):
        with pytest.raises(UnknownNameError, match="week"):
            SeriesEncoder(2, 4, calendar=("weak",))
