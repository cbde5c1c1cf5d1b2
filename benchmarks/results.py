"""The README's tables, made from the records in `benchmarks/results/`.

    python -m benchmarks.results            writes the tables into the README
    python -m benchmarks.results --check    says what no longer agrees; exit code 1 if anything

A record may be cited while the files that it names are unchanged.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality import RESULTS, ROOT, stale
from recipes import recipe
from tuning.confirmation import START, Confirmation, spelled
from zoo.datasets.series import HORIZONS, NAMES

README = ROOT / "README.md"
SPEED, GAIN = "speed", "gain"
RATES = ("accuracy", "wer")
"""Metrics that are fractions, and shown as percentages."""


TRANSPORTS = {"grpc": "gRPC", "rest": "REST"}
PEERS = {"seqzoo": "SeqZoo", "keras": "Keras", "torch": "PyTorch"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the tables and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.results", description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    records, speed, gain = (read(RESULTS / folder) for folder in ("", SPEED, GAIN))
    readme = README.read_text(encoding="utf-8")
    wanted = between(readme, "results", table(records))
    if any(record["recipe"] == "forecasting" for record in records.values()):
        wanted = between(wanted, "intervals", intervals_table(records))
    if any(record["recipe"] == "video" for record in records.values()):
        wanted = between(wanted, "frames", frames_table(records))
    if gain:
        wanted = between(wanted, GAIN, gain_table(gain))
    for name, record in speed.items():
        wanted = between(wanted, f"{SPEED}-{name}", SPEED_TABLES[name](record))
    if not options.check:
        README.write_text(wanted, encoding="utf-8")
        return 0
    every = dict(records)
    for folder, found in ((SPEED, speed), (GAIN, gain)):
        every |= {f"{folder}/{name}": record for name, record in found.items()}
    problems = [line for name, record in every.items() for line in stale(name, record)]
    if wanted != readme:
        problems.append("README.md: the tables are not those of the records; make results")
    print("\n".join(problems) or f"{len(every)} records: ok")
    return 1 if problems else 0


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records in a folder by name."""
    return {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("*.json"))
    }


def between(text: str, name: str, inner: str) -> str:
    """Return the text with what stands between the markers called `name` replaced."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    if begin not in text or end not in text:
        raise SystemExit(f"{README.name} lacks the markers of the table '{name}'")
    head, _, rest = text.partition(begin)
    return head + begin + inner + end + rest.partition(end)[2]


def table(records: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table, a row per record."""
    lines = [
        "| Recipe | Data (train / validation / test) | Test | Best baseline, same run | Seeds "
        "| Training |",
        "|---|---|---|---|---|---|",
    ]
    for record in records.values():
        data, seeds = record["data"], record["seeds"]
        sizes = " / ".join(f"{data[part]:,}" for part in ("train", "validation", "test"))
        headline = recipe(record["recipe"]).HEADLINE
        # A recipe may judge by something else on some of its data.
        headline = replace(headline, metric=record.get("headline", headline.metric))
        choose = min if headline.lower_is_better else max
        baselines = {
            name: row[headline.metric]
            for name, row in record["baselines"].items()
            if headline.metric in row
        }
        whole = record.get("seconds", {}).get("mean")
        of = f" of {whole:.0f}" if whole else ""
        best = choose(baselines, key=lambda name, among=baselines: among[name]["mean"])
        lines.append(
            f"| {record['recipe']} | {data['name']} ({sizes}){_over(record)} "
            f"| {headline.metric} {_shown(headline.metric, record['test'][headline.metric])} "
            f"| {best} {_shown(headline.metric, {**baselines[best], 'spread': 0.0})} "
            f"| {', '.join(map(str, seeds))} "
            f"| {record['train_seconds']['mean']:.0f}{of} s, "
            f"{record['environment']['processor']}, {record['environment']['cores']} cores |"
        )
    return "\n".join(lines) + "\n"


def intervals_table(records: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table of forecasts: errors and intervals by data set, and all of M3."""
    lines = [
        "| Data | Error | Theta | Linear | OWA | 80 % interval holds | 95 % interval holds |",
        "|---" * 7 + "|",
    ]
    kept = [record for record in records.values() if record["recipe"] == "forecasting"]
    lines += [_forecast_row(record["data"]["name"], record) for record in kept]
    frequencies = {name.removeprefix("m3-"): name for name in NAMES if name.startswith("m3-")}
    by_name = {record["data"]["name"]: record for record in kept}
    if frequencies and {*frequencies.values()} <= by_name.keys():
        # As the competition counts: every step that was forecast counts once.
        parts = [
            (by_name[name], by_name[name]["data"]["test"] * HORIZONS[frequency])
            for frequency, name in frequencies.items()
        ]
        lines.append(_forecast_row("all of M3, by steps", _weighted(parts)))
    return "\n".join(lines) + "\n"


def _weighted(parts: list[tuple[dict[str, Any], int]]) -> dict[str, Any]:
    """Return the errors and coverages of several records as one, weighted."""
    total = sum(weight for _, weight in parts)

    def mean(*path: str) -> dict[str, float]:
        values = 0.0
        for record, weight in parts:
            score: Any = record
            for key in path:
                score = score[key]
            values += score["mean"] * weight / total
        return {"mean": values, "spread": 0.0}

    return {
        "headline": "smape",
        "test": {
            "smape": mean("test", "smape"),
            "coverage": {share: mean("test", "coverage", share) for share in ("80", "95")},
        },
        "baselines": {
            name: {"smape": mean("baselines", name, "smape")} for name in ("theta", "linear")
        },
    }


def _forecast_row(name: str, record: dict[str, Any]) -> str:
    metric, test = record["headline"], record["test"]
    cells = [name, f"{metric} {_shown(metric, test[metric])}"]
    cells += [_shown(metric, record["baselines"][other][metric]) for other in ("theta", "linear")]
    cells.append(_shown("owa", test["owa"]) if "owa" in test else "")
    cells += [f"{100 * test['coverage'][share]['mean']:.1f} %" for share in ("80", "95")]
    return f"| {' | '.join(cells)} |"


def frames_table(records: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table of predicted frames: a row per data set and method."""
    lines = ["| Data | Method | MSE | MAE | PSNR, dB | SSIM | MSE of the last frame |"]
    lines.append("|---" * 7 + "|")
    for record in records.values():
        if record["recipe"] != "video":
            continue
        for name, row in {"model": record["test"], **record["baselines"]}.items():
            *_, last = row["by_lead_time"]["mse"].values()
            cells = [_shown(metric, row[metric]) for metric in ("mse", "mae", "psnr", "ssim")]
            cells.append(_shown("mse", last))
            method = name.replace("_", " ")
            lines.append(f"| {record['data']['name']} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def gain_table(records: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table of what searches gained: a row per recipe."""
    lines = ["| Recipe | Trials | Test | Start | Chosen | Gain |", "|---" * 6 + "|"]
    for name, record in records.items():
        found = Confirmation(**record["confirmation"])
        chosen = "the start" if found.chosen == START else f"trial {found.chosen}"
        lines.append(
            f"| {name} | {record['trials']} | {found.metric} | {spelled(found.start)} "
            f"| {chosen}: {spelled(found.best)} | {found.gain:+.4f} |"
        )
    return "\n".join(lines) + "\n"


def recurrent_table(record: dict[str, Any]) -> str:
    """Return the Markdown table of a speed record: a row per cell and shape, then the means."""
    columns = {
        "Training / PyTorch": "training_vs_torch",
        "Training / Keras": "training_vs_keras",
        "Inference / PyTorch": "inference_vs_torch",
        "Inference / Keras": "inference_vs_keras",
        "Exported / Keras exported": "exported_inference_vs_keras",
    }
    lines = [f"| Layer, batch x time x features x units | {' | '.join(columns)} |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    rows = [row for row in record["layers"] if set(columns.values()) <= row["ratios"].keys()]
    for row in rows:
        ratios = " | ".join(f"{row['ratios'][name]:.2f}" for name in columns.values())
        lines.append(f"| {row['name'].removesuffix(' float32')} | {ratios} |")
    means = [
        f"{statistics.geometric_mean(row['ratios'][name] for row in rows):.2f}"
        for name in columns.values()
    ]
    lines.append(f"| geometric mean | {' | '.join(means)} |")
    where = f"{record['environment']['processor']}, {record['environment']['cores']} cores"
    others = {
        "bfloat16 training / PyTorch": "bfloat16_train_vs_torch",
        "MinLSTM / LSTM, training at 4,096 steps": "minlstm_vs_lstm_4096",
        "ConvLSTM2D / Keras, training": "convlstm_vs_keras",
    }
    summary = record["summary"]
    said = "; ".join(f"{k} {summary[name]:.2f}" for k, name in others.items() if name in summary)
    return "\n".join([*lines, "", f"{said}. {where}."]) + "\n"


def speech_table(record: dict[str, Any]) -> str:
    """Return the Markdown table of what listening costs: a row per preset."""
    ways = ("seqzoo lexicon", "seqzoo beam", "seqzoo greedy", "torch greedy")
    lines = [
        "| Real time factor on one core | "
        + " | ".join(way.replace("seqzoo", "SeqZoo").replace("torch", "PyTorch") for way in ways)
        + " |",
        "|---" * (1 + len(ways)) + "|",
    ]
    for preset, row in record["offline"].items():
        taken = (row["milliseconds"][way]["median"] / 1e3 / record["seconds"] for way in ways)
        lines.append(f"| {preset} | {' | '.join(f'{each:.4f}' for each in taken)} |")
    chunk = {who: row["median"] for who, row in record["streaming"]["milliseconds"].items()}
    said = f"A chunk of 20 ms: {chunk['seqzoo']:.1f} ms, in PyTorch {chunk['torch']:.1f} ms."
    return "\n".join([*lines, "", f"{said} {record['environment']['processor']}."]) + "\n"


def forecasting_table(record: dict[str, Any]) -> str:
    """Return the Markdown table of forecasters trained for as long."""
    lines = ["| Trained for as long | Windows per second | sMAPE | Seconds |", "|---|---|---|---|"]
    for name, row in record["peers"].items():
        speed, error, taken = (
            row[each]["median"] for each in ("windows_per_second", "smape", "seconds")
        )
        lines.append(f"| {name} | {speed:,.0f} | {error:.2f} | {taken:.0f} |")
    return "\n".join([*lines, "", f"{record['environment']['processor']}."]) + "\n"


def scale_table(record: dict[str, Any]) -> str:
    """Return the Markdown table of what many series cost."""
    lines = ["| Series | Milliseconds per series | Peak memory, GiB |", "|---|---|---|"]
    for row in record["sizes"]:
        taken = row["training_seconds"] + row["forecasting_seconds"]
        each = 1e3 * taken / row["series"]
        lines.append(f"| {row['series']:,} | {each:.2f} | {row['peak_gib']:.2f} |")
    return "\n".join(lines) + "\n"


def tuning_table(record: dict[str, Any]) -> str:
    """Return the Markdown table of trials per hour: a row per crew of workers."""
    lines = [
        "| Sentiment, the same trials | Trials per hour | A trial, s | Beyond its training, s |"
    ]
    lines.append("|---|---|---|---|")
    for name, row in record["crews"].items():
        lines.append(
            f"| {name} | {row['trials_per_hour']:.0f} | {row['trial_seconds']:.0f} "
            f"| {row['overhead_seconds']:.2f} |"
        )
    return "\n".join([*lines, "", f"{record['environment']['processor']}."]) + "\n"


def video_table(record: dict[str, Any]) -> str:
    """Return the Markdown table of a training step of the video recipe: a row per peer."""
    lines = [
        f"| A training step of {record['batch']} clips | Milliseconds | Share of Keras |",
        "|---|---|---|",
    ]
    whole = record["milliseconds"]["keras"]["median"]
    for name, row in record["milliseconds"].items():
        label = (
            name.replace("seqzoo", "SeqZoo").replace("keras", "Keras").replace("torch", "PyTorch")
        )
        lines.append(f"| {label} | {row['median']:,.0f} | {row['median'] / whole:.2f} |")
    return "\n".join([*lines, "", f"{record['environment']['processor']}."]) + "\n"


def serving_table(record: dict[str, Any]) -> str:
    """Return the Markdown table of the server's loads: a row per transport and concurrency."""
    lines = [
        "| Calls in flight | One by one, per second | p99, ms | In batches, per second | p99, ms |",
        "|---|---|---|---|---|",
    ]
    loads = {(e["transport"], e["concurrency"], e["batching"]): e for e in record["loads"]}
    for transport, concurrency in dict.fromkeys(key[:2] for key in loads):
        cells = [
            f"{loads[transport, concurrency, batched]['qps']:,.0f} "
            f"| {loads[transport, concurrency, batched]['p99_ms']:.1f}"
            for batched in (False, True)
        ]
        lines.append(f"| {concurrency}, {TRANSPORTS[transport]} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{record['environment']['processor']}."]) + "\n"


SPEED_TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "recurrent": recurrent_table,
    "serving": serving_table,
    "speech": speech_table,
    "forecasting": forecasting_table,
    "forecasting-scale": scale_table,
    "tuning": tuning_table,
    "video": video_table,
}


def _over(record: dict[str, Any]) -> str:
    """Return what a record is a mean over, beside seeds."""
    if "over" not in record:
        return ""
    field, values = record["over"]["field"], record["over"]["values"]
    return f", mean over {len(values)} times --{field}"


def _shown(metric: str, score: dict[str, Any]) -> str:
    """Return mean and spread, rates as percentages."""
    values = (score["mean"], score["spread"])
    if metric in RATES:
        mean, spread = (f"{100 * value:.1f}" for value in values)
        unit = " %"
    else:
        digits = 3 if values[0] < 1 else 2
        mean, spread = (f"{value:.{digits}f}" for value in values)
        unit = ""
    return f"{mean} ± {spread}{unit}" if score["spread"] else f"{mean}{unit}"


if __name__ == "__main__":
    sys.exit(main())
