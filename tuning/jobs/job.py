"""What runs beyond one machine, as the options that it is asked for by."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from recipes import recipe
from recipes.config import require, value_of
from zoo.errors import ConfigError

SHARED = "/shared"
"""Where the volume that all pods share is in the containers."""

Kind = Literal["search", "training"]

OURS = {
    "search": ("--run-dir", "--threads", "--workers", "--port"),
    "training": ("--run-dir", "--strategy"),
}
"""Options that the files give themselves, and that must not be given twice."""

_LABEL = re.compile("[a-z]([a-z0-9-]*[a-z0-9])?")
_PLAIN = re.compile(r"[\w.,:/@+-]*", re.ASCII)
_LONGEST_NAME = 40
_MINUTES = 60


@dataclass(frozen=True, kw_only=True)
class Job:
    """A search or a training that is spread over machines."""

    recipe: tyro.conf.Suppress[str]
    """Name of the recipe."""
    words: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Options of the search or of the training, passed on as they are."""

    kind: Kind = "search"
    """A search over hyperparameters, or one training that all workers share."""
    workers: int = 2
    """Of a search, beside the chief; of a training all of its processes, one per machine."""
    run_dir: Path = Path("runs")
    """Folder of the search or run, where every machine can reach it."""
    name: str = ""
    """Name of the job, of lower case, digits and -; RECIPE-KIND by default."""
    cpus: int = 4
    """Cores of the chief and of each worker, and threads that TensorFlow gets there."""
    memory_gib: int = 8
    """Memory of the chief and of each worker, in GiB."""
    retries: int = 20
    """How often what fails by itself is started again; pre-emption does not count."""

    def __post_init__(self) -> None:
        """Check every value, so that no file is written that a cluster would refuse."""
        recipe(self.recipe)
        require(self, "at least 1", lambda value: value >= 1, "workers", "cpus", "memory_gib")
        require(self, "at least 0", lambda value: value >= 0, "retries")
        if not (_LABEL.fullmatch(self.title) and len(self.title) <= _LONGEST_NAME):
            raise ConfigError(
                f"name must have at most {_LONGEST_NAME} characters, lower case, digits and - "
                f"alone, a letter first and no - at the end, not '{self.title}'"
            )
        if str(self.run_dir).startswith("-"):
            raise ConfigError(f"run_dir must not begin with '-', as '{self.run_dir}' does")
        for text in (*self.words, str(self.run_dir)):
            _require_text(text)
        for word in self.words:
            option = word.partition("=")[0]
            if option in OURS[self.kind]:
                raise ConfigError(f"{option} must not be among the options that are passed on")
            if option in ("-h", "--help"):
                raise ConfigError(f"{option} would only print the options, and nothing would run")

    @property
    def title(self) -> str:
        """The name, or what stands for it."""
        return self.name or f"{self.recipe}-{self.kind}"

    @property
    def folder(self) -> str:
        """Path of the run folder where the job runs."""
        return str(self.run_dir)

    @property
    def chief(self) -> tuple[str, ...]:
        """Command of a search's chief."""
        command = ("python", "-m", "tuning", "chief", self.recipe, *self.words)
        return (*command, "--threads", str(self.cpus), "--run-dir", self.folder)

    @property
    def worker(self) -> tuple[str, ...]:
        """Command of a search's workers, all the same."""
        lease = value_of("--lease", self.words)
        patience = () if lease is None else ("--lease", lease)
        command = ("python", "-m", "tuning", "worker", *patience)
        return (*command, "--threads", str(self.cpus), "--run-dir", self.folder)

    @property
    def training(self) -> tuple[str, ...]:
        """Command of a training's workers, all the same."""
        command = ("python", "-m", "recipes", self.recipe, "train", *self.words)
        return (*command, "--strategy", "multiworker", "--run-dir", self.folder)


@dataclass(frozen=True, kw_only=True)
class SlurmJob(Job):
    """A batch script for Slurm."""

    hours: float = 24.0
    """Wall-clock hours that are asked for at a time; shortly before they are over the job goes
    back into the queue, and later goes on."""
    partition: str = ""
    """Partition; the cluster's own choice by default."""
    account: str = ""
    """Account that is charged; the user's own by default."""
    activate: str = ""
    """Shell command that makes `python` the one with SeqZoo, such as `source venv/bin/activate`."""

    def __post_init__(self) -> None:
        """Check every value, so that no file is written that a cluster would refuse."""
        super().__post_init__()
        require(self, "at least 0.1", lambda value: 0.1 <= value < math.inf, "hours")
        _require_plain(self, "partition", "account")
        _require_text(self.activate)

    @property
    def minutes(self) -> int:
        """Wall-clock minutes that are asked for at a time."""
        return math.ceil(self.hours * _MINUTES)


@dataclass(frozen=True, kw_only=True)
class KubernetesJob(Job):
    """Manifests for Kubernetes."""

    image: str = "seqzoo:0.1.0"
    """Name and tag of the image that is built, pushed and run."""
    namespace: str = "default"
    """Namespace that everything goes into."""
    storage_class: str = ""
    """Class of a volume that all pods can write to; the cluster's own by default."""
    storage_gib: int = 20
    """Size of that volume, in GiB."""
    deadline_hours: float = 0.0
    """Hours after which the job is ended, done or not; 0 for never."""

    def __post_init__(self) -> None:
        """Check every value, so that no file is written that a cluster would refuse."""
        super().__post_init__()
        require(self, "at least 1", lambda value: value >= 1, "storage_gib")
        require(self, "at least 0", lambda value: 0 <= value < math.inf, "deadline_hours")
        if self.run_dir.is_absolute() or ".." in self.run_dir.parts:
            raise ConfigError(
                f"run_dir must be a path on the volume, such as runs/mine, not '{self.run_dir}'"
            )
        if not self.image:
            raise ConfigError("image must have a name and a tag, such as seqzoo:0.1.0, not ''")
        _require_plain(self, "image", "storage_class")
        if not _LABEL.fullmatch(self.namespace):
            raise ConfigError(
                f"namespace must have lower case, digits and - alone, not '{self.namespace}'"
            )

    @property
    def folder(self) -> str:
        """Path of the run folder where the job runs."""
        return f"{SHARED}/{self.run_dir.as_posix()}"

    @property
    def deadline_seconds(self) -> int:
        """Seconds after which the job is ended; 0 for never."""
        return math.ceil(self.deadline_hours * _MINUTES * 60)

    @property
    def peers(self) -> tuple[str, ...]:
        """Names of a training's pods."""
        return tuple(f"{self.title}-{index}.{self.title}" for index in range(self.workers))

    @property
    def over(self) -> str:
        """Path of the file that says to workers which come late that this very search is over."""
        digest = hashlib.sha256("\0".join(self.chief).encode()).hexdigest()
        return f"{self.folder}/chief-{digest[:8]}.over"


def _require_text(text: str) -> None:
    """Refuse what no command line and no file of text can hold."""
    if "\0" in text:
        raise ConfigError(f"a word must not hold the character NUL, as {text!r} does")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"a word must be text in UTF-8, not {text!r}") from None


def _require_plain(job: Job, *names: str) -> None:
    for name in names:
        value = getattr(job, name)
        if not _PLAIN.fullmatch(value):
            raise ConfigError(
                f"{name} must have letters, digits and the signs . , : / @ + - _ alone, "
                f"not '{value}'"
            )
