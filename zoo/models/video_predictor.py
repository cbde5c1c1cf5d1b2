"""The next frames of a video, by convolutional recurrence.

Both models take `{"frames": float32[batch, seen, height, width, channels]}` from 0 to 1 and give
`float32[batch, horizon, height, width, channels]`; `rollout` predicts any number of frames, and
`step` one after each frame that comes. Layers use `keras.ops` alone, so that a model is trained on
any backend, and its weights load on another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from zoo.errors import ConfigError
from zoo.layers.conv_recurrent import ConvLSTM2D
from zoo.layers.folding import FrameFolding, FrameUnfolding, StandStill
from zoo.layers.motion import MovedFrame
from zoo.layers.spatiotemporal import STLSTMStack


@keras.saving.register_keras_serializable(package="seqzoo")
class EncoderForecaster(keras.Model):
    """Stacked ConvLSTMs read the frames, and as many write those to come.

    The encoder reads folded frames from its first layer to its last. Before each further layer
    frames are halved in height and width and have twice the channels, so that the last one sees
    far, and costs a quarter. Each layer of the forecaster begins with the state of the encoder's
    layer opposite. The layers are written from the last one, which is given the last frame that
    was seen, back to the first, and doubled in between; what the first one says at a step becomes
    a frame by a 1 x 1 convolution and a sigmoid.
    Source: Shi et al. 2015, arXiv:1506.04214, section 3.2; Shi et al. 2017, arXiv:1706.03458,
    section 3.1 (the resolutions, and the way back). Halving and doubling by folded pixels and a
    1 x 1 convolution, and what the last layer is given, are our own.

    With `moved` that frame, without the sigmoid, is what the last one has to change by, after it
    was moved as two more channels say, of every block. At first both are next to nothing: training
    begins at a standstill.
    Source: Zhang et al. 2023, Nature 619 (NowcastNet: advection and a residual).

    Args:
        seen: Frames that are looked at.
        horizon: Frames that are predicted.
        height, width, channels: Of a frame.
        filters: Channels of the first layer's state; each further layer has twice as many.
        layers: Layers of the encoder, and of the forecaster.
        kernel_size: Height and width of the kernels.
        block: Pixels of the sides of a block that is folded into channels.
        moved: Begin with the last frame, moved.
    """

    def __init__(
        self,
        seen: int,
        horizon: int,
        height: int,
        width: int,
        channels: int = 1,
        filters: int = 32,
        layers: int = 2,
        kernel_size: int = 3,
        block: int = 4,
        moved: bool = False,
        **options: Any,
    ) -> None:
        _check(seen, horizon, layers)

        # === Parts ===
        fold = FrameFolding(block, name="folding")
        encoders, forecasters = (
            [
                ConvLSTM2D(
                    filters * 2**level,
                    kernel_size,
                    padding="same",
                    return_sequences=True,
                    return_state=True,
                    name=f"{kind}_{level}",
                )
                for level in range(layers)
            ]
            for kind in ("encoder", "forecaster")
        )
        halve, double = (
            FrameFolding(2, fill=True, name="halving"),
            FrameUnfolding(2, name="doubling"),
        )
        merges = [
            keras.layers.Dense(filters * 2**level, "leaky_relu", name=f"merging_{level}")
            for level in range(1, layers)
        ]
        splits = [  # four pixels of the layer below from each
            keras.layers.Dense(
                4 * filters * 2 ** (level - 1), "leaky_relu", name=f"splitting_{level}"
            )
            for level in range(1, layers)
        ]
        repeat = StandStill(horizon, name="last_frame")
        # The same weights for every pixel of every step.
        small = keras.initializers.RandomNormal(stddev=1e-3)
        project = keras.layers.Dense(
            block * block * channels,
            activation=None if moved else "sigmoid",
            kernel_initializer=small if moved else "glorot_uniform",
            dtype="float32",
            name="pixels",
        )
        unfold = FrameUnfolding(block, dtype="float32", name="unfolding")

        # === Graph ===
        frames = keras.Input((seen, height, width, channels), dtype="float32", name="frames")
        x = fold(frames)
        states = []
        for level, layer in enumerate(encoders):
            x = merges[level - 1](halve(x)) if level else x
            given = x
            x, *state = layer(x)
            states.append(state)
        x = repeat(given)
        for level in reversed(range(layers)):
            h, c = states[level]
            x = x[:, :, : h.shape[1], : h.shape[2]]  # less what halving has filled up
            x, *_ = forecasters[level](x, initial_state=[h, c])
            x = double(splits[level - 1](x)) if level else x
        predicted = unfold(project(x))
        if moved:
            displace = keras.layers.Dense(
                2, kernel_initializer=small, dtype="float32", name="motion"
            )
            begin = MovedFrame(dtype="float32", name="moved_frame")([frames, displace(x)])
            predicted = keras.layers.Add(dtype="float32", name="change")([begin, predicted])
        super().__init__({"frames": frames}, predicted, **options)

        # === Config ===
        self.seen, self.horizon = seen, horizon
        self.height, self.width, self.channels = height, width, channels
        self.filters, self.depth = filters, layers
        self.kernel_size, self.block, self.moved = kernel_size, block, moved

    @property
    def bounded(self) -> bool:
        """Whether what is predicted is from 0 to 1 by itself."""
        return not self.moved

    def expect(self, brightness: float) -> None:
        """Let an untrained model predict frames of this brightness, from 0 to 1.

        A sigmoid begins at 0.5. Where frames are dark, the way down to them would have to be
        learned before anything else.
        """
        _expect(self.get_layer("pixels"), brightness)

    def taught(self, frames: Any, known: Any) -> Any:
        """Return what is predicted in training, of the last frames of a clip.

        Args:
            frames: `float32[batch, seen + horizon, height, width, channels]`.
            known: Of no use here: a forecaster never looks at what it predicts.
        """
        return self({"frames": frames[:, : self.seen]}, training=True)

    def initial_state(self, batch: Any) -> list[Any]:
        """Return the states before the first frame, zeros: h and c of each layer."""
        return [
            state for layer in self._layers_of("encoder") for state in layer.initial_state(batch)
        ]

    def step(self, frames: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return what is expected behind the next frames, and the state.

        Args:
            frames: `float32[batch, time, height, width, channels]`.
            state: From `initial_state` or the last `step`.

        Returns:
            `float32[batch, 1, height, width, channels]`, the frame behind the last one, and the
            state.
        """
        given, after = self._read(frames, state)
        return self._write(frames, given, after, 1), after

    def rollout(self, frames: Any, count: int) -> Any:
        """Return `count` predicted frames, `float32[batch, count, height, width, channels]`.

        Args:
            frames: `float32[batch, time, height, width, channels]`, any number of them.
            count: At least 1; more than the horizon goes on as far as the states carry.
        """
        given, after = self._read(frames, self.initial_state(ops.shape(frames)[0]))
        return self._write(frames, given, after, count)

    def _read(self, frames: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return the last frame as the last layer is given it, and the states after all."""
        x = self.get_layer("folding")(frames)
        before, after = iter(state), []
        for level, layer in enumerate(self._layers_of("encoder")):
            if level:
                x = self.get_layer(f"merging_{level}")(self.get_layer("halving")(x))
            given = x[:, -1:]
            x, now = layer.step(x, [next(before), next(before)])
            after += now
        return given, after

    def _write(self, frames: Any, given: Any, state: Sequence[Any], count: int) -> Any:
        x = ops.repeat(given, count, axis=1)
        for level, layer in reversed([*enumerate(self._layers_of("forecaster"))]):
            h, c = state[2 * level : 2 * level + 2]
            x, _ = layer.step(x[:, :, : h.shape[1], : h.shape[2]], [h, c])
            if level:
                x = self.get_layer("doubling")(self.get_layer(f"splitting_{level}")(x))
        predicted = self.get_layer("unfolding")(self.get_layer("pixels")(x))
        if not self.moved:
            return predicted
        begin = self.get_layer("moved_frame")([frames, self.get_layer("motion")(x)])
        return ops.clip(begin + predicted, 0.0, 1.0)  # beyond which a change may lead in training

    def _layers_of(self, kind: str) -> list[Any]:
        return [self.get_layer(f"{kind}_{level}") for level in range(self.depth)]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**_config(self), "moved": self.moved}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> EncoderForecaster:
        """Rebuild from `get_config`."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="seqzoo")
class PredRNN(keras.Model):
    """ST-LSTM layers predict the next frame, see it, and go on.

    Behind the frames that are seen each prediction is the next input. In training it may be
    replaced by the true frame (scheduled sampling).
    Source: Wang et al. 2017, PredRNN; Bengio et al. 2015, arXiv:1506.03099 (scheduled sampling).

    Args:
        seen: Frames that are looked at.
        horizon: Frames that are predicted.
        height, width, channels: Of a frame.
        filters: Channels of each layer's states.
        layers: Layers.
        kernel_size: Height and width of the kernels.
        block: Pixels of the sides of a block that is folded into channels.
    """

    bounded = True

    def __init__(
        self,
        seen: int,
        horizon: int,
        height: int,
        width: int,
        channels: int = 1,
        filters: int = 64,
        layers: int = 2,
        kernel_size: int = 5,
        block: int = 4,
        **options: Any,
    ) -> None:
        _check(seen, horizon, layers)

        # === Parts ===
        fold = FrameFolding(block, name="folding")
        predict = STLSTMStack(horizon, filters, layers, kernel_size, name="recurrence")
        unfold = FrameUnfolding(block, dtype="float32", name="unfolding")

        # === Graph ===
        frames = keras.Input((seen, height, width, channels), dtype="float32", name="frames")
        super().__init__({"frames": frames}, unfold(predict(fold(frames))), **options)

        # === Config ===
        self.seen, self.horizon = seen, horizon
        self.height, self.width, self.channels = height, width, channels
        self.filters, self.depth = filters, layers
        self.kernel_size, self.block = kernel_size, block

    def expect(self, brightness: float) -> None:
        """Let an untrained model predict frames of this brightness, from 0 to 1."""
        _expect(self._stack.to_frame, brightness)

    def taught(self, frames: Any, known: Any) -> Any:
        """Return what is predicted in training, of every frame of a clip but the first.

        Args:
            frames: `float32[batch, seen + horizon, height, width, channels]`.
            known: A scalar from 0 to 1: the share of the frames to come that are shown.
        """
        folded = self.get_layer("folding")(frames)
        return self.get_layer("unfolding")(self._stack.taught(folded, self.seen, known))

    def initial_state(self, batch: Any) -> list[Any]:
        """Return the states before the first frame, zeros: h and c of each layer, and m."""
        return self._stack.initial_state(batch)

    def step(self, frames: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return what is expected behind the next frames, and the state.

        Args:
            frames: `float32[batch, time, height, width, channels]`.
            state: From `initial_state` or the last `step`.

        Returns:
            `float32[batch, 1, height, width, channels]`, the frame behind the last one, and the
            state.
        """
        predicted, after = self._stack.read(self.get_layer("folding")(frames), state)
        return self.get_layer("unfolding")(predicted[:, None]), after

    def rollout(self, frames: Any, count: int) -> Any:
        """Return `count` predicted frames, `float32[batch, count, height, width, channels]`.

        Args:
            frames: `float32[batch, time, height, width, channels]`, any number of them.
            count: At least 1.
        """
        return self.get_layer("unfolding")(
            self._stack.rollout(self.get_layer("folding")(frames), count)
        )

    @property
    def _stack(self) -> STLSTMStack:
        return self.get_layer("recurrence")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return _config(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PredRNN:
        """Rebuild from `get_config`."""
        return cls(**config)


PREDICTORS: Mapping[str, type[keras.Model]] = {
    "encoder-forecaster": EncoderForecaster,
    "predrnn": PredRNN,
}
"""The models of this module by name."""


def _check(seen: int, horizon: int, layers: int) -> None:
    if min(seen, horizon, layers) < 1:
        raise ConfigError(
            f"seen, horizon and layers must be at least 1, not {seen}, {horizon} and {layers}"
        )


def _expect(pixels: keras.layers.Dense, brightness: float) -> None:
    """Give a sigmoid the bias that is this brightness, and never quite 0 or 1."""
    share = min(max(brightness, 0.01), 0.99)
    pixels.bias.assign(ops.full(pixels.bias.shape, math.log(share / (1 - share))))


def _config(model: EncoderForecaster | PredRNN) -> dict[str, Any]:
    return {
        "name": model.name,
        "seen": model.seen,
        "horizon": model.horizon,
        "height": model.height,
        "width": model.width,
        "channels": model.channels,
        "filters": model.filters,
        "layers": model.depth,
        "kernel_size": model.kernel_size,
        "block": model.block,
    }
