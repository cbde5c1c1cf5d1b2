"""The encoder-forecaster of `zoo.models` in PyTorch, with the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


class TorchConvLSTM(nn.Module):
    """One layer; input and state share a convolution, as PyTorch's users write it.

    Args:
        kernel, recurrent_kernel, bias: As `zoo.layers.ConvLSTM2D` has them.
    """

    def __init__(self, kernel: np.ndarray, recurrent_kernel: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        joined = np.concatenate([kernel, recurrent_kernel], axis=2)
        size, _, inputs, gates = joined.shape
        self.filters = gates // 4
        self.convolve = nn.Conv2d(inputs, gates, size, padding="same")
        with torch.no_grad():
            self.convolve.weight.copy_(torch.from_numpy(joined.transpose(3, 2, 0, 1).copy()))
            self.convolve.bias.copy_(torch.from_numpy(bias))

    def forward(self, frames: Any, state: Any) -> tuple[Any, Any]:
        """Return the outputs of all steps, `float32[time, batch, filters, height, width]`."""
        h, c = state
        written = []
        for frame in frames:
            gates = self.convolve(torch.cat([frame, h], dim=1))
            i, f, g, o = gates.chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            written.append(h)
        return torch.stack(written), (h, c)


class TorchEncoderForecaster(nn.Module):
    """All of the model.

    Args:
        model: A `zoo.models.EncoderForecaster`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.block, self.horizon, self.filters = model.block, model.horizon, model.filters

        def layers(kind: str) -> nn.ModuleList:
            named = (model.get_layer(f"{kind}_{number}") for number in range(model.depth))
            return nn.ModuleList([TorchConvLSTM(*layer.get_weights()) for layer in named])

        self.encoders, self.forecasters = layers("encoder"), layers("forecaster")
        kernel, bias = model.get_layer("pixels").get_weights()
        self.pixels = nn.Conv2d(*kernel.shape, 1)
        with torch.no_grad():
            self.pixels.weight.copy_(torch.from_numpy(kernel.T[:, :, None, None].copy()))
            self.pixels.bias.copy_(torch.from_numpy(bias))

    def forward(self, frames: Any) -> Any:
        """Return `float32[batch, horizon, height, width, channels]` behind as many as are seen."""
        folded = x = self._fold(frames)
        batch, height, width = x.shape[1], *x.shape[-2:]
        states = []
        for layer in self.encoders:
            zeros = torch.zeros(batch, self.filters, height, width)
            x, state = layer(x, (zeros, zeros))
            states.append(state)
        x, written = folded[-1:].expand(self.horizon, -1, -1, -1, -1), []
        for layer, state in zip(reversed(self.forecasters), reversed(states), strict=True):
            x, _ = layer(x, state)
            written.append(x)
        said = torch.cat(written, dim=2)
        return self._unfold(torch.sigmoid(self.pixels(said.flatten(0, 1))), batch)

    def _fold(self, frames: Any) -> Any:
        batch, time, height, width, channels = frames.shape
        size = self.block
        shape = (batch, time, height // size, size, width // size, size, channels)
        x = frames.reshape(shape).permute(1, 0, 3, 5, 6, 2, 4)
        return x.reshape(time, batch, -1, height // size, width // size)

    def _unfold(self, pixels: Any, batch: int) -> Any:
        size = self.block
        _, folded, rows, columns = pixels.shape
        channels = folded // size**2
        shape = (self.horizon, batch, size, size, channels, rows, columns)
        x = pixels.reshape(shape).permute(1, 0, 5, 2, 6, 3, 4)
        return x.reshape(batch, self.horizon, rows * size, columns * size, channels)
