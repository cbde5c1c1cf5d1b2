"""Forecasts of all steps at once, by recurrence over steps or over segments of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError
from zoo.layers.autoregression import SampledPaths
from zoo.layers.dropout import VariationalDropout
from zoo.layers.forecasting import ConformalScaling
from zoo.layers.recurrent import recurrent


class _Forecaster(keras.Model):
    """What the two share: inputs, the scaling on the way out, and their config."""

    def _graph(
        self,
        sizes: dict[str, int],
        corrections: Any,
        options: dict[str, Any],
        lowest: float | None = None,
    ) -> None:
        """Become the functional model of `corrections(features, static, scale)`."""
        for name in ("horizon", "look_back", "columns", "known", "quantiles", "units"):
            if sizes[name] < (0 if name == "quantiles" else 1):
                raise ConfigError(f"{name} must be at least 1, not {sizes[name]}")
        features = keras.Input(
            (sizes["look_back"], sizes["columns"]), dtype="float32", name="features"
        )
        static = keras.Input((sizes["known"],), dtype="float32", name="static")
        base = keras.Input((sizes["horizon"],), dtype="float32", name="base")
        scale = keras.Input((sizes["horizon"],), dtype="float32", name="scale")
        spread = keras.Input((sizes["horizon"],), dtype="float32", name="spread")
        unscaled = ConformalScaling(lowest, dtype="float32", name="scaling")
        corrected = corrections(features, static, scale)
        inputs = {"features": features, "static": static, "base": base, "scale": scale}
        outputs = unscaled([corrected, base, scale, spread])
        super().__init__({**inputs, "spread": spread}, outputs, **options)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Rebuild from `get_config`."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="seqzoo")
class RecurrentForecaster(_Forecaster):
    """A recurrent encoder of the last steps, and one layer that gives every step to come.

    Takes `features: float32[rows, look_back, columns]`, `static: float32[rows, known]`, and `base`,
    `scale` and `spread`, `float32[rows, horizon]`; gives `float32[rows, horizon, 1 + quantiles]`.
    Untrained it gives nearly the base.
    Source: Wen et al. 2017, arXiv:1711.11053 (direct forecasts of every horizon); Smyl 2020,
    International Journal of Forecasting 36 (a recurrent network that corrects smoothing).

    Args:
        horizon: Steps to come.
        look_back: Steps of the window.
        columns: Numbers per step of the window.
        known: Numbers that do not change over the window.
        quantiles: Number of quantiles beside the point forecast.
        cell: "lstm" or "gru".
        units: State size.
        layers: Number of recurrent layers.
        seen: The recurrence reads so many of the last steps.
        dropout: Variational dropout behind each of them.
    """

    def __init__(
        self,
        horizon: int,
        look_back: int,
        columns: int,
        known: int,
        quantiles: int = 7,
        cell: str = "gru",
        units: int = 64,
        layers: int = 2,
        seen: int = 60,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        if layers < 1 or not 1 <= seen <= look_back:
            raise ConfigError(
                f"layers must be at least 1 and seen from 1 to look_back = {look_back}, not "
                f"{layers} and {seen}"
            )
        # === Parts ===
        context = keras.layers.Dense(8, "tanh", name="context")
        stack = [
            recurrent(cell, units, return_sequences=True, name=f"recurrent_{n}")
            for n in range(layers)
        ]
        drops = [VariationalDropout(dropout, name=f"dropout_{n}") for n in range(layers)]
        hidden = keras.layers.Dense(units, "relu", name="hidden")
        answers = 1 + quantiles
        small = keras.initializers.RandomNormal(stddev=1e-3)
        correct = keras.layers.Dense(
            horizon * answers, kernel_initializer=small, dtype="float32", name="corrections"
        )
        shape = keras.layers.Reshape((horizon, answers), dtype="float32", name="columns")

        # === Graph ===
        def corrections(features: Any, static: Any, _: Any) -> Any:
            told = keras.layers.RepeatVector(seen)(context(static))
            x = keras.layers.Concatenate()([features[:, -seen:], told])
            for layer, drop in zip(stack, drops, strict=True):
                x = drop(layer(x))
            x = keras.layers.Concatenate()([x[:, -1], static])
            return shape(correct(hidden(x)))

        self._graph(
            {
                "horizon": horizon,
                "look_back": look_back,
                "columns": columns,
                "known": known,
                "quantiles": quantiles,
                "units": units,
            },
            corrections,
            options,
        )

        # === Config ===
        self.horizon = horizon
        self.look_back = look_back
        self.columns = columns
        self.known = known
        self.quantiles = quantiles
        self.cell = cell
        self.units = units
        self.depth = layers
        self.seen = seen
        self.dropout = dropout

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "name": self.name,
            "horizon": self.horizon,
            "look_back": self.look_back,
            "columns": self.columns,
            "known": self.known,
            "quantiles": self.quantiles,
            "cell": self.cell,
            "units": self.units,
            "layers": self.depth,
            "seen": self.seen,
            "dropout": self.dropout,
        }


@keras.saving.register_keras_serializable(package="seqzoo")
class SegmentForecaster(_Forecaster):
    """A recurrence over segments of the window, which gives every segment to come at once.

    Inputs and output are those of `RecurrentForecaster`. A segment is `segment` steps; the state
    behind the last one is continued by one step for each segment to come, told which one it is
    and what the row is, all of them side by side.
    Source: Lin et al. 2023, arXiv:2308.11200 (SegRNN, with parallel decoding).

    Args:
        horizon: Steps to come, a multiple of `segment`.
        look_back: Steps of the window, a multiple of `segment`.
        columns: Numbers per step of the window.
        known: Numbers that do not change over the window.
        quantiles: Number of quantiles beside the point forecast.
        cell: "lstm" or "gru".
        units: State size, even.
        segment: Steps of a segment.
        dropout: Share of the state that is dropped before it becomes a segment.
    """

    def __init__(
        self,
        horizon: int,
        look_back: int,
        columns: int,
        known: int,
        quantiles: int = 7,
        cell: str = "gru",
        units: int = 256,
        segment: int = 48,
        dropout: float = 0.5,
        **options: Any,
    ) -> None:
        if segment < 1 or horizon % segment or look_back % segment or units % 2:
            raise ConfigError(
                "horizon and look_back must be multiples of segment, and units even, not "
                f"{horizon}, {look_back}, {segment} and {units}"
            )
        # === Parts ===
        past, future, answers = look_back // segment, horizon // segment, 1 + quantiles
        cut = keras.layers.Reshape((past, columns * segment), name="segments")
        embed = keras.layers.Dense(units, "relu", name="embedding")
        encode = recurrent(cell, units, return_state=True, name="encoder")
        decode = recurrent(cell, units, name="decoder")
        place = keras.layers.Embedding(future, units // 2, name="place")
        what = keras.layers.Dense(units // 2, use_bias=False, name="row")
        drop = keras.layers.Dropout(dropout, name="dropout")
        correct = keras.layers.Dense(segment * answers, dtype="float32", name="corrections")
        shape = keras.layers.Reshape((horizon, answers), dtype="float32", name="columns")

        # === Graph ===
        def corrections(features: Any, static: Any, _: Any) -> Any:
            _, *state = encode(embed(cut(features)))
            # Every segment to come is a row of its own.
            state = [_repeated(each, future) for each in state]
            told = _repeated(what(static), future)
            places = place(ops.zeros_like(told[:, :1], dtype="int32") + _numbers(static, future))
            asked = ops.concatenate([places, told[:, None]], axis=-1)
            x = correct(drop(decode(asked, initial_state=state)))
            return shape(ops.reshape(x, (-1, future, segment * answers)))

        self._graph(
            {
                "horizon": horizon,
                "look_back": look_back,
                "columns": columns,
                "known": known,
                "quantiles": quantiles,
                "units": units,
            },
            corrections,
            options,
        )

        # === Config ===
        self.horizon = horizon
        self.look_back = look_back
        self.columns = columns
        self.known = known
        self.quantiles = quantiles
        self.cell = cell
        self.units = units
        self.segment = segment
        self.dropout = dropout

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "name": self.name,
            "horizon": self.horizon,
            "look_back": self.look_back,
            "columns": self.columns,
            "known": self.known,
            "quantiles": self.quantiles,
            "cell": self.cell,
            "units": self.units,
            "segment": self.segment,
            "dropout": self.dropout,
        }


@keras.saving.register_keras_serializable(package="seqzoo")
class AutoregressiveForecaster(_Forecaster):
    """A recurrence that draws whole futures, one value after the other.

    Inputs and output are those of `RecurrentForecaster`, of windows whose base is one value for
    all steps to come, 0 for counts. It is trained by `LikelihoodLoss`; see
    `zoo.layers.SampledPaths`.
    Source: Salinas et al. 2020, arXiv:1704.04110 (DeepAR).

    Args:
        horizon: Steps to come.
        look_back: Steps of the window.
        columns: Numbers per step of the window: value, whether it was observed, and what is
            known ahead.
        known: Numbers that do not change over the window, and what is known of the horizon.
        levels: Of the quantiles beside the point forecast.
        cell: "lstm" or "gru".
        units: State size.
        layers: Number of recurrent layers.
        dropout: Variational dropout behind each of them.
        distribution: Of the next value, "gaussian", "student_t" or "negative_binomial".
        paths: Futures that are drawn.
    """

    def __init__(
        self,
        horizon: int,
        look_back: int,
        columns: int,
        known: int,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
        cell: str = "gru",
        units: int = 64,
        layers: int = 2,
        dropout: float = 0.1,
        distribution: str = "student_t",
        paths: int = 100,
        **options: Any,
    ) -> None:
        # === Parts ===
        draw = SampledPaths(
            horizon,
            columns - 2,
            levels,
            cell,
            units,
            layers,
            dropout,
            distribution,
            paths,
            name="paths",
        )
        counts = distribution == "negative_binomial"

        # === Graph ===
        self._graph(
            {
                "horizon": horizon,
                "look_back": look_back,
                "columns": columns,
                "known": known,
                "quantiles": len(levels),
                "units": units,
            },
            lambda *inputs: draw([*inputs[: 3 if counts else 2]]),
            options,
            # There are no counts below 0, whatever calibration finds missing.
            lowest=0.0 if counts else None,
        )

        # === Config ===
        self.horizon = horizon
        self.look_back = look_back
        self.columns = columns
        self.known = known
        self.levels = list(levels)
        self.cell = cell
        self.units = units
        self.depth = layers
        self.dropout = dropout
        self.distribution = distribution
        self.paths = paths

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "name": self.name,
            "horizon": self.horizon,
            "look_back": self.look_back,
            "columns": self.columns,
            "known": self.known,
            "levels": self.levels,
            "cell": self.cell,
            "units": self.units,
            "layers": self.depth,
            "dropout": self.dropout,
            "distribution": self.distribution,
            "paths": self.paths,
        }


FORECASTERS: dict[str, type[_Forecaster]] = {
    "recurrent": RecurrentForecaster,
    "segment": SegmentForecaster,
    "autoregressive": AutoregressiveForecaster,
}


def _repeated(rows: Any, times: int) -> Any:
    """Return every row of `[rows, units]` so often, one behind the other."""
    return ops.reshape(ops.tile(rows[:, None], (1, times, 1)), (-1, rows.shape[-1]))


def _numbers(rows: Any, count: int) -> Any:
    """Return 0, 1, ... for the copies of each row, `int32[rows * count, 1]`."""
    ones = ops.ones_like(rows[:, :1], dtype="int32")
    return ops.reshape(ones * ops.arange(count, dtype="int32")[None], (-1, 1))
