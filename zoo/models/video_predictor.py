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

    The encoder reads folded frames from its first layer to its last. Each layer of the forecaster
    begins with the state of the encoder's layer opposite, and the layers are written from the last
    one back to the first. A step of the last one is given the last frame that was seen, which is
    our own. What all layers of the forecaster say at a step becomes a frame by a 1 x 1 convolution
    and a sigmoid.
    Source: Shi et al. 2015, arXiv:1506.04214, section 3.2; Shi et al. 2017, arXiv:1706.03458,
    section 3.1 (the forecaster from the last layer back).

    With `moved` that frame, without the sigmoid, is what the last one has to change by, after it
    was moved as two more channels say, of every block. At first both are next to nothing: training
    begins at a standstill.
    Source: Zhang et al. 2023, Nature 619 (NowcastNet: advection and a residual).

    Args:
        seen: Frames that are looked at.
        horizon: Frames that are predicted.
        height, width, channels: Of a frame.
        filters: Channels of each layer's state.
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
        filters: int = 64,
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
                    filters,
                    kernel_size,
                    padding="same",
                    return_sequences=True,
                    return_state=True,
                    name=f"{kind}_{number}",
                )
                for number in range(layers)
            ]
            for kind in ("encoder", "forecaster")
        )
        repeat = StandStill(horizon, name="last_frame")
        combine = keras.layers.Concatenate(name="combination")
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
        folded = x = fold(frames)
        states = []
        for layer in encoders:
            x, *state = layer(x)
            states.append(state)
        x, written = repeat(folded), []
        for layer, state in zip(reversed(forecasters), reversed(states), strict=True):
            x, *_ = layer(x, initial_state=state)
            written.append(x)
        said = combine(written) if layers > 1 else written[0]
        predicted = unfold(project(said))
        if moved:
            displace = keras.layers.Dense(
                2, kernel_initializer=small, dtype="float32", name="motion"
            )
            motion = displace(said)
            begin = MovedFrame(dtype="float32", name="moved_frame")([frames, motion])
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
        folded, after = self._read(frames, state)
        return self._shown(self._write(frames, folded, after, 1)), after

    def rollout(self, frames: Any, count: int) -> Any:
        """Return `count` predicted frames, `float32[batch, count, height, width, channels]`.

        Args:
            frames: `float32[batch, time, height, width, channels]`, any number of them.
            count: At least 1; more than the horizon goes on as far as the states carry.
        """
        folded, after = self._read(frames, self.initial_state(ops.shape(frames)[0]))
        return self._shown(self._write(frames, folded, after, count))

    def _shown(self, predicted: Any) -> Any:
        """Return frames from 0 to 1, beyond which a change may lead in training."""
        return ops.clip(predicted, 0.0, 1.0) if self.moved else predicted

    def _read(self, frames: Any, state: Sequence[Any]) -> tuple[Any, list[Any]]:
        folded = x = self.get_layer("folding")(frames)
        before, after = iter(state), []
        for layer in self._layers_of("encoder"):
            x, now = layer.step(x, [next(before), next(before)])
            after += now
        return folded, after

    def _write(self, frames: Any, folded: Any, state: Sequence[Any], count: int) -> Any:
        x, written = ops.repeat(folded[:, -1:], count, axis=1), []
        opposite = [state[place : place + 2] for place in range(0, len(state), 2)]
        for layer, before in zip(
            reversed(self._layers_of("forecaster")), reversed(opposite), strict=True
        ):
            x, _ = layer.step(x, before)
            written.append(x)
        said = ops.concatenate(written, axis=-1)
        predicted = self.get_layer("unfolding")(self.get_layer("pixels")(said))
        if not self.moved:
            return predicted
        return predicted + self.get_layer("moved_frame")([frames, self.get_layer("motion")(said)])

    def _layers_of(self, kind: str) -> list[Any]:
        return [self.get_layer(f"{kind}_{number}") for number in range(self.depth)]

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
