"""The four commands that every recipe has: train, evaluate, predict, export.

Nothing here imports TensorFlow before the command line has been read.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import tyro

from recipes import cluster
from recipes import config as configuration
from recipes.headline import Headline
from recipes.run import Run, read_config, refuse_other
from zoo.environment import loaded_sources
from zoo.errors import ConfigError, DataError, MisuseError
from zoo.pipeline import Pipeline

if TYPE_CHECKING:
    from recipes.distribution import Replicas

C = TypeVar("C")
R = TypeVar("R", bound="RunOptions")

METRICS = "metrics.json"
SOURCES = "sources.json"
ONLY_SHOW = (
    "recipes/__",
    "recipes/cluster.py",
    "recipes/commands.py",
    "recipes/config.py",
    "recipes/report/",
)
"""Files that read a command line, call a recipe, let workers meet, and show what was measured: none
decides about a score, since the resolved configuration is part of a run."""


@dataclass(frozen=True)
class TrainOptions(Generic[C]):
    """Train a model; the same command on the same folder goes on where it stopped."""

    fields: C
    run_dir: Path = Path("runs")
    """Folder of the run; it belongs to one configuration."""
    preset: str = "base"
    """Where the fields below start from."""
    config: Path | None = None
    """JSON file whose fields replace the preset's."""
    strategy: Literal["none", "mirrored", "multiworker"] = "none"
    """Train on one device, on all of this machine, or on the workers that TF_CONFIG names; the
    result is that of one device."""


@dataclass(frozen=True)
class RunOptions:
    """Use a trained run."""

    run_dir: Path = Path("runs")
    """Folder of a finished run."""


@dataclass(frozen=True)
class PredictOptions(RunOptions):
    """Answer raw rows with a trained run."""

    rows: tyro.conf.Positional[tuple[str, ...]] = ()
    """The rows, one word each: quote texts that hold spaces; or names of files."""


@dataclass(frozen=True)
class ExportOptions(RunOptions):
    """Export a trained run as a SavedModel for TF Serving."""

    out: Path = Path("models")
    """Base folder; the model goes to OUT/NAME/VERSION/."""
    name: str = ""
    """Name of the served model; the recipe's by default."""


def train(name: str, recipe: ModuleType, arguments: Sequence[str]) -> None:
    """Train a model, score it once on the test part, and write the run folder."""
    began = time.perf_counter()
    start = configuration.starting_point(recipe.PRESETS, arguments)
    default = TrainOptions(start, run_dir=Path("runs", name))
    options = configuration.parse(
        TrainOptions[recipe.Config],  # type: ignore[name-defined]
        arguments,
        default,
        f"python -m recipes {name} train",
    )
    config, folder = options.fields, options.run_dir
    values = configuration.to_json(config)
    refuse_other(folder, name, values)
    if (folder / METRICS).is_file():
        print(f"'{folder}' is finished: this is what it measured")
    else:
        devices = _devices(options.strategy, name, values)
        if devices and not devices.is_chief:
            devices.assist(recipe, config)
            return
        # What cannot be loaded or built fails here, before anything is written.
        with _scope(devices):
            data = recipe.load(config)
            pipeline = recipe.build(config, data)
            _print_sizes(data, pipeline)
            if devices:
                devices.check_equal(data, pipeline)
        with Run(folder, name, values, devices) as run:
            _train(recipe, config, data, pipeline, run, began)
    _print_results(folder, recipe.HEADLINE)


def _devices(strategy: str, name: str, values: dict[str, Any]) -> Replicas | None:
    """Return what a training is spread over, None for one device."""
    if strategy == "none":
        return None
    workers = cluster.read() if strategy == "multiworker" else None
    from recipes.distribution import spread  # here, not above: it loads TensorFlow

    return spread(workers, {"recipe": name, **values})


def _scope(devices: Any) -> contextlib.AbstractContextManager[None]:
    return devices.scope() if devices else contextlib.nullcontext()


def _train(
    recipe: ModuleType, config: Any, data: Any, pipeline: Pipeline, run: Run, began: float
) -> None:
    with _scope(run.devices):
        trained = recipe.train(config, data, pipeline, run)
    pipeline.save(run.folder)
    scores, answers = recipe.evaluate(config, data, pipeline)
    results = {
        "test": scores,
        "baselines": recipe.baselines(config, data),
        **trained,
        "parameters": pipeline.model.count_params(),
        "data": _data_facts(data),
    }
    # Loading, validation, scoring and baselines are in it; of a run that was broken off, the end.
    results["seconds"] = time.perf_counter() - began
    recipe.report(config, data, run, results, answers)
    run.write_json(SOURCES, sources())
    # Last, since its presence says that the run is finished.
    run.write_json(METRICS, without_nan(results))


def without_nan(value: Any) -> Any:
    """Return a value of JSON in which every NaN, which JSON does not know, is None."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return what a finished run has measured, NaN where nothing was defined."""

    def measured(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: measured(each) for key, each in value.items()}
        return math.nan if value is None else value

    return measured(json.loads((folder / METRICS).read_text(encoding="utf-8")))


def sources() -> dict[str, str]:
    """Return what the scores depend on, which is all but the command line and the pages."""
    loaded = loaded_sources("zoo", "recipes").items()
    return {file: digest for file, digest in loaded if not file.startswith(ONLY_SHOW)}


def _data_facts(data: Any) -> dict[str, Any]:
    rows = {part: len(rows) for part, rows in data._asdict().items()}
    source = data.train.source
    return {"name": data.train.name, **rows, **(vars(source) if source else {})}


def _print_sizes(data: Any, pipeline: Pipeline) -> None:
    sizes = ", ".join(f"{len(rows):,} {part}" for part, rows in data._asdict().items())
    print(f"data set: {data.train.name} ({sizes} rows)")
    print(f"model: {pipeline.model.count_params():,} parameters", flush=True)


def _print_results(folder: Path, headline: Headline) -> None:
    """Print the headline: the test score beside each baseline's."""
    results = read_metrics(folder)
    # A recipe may judge by something else on some of its data.
    headline = replace(headline, metric=results.get("headline", headline.metric))
    score = results["test"][headline.metric]
    print(f"test {headline.metric}: {score:.4f}")
    for name, baseline in results["baselines"].items():
        other = baseline[headline.metric]
        verdict = "  <- better than the model" if headline.is_better(other, score) else ""
        print(f"  {name}: {other:.4f}{verdict}")
    print(f"run folder: {folder}")


def evaluate(name: str, recipe: ModuleType, arguments: Sequence[str]) -> None:
    """Score a trained run on its test part again and print the metrics as JSON."""
    options = _parse(RunOptions, name, "evaluate", arguments)
    config = _config_of(options.run_dir, name, recipe)
    pipeline = Pipeline.load(options.run_dir)
    scores, _ = recipe.evaluate(config, recipe.load(config), pipeline)
    print(json.dumps(scores, indent=2))


def predict(name: str, recipe: ModuleType, arguments: Sequence[str]) -> None:
    """Answer rows given as words or files; prints one JSON object per row.

    Raises:
        DataError: Rows were not understood; the others have been answered by then.
    """
    from recipes.rows import read, shown

    options = _parse(PredictOptions, name, "predict", arguments)
    if not options.rows:
        raise MisuseError(f'no rows given: write python -m recipes {name} predict "..." "..."')
    config = _config_of(options.run_dir, name, recipe)
    pipeline = Pipeline.load(options.run_dir)
    rows = read(pipeline, options.rows, getattr(config, "every", 1))
    answers = pipeline.predict(rows.raw)
    refused = []
    for index, row in enumerate(rows.names):
        answer = {key: values[index] for key, values in answers.items()}
        answer = shown(rows, index, answer, options.run_dir)
        if reason := answer.get("status"):
            refused.append(f"{row or f'row {index + 1}'}: {reason}")
        else:
            print(json.dumps({rows.key: row, **answer}, ensure_ascii=False))
    if refused:
        raise DataError("\n".join(refused))


def export(name: str, recipe: ModuleType, arguments: Sequence[str]) -> None:
    """Write a trained run as a SavedModel that TF Serving serves."""
    from serving.export import export as write

    options = _parse(ExportOptions, name, "export", arguments)
    _config_of(options.run_dir, name, recipe)
    folder = write(options.run_dir, options.out, options.name or name)
    print(f"exported: {folder}")


def _parse(options: type[R], name: str, command: str, arguments: Sequence[str]) -> R:
    default = options(run_dir=Path("runs", name))
    program = f"python -m recipes {name} {command}"
    return configuration.parse(options, arguments, default, program)


def _config_of(folder: Path, name: str, recipe: ModuleType) -> Any:
    """Return the configuration of a finished run of this recipe."""
    values = read_config(folder)
    if (owner := values.pop("recipe", None)) != name:
        raise ConfigError(f"run folder '{folder}' belongs to the recipe '{owner}', not '{name}'")
    if not (folder / METRICS).is_file():
        raise DataError(f"the run in '{folder}' is not finished: call train on it again")
    return configuration.from_json(recipe.Config, values)


COMMANDS: dict[str, Callable[[str, ModuleType, Sequence[str]], None]] = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "export": export,
}
