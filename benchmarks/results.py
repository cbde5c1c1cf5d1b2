"""The README's result table, made from the records in `benchmarks/results/`.

    python -m benchmarks.results            writes the table into the README
    python -m benchmarks.results --check    says what no longer agrees; exit code 1 if anything

A record may be cited while the files that it names are unchanged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.quality import RESULTS, ROOT, digest

README = ROOT / "README.md"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the table and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.results", description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    records = {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(RESULTS.glob("*.json"))
    }
    readme = README.read_text(encoding="utf-8")
    head, _, rest = readme.partition(BEGIN)
    tail = rest.partition(END)[2]
    wanted = head + BEGIN + table(records) + END + tail
    if not options.check:
        README.write_text(wanted, encoding="utf-8")
        return 0
    problems = [line for name, record in records.items() for line in stale(name, record)]
    if wanted != readme:
        problems.append("README.md: the result table is not that of the records; make results")
    print("\n".join(problems) or f"{len(records)} records: ok")
    return 1 if problems else 0


def table(records: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table, a row per record."""
    lines = [
        "| Recipe | Data (train / validation / test) | Test accuracy | NB-SVM, same run | Seeds "
        "| Training |",
        "|---|---|---|---|---|---|",
    ]
    for record in records.values():
        data, seeds = record["data"], record["seeds"]
        sizes = " / ".join(f"{data[part]:,}" for part in ("train", "validation", "test"))
        lines.append(
            f"| {record['recipe']} | {data['name']} ({sizes}) "
            f"| {_percent(record['test']['accuracy'], len(seeds))} "
            f"| {_percent(record['baselines']['nb_svm']['accuracy'], 1)} "
            f"| {', '.join(map(str, seeds))} "
            f"| {record['train_seconds']['mean']:.0f} s, "
            f"{record['environment']['processor']}, {record['environment']['cores']} cores |"
        )
    return "\n".join(lines) + "\n"


def stale(name: str, record: dict[str, Any]) -> list[str]:
    """Return a line per file that has changed since a record was made."""
    return [
        f"{name}: {path} has changed since {str(record['commit'])[:12]}"
        for path, expected in record["files"].items()
        if not (ROOT / path).is_file() or digest(ROOT / path) != expected
    ]


def _percent(score: dict[str, float], seeds: int) -> str:
    spread = f" ± {100 * score['spread']:.1f}" if seeds > 1 else ""
    return f"{100 * score['mean']:.1f}{spread} %"


if __name__ == "__main__":
    sys.exit(main())
