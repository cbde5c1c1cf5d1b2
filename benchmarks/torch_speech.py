"""A speech pipeline of ours as an engineer would write it in PyTorch, with the same weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.peers import torch_weights
from zoo.pipeline import Pipeline
from zoo.preprocessing.audio import mel_filters

PREEMPHASIS, FLOOR, SPREAD = 0.97, 1e-10, 1e-5
TRUST, LEAST = 100.0, 0.01


class StreamState(NamedTuple):
    """What one stream depends on: tensors, and the text so far.

    Attributes:
        last: The sample before the next one.
        waiting: `float32[samples]` that completed no step yet.
        frames: Frames so far.
        sums, squares: `float32[bins]` over these frames.
        states: Of the recurrent layers.
        label: The class of the last step.
        text: What was said so far.
    """

    last: torch.Tensor
    waiting: torch.Tensor
    frames: int
    sums: torch.Tensor
    squares: torch.Tensor
    states: list[Any]
    label: int
    text: str


class TorchSpeech:
    """Samples to text by log-mel spectra, recurrence and the best path.

    Args:
        pipeline: Of the speech recipe, with log-mel features and the search "greedy".
    """

    def __init__(self, pipeline: Pipeline) -> None:
        encoder: Any = pipeline.prepare
        model, finish = pipeline.model, pipeline.finish
        self.alphabet = finish.alphabet
        self.window, self.hop = encoder.window, encoder.hop
        self.fft = 1 << (self.window - 1).bit_length()
        self.hann = torch.hann_window(self.window)
        self.filters = torch.tensor(mel_filters(encoder.bins, self.fft, encoder.rate))
        usual = encoder.usual or ([0.0] * encoder.bins, [1.0] * encoder.bins)
        self.usual_mean, self.usual_deviation = (torch.tensor(each) for each in usual)
        self.reduction, self.front = model.reduction, model.front
        self.convolutions = []
        if model.front == "conv":
            self.convolutions = [_convolution(c) for c in model.get_layer("front").convolutions]
        self.projection = _linear(model.get_layer("projection"))
        self.scores = _linear(model.get_layer("scores"))
        self.norms = [_norm(model.get_layer(f"norm_{n}")) for n in range(model.depth)]
        self.layers = [_recurrent(model, index) for index in range(model.depth)]

    def logits(self, samples: np.ndarray) -> np.ndarray:
        """Return `float32[1, steps, classes]` of a whole recording, `float32[samples]`."""
        with torch.inference_mode():
            features = self._log_mel(self._emphasised(torch.tensor(samples), torch.zeros(1)))
            mean = features.mean(dim=0)
            variance = features.var(dim=0, unbiased=False)
            x = self._steps(((features - mean) * torch.rsqrt(variance + SPREAD))[None])
            for norm, layer in zip(self.norms, self.layers, strict=True):
                x, _ = layer(norm(x))
            return self.scores(x).numpy()

    def transcribe(self, samples: np.ndarray) -> str:
        """Return the text of a recording by the best path."""
        labels = self.logits(samples)[0].argmax(axis=-1)
        return self._read(0, labels)

    def start(self) -> StreamState:
        """Return the state before the first sample."""
        bins = len(self.usual_mean)
        squares = torch.full((bins,), TRUST)
        states: list[Any] = [None] * len(self.layers)
        return StreamState(
            torch.zeros(1), torch.zeros(0), 0, torch.zeros(bins), squares, states, 0, ""
        )

    def step(self, samples: np.ndarray, state: StreamState) -> StreamState:
        """Listen to a chunk, `float32[samples]`."""
        with torch.inference_mode():
            fresh = torch.tensor(samples)
            clean = torch.cat([state.waiting, self._emphasised(fresh, state.last)])
            frames = max(len(clean) - self.window + self.hop, 0) // self.hop
            frames -= frames % self.reduction
            state = state._replace(last=fresh[-1:], waiting=clean[frames * self.hop :])
            if not frames:
                return state
            used = clean[: self.window + (frames - 1) * self.hop]
            features, state = self._running(self._log_mel(used), state)
            x, states = self._steps(features[None]), []
            for norm, layer, before in zip(self.norms, self.layers, state.states, strict=True):
                x, after = layer(norm(x), before)
                states.append(after)
            labels = self.scores(x)[0].argmax(dim=-1).numpy()
            text = state.text + self._read(state.label, labels)
            return state._replace(states=states, label=int(labels[-1]), text=text)

    def _emphasised(self, samples: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        return samples - PREEMPHASIS * torch.cat([last, samples[:-1]])

    def _log_mel(self, clean: torch.Tensor) -> torch.Tensor:
        frames = clean.unfold(0, self.window, self.hop)
        spectra = torch.fft.rfft(frames * self.hann, self.fft)
        return torch.log(spectra.abs().square() @ self.filters + FLOOR)

    def _running(
        self, features: torch.Tensor, state: StreamState
    ) -> tuple[torch.Tensor, StreamState]:
        x = (features - self.usual_mean) / self.usual_deviation
        sums = state.sums + x.cumsum(dim=0)
        squares = state.squares + x.square().cumsum(dim=0)
        weight = (TRUST + state.frames + torch.arange(1, len(x) + 1))[:, None]
        mean = sums / weight
        variance = (squares / weight - mean.square()).clamp(min=LEAST)
        after = state._replace(frames=state.frames + len(x), sums=sums[-1], squares=squares[-1])
        return (x - mean) * torch.rsqrt(variance), after

    def _steps(self, features: torch.Tensor) -> torch.Tensor:
        """Return `float32[1, steps, units]` of `float32[1, frames, bins]`."""
        if self.front == "stack":
            missing = -features.shape[1] % self.reduction
            stacked = functional.pad(features, (0, 0, 0, missing))
            return self.projection(stacked.reshape(1, -1, self.reduction * features.shape[2]))
        x = features[:, None]
        for convolution in self.convolutions:
            x = functional.relu(convolution(x))
        _, channels, steps, bins = x.shape
        # Keras has the channels last.
        return self.projection(x.permute(0, 2, 3, 1).reshape(1, steps, bins * channels))

    def _read(self, before: int, labels: np.ndarray) -> str:
        line = [before, *labels.tolist()]
        pairs = zip(line, line[1:], strict=False)
        return "".join(self.alphabet[now - 1] for last, now in pairs if now and now != last)


def _convolution(layer: Any) -> nn.Conv2d:
    kernel, bias = layer.get_weights()
    of = nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, stride=layer.strides, padding=1)
    return _filled(of, weight=kernel.transpose(3, 2, 0, 1), bias=bias)


def _linear(layer: Any) -> nn.Linear:
    kernel, bias = layer.get_weights()
    return _filled(nn.Linear(*kernel.shape), weight=kernel.T, bias=bias)


def _norm(layer: Any) -> nn.LayerNorm:
    gamma, beta = layer.get_weights()
    return _filled(nn.LayerNorm(len(gamma), eps=layer.epsilon), weight=gamma, bias=beta)


def _recurrent(model: Any, index: int) -> nn.Module:
    name = f"bidirectional_{index}" if model.bidirectional else f"recurrent_{index}"
    weights, directions = model.get_layer(name).get_weights(), 1 + model.bidirectional
    cell, each = model.cell.upper(), len(weights) // directions
    layer = getattr(nn, cell)(
        len(weights[0]), model.units, batch_first=True, bidirectional=model.bidirectional
    )
    values = {}
    for direction, suffix in enumerate(("", "_reverse")[:directions]):
        mine = torch_weights(cell, weights[direction * each : (direction + 1) * each])
        values |= {f"{name}_l0{suffix}": value for name, value in mine.items()}
    return _filled(layer, **values)


def _filled(module: Any, **values: np.ndarray) -> Any:
    with torch.no_grad():
        for name, value in values.items():
            getattr(module, name).copy_(torch.tensor(np.ascontiguousarray(value)))
    return module.eval()
