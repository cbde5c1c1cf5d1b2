"""Recurrent layers side by side: SeqZoo, Keras, PyTorch, ONNX Runtime.

    python -m benchmarks.recurrent --json FILE [--quick]

Peers have the same weights, are checked to give the same outputs, and are called in turn
in one process. Every ratio is a ratio of median times, below 1 = SeqZoo is faster. The
denominator of the ratios to Keras is a `tf.function` without XLA. Beside FILE stands the
same as a picture, and while it runs, what was measured so far: the same command goes on
from there. `--quick` takes small shapes and few rounds: it shows that everything runs, not
how fast.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.journal import Journal
from benchmarks.quality import ROOT
from zoo.environment import digest, environment

if TYPE_CHECKING:
    from benchmarks.peers import Case

SHAPES = (
    (32, 100, 128, 128),
    (32, 200, 256, 256),
    (64, 500, 40, 256),
    (1, 100, 128, 128),
    (256, 50, 64, 64),
)
QUICK_SHAPES = ((4, 10, 8, 8), (1, 12, 8, 8))
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"dtype": "bfloat16"},
    {"directions": 2},
    {"masked": True},
)
LENGTHS, QUICK_LENGTHS = (64, 256, 1024, 4096), (8, 16)
GROWTH = ("lstm", "minlstm", "torch")
ROUNDS, QUICK_ROUNDS = 20, 3
XLA_LIMIT = 30.0
"""Seconds for two training steps of Keras with XLA, imports included; more is given as null."""

BARS = {
    "train_vs_torch": 0.9,
    "worst_train_vs_torch": 1.1,
    "train_vs_keras": 0.55,
    "exported_inference_vs_keras": 0.7,
    "inference_vs_torch": 1.1,
    "bfloat16_train_vs_torch": 1.0,
    "minlstm_vs_lstm_4096": 0.25,
    "convlstm_vs_keras": 0.5,
}
"""What each number of the summary is to reach; the last lengths stand for 4096 in `--quick`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.recurrent", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="small shapes, few rounds")
    parser.add_argument(
        "--plain", action="store_true", help="only float32, one direction, no mask: 12 minutes"
    )
    parser.add_argument("--probe", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    missing = [each for each in ("torch", "onnx", "onnxruntime") if not _installed(each)]
    if missing:
        print(f"not installed: {', '.join(missing)}; pip install -r requirements-bench.txt")
        return 2
    if options.probe:
        name, *rest = options.probe
        probe = {"memory": _probe_memory, "keras_xla": _probe_keras_xla}[name]
        options.json.write_text(json.dumps(probe(*rest)), encoding="utf-8")
        return 0
    flags = ["--quick"] * options.quick + ["--plain"] * options.plain
    subject = {
        "command": " ".join(["python -m benchmarks.recurrent", *flags]),
        "rounds": QUICK_ROUNDS if options.quick else ROUNDS,
        "files": {str(file.relative_to(ROOT)): digest(file) for file in _sources()},
    }
    journal = Journal(options.json.with_suffix(".jsonl"), subject)
    record = measure(journal, subject["rounds"], options.quick, options.plain) | subject
    options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    journal.close()
    draw(record["layers"], options.json.with_suffix(".png"))
    print_summary(record["summary"])
    return 0


def measure(journal: Journal, rounds: int, quick: bool, plain: bool) -> dict[str, Any]:
    """Return everything that is measured, printing it on the way."""

    where = environment("tensorflow", "keras", "numpy", "torch", "onnxruntime")
    rows = [
        journal.part(str(case), lambda case=case: _measure_layer(case, rounds))
        for case in cases(quick, plain)
    ]
    growth = [
        row
        for steps in (QUICK_LENGTHS if quick else LENGTHS)
        for row in journal.part(f"{steps} steps", lambda n=steps: _measure_growth(n, rounds))
    ]
    frame = 4 if quick else 16
    convlstm = journal.part("ConvLSTM2D", lambda: _measure_convlstm(rounds, frame))
    return {
        "commit": where.pop("git_commit"),
        "summary": summarise(rows, growth, convlstm),
        "bars": BARS,
        "layers": rows,
        "growth": growth,
        "convlstm": convlstm,
        "environment": where,
    }


def cases(quick: bool, plain: bool) -> list[Case]:
    """Return what is measured: every shape, plain and with one option each."""
    from benchmarks.peers import Case

    return [
        Case(cell, *shape, **variant)
        for variant in (VARIANTS[:1] if plain else VARIANTS)
        for cell in ("LSTM", "GRU")
        for shape in (QUICK_SHAPES if quick else SHAPES)
    ]


def _measure_layer(case: Case, rounds: int) -> dict[str, Any]:
    from benchmarks.peers import peers
    from benchmarks.timing import alternate, seconds

    plain = case == replace(case, dtype="float32", directions=1, masked=False)
    training, inference, new_shape = peers(case, every=plain)
    compiling = {name: seconds(call) for name, call in training.items()}
    row = {
        **asdict(case),
        "name": str(case),
        "first_training_call_seconds": compiling,
        "new_length_seconds": new_shape,
        "training": _milliseconds(alternate(training, rounds)),
        "inference": _milliseconds(alternate(inference, rounds)),
    }
    if plain:
        # Measured apart: XLA copies the arrays of Keras' loop at every step of it.
        shape = map(str, (case.batch, case.time, case.features, case.units))
        row["keras_xla_training_milliseconds"] = _in_own_process(
            "keras_xla", case.cell, *shape, limit=XLA_LIMIT
        )
    row["ratios"] = ratios(row)
    _print_layer(row)
    return row


def _milliseconds(timings: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {
        name: {key: round(value, 4) for key, value in asdict(timing).items()}
        for name, timing in timings.items()
    }


def ratios(row: dict[str, Any]) -> dict[str, float]:
    """Return our median time over each peer's, for training and inference."""
    found = {}
    for kind, ours in (("training", "seqzoo"), ("inference", "seqzoo")):
        for peer, timing in row[kind].items():
            if not peer.startswith("seqzoo") and peer != "keras_exported":
                found[f"{kind}_vs_{peer}"] = row[kind][ours]["median"] / timing["median"]
    times = row["inference"]
    # Three products of the size of the forward pass are a training step's least work.
    found["training_vs_matmul"] = row["training"]["seqzoo"]["median"] / (
        3 * times["matmul"]["median"]
    )
    if "seqzoo_exported" in times:
        exported = times["seqzoo_exported"]["median"]
        found["exported_inference_vs_keras"] = exported / times["keras_exported"]["median"]
    return {name: round(value, 4) for name, value in found.items()}


def summarise(
    rows: list[dict[str, Any]], growth: list[dict[str, Any]], convlstm: dict[str, Any]
) -> dict[str, float]:
    """Return the geometric means over the shapes, LSTM and GRU together, and single ratios."""
    plain = [row for row in rows if row["directions"] == 1 and not row["masked"]]
    float32 = [row["ratios"] for row in plain if row["dtype"] == "float32"]
    bfloat16 = [row["ratios"] for row in plain if row["dtype"] == "bfloat16"]
    last = {row["layer"]: row["milliseconds"] for row in growth if row["steps"] == _last(growth)}
    found = {
        "train_vs_torch": _mean(float32, "training_vs_torch"),
        "worst_train_vs_torch": max(row["training_vs_torch"] for row in float32),
        "train_vs_keras": _mean(float32, "training_vs_keras"),
        "exported_inference_vs_keras": _mean(float32, "exported_inference_vs_keras"),
        "inference_vs_torch": _mean(float32, "inference_vs_torch"),
        **({"bfloat16_train_vs_torch": _mean(bfloat16, "training_vs_torch")} if bfloat16 else {}),
        "minlstm_vs_lstm_4096": last["minlstm"]["median"] / last["lstm"]["median"],
        "convlstm_vs_keras": convlstm["ratio"],
    }
    return {name: round(value, 4) for name, value in found.items()}


def _sources() -> list[Path]:
    """Return the files that decide about speed."""
    names = ("recurrent", "scan", "parallel", "conv_recurrent")
    layers = ROOT / "zoo" / "layers"
    return [layers / f"{name}.py" for name in names] + sorted(layers.glob("recurrence/*.py"))


def _mean(rows: Iterable[dict[str, float]], name: str) -> float:
    return statistics.geometric_mean([row[name] for row in rows])


def _last(growth: list[dict[str, Any]]) -> int:
    return max(row["steps"] for row in growth)


def _measure_growth(steps: int, rounds: int) -> list[dict[str, Any]]:
    """Return times of this many steps, in turn, and peak memory, each in its own process."""
    from benchmarks.timing import alternate

    timings = _milliseconds(alternate({name: _step(name, steps) for name in GROWTH}, rounds))
    rows = []
    for name in GROWTH:
        megabytes = _in_own_process("memory", name, str(steps))
        row = {"layer": name, "steps": steps, "milliseconds": timings[name]}
        rows.append(row | {"megabytes": megabytes})
        milliseconds = timings[name]["median"]
        print(f"{name:8} T={steps:5}  {milliseconds:9.2f} ms  {megabytes:7.1f} MB", flush=True)
    return rows


def _step(name: str, steps: int) -> Any:
    """Return a training step of a layer: 8 rows, 64 features, 64 units, float32."""
    from benchmarks.peers import Case, Layer, Torch
    from zoo import layers

    case = Case("LSTM", 8, steps, 64, 64)
    if name == "torch":
        return Torch(case, Layer(case, layers).weights).training()
    layer = Layer(replace(case, cell="LSTM" if name == "lstm" else "MinLSTM"), layers)
    # MinLSTM with XLA, which `compile(jit_compile=True)` gives it: on a CPU `fit` has it off.
    return layer.training(jit_compile=layer.layer.supports_jit)


def _in_own_process(*probe: str, limit: float | None = None) -> Any:
    """Return what a probe gives in a process of its own, None past so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "probe.json")
        command = [sys.executable, "-m", "benchmarks.recurrent", "--json", str(file)]
        try:
            subprocess.run(
                [*command, "--probe", *probe], check=True, stderr=subprocess.DEVNULL, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return None
        return json.loads(file.read_text(encoding="utf-8"))


def _probe_memory(name: str, steps: str) -> float:
    """Return by how many megabytes three training steps raise the memory at its peak."""
    _step(name, 8)()
    step = _step(name, int(steps))
    # Not getrusage: its peak begins with that of the process that started this one.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_memory()
    for _ in range(3):
        step()
    return _peak_memory() - before


def _peak_memory() -> float:
    """Return the largest resident memory since it was last reset, in megabytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _probe_keras_xla(cell: str, *shape: str) -> float:
    """Return the milliseconds of the second training step of Keras with XLA."""
    import keras

    from benchmarks.peers import Case, Layer
    from benchmarks.timing import seconds

    step = Layer(Case(cell, *map(int, shape)), keras.layers).training(jit_compile=True)
    step()
    return 1e3 * seconds(step)


def _measure_convlstm(rounds: int, frame: int) -> dict[str, Any]:
    """Compare training steps of `ConvLSTM2D`: 16 rows, 10 steps, 64 filters of 3 x 3."""
    import keras
    import tensorflow as tf

    from benchmarks.timing import alternate
    from zoo import layers

    x = tf.random.stateless_normal([16, 10, frame, frame, 16], seed=[0, 0])

    def training(family: Any, weights: Any = None) -> tuple[Any, Any]:
        layer = family.ConvLSTM2D(64, 3, padding="same", return_sequences=True)
        layer.build(x.shape)
        if weights:
            layer.set_weights(weights)
        sources = [weight.value for weight in layer.trainable_weights]

        @tf.function(autograph=False)
        def step() -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(layer(x, training=True)))
            return loss, tape.gradient(loss, sources)

        return (lambda: float(step()[0])), layer.get_weights()

    theirs, weights = training(keras.layers)
    ours, _ = training(layers, weights)
    if abs(ours() - theirs()) > 1e-5:
        raise RuntimeError("ConvLSTM2D: seqzoo and keras differ")
    timings = _milliseconds(alternate({"seqzoo": ours, "keras": theirs}, rounds))
    ratio = timings["seqzoo"]["median"] / timings["keras"]["median"]
    print(f"ConvLSTM2D training step: {timings}, ratio {ratio:.2f}")
    return {"milliseconds": timings, "ratio": round(ratio, 4)}


def _print_layer(row: dict[str, Any]) -> None:
    print(row["name"])
    for kind in ("training", "inference"):
        times = "  ".join(f"{peer} {t['median']:.2f}" for peer, t in row[kind].items())
        print(f"  {kind:9} ms  {times}")
    print("  " + "  ".join(f"{name} {value:.2f}" for name, value in row["ratios"].items()))
    first = "  ".join(f"{k} {v:.1f}" for k, v in row["first_training_call_seconds"].items())
    if "keras_xla_training_milliseconds" in row:
        took = row["keras_xla_training_milliseconds"]
        said = f"{took:.0f} ms" if took else f"more than {XLA_LIMIT:.0f} s for two steps"
        print(f"  training step of keras with XLA: {said}")
    print(f"  first call s  {first}  new length {row['new_length_seconds']:.1f}", flush=True)


def print_summary(summary: dict[str, float]) -> None:
    """Print every number of the summary beside its bar."""
    for name, value in summary.items():
        said = "reached" if value <= BARS[name] else "missed"
        print(f"{name:28} {value:6.3f}  bar {BARS[name]:.2f}  {said}")


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw the plain float32 ratios to PyTorch and Keras, a bar per cell and shape."""
    from matplotlib.figure import Figure

    plain = [
        row
        for row in rows
        if row["dtype"] == "float32" and row["directions"] == 1 and not row["masked"]
    ]
    labels = [row["name"].removesuffix(" float32").replace(" ", "\n") for row in plain]
    panels = {
        "Training step": ("training_vs_torch", "training_vs_keras"),
        "Inference in Python": ("inference_vs_torch", "inference_vs_keras"),
    }
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(2, 1), panels.items(), strict=True):
        for shift, name, color in zip((-0.2, 0.2), names, ("#d1495b", "#30638e"), strict=True):
            values = [row["ratios"][name] for row in plain]
            places = [place + shift for place in range(len(plain))]
            peer = {"torch": "PyTorch", "keras": "Keras"}[name.rsplit("_", 1)[1]]
            bars = axes.bar(places, values, 0.38, color=color, label=f"SeqZoo / {peer}")
            axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
        axes.axhline(1, color="black", linewidth=1)
        axes.set_xticks(range(len(plain)), labels, fontsize=8)
        axes.set_title(f"{title}, float32: ratio of median times, below 1 = SeqZoo is faster")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    figure.savefig(file, dpi=130)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    sys.exit(main())
