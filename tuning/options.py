"""What a search is asked for, on the command line and in its folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

from recipes import config as configuration
from recipes import recipe
from recipes.run import read_config
from zoo.environment import digest
from zoo.errors import ConfigError, DataError

C = TypeVar("C")

Algorithm = Literal["random", "grid", "bayesian", "hyperband"]
FEWEST = 20
"""Trials of a search that is given no number of its own, but for "grid" and "hyperband"."""

SHORTEST_LEASE = 10
"""Seconds; a sign of life takes 2, and an answer of the chief may take as long as this."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class SearchOptions(Generic[C]):
    """Search over a recipe's hyperparameters; the same command goes on where it stopped."""

    fields: C
    run_dir: Path = Path("runs")
    """Folder of the search; it belongs to one recipe, configuration, space and algorithm."""
    preset: str = "base"
    """Where the fields start from; the first trial is this configuration."""
    config: Path | None = None
    """JSON file whose fields replace the preset's."""

    algorithm: Algorithm = "random"
    """How the next trial is chosen."""
    trials: int = 0
    """Most trials; 0: 20, of "grid" all combinations, of "hyperband" one sweep of its brackets."""
    budget: str = "0"
    """Time for all of it, such as 90s, 30m or 2h, 0 for no limit: no trial begins or goes on when
    what is left is about what the training of the best to its end will take."""
    space: Path | None = None
    """Python file with a function space(hp, base) instead of the recipe's."""
    fix: tuple[str, ...] = ()
    """Fields that keep a value, such as cell=gru."""
    patience: int = 0
    """A trial ends after so many epochs that were no better; 0: it does not."""
    max_parameters: int = 0
    """Refuse models with more weights; 0: no limit."""
    max_latency_ms: float = 0.0
    """Refuse models whose median answer takes longer, one row at a time, exported and asked over
    gRPC on this machine, beside what the other workers do there; 0: no limit."""
    latency: bool = False
    """Measure that answer for every trial, without a limit."""

    threads: int = 0
    """Cores of a worker; 0: all of the machine, divided among its workers."""
    lease: str = "15m"
    """Time without a sign of life after which a trial is given to another worker, and without a
    finished epoch or another checkpoint, of which there is one a minute, after which it fails."""

    def __post_init__(self) -> None:
        """Check every value, so that a bad one is named before anything starts."""
        counts = ("trials", "patience", "max_parameters", "threads", "max_latency_ms")
        configuration.require(self, "at least 0", lambda value: value >= 0, *counts)
        seconds(self.budget, "budget")
        lease_seconds(self.lease)

    @property
    def most(self) -> int:
        """Most trials, 0 where the algorithm itself comes to an end."""
        ends = self.algorithm in ("grid", "hyperband")
        return self.trials or (0 if ends else FEWEST)


@dataclass(frozen=True)
class LocalOptions(SearchOptions[C]):
    """Search with workers on this machine; the same command goes on where it stopped."""

    workers: int = 1
    """Trials that run at the same time."""
    port: int = 0
    """Of the chief, on 127.0.0.1; 0: a free one."""

    def __post_init__(self) -> None:
        """Check every value, so that a bad one is named before anything starts."""
        super().__post_init__()
        configuration.require(self, "at least 1", lambda value: value >= 1, "workers")
        configuration.require(self, "from 0 to 65535", lambda n: 0 <= n <= 65535, "port")

    @property
    def cores(self) -> int:
        """Cores of each worker."""
        return self.threads or max((os.cpu_count() or 1) // self.workers, 1)


@dataclass(frozen=True)
class Settings:
    """What decides about the result of a search: its folder belongs to one of these.

    Attributes:
        recipe: Name of the recipe.
        algorithm: How the next trial is chosen.
        base: Configuration that the search starts from, as JSON values.
        space: Path of the space's file, "" for the recipe's own.
        code: sha256 of the file that holds the space.
        fixed: Fields that keep a value, as JSON values.
        patience, max_parameters, max_latency_ms, latency: See `SearchOptions`.
    """

    recipe: str
    algorithm: str
    base: Mapping[str, Any]
    space: str = ""
    code: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    patience: int = 0
    max_parameters: int = 0
    max_latency_ms: float = 0.0
    latency: bool = False

    @property
    def module(self) -> ModuleType:
        """The recipe."""
        return recipe(self.recipe)

    def start(self) -> Any:
        """Return the configuration that the search starts from, with what is fixed."""
        return configuration.from_json(self.module.Config, {**self.base, **self.fixed})

    @property
    def measures_latency(self) -> bool:
        """Whether trials are exported and asked."""
        return self.latency or self.max_latency_ms > 0

    def to_json(self) -> dict[str, Any]:
        """Return it as the `config.json` of a folder, but for the recipe's name."""
        values = dict(vars(self))
        del values["recipe"]
        for name in ("base", "fixed"):
            # Side by side, so that a message names the one field that differs.
            values |= {f"{name}.{key}": value for key, value in values.pop(name).items()}
        return values

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Return the settings of a search folder.

        Raises:
            DataError: It holds no search, or one of another version.
        """
        values = read_config(folder)
        if "algorithm" not in values:
            raise DataError(f"'{folder}' is a run of recipe '{values.get('recipe')}', no search")
        base: dict[str, Any] = {}
        fixed: dict[str, Any] = {}
        for name in [name for name in values if "." in name]:
            part, _, key = name.partition(".")
            (base if part == "base" else fixed)[key] = values.pop(name)
        try:
            return cls(**values, base=base, fixed=fixed)
        except TypeError:
            raise DataError(f"'{folder}' is a search of another version of this program") from None


def read_options(
    kind: type[SearchOptions[Any]], name: str, arguments: Sequence[str], command: str
) -> tuple[Settings, Any]:
    """Return what a command line asks for.

    Args:
        kind: `SearchOptions` or a class with more of them.
        name: Name of the recipe.
        arguments: The words behind it.
        command: The command, for the help.
    """
    module = recipe(name)
    start = configuration.starting_point(module.PRESETS, arguments)
    options = configuration.parse(
        kind[module.Config],  # type: ignore[index]
        arguments,
        kind(start, run_dir=Path("runs", f"{name}-search")),
        f"python -m tuning {command} {name}",
    )
    fixed = _fixed(options.fix, module.Config, configuration.to_json(options.fields))
    file = options.space or Path(__file__).parent / "spaces" / f"{name}.py"
    settings = Settings(
        name,
        options.algorithm,
        configuration.to_json(options.fields),
        str(options.space or ""),
        digest(file) if file.is_file() else "",
        fixed,
        options.patience,
        options.max_parameters,
        options.max_latency_ms,
        options.latency,
    )
    return settings, options


def seconds(text: str, name: str) -> float:
    """Return a length of time such as 90s, 30m, 2h or 1d; a bare number is seconds.

    Raises:
        ConfigError: It is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise ConfigError(f"{name} must be a time such as 90s, 30m or 2h, not '{text}'")
    return float(match[1]) * _UNITS[match[2] or "s"]


def lease_seconds(text: str) -> float:
    """Return the length of a lease.

    Raises:
        ConfigError: It is no time, or too short for a sign of life.
    """
    if (length := seconds(text, "lease")) < SHORTEST_LEASE:
        raise ConfigError(f"lease must be at least {SHORTEST_LEASE}s, not {text}")
    return length


def _fixed(words: Sequence[str], config: Any, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `--fix`, each checked for its name, type and rule."""
    fixed: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"--fix takes field=value, such as units=64, not '{word}'")
        try:
            fixed[name] = json.loads(text)
        except ValueError:
            fixed[name] = text
    rebuilt = configuration.to_json(configuration.from_json(config, {**base, **fixed}))
    return {name: rebuilt[name] for name in fixed}
