"""Characters from sound: a front, stacked recurrence, and a score per character and step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from zoo.errors import ConfigError, UnknownNameError
from zoo.layers.dropout import VariationalDropout
from zoo.layers.frequency_warp import FrequencyWarp
from zoo.layers.fronts import FRONTS, BlankPadding
from zoo.layers.recurrent import recurrent
from zoo.layers.spec_augment import SpecAugment


@keras.saving.register_keras_serializable(package="seqzoo")
class AcousticModel(keras.Model):
    """A recurrent acoustic model for CTC.

    Takes `{"features": float32[batch, frames, bins], "lengths": int32[batch]}`, the lengths in
    frames, and gives logits `float32[batch, ceil(frames / reduction), classes]`. Class 0 is the
    blank; steps behind a row's length say it with certainty.
    Source: Graves et al. 2006 (CTC); Amodei et al. 2016, arXiv:1512.02595 (Deep Speech 2).

    Args:
        bins: Features per frame.
        classes: Number of characters, and one for the blank.
        cell: "lstm" or "gru".
        units: State size per direction.
        layers: Number of recurrent layers.
        bidirectional: Read in both directions; False can be streamed.
        front: "stack" or "conv"; only "stack" can be streamed.
        reduction: Frames per step.
        dropout: Variational dropout before every recurrent layer but the first, and before the
            scores.
        spec_augment: Arguments of `SpecAugment`; None for none.
        warp: Most that `FrequencyWarp` changes a spectrum in training.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        cell: str = "lstm",
        units: int = 256,
        layers: int = 3,
        bidirectional: bool = True,
        front: str = "stack",
        reduction: int = 3,
        dropout: float = 0.0,
        spec_augment: Mapping[str, Any] | None = None,
        warp: float = 0.0,
        **options: Any,
    ) -> None:
        if layers < 1:
            raise ConfigError(f"layers must be at least 1, not {layers}")
        if front not in FRONTS:
            raise UnknownNameError("front", front, FRONTS)

        # === Parts ===
        reduce = FRONTS[front](reduction, name="front")
        project = keras.layers.Dense(units, name="projection")
        norms = [keras.layers.LayerNormalization(name=f"norm_{index}") for index in range(layers)]
        stack = [_layer(cell, units, bidirectional, index) for index in range(layers)]
        drops = [VariationalDropout(dropout, name=f"dropout_{index}") for index in range(layers)]
        score = keras.layers.Dense(classes, dtype="float32", name="scores")
        say_blank = BlankPadding(dtype="float32", name="blank_padding")

        # === Graph ===
        features = keras.Input((None, bins), dtype="float32", name="features")
        lengths = keras.Input((), dtype="int32", name="lengths")
        x = features
        if warp:
            x = FrequencyWarp(warp, name="frequency_warp")(x)
        if spec_augment is not None:
            x = SpecAugment(**spec_augment, name="spec_augment")([x, lengths])
        x = project(reduce([x, lengths]))
        for norm, layer, drop in zip(norms, stack, drops, strict=True):
            x = drop(layer(norm(x)))
        inputs = {"features": features, "lengths": lengths}
        super().__init__(inputs, say_blank(score(x)), **options)

        # === Config ===
        self.bins = bins
        self.classes = classes
        self.cell = cell
        self.units = units
        self.depth = layers
        self.bidirectional = bidirectional
        self.front = front
        self.reduction = reduction
        self.dropout = dropout
        self.spec_augment = None if spec_augment is None else dict(spec_augment)
        self.warp = warp

    def initial_state(self, batch: Any) -> list[Any]:
        """Return the states before the first step of `batch` streams."""
        return [state for layer in self._recurrent() for state in layer.initial_state(batch)]

    def step(self, features: Any, lengths: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Take the next frames of streams.

        Args:
            features: `float32[batch, frames, bins]`; all but the last frames of a stream come
                in multiples of `reduction`.
            lengths: `int32[batch]`, frames of each row that are real; may be 0.
            state: From `initial_state` or the last `step`.

        Returns:
            `float32[batch, ceil(frames / reduction), classes]` logits as of the whole model, and
            the state.
        """
        front = self.get_layer("front")
        mask = front.compute_mask([features, lengths])
        x = self.get_layer("projection")(front([features, lengths]))
        states, after = iter(state), []
        for index, layer in enumerate(self._recurrent()):
            before = [next(states) for _ in layer.initial_state(1)]
            x, now = layer.step(self.get_layer(f"norm_{index}")(x), before, mask)
            after += now
        return self.get_layer("blank_padding")(self.get_layer("scores")(x), mask=mask), after

    def _recurrent(self) -> list[Any]:
        """Return the recurrent layers of a model that can be streamed."""
        if self.bidirectional or self.front != "stack":
            raise ConfigError(
                "only a model with bidirectional=False and front='stack' can be streamed, not "
                f"bidirectional={self.bidirectional} and front='{self.front}'"
            )
        return [self.get_layer(f"recurrent_{index}") for index in range(self.depth)]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "name": self.name,
            "bins": self.bins,
            "classes": self.classes,
            "cell": self.cell,
            "units": self.units,
            "layers": self.depth,
            "bidirectional": self.bidirectional,
            "front": self.front,
            "reduction": self.reduction,
            "dropout": self.dropout,
            "spec_augment": self.spec_augment,
            "warp": self.warp,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AcousticModel:
        """Rebuild from `get_config`."""
        return cls(**config)


def _layer(cell: str, units: int, bidirectional: bool, index: int) -> keras.layers.Layer:
    forward = recurrent(cell, units, return_sequences=True, name="forward")
    if not bidirectional:
        return recurrent(cell, units, return_sequences=True, name=f"recurrent_{index}")
    backward = recurrent(cell, units, return_sequences=True, go_backwards=True, name="backward")
    return keras.layers.Bidirectional(
        forward, backward_layer=backward, name=f"bidirectional_{index}"
    )
