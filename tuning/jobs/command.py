"""From a command line to the folder of a job.

    python -m tuning jobs slurm sentiment --out jobs --workers 8 -- --algorithm hyperband
    python -m tuning jobs kubernetes sentiment --out jobs --kind training -- --preset large

What follows behind -- is not looked at here, since its paths belong to other machines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from recipes import config as configuration
from tuning.jobs import kubernetes, slurm
from tuning.jobs.job import Job, Kind, KubernetesJob, SlurmJob
from zoo.errors import MisuseError, UnknownNameError

J = TypeVar("J", bound=Job)

PLATFORMS: Mapping[str, tuple[type[Job], Callable[[Any, Path], None]]] = {
    "slurm": (SlurmJob, slurm),
    "kubernetes": (KubernetesJob, kubernetes),
}
"""What a job is asked for by, and what writes it."""

USAGE = f"""\
usage: python -m tuning jobs PLATFORM RECIPE --out DIR [options] [-- options of what it runs]
       python -m tuning jobs PLATFORM RECIPE --help

platforms: {", ".join(PLATFORMS)}"""


@dataclass(frozen=True)
class JobOptions(Generic[J]):
    """Write a batch script or manifests; what follows behind -- is passed on to what they run."""

    job: J
    out: Path = Path("jobs")
    """The new folder."""


def jobs(arguments: Sequence[str]) -> None:
    """Write the files by which a search, or one training, runs beyond one machine.

    Args:
        arguments: The words behind `jobs`.

    Raises:
        MisuseError: A word does not fit, or the folder is there already.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    platform, *words = arguments
    if platform not in PLATFORMS:
        raise UnknownNameError("platform", platform, PLATFORMS)
    kind, write = PLATFORMS[platform]
    options = _read(kind, platform, words)
    write(options.job, options.out)
    print(f"jobs: {options.out}, and {options.out / 'README.md'} says how to start them")


def _read(job: type[Job], platform: str, words: Sequence[str]) -> JobOptions[Any]:
    program = f"python -m tuning jobs {platform}"
    if not words or words[0].startswith("-"):
        raise MisuseError(f"the name of a recipe must follow, as in: {program} sentiment --out DIR")
    recipe, *own = words
    passed: tuple[str, ...] = ()
    if "--" in own:
        end = own.index("--")
        own, passed = own[:end], tuple(own[end + 1 :])
    # What may be passed on depends on the kind, and is checked with the first of all values.
    kind: Kind = "training" if configuration.value_of("--kind", own) == "training" else "search"
    folder = Path("runs", f"{recipe}-{kind}")
    default = JobOptions(job(recipe=recipe, words=passed, kind=kind, run_dir=folder))
    return configuration.parse(JobOptions[job], own, default, f"{program} {recipe}")  # type: ignore[valid-type]
