"""What a cluster would do with the files of a job, done by processes of this machine.

Everything runs the commands that the files hold, in the environment that they ask for. Of
Kubernetes there is what fills in a pod's variables; of Slurm there are `srun` and `scontrol`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.sources import ROOT
from tests.tools import TOOLS

HERE = Path(__file__).parent
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


class Processes:
    """Processes that are ended with everything that they started, whatever happens.

    Args:
        folder: Where stand-ins go; they come before all else on the paths of every process.
        real: Whether the packages `tuning` and `recipes` are these, and not stand-ins.
    """

    def __init__(self, folder: Path, real: bool = False) -> None:
        self.started: list[subprocess.Popen[str]] = []
        self.programs, self.packages = folder / "programs", folder / "packages"
        self.programs.mkdir()
        self.program("sleep", "#!/bin/sh\nexec /bin/sleep 0.1\n")
        if real:
            self.packages = ROOT
            return
        for package in ("tuning", "recipes"):
            (self.packages / package).mkdir(parents=True)
            shutil.copyfile(HERE / "stand_in.py", self.packages / package / "__main__.py")

    def program(self, name: str, text: str) -> None:
        """Make a program that comes before all others of its name."""
        (self.programs / name).write_text(text, encoding="utf-8")
        (self.programs / name).chmod(0o755)

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> subprocess.Popen[str]:
        """Start a command with no other variables than these, but for what leads to programs."""
        path = os.pathsep.join([str(self.programs), str(TOOLS), os.environ["PATH"]])
        process = subprocess.Popen(
            command,
            env={
                "HOME": str(folder),
                **environment,
                "PATH": path,
                "PYTHONPATH": str(self.packages),
            },
            cwd=folder,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        """Kill a process and all that it started, as the end of a pod or of a job does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def processes(folder: Path, real: bool = False) -> Iterator[Processes]:
    """Give a place to start processes from; none outlives the block."""
    found = Processes(folder, real)
    try:
        yield found
    finally:
        for process in found.started:
            found.end(process)


@dataclass(frozen=True)
class Pod:
    """A pod as the cluster would start it.

    Attributes:
        command: Of its container.
        environment: Its variables, filled in.
    """

    command: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Cluster:
    """The folder of a job for Kubernetes.

    Attributes:
        folder: Where its files are.
        volume: What stands for the volume.
        places: What stands for names and ports of the cluster: both as they are written.
    """

    folder: Path
    volume: Path
    places: Mapping[str, str]

    def manifest(self, name: str) -> Any:
        """Return what a file says."""
        return yaml.safe_load((self.folder / name).read_text(encoding="utf-8"))

    @property
    def manifests(self) -> list[Any]:
        """What `kubectl apply` would make, of the volume and of the kustomization."""
        kustomization = self.manifest("kustomization.yaml")
        names = ["volume.yaml", "files.yaml", *kustomization["resources"]]
        maps = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": each["name"], "namespace": each["namespace"]},
                "data": {name: (self.folder / name).read_text() for name in each["files"]},
            }
            for each in kustomization["configMapGenerator"]
        ]
        return [*map(self.manifest, names), *maps]

    def pods(self, name: str) -> list[Pod]:
        """Return the pods of a Job, by its file."""
        job = self.manifest(name)["spec"]
        (container,) = job["template"]["spec"]["containers"]
        indices = range(job["completions"]) if job.get("completionMode") == "Indexed" else [None]
        return [self._pod(container, index) for index in indices]

    def _pod(self, container: Any, index: int | None) -> Pod:
        variables: dict[str, str] = {}
        for each in container["env"]:
            if "value" in each:
                variables[each["name"]] = expand(each["value"], variables)
            elif "resourceFieldRef" in each["valueFrom"]:
                kind, name = each["valueFrom"]["resourceFieldRef"]["resource"].split(".")
                variables[each["name"]] = container["resources"][kind][name]
            else:
                assert each["valueFrom"] == {"fieldRef": {"fieldPath": INDEX}} and index is not None
                variables[each["name"]] = str(index)
        command = [expand(word, variables) for word in container["command"]]
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        folders = {"shared": str(self.volume), "scripts": str(self.folder), "tmp": "/tmp"}
        for path, volume in mounts.items():
            inside = re.compile(f"^{re.escape(path)}(?=/|$)")
            command = [inside.sub(lambda _, to=folders[volume]: to, word) for word in command]
            for name, value in variables.items():
                variables[name] = inside.sub(lambda _, to=folders[volume]: to, value)
        for place, stands_for in self.places.items():
            here = re.compile(rf"(?<![\w.-]){re.escape(place)}(?![\w.-])")
            variables = {name: here.sub(stands_for, text) for name, text in variables.items()}
        return Pod(command, variables)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Fill in $(NAME) as Kubernetes does: $$ is a dollar sign, an unknown name stays."""

    def fill(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", fill, text)


class Slurm:
    """Slurm for one submission of a script.

    Args:
        running: Where processes are started from.
        script: What `sbatch` is called with.
        folder: Where it is called.
        number: Of the submission.
    """

    def __init__(self, running: Processes, script: Path, folder: Path, number: int = 40) -> None:
        self.running, self.script, self.folder, self.number = running, script, folder, number
        self.log = running.programs / "slurm.log"
        running.program("srun", f"#!{sys.executable}\n{(HERE / 'srun.py').read_text()}")
        running.program(
            "scontrol",
            '#!/bin/bash\ncase $1 in\n  show) tr , "\\n" <<< "$3" ;;\n'
            f"  requeue) echo \"$*\" >> '{self.log}' ;;\nesac\n",
        )

    @property
    def options(self) -> dict[str, str]:
        """The script's own options; of those without a value the value is ""."""
        lines = self.script.read_text(encoding="utf-8").splitlines()
        head = lines[: next(n for n, line in enumerate(lines) if n and not line.startswith("#"))]
        words = [line.removeprefix("#SBATCH --") for line in head if line.startswith("#SBATCH --")]
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def start(self, *before: str, **variables: str) -> subprocess.Popen[str]:
        """Start the script.

        Args:
            *before: Words before the command, which give it another machine.
            **variables: More of those that Slurm sets, in lower case and without SLURM_.
        """
        given = {
            "job_id": str(self.number),
            "cpus_per_task": self.options["cpus-per-task"],
            **variables,
        }
        environment = {f"SLURM_{name.upper()}": value for name, value in given.items()}
        if "node" in variables:
            environment["SLURMD_NODENAME"] = variables["node"]
        return self.running.start(
            [*before, "bash", str(self.script)],
            {**environment, "SRUN_LOG": str(self.log)},
            self.folder,
        )

    def task(self, index: int, *before: str, node: str = "127.0.0.1") -> subprocess.Popen[str]:
        """Start a task of an array."""
        return self.start(
            *before,
            job_id=str(self.number + 1 + index),
            array_job_id=str(self.number),
            array_task_id=str(index),
            node=node,
        )


def calls(run_dir: Path) -> list[dict[str, Any]]:
    """Return what the stand-ins left of their calls, in the order in which they began."""
    return [json.loads(file.read_text()) for file in sorted(run_dir.glob("call-*.json"))]


def outlasts(process: subprocess.Popen[str], seconds: float = 1.0) -> bool:
    """Say whether a process still runs after a while."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False
