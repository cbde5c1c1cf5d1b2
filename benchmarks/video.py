"""What a training step of the video recipe takes, beside the same model on Keras' own layer.

    python -m benchmarks.video --json FILE [--quick]

The encoder and forecaster of the preset `base` with the recipe's loss and optimizer; the same with
`keras.layers.ConvLSTM2D` in the place of ours; and the same in PyTorch. All three begin with the
same weights and are checked to predict the same. In float32, and where the processor knows it the
first two in bfloat16 too. Peers are called in turn.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from zoo import onednn

ROUNDS, QUICK_ROUNDS = 15, 3
TOLERANCE = 1e-4
MOST_SHARE = 0.5
"""Bar: of the time of the same model on Keras' layer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.video", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs")
    options = parser.parse_args(arguments)
    onednn.turn_on()  # as `python -m recipes` does
    if importlib.util.find_spec("torch") is None:
        print("not installed: torch; pip install -r requirements-bench.txt")
        return 2
    record = measure(QUICK_ROUNDS if options.quick else ROUNDS)
    record["command"] = "python -m benchmarks.video" + " --quick" * options.quick
    options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for name, row in record["milliseconds"].items():
        print(f"{name:20} {row['median']:8.1f} ms  ({row['low']:.1f} to {row['high']:.1f})")
    for name, value in record["summary"].items():
        bar = record["bars"].get(name)
        said = f"  bar {bar:.2f}  {'reached' if value <= bar else 'missed'}" if bar else ""
        print(f"{name:26} {value:.2f}{said}")
    return 0


def measure(rounds: int) -> dict[str, Any]:
    """Return everything that is measured."""
    from benchmarks.timing import alternate
    from recipes import video as recipe
    from recipes.watching import _knows_bfloat16
    from zoo.environment import environment, loaded_sources

    config = recipe.PRESETS["base"]
    size = config.clip
    shape = (config.batch_size, size.time, size.height, size.width, size.channels)
    clips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    calls = steps_of(clips, mixed=False)
    if _knows_bfloat16():
        calls.update(steps_of(clips, mixed=True))
    taken = alternate(calls, rounds, warm_up=2, limit=600)
    ours, keras_s = taken["seqzoo"].median, taken["keras"].median
    where = environment("tensorflow", "keras", "numpy", "torch")
    return {
        "commit": where.pop("git_commit"),
        "batch": config.batch_size,
        "rounds": rounds,
        "milliseconds": {name: asdict(each) for name, each in taken.items()},
        "summary": {
            "vs_keras": ours / keras_s,
            "vs_torch": ours / taken["torch"].median,
        },
        "bars": {"vs_keras": MOST_SHARE},
        "environment": where,
        "files": loaded_sources("zoo", "recipes"),
    }


def steps_of(clips: np.ndarray, mixed: bool) -> dict[str, Callable[[], object]]:
    """Return a training step of each peer, which wait for their result."""
    import keras

    from recipes import video as recipe
    from recipes.watching import in_precision

    config = recipe.PRESETS["base"]
    with in_precision(mixed):
        ours = recipe._model(config)
        with patch("zoo.models.video_predictor.ConvLSTM2D", keras.layers.ConvLSTM2D):
            theirs = recipe._model(config)
    theirs.set_weights(ours.get_weights())
    suffix = " bfloat16" if mixed else ""
    calls = {f"seqzoo{suffix}": _keras_step(ours, clips)}
    calls[f"keras{suffix}"] = _keras_step(theirs, clips)
    if not mixed:
        _check(ours, theirs, clips)
        calls["torch"] = _torch_step(ours, clips)
    return calls


def _check(ours: Any, theirs: Any, clips: np.ndarray) -> None:
    """Fail unless all three predict the same."""
    import torch

    from benchmarks.torch_video import TorchEncoderForecaster

    seen = clips[:2, : ours.seen] / np.float32(255)
    expected = np.asarray(ours({"frames": seen}))
    with torch.no_grad():
        in_torch = TorchEncoderForecaster(ours)(torch.from_numpy(seen)).numpy()
    for name, received in (("Keras", theirs({"frames": seen})), ("PyTorch", in_torch)):
        gap = float(np.abs(np.asarray(received) - expected).max())
        if gap > TOLERANCE:
            raise SystemExit(f"{name} predicts otherwise: a difference of {gap:.2g}")


def _keras_step(model: Any, clips: np.ndarray) -> Callable[[], object]:
    import tensorflow as tf

    from recipes import video as recipe
    from recipes.training import OneDevice, row_weights

    config = recipe.PRESETS["base"]
    optimizer = recipe._optimizer(config, 1000)
    optimizer.build(model.trainable_variables)
    loss = recipe._loss(config, lambda: 0.0)
    step = OneDevice().step(model, loss, row_weights, optimizer)
    batch = (tf.constant(clips), {}, tf.ones(len(clips)))
    return lambda: float(step([batch]))


def _torch_step(model: Any, clips: np.ndarray) -> Callable[[], object]:
    import torch

    from benchmarks.torch_video import TorchEncoderForecaster
    from recipes import video as recipe

    config = recipe.PRESETS["base"]
    peer = TorchEncoderForecaster(model)
    optimizer = torch.optim.Adam(peer.parameters(), 1e-4)
    pixels = torch.from_numpy(clips)

    def step() -> float:
        frames = pixels.float() / 255
        predicted, truth = peer(frames[:, : config.seen]), frames[:, config.seen :]
        loss = torch.nn.functional.binary_cross_entropy(predicted, truth)
        loss = loss + config.absolute * (predicted - truth).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), config.clip_norm)
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    sys.exit(main())
