"""Unscaled histories to what a forecaster reads, inside the graph.

A row is cut to its last `look_back` steps. Values that are missing, which is NaN, repeat the
value before them, and the model is told. What is subtracted and divided by goes on to the
model as `base` and `scale`, so that forecasts leave it in the units of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from zoo.errors import ConfigError, UnknownNameError
from zoo.ports import Endpoint, Port, Ports
from zoo.preprocessing.bases import by_counting, by_repeating, by_theta
from zoo.preprocessing.calendar import ahead, check_cycles, cyclic
from zoo.preprocessing.gaps import cut, filled, restlessness
from zoo.preprocessing.seasonality import Theta
from zoo.preprocessing.statics import Fitted, Statics

BASES = ("theta", "last", "season", "zero")
NO_NUMBER = "history must hold at least one number"
NO_CHANNEL = "history must hold at least one number of each channel"
INFINITE = "history must be finite; what is missing is written as NaN"
NO_COUNTS = "history must hold counts: whole numbers from 0 on"
NO_LOG = "history must be above 0: the model takes its logarithm"


class SeriesEncoder(tf.Module):
    """Histories to features, base and scale; the `prepare` of a forecasting pipeline.

    Takes `history: float32[batch, time]`, or `[batch, time, channels]`, oldest first, and
    `length: int32[batch]`, how many steps of each row are real; with a calendar
    `timestamps: int64[batch, time]`, seconds since 1970; with covariates
    `covariates: float32[batch, time, covariates]` of the same steps, and
    `future_covariates: float32[batch, horizon, covariates]`; with statics an input for each, see
    `Statics`. A channel is forecast from its own past, so that there are
    `rows = batch * channels`. Gives

        features  `float32[rows, look_back, columns]`: scaled values, of "theta" without and with
                  their season, whether they were observed, calendar and covariates
        static    `float32[rows, known]`: what does not change over the window, statics among
                  it, and calendar and covariates of the steps to come
        base      `float32[rows, horizon]`: the forecast that the model corrects
        scale     `float32[rows, horizon]`: the unit of its corrections
        spread    `float32[rows, horizon]`: the unit of what quantiles are from them
        status    `string[batch]`, '' for a good row

    A bad row is a constant 0.

    Args:
        horizon: Steps to forecast.
        look_back: Steps that are looked at.
        period: Steps of a season, 1 for none.
        base: "theta": the Theta method, whose season and level are taken out of the features;
            "last" or "season": the last value or season again, with the deviation of the window
            as the scale; "zero": 0, for counts, with 1 + the mean of the window as the scale, as
            in Salinas et al. 2020, arXiv:1704.04110.
        usual: The usual size of each channel's values by its name. Without it there is one
            channel and no axis for it.
        calendar: Cycles whose place is told, of "day", "week" and "year".
        covariates: Mean and deviation of each covariate that is known ahead, by its name.
        statics: What is known of a series as a whole, as `fit_statics` returns it.
        recent: The spread is the scale, times how much a step of so many last ones changes,
            beside one of the whole window; 0 for the scale alone.
        log: Values are their logarithms, of which base and scale are then too.

    Raises:
        ConfigError: A size is below 1, or the look-back shorter than 2 or a period.
        UnknownNameError: There is no such base.
    """

    def __init__(
        self,
        horizon: int,
        look_back: int,
        period: int = 1,
        base: str = "theta",
        usual: Mapping[str, float] | None = None,
        calendar: Sequence[str] = (),
        covariates: Mapping[str, tuple[float, float]] | None = None,
        statics: Fitted | None = None,
        recent: int = 0,
        log: bool = False,
    ) -> None:
        super().__init__()
        check_cycles(calendar)
        if base not in BASES:
            raise UnknownNameError("base", base, BASES)
        if min(horizon, period) < 1 or look_back < max(2, period):
            raise ConfigError(
                "horizon and period must be at least 1, and look_back at least 2 and a period, "
                f"not {horizon}, {period} and {look_back}"
            )
        self.horizon, self.look_back, self.period, self.base = horizon, look_back, period, base
        # As tuples: of mappings a tf.Module makes ones of its own.
        self._usual, self.calendar = tuple((usual or {}).items()), tuple(calendar)
        self._covariates = tuple((name, *pair) for name, pair in (covariates or {}).items())
        self.statics, self.recent, self.log = Statics(statics or {}), recent, log
        self._theta = Theta(look_back, horizon, period) if base == "theta" else None

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the series that are observed together; none of one without an axis."""
        return tuple(name for name, _ in self._usual)

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """Names of what is known ahead."""
        return tuple(name for name, *_ in self._covariates)

    @property
    def channels(self) -> int:
        """Series that are observed together."""
        return max(len(self._usual), 1)

    @property
    def known(self) -> int:
        """Numbers that do not change over a window."""
        own = {"theta": self.period + 2, "zero": 1}.get(self.base, 0)
        return self.channels + own + self.statics.size + self.horizon * self._told

    @property
    def _told(self) -> int:
        """Numbers per step that are known ahead."""
        return 2 * len(self.calendar) + len(self._covariates)

    @property
    def columns(self) -> int:
        """Numbers per step of the window."""
        return (3 if self.base == "theta" else 2) + self._told

    @property
    def inputs(self) -> Ports:
        """What a request consists of."""
        ports = {
            "history": Port((None, *self._axis), "float32", "past values, oldest first; NaN: none"),
            "length": Port((), "int32", "how many of them are real"),
        }
        if self.calendar:
            ports["timestamps"] = Port((None,), "int64", "their times, seconds since 1970")
        if names := self.covariate_names:
            told = f"what else is known of their steps: {', '.join(names)}"
            ports["covariates"] = Port((None, len(names)), "float32", told)
            ports["future_covariates"] = Port(
                (self.horizon, len(names)), "float32", "the same of the steps to come"
            )
        return Ports(**ports, **self.statics.ports)

    @property
    def _axis(self) -> tuple[int, ...]:
        return (len(self._usual),) if self._usual else ()

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        history = raw["history"]
        length = tf.clip_by_value(raw["length"], 0, tf.shape(history)[1])
        places = length[:, None] - self.look_back + tf.range(self.look_back)[None]
        window = cut(history, places)
        inside = tf.cast(places >= 0, tf.float32)
        inside = inside[..., None] if self._axis else inside
        observed = inside * tf.cast(~tf.math.is_nan(window), tf.float32)
        series = self.statics(raw) if self.statics.size else None
        return self.encode(window, observed, *self._known_ahead(raw, places), series)

    def _known_ahead(self, raw: Mapping[str, Any], places: Any) -> tuple[Any, Any]:
        """Return calendar and covariates, `float32[batch, look_back, told]` and of the horizon."""
        past, future = [], []
        if self.calendar:
            times = cut(raw["timestamps"], places)
            past.append(cyclic(times, self.calendar))
            future.append(cyclic(ahead(times, self.horizon), self.calendar))
        if self._covariates:
            scales = [pair for _, *pair in self._covariates]
            mean, size = tf.unstack(tf.constant(scales, tf.float32), axis=1)
            for part, values in (
                (past, cut(raw["covariates"], places)),
                (future, raw["future_covariates"]),
            ):
                scaled = tf.math.divide_no_nan(values - mean, size)
                part.append(tf.where(tf.math.is_finite(scaled), scaled, 0.0))
        if not past:
            return None, None
        return tf.concat(past, axis=-1), tf.concat(future, axis=-1)

    def encode(
        self,
        window: Any,
        observed: Any,
        past: Any = None,
        future: Any = None,
        series: Any = None,
    ) -> dict[str, Any]:
        """Return what the call returns.

        Args:
            window: `float32[batch, look_back]` or `[batch, look_back, channels]`.
            observed: The same shape, 1 where there is a value and 0 where there is none.
            past: `float32[batch, look_back, told]`, calendar and covariates, if there are any.
            future: The same of the horizon.
            series: `float32[batch, statics]`, if there are any.
        """
        status = self._status(window, observed)
        observed = tf.where(_like(status == "", observed), observed, 0.0)
        if self.log:
            window = tf.math.log(tf.where(observed > 0, window, 1.0))
        window = tf.where(observed > 0, window, 0.0)
        rows, seen = self._rows(window), self._rows(observed)
        values = filled(rows, seen)
        encoded = self._by_base(values, seen)
        # Which channel a row is of comes first: losses count in its usual size.
        channel = tf.tile(tf.eye(self.channels), [tf.shape(status)[0], 1])
        encoded["static"] = tf.concat([channel, *encoded["static"]], axis=1)
        restless = restlessness(values, seen, self.recent) if self.recent else 1.0
        encoded["spread"] = encoded["scale"] * restless
        if series is not None:
            every = tf.repeat(series, self.channels, axis=0)
            encoded["static"] = tf.concat([encoded["static"], every], axis=-1)
        if past is not None:
            told = tf.reshape(future, [-1, self.horizon * self._told])
            for name, more in (("features", past), ("static", told)):
                every = tf.repeat(more, self.channels, axis=0)
                encoded[name] = tf.concat([encoded[name], every], axis=-1)
        return {**encoded, "status": status}

    def _by_base(self, values: Any, observed: Any) -> dict[str, Any]:
        if self._theta is not None:
            return by_theta(self._theta, values, observed)
        if self.base == "zero":
            return by_counting(values, observed, self.horizon)
        usual = None
        if self._usual:
            usual = tf.constant([[size] for _, size in self._usual], tf.float32)
            usual = tf.tile(usual, [tf.shape(values)[0] // self.channels, 1])
        season = self.period if self.base == "season" else 1
        return by_repeating(values, observed, self.horizon, season, usual)

    def _status(self, window: Any, observed: Any) -> Any:
        """Return '' for rows that can be forecast, else why not, `string[batch]`."""
        every_axis = list(range(1, len(window.shape)))
        none = tf.reduce_sum(observed, axis=1) == 0

        def any_of(wrong: Any) -> Any:
            return tf.reduce_any(wrong & (observed > 0), axis=every_axis)

        status = tf.where(any_of(tf.math.is_inf(window)), INFINITE, "")
        if self.base == "zero":
            wrong = any_of((window < 0) | (window != tf.floor(window)))
            status = tf.where(wrong & (status == ""), NO_COUNTS, status)
        if self.log:
            status = tf.where(any_of(window <= 0) & (status == ""), NO_LOG, status)
        if not self._axis:
            return tf.where(none, NO_NUMBER, status)
        # A channel is forecast from its own past, so that a silent one cannot be.
        status = tf.where(tf.reduce_any(none, axis=1), NO_CHANNEL, status)
        return tf.where(tf.reduce_all(none, axis=1), NO_NUMBER, status)

    def _rows(self, values: Any) -> Any:
        """Return `float32[batch * channels, look_back]`."""
        if not self._axis:
            return values
        return tf.reshape(tf.transpose(values, [0, 2, 1]), [-1, self.look_back])

    def entrances(self, model: Any, finish: Any) -> dict[str, Endpoint]:
        """Return `update`: one new value at a time, the window travelling with the calls.

        With a calendar, covariates or statics there is none: those are the client's to send.
        """
        if self._told or self.statics.size:
            return {}
        size = 2 * self.look_back * self.channels
        state = Port((size,), "float32", "what was observed so far; zeros to begin with")
        value = Port(self._axis, "float32", "the next value; NaN: missing")
        outputs = Ports(state=state, **finish.outputs)

        def update(raw: Mapping[str, Any]) -> dict[str, Any]:
            shape = [-1, 2, self.look_back, *self._axis]
            window, observed = tf.unstack(tf.reshape(raw["state"], shape), axis=1)
            fresh = raw["value"][:, None]
            there = ~tf.math.is_nan(fresh)
            window = tf.concat([window[:, 1:], tf.where(there, fresh, 0.0)], axis=1)
            observed = tf.concat([observed[:, 1:], tf.cast(there, tf.float32)], axis=1)
            features = self.encode(window, observed)
            status = features.pop("status")
            # A value that is refused is told once, and counts as missing from then on.
            kept = tf.cast(
                tf.reshape(status == "", [-1] + [1] * (len(window.shape) - 1)), tf.float32
            )
            observed = tf.concat([observed[:, :-1], observed[:, -1:] * kept], axis=1)
            window = tf.where(observed > 0, window, 0.0)
            after = tf.reshape(tf.stack([window, observed], axis=1), [-1, size])
            return {"state": after, **finish(model(features, training=False), status)}

        return {"update": Endpoint(update, Ports(state=state, value=value), outputs)}

    def probe_rows(self) -> dict[str, np.ndarray]:
        """Return rows at the edges of what may be sent."""
        time = self.look_back + 7
        step = np.arange(time)
        wave = 100 + 10 * np.sin(2 * np.pi * step / max(self.period, 2)) + step % 3
        gaps = np.where(step % 5 == 1, np.nan, wave)
        rows = {
            "empty": (wave, 0),
            "one": (wave, 1),
            "short": (wave, max(self.look_back // 3, 1)),
            "whole": (wave, time),
            "gaps": (gaps, time),
            "missing": (np.full(time, np.nan), time),
            "infinite": (np.where(step == 3, np.inf, wave), 5),
            "constant": (np.full(time, 7.0), time),
            "zero": (np.zeros(time), time),
            "negative": (-wave, time),
            "huge": (1e12 * wave, time),
            "tiny": (1e-12 * wave, time),
            "counts": (np.floor(wave), time),
        }
        history = np.array([values for values, _ in rows.values()], np.float32)
        if self._axis:
            history = np.repeat(history[:, :, None], self.channels, axis=2)
        lengths = np.array([length for _, length in rows.values()], np.int32)
        probes = {"history": history, "length": lengths}
        if self.calendar:
            hours = 1_700_000_000 + 3600 * np.arange(time, dtype=np.int64)
            probes["timestamps"] = np.tile(hours, (len(rows), 1))
        if size := len(self._covariates):
            wavy = np.sin(np.arange(len(rows) * time * size))
            known = wavy.reshape(len(rows), time, -1).astype(np.float32)
            known[0, 0] = np.nan
            probes["covariates"] = known
            probes["future_covariates"] = np.resize(known, (len(rows), self.horizon, size))
        return probes | self.statics.probe(len(rows))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this encoder, as JSON values."""
        return {
            "horizon": self.horizon,
            "look_back": self.look_back,
            "period": self.period,
            "base": self.base,
            "usual": dict(self._usual),
            "calendar": list(self.calendar),
            "covariates": {name: pair for name, *pair in self._covariates},
            "statics": self.statics.to_json(),
            "recent": self.recent,
            "log": self.log,
        }

    def save_assets(self, folder: Path) -> None:
        """Write nothing: the configuration is all there is."""

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: Path) -> Self:
        """Rebuild from `get_config`."""
        return cls(**config)


def _like(rows: Any, values: Any) -> Any:
    """Return `[batch]` with as many axes as `values`."""
    return tf.reshape(rows, [-1] + [1] * (len(values.shape) - 1))
