"""Files by which a search, or one training, runs beyond one machine.

    slurm        one batch script: an array of chief and workers, or one job of many nodes
    kubernetes   an image, a volume, and the Jobs, Services and rules around them

`templates/` holds them by platform and kind, and in `parts/` what several of them include. A
worker finds the chief by environment, as KerasTuner has it: under Slurm by an address in the run
folder, in a cluster by the name of a Service. Everything may be ended at any moment, by kill -9
too, and whatever is started again goes on.
"""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path
from typing import Any

from recipes.commands import METRICS
from recipes.run import CHECKPOINT
from serving import files, templates
from serving.containers import USER
from tuning.jobs.job import SHARED, Job, KubernetesJob, SlurmJob
from tuning.jobs.quoting import container_word
from zoo.errors import DataError

BASE_IMAGE = "python:3.13-slim"
CHIEF_PORT, TRAINING_PORT = 8000, 2222
"""Where chief and trainers listen in a cluster, whose pods have a network each."""

SCRIPTS = "/scripts"
"""Where the shell scripts are in the containers."""

PACKAGES = ("zoo", "recipes", "serving", "tuning")
REQUIREMENTS = (
    "requirements.txt",
    "requirements-forecasting.txt",
    "requirements-speech.txt",
    "requirements-video.txt",
)
"""What the image holds of a checkout: packages, and files that name what they need."""


def slurm(job: SlurmJob, out: Path) -> None:
    """Write a folder with a batch script, and a README.md that says how to use it.

    Args:
        job: What is to run.
        out: The new folder; it may be there if it is empty.

    Raises:
        DataError: It is not empty, or cannot be written.
    """
    _write(out, _texts(job, f"slurm/{job.kind}"))


def kubernetes(job: KubernetesJob, out: Path) -> None:
    """Write a folder with manifests and a Dockerfile, and a README.md that says how to use them.

    Args:
        job: What is to run.
        out: The new folder; it may be there if it is empty.

    Raises:
        DataError: It is not empty, or cannot be written.
    """
    _write(out, _texts(job, "kubernetes/common", f"kubernetes/{job.kind}"))


def _texts(job: Job, *folders: str) -> dict[str, str]:
    """Return the text of every file by its path."""
    root = resources.files(__name__) / "templates"
    found: dict[str, str] = {}
    for folder in folders:
        found |= templates.load(root / folder)
    parts = {f"parts/{name}": text for name, text in templates.load(root / "parts").items()}
    filters = {"shell": shlex.quote, "word": container_word}
    return templates.fill(found, _values(job), parts, filters)


def _values(job: Job) -> dict[str, Any]:
    """Return what the templates are filled with."""
    return {
        "job": job,
        "base_image": BASE_IMAGE,
        "chief_port": CHIEF_PORT,
        "training_port": TRAINING_PORT,
        "checkpoint": CHECKPOINT,
        "metrics": METRICS,
        "packages": PACKAGES,
        "requirements": REQUIREMENTS,
        "scripts": SCRIPTS,
        "shared": SHARED,
        "user": USER,
    }


def _write(out: Path, texts: dict[str, str]) -> None:
    """Write the files aside, and rename their folder."""
    try:
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise DataError(f"'{out}' is there already: choose another folder, or empty it")
        with files.aside(out) as folder:
            files.write_tree(folder, texts)
            folder.rename(out.resolve())
    except OSError as error:
        raise DataError(f"cannot write '{out}': {error.strerror or error}") from error
