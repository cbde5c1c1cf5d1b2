"""The files of three bundles, as tests read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.bench import Load
from serving.containers import Contents, render
from serving.containers.measurement import Goal, Measurement, report
from serving.parity import Batching
from tests.tools import in_dockerfile


@dataclass(frozen=True)
class Rendered:
    """The files of a bundle.

    Attributes:
        contents: What they are made of.
    """

    contents: Contents

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """The text of every file by its path."""
        return render(self.contents)

    def write(self, folder: Path) -> Path:
        """Write all files into a folder, and return it."""
        for path, text in self.texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        return folder

    def yaml(self, path: str) -> Any:
        """Return what a file says."""
        return yaml.safe_load(self.texts[path])

    def dockerfile(self, pattern: str) -> list[Any]:
        """Return what a regular expression finds at the begin of the Dockerfile's lines."""
        return in_dockerfile(self.texts["Dockerfile"], pattern)

    @cached_property
    def entrypoint(self) -> list[str]:
        """The image's command line."""
        (found,) = self.dockerfile("ENTRYPOINT (.*)$")
        return json.loads(found)

    @cached_property
    def config(self) -> dict[str, str]:
        """The text of every file that the server reads, by its name."""
        return {
            path.removeprefix("config/"): text
            for path, text in self.texts.items()
            if path.startswith("config/")
        }

    @cached_property
    def services(self) -> dict[str, Any]:
        """The services of the compose file."""
        return self.yaml("compose.yaml")["services"]

    @cached_property
    def manifests(self) -> dict[str, Any]:
        """What `kubectl apply --kustomize` would make, by kind; of ConfigMaps a list."""
        kustomization = self.yaml("kustomization.yaml")
        found = {each["kind"]: each for each in map(self.yaml, kustomization["resources"])}
        found["ConfigMap"] = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": each["name"]},
                "data": {Path(file).name: self.texts[file] for file in each["files"]},
            }
            for each in kustomization["configMapGenerator"]
        ]
        return found

    @cached_property
    def pod(self) -> dict[str, Any]:
        """What the Deployment says about its pods."""
        return self.manifests["Deployment"]["spec"]["template"]["spec"]

    @cached_property
    def container(self) -> dict[str, Any]:
        """A pod's only container."""
        (found,) = self.pod["containers"]
        return found


MEASUREMENTS = [
    Measurement(batching, Load("grpc", 32, qps, 1.0, 2.0, 3.0, 0, 3.0))
    for batching, qps in ((None, 1000.0), (Batching(16, 1000), 2000.0))
]
REPORT, SLOW = report(MEASUREMENTS, Goal()), report(MEASUREMENTS[:1], Goal(p99_ms=1.5))

PLAIN = Rendered(Contents("sentiment", (1,), Batching(32, 2000), False, 0, None, "0badcafe"))
CANARY = Rendered(
    Contents("Spoken_digits", (3, 12), Batching(16, 1000), True, 10**9, REPORT, "0badcafe")
)
UNBATCHED = Rendered(Contents("true", (7,), None, False, 0, SLOW, "00000000"))

every_bundle = pytest.mark.parametrize(
    "bundle", [PLAIN, CANARY, UNBATCHED], ids=["plain", "canary", "unbatched"]
)
"""Runs a test, or the tests of a class, on each of them."""
