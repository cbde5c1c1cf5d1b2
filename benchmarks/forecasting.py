"""A global forecaster of M3 monthly, beside neuralforecast's LSTM for as long.

    python -m benchmarks.forecasting --json FILE [--quick]

In every round ours is trained first, as the recipe does; then the peer for as many seconds, with
as many steps looked at and the same state size and layers, scaled windows, short histories padded
and as many windows per step; the rest are its own defaults. Given are the training windows per
second of the whole time, set-up and validation included, and the sMAPE of the competition's test
steps. The peer validates nothing; ours chooses its epoch on the validation windows.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 3
SERIES_PER_STEP, WINDOWS_PER_STEP = 32, 256
"""Of the peer: series that a step draws windows of, and windows that it draws."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.forecasting", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="a short training: shows that it runs")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("neuralforecast") is None:
        print("not installed: neuralforecast; pip install -r requirements-bench.txt")
        return 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    record = measure(options.quick)
    told = ["--json", str(options.json), *["--quick"] * options.quick]
    record["command"] = " ".join(["python -m benchmarks.forecasting", *told])
    options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for name, row in record["peers"].items():
        print(
            f"{name:16} {row['windows_per_second']['median']:8.0f} windows/s  "
            f"sMAPE {row['smape']['median']:.2f}  {row['seconds']['median']:.0f} s"
        )
    return 0


def measure(quick: bool) -> dict[str, Any]:
    """Return every round of both, and their medians."""
    from recipes import forecasting as recipe
    from recipes.commands import sources
    from zoo.environment import environment

    base = recipe.PRESETS["base"]
    if quick:
        base = replace(base, epochs=1, windows_per_epoch=2000)
    rounds: dict[str, list[dict[str, float]]] = {"seqzoo": [], "neuralforecast": []}
    for seed in range(1 if quick else ROUNDS):
        config = replace(base, seed=seed)
        ours = _train_ours(config)
        rounds["seqzoo"].append(ours)
        rounds["neuralforecast"].append(_train_peer(config, ours["seconds"]))
        print({name: {k: round(v, 2) for k, v in row[-1].items()} for name, row in rounds.items()})
    where = environment("tensorflow", "keras", "numpy", "torch", "neuralforecast")
    return {
        "commit": where.pop("git_commit"),
        "peers": {name: _medians(rows) for name, rows in rounds.items()},
        "environment": where,
        "files": sources(),
    }


def _medians(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {
        name: {
            "median": statistics.median(row[name] for row in rows),
            "values": [row[name] for row in rows],
        }
        for name in rows[0]
    }


def _train_ours(config: Any) -> dict[str, float]:
    from recipes import forecasting as recipe
    from recipes.run import Run

    data = recipe.load(config)
    pipeline = recipe.build(config, data)
    with tempfile.TemporaryDirectory() as folder, Run(Path(folder), "forecasting", {}) as run:
        began = time.perf_counter()
        trained = recipe.train(config, data, pipeline, run)
        seconds = time.perf_counter() - began
    scores, _ = recipe.evaluate(config, data, pipeline)
    return {
        "windows_per_second": trained["examples_per_second"] * trained["train_seconds"] / seconds,
        "smape": scores["smape"],
        "seconds": seconds,
    }


def _train_peer(config: Any, seconds: float) -> dict[str, float]:
    import pandas as pd
    from neuralforecast import NeuralForecast

    from zoo import metrics
    from zoo.datasets import series

    examples = series.load(config.dataset)
    horizon = examples.horizon
    past = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(y) - horizon), "y": y[:-horizon]})
        for name, y in zip(examples.ids, examples.values, strict=True)
    )
    forecaster = NeuralForecast(models=[_peer(config, horizon, seconds)], freq=1)
    began = time.perf_counter()
    forecaster.fit(past)
    taken = time.perf_counter() - began
    steps = len(forecaster.models[0].train_trajectories)
    found = forecaster.predict().reset_index()
    by_series = dict(iter(found.groupby("unique_id")["LSTM"]))
    forecast = np.stack([by_series[name].to_numpy() for name in examples.ids])
    truth = np.stack([y[-horizon:] for y in examples.values])
    return {
        "windows_per_second": steps * WINDOWS_PER_STEP / taken,
        "smape": metrics.smape(truth, forecast),
        "seconds": taken,
    }


def _peer(config: Any, horizon: int, seconds: float) -> Any:
    """Return the untrained peer, which stops after so many seconds."""
    import torch
    from neuralforecast.losses.pytorch import MAE
    from neuralforecast.models import LSTM

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(os.cpu_count() or 1)
    return LSTM(
        h=horizon,
        input_size=config.look_back,
        encoder_hidden_size=config.units,
        encoder_n_layers=config.layers,
        loss=MAE(),
        scaler_type="standard",
        start_padding_enabled=True,
        max_steps=10**6,
        batch_size=SERIES_PER_STEP,
        windows_batch_size=WINDOWS_PER_STEP,
        learning_rate=1e-3,
        random_seed=config.seed + 1,
        max_time={"seconds": seconds},
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


if __name__ == "__main__":
    sys.exit(main())
