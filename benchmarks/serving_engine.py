"""Ways to run an exported model in this process: the signature that TensorFlow 2 loads, and ours.

    python -m benchmarks.serving_engine FOLDER --json FILE [--quick]

FOLDER is a version folder; its first warm-up request of one row is what is asked. Peers are
measured in turn. Given are the milliseconds of one call when nobody else calls, and the calls
per second of 32 threads that ask without pause, unbatched and in batches of up to 16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.timing import alternate

THREADS = 32
BATCH = {"max_batch_size": 16, "batch_timeout_micros": 2000, "max_enqueued_batches": 100}
ROUNDS, QUICK_ROUNDS = 100, 3
SECONDS, QUICK_SECONDS = 2.0, 0.1
"""Seconds of one measurement of throughput."""

TURNS, QUICK_TURNS = 5, 1
"""Measurements of throughput of each peer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.serving_engine", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs")
    options = parser.parse_args(arguments)
    measured = measure(peers(options.folder), options.quick)
    print(f"{'':12} {'ms per call':>12} {'calls/s':>10}")
    for name, row in measured["peers"].items():
        print(f"{name:12} {row['milliseconds']['median']:12.3f} {row['calls_per_second']:10.0f}")
    options.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return 0


def peers(folder: Path) -> dict[str, Callable[[], object]]:
    """Return what asks the model once, by the way in which it does."""
    import tensorflow as tf

    from serving.server.engine import BatchingParameters, EngineOptions
    from serving.server.servable import Servable

    name, inputs = question(folder)
    batching = EngineOptions(batching=BatchingParameters(**BATCH), warm_up=False)
    unbatched, batched = Servable(folder), Servable(folder, batching)
    loaded = tf.saved_model.load(str(folder))
    tensors = {key: tf.constant(array) for key, array in inputs.items()}

    def signature() -> list[Any]:
        return [each.numpy() for each in loaded.signatures[name](**tensors).values()]

    return {
        "signature": signature,
        "unbatched": lambda: unbatched.predict(name, inputs),
        "batched": lambda: batched.predict(name, inputs),
    }


def question(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the signature and the inputs of a folder's first warm-up request."""
    from tensorflow_serving.apis import prediction_log_pb2

    from serving import protocol
    from serving.server import warmup

    record = next(warmup.records(folder / warmup.FILE))
    request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    inputs = {name: protocol.from_proto(tensor) for name, tensor in request.inputs.items()}
    return request.model_spec.signature_name, inputs


def measure(calls: dict[str, Callable[[], object]], quick: bool) -> dict[str, Any]:
    """Return latency and throughput of each way, and their ratios."""
    latency = alternate(calls, QUICK_ROUNDS if quick else ROUNDS)
    turns = range(QUICK_TURNS if quick else TURNS)
    seconds = QUICK_SECONDS if quick else SECONDS
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in turns:
        for name, call in calls.items():
            rates[name].append(throughput(call, seconds))
    rows = {
        name: {
            "milliseconds": asdict(latency[name]),
            "calls_per_second": statistics.median(rates[name]),
        }
        for name in calls
    }
    gains = [b / a for a, b in zip(rates["unbatched"], rates["batched"], strict=True)]
    ratio = latency["unbatched"].median / latency["signature"].median
    summary = {"call_vs_signature": ratio, "batching_gain": statistics.median(gains)}
    return {"threads": THREADS, "batch": BATCH, "peers": rows, "summary": summary}


def throughput(call: Callable[[], object], seconds: float) -> float:
    """Return how many calls per second a crowd of threads gets answered."""
    end, counts = time.perf_counter() + seconds, [0] * THREADS

    def ask(place: int) -> None:
        while time.perf_counter() < end:
            call()
            counts[place] += 1

    crowd = [threading.Thread(target=ask, args=(place,)) for place in range(THREADS)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return sum(counts) / seconds


if __name__ == "__main__":
    sys.exit(main())
