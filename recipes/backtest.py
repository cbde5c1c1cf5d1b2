"""Forecasts from many origins, and what came: the windows that a forecaster is judged on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.report import Forecasts, typical_rows
from zoo import metrics, preprocessing
from zoo.datasets.series import SeriesPart
from zoo.pipeline import Pipeline

SHARES = {"80": (0.1, 0.9), "95": (0.025, 0.975)}
"""Intervals that are scored, by the percentage that they are to hold."""


HALF_LIFE = 0.25
"""Share of a part after which a window counts half in calibration.

Of shares from 1/8 to 1/2, and none, this one came nearest to the coverage of the validation
windows that followed twelve origins of ETTh1 (least root mean square miss of both intervals).
"""


@dataclass(frozen=True)
class Outcomes:
    """What came in each window of a part; a channel of a window is a row.

    Attributes:
        truth: `float32[rows, horizon]`, NaN = unknown.
        scale: `float32[rows]`, mean absolute change over a season, over the history.
        unit: `float32[rows]`, what errors are counted in: 1, or the usual size of a channel.
    """

    truth: np.ndarray
    scale: np.ndarray
    unit: np.ndarray

    def scores(self, forecast: np.ndarray) -> dict[str, float]:
        """Return the errors of point forecasts, `float[rows, horizon]`."""
        unit = self.unit[:, None]
        return {
            "smape": metrics.smape(self.truth, forecast),
            "mase": metrics.mase(self.truth, forecast, self.scale),
            "mae": metrics.mean_absolute_error(self.truth / unit, forecast / unit),
            "mse": metrics.mean_squared_error(self.truth / unit, forecast / unit),
        }

    def interval_scores(self, quantiles: np.ndarray, levels: tuple[float, ...]) -> dict[str, Any]:
        """Return how well `float[rows, horizon, levels]` hold."""
        unit = self.unit[:, None]
        scaled = self.truth / unit, quantiles / unit[..., None]
        found: dict[str, Any] = {
            "pinball": metrics.pinball(*scaled, levels),
            "crps": metrics.crps(*scaled, levels),
            "coverage": {},
            "msis": {},
        }
        for name, (low, high) in SHARES.items():
            if low in levels and high in levels:
                lower, upper = (quantiles[:, :, levels.index(level)] for level in (low, high))
                found["coverage"][name] = metrics.coverage(self.truth, lower, upper)
                found["msis"][name] = metrics.msis(self.truth, lower, upper, high - low, self.scale)
        return found


def windows(
    part: SeriesPart, prepare: Any, batch_size: int, most: int = 0, seed: int = 0
) -> preprocessing.WindowBatches:
    """Return the windows of a part, as `prepare` gives them to the model."""
    specs = prepare.inputs.tensor_specs()
    encode = tf.function(lambda raw: _without_status(prepare(raw)), input_signature=[specs])
    return preprocessing.WindowBatches(
        part.examples.values,
        part.first,
        part.last,
        part.ends,
        prepare.look_back,
        prepare.horizon,
        batch_size,
        most,
        seed,
        encode,
        part.examples.times if "timestamps" in specs else None,
        part.examples.covariates if "covariates" in specs else None,
        preprocessing.static_rows(prepare.inputs, part.examples.statics, part.name),
        prepare.log,
    )


def usual_sizes(train: SeriesPart, log: bool = False) -> dict[str, float]:
    """Return the deviation of each channel over the training part, or of its logarithms.

    By the channel's name; none where there is one without an axis.
    """
    examples = train.examples
    if not examples.channels:
        return {}
    pairs = zip(examples.values, train.ends, strict=True)
    values = np.concatenate([row[:end] for row, end in pairs])
    if log:
        values = np.log(np.where(values > 0, values, np.nan))
    return dict(zip(examples.channels, np.nanstd(values, axis=0).tolist(), strict=True))


def covariate_scales(train: SeriesPart) -> dict[str, tuple[float, float]]:
    """Return mean and deviation of each covariate over the training part, by its name."""
    known = train.examples.covariates
    if known is None:
        return {}
    values = np.concatenate([row[:end] for row, end in zip(known, train.ends, strict=True)])
    scales = [(float(np.nanmean(each)), float(np.nanstd(each))) for each in values.T]
    return dict(zip(train.examples.covariate_names, scales, strict=True))


def outcomes(
    part: SeriesPart, batches: preprocessing.WindowBatches, usual: Mapping[str, float]
) -> Outcomes:
    """Return what came.

    Args:
        part: The windows' part.
        batches: Its windows.
        usual: The usual size of each channel's values; empty for errors in the data's units.
    """
    rows = np.arange(len(batches))
    truth = preprocessing.channel_rows(batches.future(rows))
    series, origins = batches.origins(rows)
    changes = [_mean_changes(values, part.examples.period) for values in part.examples.values]
    scale = np.array(
        [changes[which][origin] for which, origin in zip(series, origins, strict=True)]
    )
    sizes = np.array([*usual.values()], np.float32)
    unit = np.tile(sizes, len(rows)) if usual else np.ones(len(truth))
    return Outcomes(truth, scale.reshape(-1), unit)


def answers(pipeline: Pipeline, batches: preprocessing.WindowBatches) -> dict[str, np.ndarray]:
    """Return what the whole pipeline says to each window: `mean`, `quantiles`, a row a channel."""
    found: dict[str, list[np.ndarray]] = {"mean": [], "quantiles": []}
    for rows in _blocks(len(batches), batches.batch_size):
        said = pipeline.predict(batches.raw(rows), batch_size=len(rows))
        found["mean"].append(preprocessing.channel_rows(said["mean"]))
        quantiles = said["quantiles"]
        if quantiles.ndim == 4:
            quantiles = quantiles.transpose(0, 2, 1, 3).reshape(-1, *quantiles.shape[1::2])
        found["quantiles"].append(quantiles)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def shown(
    part: SeriesPart,
    batches: preprocessing.WindowBatches,
    answers: dict[str, np.ndarray],
    levels: tuple[float, ...],
) -> Forecasts:
    """Return what a page shows of the test part."""
    came = outcomes(part, batches, {})
    rows = typical_rows(came.truth, answers["mean"], came.scale)
    channels = part.examples.channels or ("",)
    pasts = []
    for row in rows:
        window, channel = divmod(row, len(channels))
        past = batches.past(window).reshape(-1, len(channels))[:, channel]
        series = part.examples.ids[batches.origins(np.array([window]))[0][0]]
        pasts.append((" ".join(filter(None, (series, channels[channel]))), past))
    said = answers["mean"], answers["quantiles"]
    return Forecasts(pasts, rows, came.truth, came.scale, *said, levels)


def counted(features: dict[str, Any], future: Any, weights: Any, past: bool = False) -> Any:
    """Return how many steps of a batch have a known outcome: what `ForecastLoss` divides by.

    Args:
        features, future, weights: As of `ForecastLoss`.
        past: Count the observed steps of the window behind its first as well, as `LikelihoodLoss`.
    """
    scale = features["scale"]
    if len(future.shape) == 3:
        future = tf.reshape(tf.transpose(future, (0, 2, 1)), (-1, scale.shape[1]))
    known = tf.cast(tf.math.is_finite(future) & (scale > 0), tf.float32)
    per_row = tf.reduce_sum(known, axis=1)
    if past:
        per_row += tf.reduce_sum(features["features"][:, 1:, 1], axis=1)
    rows = tf.shape(scale)[0] // tf.shape(weights)[0]
    return tf.reduce_sum(per_row * tf.repeat(weights, rows))


def corrections(model: Any, batches: preprocessing.WindowBatches) -> tuple[Any, ...]:
    """Return how far truth and quantiles are from the point forecast, in units of the spread.

    Of every window and channel, `float[rows, horizon]` and `[rows, horizon, levels]`: what the
    offsets of the model's quantiles are fitted to.
    """
    score = tf.function(lambda features: model(features, training=False), reduce_retracing=True)
    truths, quantiles = [], []
    for batch in batches.in_order():
        features = batches.pad(batch)
        real = np.repeat(batch.weights > 0, len(features["base"]) // len(batch.rows))
        spread = features["spread"].numpy()
        spread = np.where(spread == 0, np.nan, spread)
        point, said = np.split(score(features).numpy(), [1], axis=2)
        came = preprocessing.channel_rows(batches[batch.rows])
        truth, said = (came - point[..., 0]) / spread, (said - point) / spread[..., None]
        truths.append(truth[real])
        quantiles.append(said[real])
    return np.concatenate(truths), np.concatenate(quantiles)


def recency(part: SeriesPart, rows: int) -> np.ndarray:
    """Return how much each row counts in calibration, `float[rows]`.

    Where one series goes on through the part, the season changes within it: what is a quarter
    of the part older counts half. Rows of different series are of one age.
    """
    if part.examples.borders is None:
        return np.ones(rows)
    age = 1 - np.arange(1, rows + 1) / rows
    return 0.5 ** (age / HALF_LIFE)


def _without_status(prepared: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in prepared.items() if name != "status"}


def _blocks(count: int, size: int) -> Iterator[np.ndarray]:
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def _mean_changes(values: np.ndarray, period: int) -> np.ndarray:
    """Return the mean of |x[t] - x[t - period]| over the steps before each, NaN for none."""
    changes = np.full(values.shape, np.nan)
    changes[period:] = np.abs(values[period:] - values[:-period])
    known = ~np.isnan(changes)
    sums = np.cumsum(np.where(known, changes, 0), axis=0)
    counts = np.cumsum(known, axis=0)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.concatenate([np.full_like(means[:1], np.nan), means])
