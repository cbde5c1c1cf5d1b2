"""Steps on three devices beside the same on one, told as JSON; a process of its own.

The number of a process' devices is settled before its first operation. Batches are such that
replicas differ in what their losses divide by: NaN, silence, padding, and none at all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from recipes import backtest, listening, sentiment, speech
from recipes.distribution import spread
from recipes.training import OneDevice, row_weights
from zoo.layers import ForecastLoss, LikelihoodLoss
from zoo.models import AutoregressiveForecaster
from zoo.preprocessing.batching import Batch

DEVICES, ROWS, TIME, HORIZON = 3, 8, 6, 4
CLIP = 0.1


class Case:
    """A loss, what it divides by, a model, and batches of features and targets by row."""

    def __init__(self, loss: Any, counts: Any, model: Callable[[], Any], rows: list[Any]) -> None:
        self.loss, self.counts, self.model, self.rows = loss, counts, model, rows


def words(random: np.random.Generator) -> Case:
    """Sentiment: rows whose gradient is that of single words."""
    tokens = random.integers(1, 9, (ROWS, TIME)).astype(np.int32)
    targets = np.eye(2, dtype=np.float32)[random.integers(0, 2, ROWS)]

    def model() -> Any:
        inputs = keras.Input((TIME,), dtype="int32", name="tokens")
        x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 3)(inputs))
        return keras.Model({"tokens": inputs}, keras.layers.Dense(2)(x))

    return Case(sentiment._loss, row_weights, model, [tokens, targets])


def sounds(random: np.random.Generator) -> Case:
    """Speech: every third recording is silent, so that one of three replicas has no character."""
    lengths = np.where(np.arange(ROWS) % DEVICES == 1, 0, random.integers(1, 4, ROWS))
    labels = np.where(np.arange(3) < lengths[:, None], random.integers(1, 4, (ROWS, 3)), 0)
    targets = {"labels": labels, "label_lengths": lengths, "frames": np.full(ROWS, TIME)}

    def model() -> Any:
        features = keras.Input((TIME, 5), name="features")
        inputs = {"features": features, "lengths": keras.Input((), dtype="int32", name="lengths")}
        made = keras.Model(inputs, keras.layers.Dense(4)(features))
        made.reduction = 1
        return made

    features = random.normal(size=(ROWS, TIME, 5)).astype(np.float32)
    targets = {name: values.astype(np.int32) for name, values in targets.items()}
    return Case(speech._loss, listening.characters, model, [features, targets])


def windows(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return features and outcomes; unknown are many of the first rows and few of the last."""
    shapes = {"features": (TIME, 2), "static": (2,), "base": (HORIZON,), "scale": (HORIZON,)}
    features = {
        name: random.normal(size=(ROWS, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    features["features"][:, :, 1] = random.random((ROWS, TIME)) < 0.7
    features["scale"] = np.abs(features["scale"]) + 0.1
    features["scale"][5] = 0
    future = random.normal(size=(ROWS, HORIZON)).astype(np.float32)
    future[random.random(future.shape) < np.linspace(0.9, 0, ROWS)[:, None]] = np.nan
    return features, future


def forecasts(random: np.random.Generator) -> Case:
    """Forecasting with quantiles."""

    def model() -> Any:
        features, _ = windows(random)
        inputs = {name: keras.Input(row.shape[1:], name=name) for name, row in features.items()}
        x = keras.layers.Flatten()(inputs["features"])
        return keras.Model(inputs, keras.layers.Reshape((HORIZON, 3))(keras.layers.Dense(12)(x)))

    return Case(ForecastLoss("absolute", (0.1, 0.9)), backtest.counted, model, [*windows(random)])


def futures(random: np.random.Generator) -> Case:
    """Forecasting by likelihood."""

    def model() -> Any:
        return AutoregressiveForecaster(HORIZON, TIME, 2, 2, units=4, layers=1, dropout=0.0)

    counts = partial(backtest.counted, past=True)
    return Case(LikelihoodLoss(), counts, model, [*windows(random)])


CASES = {case.__name__: case for case in (words, sounds, forecasts, futures)}


def rows_of(case: Case, part: Batch) -> list[Any]:
    """Return features and targets of a part of a batch."""
    return keras.tree.map_structure(lambda rows: rows[part.rows], case.rows)


def trained(case: Case, devices: Any) -> dict[str, Any]:
    """Return losses and weights behind a few steps, the last of a batch with one real row."""
    keras.utils.set_random_seed(3)
    model = case.model()
    # Not Adam, to which the size of a gradient hardly matters.
    optimizer = keras.optimizers.SGD(1.0, momentum=0.9, weight_decay=0.01, global_clipnorm=CLIP)
    optimizer.build(model.trainable_variables)
    step = devices.step(model, case.loss, case.counts, optimizer)
    losses = []
    for real in (ROWS, ROWS - 3, 1):
        weights = (np.arange(ROWS) < real).astype(np.float32)
        parts = devices.parts(Batch(np.arange(ROWS), weights, TIME))
        losses.append(float(step([(*rows_of(case, each), each.weights) for each in parts])))
    return {"losses": losses, "weights": [np.asarray(each).tolist() for each in model.weights]}


def masks(devices: Any) -> list[Any]:
    """Return what dropout lets through on each device, of ones."""
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dropout(0.5)])
    devices.begin(model)
    strategy = tf.distribute.get_strategy()
    found = strategy.run(tf.function(lambda: model(tf.ones((1, 64)), training=True)))
    return [each.numpy().tolist() for each in strategy.experimental_local_results(found)]


def main() -> None:
    """Print all of it."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * DEVICES
    tf.config.set_logical_device_configuration(cpu, logical)
    devices = spread(None, {"batch_size": ROWS})
    told: dict[str, Any] = {}
    for name in sys.argv[1:]:
        case = CASES[name](np.random.default_rng(5))
        told[name] = {"one": trained(case, OneDevice())}
        with devices.scope():
            told[name]["three"] = trained(case, devices)
    with devices.scope():
        told["masks"] = masks(devices)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
