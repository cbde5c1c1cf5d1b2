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


class TorchScaling(nn.Module):
    """What halves frames in height and width, or doubles them.

    Args:
        kernel, bias: As the `Dense` layer has them.
        halves: Halve, with pixels folded before; else double, and unfold behind.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.project = pointwise(kernel, bias)

    def forward(self, frames: Any) -> Any:
        """Return `float32[time, batch, filters, height, width]` of half or double the size."""
        time, batch = frames.shape[:2]
        x = folded(frames.flatten(0, 1), 2) if self.halves else frames.flatten(0, 1)
        x = nn.functional.leaky_relu(self.project(x), 0.2)
        x = x if self.halves else unfolded(x, 2)
        return x.reshape(time, batch, *x.shape[1:])


class TorchEncoderForecaster(nn.Module):
    """All of the model, for frames whose sizes can be halved.

    Args:
        model: A `zoo.models.EncoderForecaster`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.block, self.horizon = model.block, model.horizon

        def weights(kind: str, first: int) -> list[list[np.ndarray]]:
            named = (model.get_layer(f"{kind}_{level}") for level in range(first, model.depth))
            return [layer.get_weights() for layer in named]

        self.encoders, self.forecasters = (
            nn.ModuleList([TorchConvLSTM(*each) for each in weights(kind, 0)])
            for kind in ("encoder", "forecaster")
        )
        self.merges, self.splits = (
            nn.ModuleList([TorchScaling(*each, halves) for each in weights(kind, 1)])
            for kind, halves in (("merging", True), ("splitting", False))
        )
        self.pixels = pointwise(*model.get_layer("pixels").get_weights())

    def forward(self, frames: Any) -> Any:
        """Return `float32[batch, horizon, height, width, channels]` behind as many as are seen."""
        frames = frames.permute(1, 0, 4, 2, 3)
        time, batch = frames.shape[:2]
        x = folded(frames.flatten(0, 1), self.block)
        x = x.reshape(time, batch, *x.shape[1:])
        states = []
        for level, layer in enumerate(self.encoders):
            x = given = self.merges[level - 1](x) if level else x
            zeros = torch.zeros(batch, layer.filters, *x.shape[-2:])
            x, state = layer(x, (zeros, zeros))
            states.append(state)
        x = given[-1:].expand(self.horizon, -1, -1, -1, -1)
        for level, layer in reversed([*enumerate(self.forecasters)]):
            x, _ = layer(x, states[level])
            x = self.splits[level - 1](x) if level else x
        pixels = unfolded(torch.sigmoid(self.pixels(x.flatten(0, 1))), self.block)
        return pixels.reshape(self.horizon, batch, *pixels.shape[1:]).permute(1, 0, 3, 4, 2)


def pointwise(kernel: np.ndarray, bias: np.ndarray) -> nn.Conv2d:
    """Return a `Dense` layer over channels as a 1 x 1 convolution."""
    convolve = nn.Conv2d(*kernel.shape, 1)
    with torch.no_grad():
        convolve.weight.copy_(torch.from_numpy(kernel.T[:, :, None, None].copy()))
        convolve.bias.copy_(torch.from_numpy(bias))
    return convolve


def folded(frames: Any, size: int) -> Any:
    """Return `[batch, size * size * channels, height / size, width / size]` of frames.

    Not `pixel_unshuffle`, which has the channels in another order.
    """
    batch, channels, height, width = frames.shape
    x = frames.reshape(batch, channels, height // size, size, width // size, size)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // size, width // size)


def unfolded(frames: Any, size: int) -> Any:
    """Return what undoes `folded`."""
    batch, channels, rows, columns = frames.shape
    x = frames.reshape(batch, size, size, channels // size**2, rows, columns)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, rows * size, columns * size)
