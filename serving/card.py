"""The model card: what was trained, on what, how good it is and how to ask it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.parity import Finding
    from zoo.pipeline import Pipeline
    from zoo.ports import Ports

_FILE = "<bytes of a file>"


def model_card(run: Path, name: str, pipeline: Pipeline, finding: Finding) -> str:
    """Return the card as Markdown, made from the files of the run folder.

    Args:
        run: The run folder.
        name: Name under which the model is served.
        pipeline: The run's pipeline.
        finding: How the reloaded model compared with it.
    """
    config, metrics, environment = (
        _read(run / f"{file}.json") for file in ("config", "metrics", "environment")
    )
    packages = environment.get("packages", {})
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Recipe `{config.get('recipe', '?')}`, {pipeline.model.count_params():,} parameters.",
            "",
            *_section("Data", _facts(metrics.get("data", {}))),
            *_section("Quality on the test part", _quality(metrics)),
            *_section("Inputs", _ports(pipeline.inputs)),
            *_section("Outputs", _ports(pipeline.outputs)),
            *_section("Request", _request(name, pipeline)),
            *_section(
                "Equality",
                [
                    f"The reloaded SavedModel differs by at most {finding.difference:.1e} from the "
                    f"trained pipeline on the rows of `parity.json`.",
                ],
            ),
            *_section("Training", _facts({k: v for k, v in config.items() if k != "recipe"})),
            *_section("Environment", _facts({**packages, "git": environment.get("git_commit")})),
        ]
    )


def _section(title: str, lines: list[str] | Iterator[str]) -> Iterator[str]:
    body = list(lines)
    if body:
        yield from (f"## {title}", "", *body, "")


def _facts(values: Mapping[str, Any]) -> Iterator[str]:
    return (f"- {key}: {value}" for key, value in values.items())


def _quality(metrics: Mapping[str, Any]) -> Iterator[str]:
    tables: dict[str, dict[str, float]] = {}
    for name, scores in {"model": metrics.get("test", {}), **metrics.get("baselines", {})}.items():
        tables[name] = {key: score for key, score in scores.items() if not isinstance(score, dict)}
        # Other ways to answer, or other conditions, are rows of their own; what is told by step is
        # for the report.
        others = {key: score for key, score in scores.items() if isinstance(score, dict)}
        tables |= {
            f"{name}, {key}": score
            for key, score in others.items()
            if not any(isinstance(value, dict) for value in score.values())
        }
    names = list(tables["model"])
    if not names:
        return
    yield f"| | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for row, scores in tables.items():
        known = {name: score for name, score in scores.items() if score is not None}
        cells = (f"{known[name]:.4f}" if name in known else "" for name in names)
        yield f"| {row} | {' | '.join(cells)} |"


def _ports(ports: Ports) -> Iterator[str]:
    return (f"- `{name}: {port}`: {port.meaning}" for name, port in ports.items())


def _request(name: str, pipeline: Pipeline) -> Iterator[str]:
    if any(port.dtype != "string" for port in pipeline.inputs.values()):
        return
    row = {port: _text(rows[0]) for port, rows in pipeline.samples.items()}
    body = json.dumps({"instances": [row]}, ensure_ascii=False).replace("'", "'\\''")
    url = f"http://localhost:8501/v1/models/{name}:predict"
    yield "```sh"
    if json.dumps(_FILE) not in body:
        yield f"curl {url} -d '{body}'"
    else:
        # What is no text comes from a file; as an argument it could be too long.
        words = body.replace(json.dumps(_FILE), """{"b64": "'; base64 < FILE; printf '"}""")
        yield f"(printf '{words}') | tr -d '\\n' | curl {url} -d @-"
    yield "```"


def _text(sample: bytes) -> str:
    try:
        return sample.decode()
    except UnicodeDecodeError:
        return _FILE


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
