"""What listening costs on one core, beside the same model written in PyTorch.

    python -m benchmarks.speech --json FILE [--quick]

Offline: a WAV file of five seconds to text, by each search, for the presets `base` and `an4`;
given as the share of the recording's length, which is the real time factor. Streaming: one
second in chunks of 20 ms, for the preset `streaming`; given per chunk. PyTorch takes samples
and answers with the best path, as our search "greedy"; both are checked to hear the same.
Weights are those of the start: what they are changes no time. Peers are called in turn.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

PRESETS = ("base", "an4")
SECONDS = 5.0
"""Of the recording."""

CHUNK, CHUNKS = 0.02, 50
"""Seconds of a chunk, and how many of them make a measurement."""

WORDS, SENTENCES = 130, 400
"""What the search for words knows: as many words and sentences as a small corpus has."""

ROUNDS, QUICK_ROUNDS = 30, 3
TOLERANCE = 1e-3
BARS = {"real_time_factor": 0.05, "chunk_milliseconds": 5.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.speech", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("torch") is None:
        print("not installed: torch; pip install -r requirements-bench.txt")
        return 2
    record = measure(QUICK_ROUNDS if options.quick else ROUNDS)
    flags = ["--json", str(options.json), *["--quick"] * options.quick]
    record["command"] = " ".join(["python -m benchmarks.speech", *flags])
    options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _print(record)
    return 0


def measure(rounds: int) -> dict[str, Any]:
    """Return everything that is measured."""
    _use_one_core()
    from recipes.commands import sources
    from zoo.environment import environment

    offline = {preset: _measure_offline(preset, rounds) for preset in PRESETS}
    streaming = _measure_stream(rounds)
    where = environment("tensorflow", "keras", "numpy", "torch")
    return {
        "commit": where.pop("git_commit"),
        "summary": {
            "real_time_factor": max(row["real_time_factor"] for row in offline.values()),
            "chunk_milliseconds": streaming["milliseconds"]["seqzoo"]["median"],
        },
        "bars": BARS,
        "seconds": SECONDS,
        "rounds": rounds,
        "offline": offline,
        "streaming": streaming,
        "environment": where,
        "files": sources(),
    }


def _use_one_core() -> None:
    """Keep this process, which has loaded neither library yet, to one core for good."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import tensorflow as tf
    import torch

    torch.set_num_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def sentences() -> list[str]:
    """Return made-up sentences of made-up words."""
    generator = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(generator.choice(letters, size)) for size in generator.integers(2, 8, WORDS)]
    return [" ".join(generator.choice(words, 5)) for _ in range(SENTENCES)]


def pipeline_of(preset: str) -> Any:
    """Return the untrained pipeline of a preset of the speech recipe, its search "greedy"."""
    from recipes import speech as recipe
    from zoo.datasets.speech import SpeechExamples, SpeechSplit
    from zoo.datasets.speech.synthetic import ToneRecording

    texts = tuple(sentences())
    recordings = tuple(ToneRecording("aba cab", seed) for seed in range(len(texts)))
    rows = SpeechExamples("made up", recordings, texts)
    return recipe.build(recipe.PRESETS[preset], SpeechSplit(rows, rows.select([0]), rows))


def _measure_offline(preset: str, rounds: int) -> dict[str, Any]:
    from benchmarks.timing import alternate
    from benchmarks.torch_speech import TorchSpeech
    from recipes import speech as recipe
    from zoo import decoding
    from zoo.sound import encode_wav

    pipeline = pipeline_of(preset)
    rate = pipeline.prepare.rate
    generator = np.random.default_rng(0)
    samples = generator.normal(0, 0.1, round(SECONDS * rate)).astype(np.float32)
    torch = TorchSpeech(pipeline)
    _require_equal_logits(pipeline, torch, samples)
    calls: dict[str, Any] = {"torch greedy": lambda: torch.transcribe(samples)}
    split = [text.split() for text in sentences()]
    wav, greedy = encode_wav(samples, rate), pipeline.finish
    for search in decoding.SEARCHES:
        options = {**greedy.get_config(), "search": search, "beam": recipe.PRESETS[preset].beam}
        if search == "lexicon":
            options["words"] = sorted({word for words in split for word in words})
            options["model"] = decoding.NGram.estimate(split, recipe.PRESETS[preset].order)
        pipeline.finish = decoding.Transcriber(**options)
        calls[f"seqzoo {search}"] = _caller(pipeline, wav)
    timings = alternate(calls, rounds)
    taken = {name: timing.median for name, timing in timings.items()}
    return {
        "milliseconds": {name: asdict(timing) for name, timing in timings.items()},
        "real_time_factor": taken["seqzoo lexicon"] / 1e3 / SECONDS,
        "greedy_vs_torch": taken["seqzoo greedy"] / taken["torch greedy"],
    }


def _caller(pipeline: Any, wav: bytes) -> Any:
    """Return what asks the pipeline, as it is now, for one file."""
    import tensorflow as tf

    endpoint = pipeline.endpoints()["serving_default"]
    specs = [endpoint.inputs.tensor_specs()]
    answer = tf.function(endpoint.call, input_signature=specs).get_concrete_function()
    raw = tf.constant([wav])
    return lambda: answer(audio=raw)["text"].numpy()


def _require_equal_logits(pipeline: Any, torch: Any, samples: np.ndarray) -> None:
    """Refuse to compare different functions."""
    import tensorflow as tf

    prepared = pipeline.prepare.of_samples(samples[None], tf.constant([len(samples)]))
    prepared.pop("status")
    ours = pipeline.model(prepared, training=False).numpy()
    difference = np.abs(ours - torch.logits(samples)).max()
    if difference > TOLERANCE:
        raise RuntimeError(f"seqzoo and torch differ by {difference:.1e}")


def _measure_stream(rounds: int) -> dict[str, Any]:
    from benchmarks.timing import alternate
    from benchmarks.torch_speech import TorchSpeech

    pipeline = pipeline_of("streaming")
    size = round(CHUNK * pipeline.prepare.rate)
    generator = np.random.default_rng(0)
    chunks = generator.normal(0, 0.1, (CHUNKS, size)).astype(np.float32)
    torch, listen = TorchSpeech(pipeline), _listener(pipeline)

    def peer() -> str:
        state = torch.start()
        for chunk in chunks:
            state = torch.step(chunk, state)
        return state.text

    calls = {"seqzoo": lambda: listen(chunks), "torch": peer}
    heard = {name: " ".join(call().split()) for name, call in calls.items()}
    if heard["seqzoo"] != heard["torch"]:
        raise RuntimeError(f"seqzoo and torch hear differently: {heard}")
    timings = {
        name: replace(t, median=t.median / CHUNKS, low=t.low / CHUNKS, high=t.high / CHUNKS)
        for name, t in alternate(calls, rounds).items()
    }
    return {
        "chunk_seconds": CHUNK,
        "milliseconds": {name: asdict(timing) for name, timing in timings.items()},
        "step_vs_torch": timings["seqzoo"].median / timings["torch"].median,
    }


def _listener(pipeline: Any) -> Any:
    """Return what sends chunks through the streaming endpoints and gives the text."""
    import tensorflow as tf

    steps = {
        name: tf.function(
            endpoint.call, input_signature=[endpoint.inputs.tensor_specs()]
        ).get_concrete_function()
        for name, endpoint in pipeline.endpoints().items()
        if name.startswith("stream_")
    }

    def listen(chunks: np.ndarray) -> str:
        told = steps["stream_start"](stream=tf.constant([b""]))
        for chunk in chunks:
            told = steps["stream_step"](
                samples=tf.constant(chunk[None]),
                length=tf.constant([len(chunk)]),
                state=told["state"],
                text=told["text"],
            )
        return told["text"].numpy()[0].decode()

    return listen


def _print(record: dict[str, Any]) -> None:
    for preset, row in record["offline"].items():
        print(f"{preset}: a recording of {record['seconds']:.0f} s")
        for name, timing in row["milliseconds"].items():
            factor = timing["median"] / 1e3 / record["seconds"]
            print(f"  {name:16} {timing['median']:8.1f} ms  real time factor {factor:.4f}")
    for name, timing in record["streaming"]["milliseconds"].items():
        print(f"streaming, 20 ms chunk, {name:8} {timing['median']:.3f} ms")
    for name, value in record["summary"].items():
        said = "reached" if value <= record["bars"][name] else "missed"
        print(f"{name:20} {value:7.4f}  bar {record['bars'][name]:.2f}  {said}")


if __name__ == "__main__":
    sys.exit(main())
