"""One row per public Keras layer and model of the zoo, with all that a test has to know of it.

`tests/test_conformance.py` runs every suite over every row. A public class without a row
fails there: add one when you add a class, and further rows for options that change its graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from zoo import layers, models
from zoo.ports import Port, Ports

LENGTHS = (5, 2, 0, 3)
"""Real steps per row of a test batch; the third row is nothing but padding."""

IDS = 11
"""Number of token ids."""

TOKENS = Port((None,), "int32", "token ids, 0 = padding")
STATES = Port((None, 6), "float32", "one vector per step")
VECTOR = Port((6,), "float32", "one vector per row")
FRAMES = Port((None, 4, 5, 2), "float32", "one frame per step")
CLIP = Port((3, 4, 6, 2), "float32", "three frames")
FOLDED = Port((3, 2, 3, 8), "float32", "three frames of 2 x 2 pixels each")
AHEAD = Port((2, 4, 6, 2), "float32", "two frames to come")
MASK = Port((None,), "bool", "True = real step")
FEATURES = Port((None, 6), "float32", "one vector per frame")
LENGTH = Port((), "int32", "number of real frames")
HORIZON = Port((4,), "float32", "one number per step to come")
FORECAST = Port((4, 3), "float32", "point forecast and quantiles per step to come")
FRAMED = Ports(features=FEATURES, lengths=LENGTH)


@dataclass(frozen=True)
class Descriptor:
    """What a layer or model takes, gives and promises.

    Attributes:
        make: The class.
        inputs: Its inputs by name; a free axis is time. A layer takes the first one, with
            `mask` where it is declared, or a list of several; a model takes a dictionary.
        output: What it gives.
        arguments: Of the constructor.
        case: Tells rows of one class apart.
        around: The layer that runs the class over `inputs`, where that is a cell.
        bfloat16: dtype of the output under the policy "mixed_bfloat16".
        tolerance: Largest difference that two ways to the same float32 answer may have.
        bfloat16_tolerance: The same between bfloat16 and float32.
        not_in_training: Inputs that decide about nothing in training.
    """

    make: type[keras.layers.Layer]
    inputs: Ports
    output: Port
    arguments: dict[str, Any] = field(default_factory=dict)
    case: str = ""
    around: type[keras.layers.Layer] | None = None
    bfloat16: str = "bfloat16"
    tolerance: float = 1e-6
    bfloat16_tolerance: float = 3e-2
    not_in_training: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.make.__name__}{self.case and '-' + self.case}"

    def part(self, **changes: Any) -> keras.layers.Layer:
        """Return the layer or model itself."""
        return self.make(**{**self.arguments, **changes})

    def model(self) -> keras.Model:
        """Return it as a model that takes `inputs` as a dictionary."""
        part = self.part()
        if isinstance(part, keras.Model):
            return part
        if self.around:
            part = self.around(part)
        inputs = {
            name: keras.Input(port.shape, dtype=port.dtype, name=name)
            for name, port in self.inputs.items()
        }
        first, *_ = inputs.values()
        if "mask" in inputs:
            return keras.Model(inputs, part(first, mask=inputs["mask"]))
        return keras.Model(inputs, part([*inputs.values()] if len(inputs) > 1 else first))

    def batch(
        self, lengths: Sequence[int] = LENGTHS, time: int | None = None
    ) -> dict[str, np.ndarray]:
        """Return rows of these lengths, padded to `time` steps or to the longest.

        A row's values are the same in every batch.
        """
        steps = time or max(lengths)
        rows = [
            {name: _steps(port, row, length, steps) for name, port in self.inputs.items()}
            for row, length in enumerate(lengths)
        ]
        return {name: np.stack([row[name] for row in rows]) for name in self.inputs}


def _steps(port: Port, row: int, length: int, time: int) -> np.ndarray:
    if not port.shape:
        return np.array(length, port.dtype)
    if port.shape[0] is not None:
        # A window of a fixed size, however much of it is real.
        return np.random.default_rng(row).normal(size=port.shape).astype(port.dtype)
    values = np.zeros((time, *port.shape[1:]), port.dtype)
    size, rng = (length, *values.shape[1:]), np.random.default_rng(row)
    if port.dtype == "bool":
        values[:length] = True
    elif port.dtype == "int32":
        values[:length] = rng.integers(1, IDS, size)
    else:
        values[:length] = rng.normal(size=size)
    return values


def _pooling(make: type[keras.layers.Layer], **arguments: Any) -> Descriptor:
    return Descriptor(make, Ports(inputs=STATES, mask=MASK), VECTOR, arguments)


def _recurrent(make: type[keras.layers.Layer], case: str = "", **arguments: Any) -> Descriptor:
    output = STATES if arguments.get("return_sequences") else VECTOR
    return Descriptor(make, Ports(inputs=STATES, mask=MASK), output, {"units": 6} | arguments, case)


def _cell(make: type[keras.layers.Layer], **arguments: Any) -> Descriptor:
    inputs = Ports(inputs=STATES, mask=MASK)
    return Descriptor(make, inputs, VECTOR, arguments, around=layers.RNN)


@keras.saving.register_keras_serializable(package="tests")
class FrameRNN(keras.layers.RNN):
    """`keras.layers.RNN` over frames, which tells their shape, as that of Keras does not."""

    def __init__(self, cell: keras.layers.Layer, return_sequences: bool = True, **options: Any):
        super().__init__(cell, return_sequences=return_sequences, **options)

    def compute_output_shape(self, shape: tuple[int | None, ...], *_: Any) -> tuple[Any, ...]:
        return (*shape[:-1], self.cell.output_size)


def _frames(make: type[keras.layers.Layer], case: str = "", **arguments: Any) -> Descriptor:
    height, width = (2, 3) if arguments.get("padding") == "valid" else FRAMES.shape[1:3]
    output = Port((None, height, width, arguments["filters"]), "float32", "one frame per step")
    around = FrameRNN if hasattr(make, "project") else None
    return Descriptor(make, Ports(inputs=FRAMES), output, arguments, case, around)


def _classifier(case: str, **arguments: Any) -> Descriptor:
    sizes = {"vocabulary_size": IDS, "classes": 3, "embedding_units": 6, "units": 4}
    logits = Port((3,), "float32", "logits")
    return Descriptor(
        models.SequenceClassifier,
        Ports(tokens=TOKENS),
        logits,
        {**sizes, **arguments},
        case,
        bfloat16="float32",
    )


def _front(make: type[keras.layers.Layer], width: int, **arguments: Any) -> Descriptor:
    output = Port((None, width), "float32", "one vector per step")
    return Descriptor(make, FRAMED, output, arguments)


def _acoustic(case: str, **arguments: Any) -> Descriptor:
    sizes = {"bins": 6, "classes": 4, "units": 5, "layers": 2, "reduction": 2}
    logits = Port((None, 4), "float32", "logits per step")
    return Descriptor(
        models.AcousticModel, FRAMED, logits, {**sizes, **arguments}, case, bfloat16="float32"
    )


WINDOW = Port((8, 3), "float32", "one vector per step, one number of it known ahead")
KNOWN = Port((6,), "float32", "what does not change, and a number per step to come")


def _forecaster(make: type[keras.Model], case: str = "", **arguments: Any) -> Descriptor:
    sizes = {"horizon": 4, "look_back": 8, "columns": 3, "known": 6, "units": 6, "dropout": 0.2}
    quantiles = {} if "levels" in arguments else {"quantiles": 2}
    inputs = Ports(features=WINDOW, static=KNOWN, base=HORIZON, scale=HORIZON, spread=HORIZON)
    arguments = {**sizes, **quantiles, **arguments}
    return Descriptor(
        make, inputs, FORECAST, arguments, case, bfloat16="float32", not_in_training=("spread",)
    )


def _paths(case: str, **arguments: Any) -> Descriptor:
    sizes = {"horizon": 4, "told": 1, "levels": [0.1, 0.9], "units": 6, "paths": 10}
    inputs = Ports(features=WINDOW, static=KNOWN)
    arguments = {**sizes, **arguments}
    return Descriptor(layers.SampledPaths, inputs, FORECAST, arguments, case, bfloat16="float32")


def _predictor(make: type[keras.Model], case: str = "", **arguments: Any) -> Descriptor:
    sizes = {"seen": 3, "horizon": 2, "height": 4, "width": 6, "channels": 2}
    arguments = {**sizes, "filters": 3, "layers": 2, "block": 2, **arguments}
    return Descriptor(make, Ports(frames=CLIP), AHEAD, arguments, case, bfloat16="float32")


DESCRIPTORS = (
    Descriptor(
        layers.ConformalScaling,
        Ports(corrections=FORECAST, base=HORIZON, scale=HORIZON, spread=HORIZON),
        FORECAST,
        not_in_training=("spread",),
    ),
    _forecaster(models.RecurrentForecaster, layers=2, seen=5),
    _forecaster(models.RecurrentForecaster, "lstm", cell="lstm", layers=1, seen=8),
    _forecaster(models.SegmentForecaster, segment=2),
    _forecaster(models.SegmentForecaster, "lstm", cell="lstm", segment=4),
    _forecaster(models.AutoregressiveForecaster, levels=[0.1, 0.9], layers=1, paths=10),
    _forecaster(
        models.AutoregressiveForecaster,
        "counts",
        levels=[0.1, 0.9],
        layers=1,
        distribution="negative_binomial",
        paths=10,
    ),
    _paths("student"),
    _paths("gaussian-lstm", distribution="gaussian", cell="lstm", depth=1),
    Descriptor(
        layers.WordDropout, Ports(inputs=TOKENS), TOKENS, {"rate": 0.4, "seed": 1}, bfloat16="int32"
    ),
    Descriptor(layers.VariationalDropout, Ports(inputs=STATES), STATES, {"rate": 0.4, "seed": 1}),
    _pooling(layers.MaskedMaxPooling),
    _pooling(layers.MaskedMeanPooling),
    _pooling(layers.MaskedAttentionPooling, units=5),
    _classifier("lstm", cell="lstm"),
    _classifier(
        "gru-everything",
        cell="gru",
        layers=2,
        pooling="attention+max+mean",
        word_dropout=0.3,
        embedding_dropout=0.3,
        dropout=0.3,
    ),
    _recurrent(layers.LSTM),
    _recurrent(layers.GRU),
    _recurrent(layers.GRU, "reset-before", reset_after=False, return_sequences=True),
    _cell(layers.ElmanCell, units=6),
    _cell(layers.LayerNormLSTMCell, units=6),
    _cell(layers.PeepholeLSTMCell, units=6),
    _cell(layers.ProjectedLSTMCell, units=8, projection_units=6),
    _frames(
        layers.ConvLSTM2D, filters=3, kernel_size=[3, 3], padding="same", return_sequences=True
    ),
    _frames(
        layers.ConvLSTM2D,
        "valid",
        filters=3,
        kernel_size=[3, 3],
        padding="valid",
        return_sequences=True,
    ),
    _frames(layers.STLSTMCell, filters=3, kernel_size=3),
    Descriptor(layers.FrameFolding, Ports(frames=CLIP), FOLDED, {"block": 2}),
    Descriptor(layers.FrameUnfolding, Ports(frames=FOLDED), CLIP, {"block": 2}),
    Descriptor(
        layers.MovedFrame,
        Ports(frames=CLIP, motion=Port((2, 2, 3, 2), "float32", "pixels down and right")),
        AHEAD,
    ),
    Descriptor(layers.StandStill, Ports(frames=CLIP), AHEAD, {"count": 2}),
    Descriptor(
        layers.STLSTMStack,
        Ports(frames=CLIP),
        AHEAD,
        {"horizon": 2, "filters": 3, "layers": 2, "kernel_size": 3},
        bfloat16="float32",
    ),
    _predictor(models.EncoderForecaster),
    _predictor(models.EncoderForecaster, "one-layer", layers=1, block=1),
    _predictor(models.EncoderForecaster, "moved", moved=True),
    _predictor(models.PredRNN, kernel_size=3),
    _recurrent(layers.MinGRU),
    _recurrent(layers.MinLSTM, return_sequences=True),
    _recurrent(layers.QRNN),
    _recurrent(layers.QRNN, "window-3", window=3, return_sequences=True, dropout=0.3, seed=1),
    _front(layers.FrameStacking, 12, reduction=2),
    _front(layers.ConvFront, 4, reduction=2, channels=2),
    Descriptor(layers.BlankPadding, Ports(inputs=STATES, mask=MASK), STATES),
    Descriptor(layers.FrequencyWarp, Ports(features=FEATURES), FEATURES, {"seed": 1}),
    Descriptor(layers.SpecAugment, FRAMED, FEATURES, {"band_width": 1, "seed": 1}),
    _acoustic("bidirectional"),
    _acoustic("one-way", cell="gru", bidirectional=False, spec_augment={"bands": 1}),
    _acoustic("conv", front="conv", layers=1, dropout=0.1),
)
