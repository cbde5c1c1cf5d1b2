"""Forecasts as many possible futures, each drawn step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers.distributions import DISTRIBUTIONS
from zoo.layers.dropout import VariationalDropout
from zoo.layers.losses import masked_mean
from zoo.layers.recurrent import recurrent


@keras.saving.register_keras_serializable(package="seqzoo")
class SampledPaths(keras.layers.Layer):
    """A recurrence that says how the next value is distributed, and draws whole futures from it.

    Takes `[features, static]`, `float32[rows, look_back, 2 + told]` and `float32[rows, known]`.
    The first column of features is the value, the second whether it was observed, the others are
    known ahead; `static` ends with `horizon * told` numbers, the same of the steps to come. For
    counts a third input is `scale`, `float32[rows, horizon]`, the same at each step: the unit of
    the values. Gives `float32[rows, horizon, 1 + levels]`: mean and quantiles over the paths.

    The noise of the paths is the same for every row and call, spread evenly at each step, so that
    an answer depends on its row alone.
    Source: Salinas et al. 2020, arXiv:1704.04110 (DeepAR).

    Args:
        horizon: Steps of a path.
        told: Numbers per step that are known ahead.
        levels: Of the quantiles.
        cell: "lstm" or "gru".
        units: State size.
        depth: Number of recurrent layers.
        dropout: Variational dropout behind each of them, in `log_likelihood`.
        distribution: Of the next value, "gaussian", "student_t" or, of counts that are seen from
            0, "negative_binomial".
        paths: How many are drawn.
    """

    def __init__(
        self,
        horizon: int,
        told: int = 0,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
        cell: str = "gru",
        units: int = 64,
        depth: int = 2,
        dropout: float = 0.1,
        distribution: str = "student_t",
        paths: int = 100,
        **options: Any,
    ) -> None:
        # Counts are no counts any more in bfloat16; the recurrence casts for itself.
        super().__init__(autocast=False, **options)
        if distribution not in DISTRIBUTIONS:
            raise UnknownNameError("distribution", distribution, DISTRIBUTIONS)
        if min(horizon, depth, paths) < 1 or told < 0:
            raise ConfigError(
                "horizon, depth and paths must be at least 1 and told at least 0, not "
                f"{horizon}, {depth}, {paths} and {told}"
            )
        self.horizon, self.told, self.levels, self.cell = horizon, told, list(levels), cell
        self.units, self.depth, self.dropout = units, depth, dropout
        self.distribution, self.paths = distribution, paths
        self.stack = [
            recurrent(cell, units, return_sequences=True, return_state=True, name=f"recurrent_{n}")
            for n in range(depth)
        ]
        self.drops = [VariationalDropout(dropout, name=f"dropout_{n}") for n in range(depth)]
        self.score = keras.layers.Dense(2, dtype="float32", name="distribution")
        self._next = DISTRIBUTIONS[distribution]
        self._noise = self._next.noise(paths, horizon)

    def build(self, input_shape: Any) -> None:
        (_, _, columns), (_, known) = input_shape[:2]
        width = columns + known - self.horizon * self.told
        for layer, drop in zip(self.stack, self.drops, strict=True):
            layer.build((None, None, width))
            width = self.units
            drop.build((None, None, width))
        self.score.build((None, None, width))
        self.built = True

    def call(self, inputs: Any) -> Any:
        features, static, scale = self._scaled(inputs)
        x, context, ahead = self._parts(features, static)
        states = []
        for layer in self.stack:
            x, *state = layer(x)
            states.append([self._per_path(each) for each in state])
        raw, scale = self._per_path(self.score(x[:, -1])), self._per_path(scale)
        context, values = self._per_path(context), []
        for step in range(self.horizon):
            noise = ops.tile(self._noise[:, step], (ops.shape(features)[0], 1))
            parameters = self._next.parameters(raw, scale)
            values.append(self._next.draw(*parameters, scale, noise))
            if step + 1 < self.horizon:
                told = self._per_path(ahead[:, step + 1])
                value = ops.stack([values[-1], ops.ones_like(values[-1])], axis=-1)
                x = ops.concatenate([value, told, context], axis=-1)
                for place, layer in enumerate(self.stack):
                    x, states[place] = layer.cell(ops.cast(x, self.compute_dtype), states[place])
                raw = self.score(x)
        return self._summary(ops.stack(values, axis=1))

    def log_likelihood(self, inputs: Any, future: Any, known: Any, weights: Any) -> Any:
        """Return the mean logarithm of the density of every value behind the first.

        Args:
            inputs: As of the call.
            future: `float32[rows, horizon]`, the values that came.
            known: `bool[rows, horizon]`, which of them are known.
            weights: `float32[rows]`, 0 for rows that do not count.
        """
        features, static, scale = self._scaled(inputs)
        future = ops.where(known, future, 0.0)
        seen = ops.cast(known, "float32")
        values = ops.concatenate([features[:, :, 0], future], axis=1)
        observed = ops.concatenate([features[:, :, 1], seen], axis=1)
        past, context, ahead = self._parts(features, static)
        steps = self.horizon - 1
        told = ahead[:, 1:]
        more = [future[:, :steps, None], seen[:, :steps, None], told]
        more.append(ops.repeat(context[:, None], steps, axis=1))
        x = ops.concatenate([past, ops.concatenate(more, axis=-1)], axis=1)
        for layer, drop in zip(self.stack, self.drops, strict=True):
            x = drop(layer(x, training=True)[0], training=True)
        parameters = self._next.parameters(self.score(x), scale[:, None])
        density = self._next.log_density(values[:, 1:], *parameters, scale[:, None])
        return masked_mean(density, observed[:, 1:] * weights[:, None])

    def _scaled(self, inputs: Any) -> tuple[Any, Any, Any]:
        """Return features, static and the scale of each row, `float32[rows]`, 1 if there is none.

        Only counts have one.
        """
        features, static, *scale = inputs
        return features, static, scale[0][:, 0] if scale else ops.ones_like(features[:, 0, 0])

    def _parts(self, features: Any, static: Any) -> tuple[Any, Any, Any]:
        """Return the inputs of the recurrence, what is static, and what is known ahead.

        Of what is known ahead a step is given that of the next one, which it speaks about.
        """
        rows, steps = ops.shape(features)[0], features.shape[1]
        context = static[:, : static.shape[1] - self.horizon * self.told]
        ahead = ops.reshape(static[:, context.shape[1] :], (rows, self.horizon, self.told))
        told = ops.concatenate([features[:, 1:, 2:], ahead[:, :1]], axis=1)
        every = ops.repeat(context[:, None], steps, axis=1)
        return ops.concatenate([features[:, :, :2], told, every], axis=-1), context, ahead

    def _per_path(self, rows: Any) -> Any:
        """Return every row once per path, `[rows * paths, ...]`."""
        return ops.repeat(rows, self.paths, axis=0)

    def _summary(self, values: Any) -> Any:
        """Return mean and quantiles over the paths of each row."""
        values = ops.reshape(ops.cast(values, "float32"), (-1, self.paths, self.horizon))
        ranked = ops.sort(values, axis=1)
        places = np.clip(np.ceil(np.array(self.levels) * self.paths).astype(int) - 1, 0, None)
        columns = [ops.mean(values, axis=1), *(ranked[:, int(place)] for place in places)]
        return ops.stack(columns, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0][0], self.horizon, 1 + len(self.levels))

    def get_config(self) -> dict[str, Any]:
        own = {
            "horizon": self.horizon,
            "told": self.told,
            "levels": self.levels,
            "cell": self.cell,
            "units": self.units,
            "depth": self.depth,
            "dropout": self.dropout,
            "distribution": self.distribution,
            "paths": self.paths,
        }
        return {**super().get_config(), **own}


class LikelihoodLoss:
    """The negative logarithm of the density of window and outcomes, for a trainer.

    Args:
        layer: Name of the model's `SampledPaths`.
    """

    def __init__(self, layer: str = "paths") -> None:
        self._layer = layer

    def __call__(self, model: Any, features: Any, future: Any, weights: Any) -> Any:
        """Return the loss of a batch; arguments as of `ForecastLoss`."""
        base, scale = features["base"], features["scale"]
        if len(future.shape) == 3:
            future = ops.reshape(ops.transpose(future, (0, 2, 1)), (-1, base.shape[1]))
        known = ops.logical_and(ops.isfinite(future), scale > 0)
        scaled = (future - base) / ops.where(scale > 0, scale, 1.0)
        rows = ops.shape(base)[0] // ops.shape(weights)[0]
        paths = model.get_layer(self._layer)
        inputs = [features["features"], features["static"], ops.where(scale > 0, scale, 1.0)]
        return -paths.log_likelihood(inputs, scaled, known, ops.repeat(weights, rows))
