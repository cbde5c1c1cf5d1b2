"""The files around an exported model that put it into TF Serving's container.

    Dockerfile, .dockerignore, healthcheck.sh     the image, with models and configuration in it
    config/                                       what the server reads: models, batching, metrics
    compose.yaml, monitoring/                     server, Prometheus and Grafana on one machine
    kustomization.yaml, kubernetes/               the server in a cluster
    README.md                                     how to use all of it

`templates/` mirrors this tree. Whatever two files have to agree on, a port, a path, a name, is
written once, in this module.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from serving import templates
from serving.containers.dashboard import DATASOURCE, dashboard
from serving.parity import LONGEST_CALL, Batching
from serving.protocol.rest import METRICS_PATH

BASE_IMAGE = "tensorflow/serving:2.20.0"
PROMETHEUS_IMAGE = "prom/prometheus:v3.5.0"
GRAFANA_IMAGE = "grafana/grafana:12.1.1"

GRPC_PORT, REST_PORT, PROMETHEUS_PORT, GRAFANA_PORT = 8500, 8501, 9090, 3000
MODELS, CONFIG, HEALTHCHECK = "/models", "/config", "/healthcheck.sh"
"""Where things are in the image; in the bundle they have the same names."""

USER = 10001
"""Number of the user, and of its group, that the server runs as."""

POLL_SECONDS = 10
"""Seconds between two looks of the server for labels that have moved."""

DRAIN_SECONDS = 15
"""Seconds that calls get to finish before a pod is ended."""

CONNECTION_MINUTES = 5
"""Minutes after which a gRPC client is asked to connect anew."""


ENQUEUED_BATCHES = 100
"""Batches that wait at most, ten times what the server would take by itself."""

MODELS_FILE, BATCHING_FILE, MONITORING_FILE = (
    f"config/{name}.config" for name in ("models", "batching", "monitoring")
)
DASHBOARD = "monitoring/grafana/dashboards/serving.json"


@dataclass(frozen=True)
class Contents:
    """What a bundle is made of.

    Attributes:
        model: The model's name: letters a to z, digits, - and _.
        versions: Numbers of its versions, one or two, in increasing order. The label "stable"
            stands for the first and "canary" for the last.
        batching: How the server is to make batches; None if it is not to.
        pads: Whether an input has free axes, so that calls of different lengths meet.
        size: Bytes of all versions together.
        report: What the batching was chosen by; None if it was not measured.
        fingerprint: Tells images with different contents apart.
        alone: Whether calls must not meet, for nothing says where the shorter ones end.
    """

    model: str
    versions: tuple[int, ...]
    batching: Batching | None
    pads: bool
    size: int
    report: Mapping[str, Any] | None = None
    fingerprint: str = ""
    alone: bool = False

    @property
    def slug(self) -> str:
        """The name where only lower case, digits and - are allowed, and a letter comes first."""
        slug = re.sub("[^a-z0-9]+", "-", self.model.lower()).strip("-")
        return (slug if slug[:1].isalpha() else f"model-{slug}")[:40].rstrip("-")

    @property
    def version_tag(self) -> str:
        """The versions in one word."""
        return "-".join(map(str, self.versions))

    @property
    def tag(self) -> str:
        """The image's tag: equal only for equal contents, as they were when the bundle was made."""
        return f"{self.version_tag}-{self.fingerprint}"

    @property
    def image(self) -> str:
        """Name and tag of the image."""
        return f"{self.slug}:{self.tag}"

    @property
    def memory_mib(self) -> int:
        """An estimate of the memory that the server needs, in MiB, rounded up to 64."""
        return 512 + 64 * math.ceil(3 * self.size / 2**20 / 64)


def flags(contents: Contents) -> list[str]:
    """Return the flags that the server in the image is started with."""
    age = CONNECTION_MINUTES * 60_000
    channel = f"grpc.max_connection_age_ms={age},grpc.max_connection_age_grace_ms={age}"
    batching = f"--batching_parameters_file=/{BATCHING_FILE}"
    return [
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_config_file=/{MODELS_FILE}",
        f"--model_config_file_poll_wait_seconds={POLL_SECONDS}",
        # At the start nothing is loaded yet; later a label moves only to what is.
        "--allow_version_labels_for_unavailable_models=true",
        *(["--enable_batching=true", batching] if contents.batching else []),
        f"--monitoring_config_file=/{MONITORING_FILE}",
        "--enable_grpc_healthcheck_service=true",
        f"--grpc_channel_arguments={channel}",
    ]


def render(contents: Contents) -> dict[str, str]:
    """Return the text of every file by its path in the bundle."""
    texts = templates.load(resources.files(__name__) / "templates")
    if contents.batching is None:
        del texts[BATCHING_FILE]
    texts = templates.fill(texts, _values(contents))
    return {**texts, DASHBOARD: json.dumps(dashboard(), indent=1) + "\n"}


def _values(contents: Contents) -> dict[str, Any]:
    """Return what the templates are filled with."""
    fields = ("model", "versions", "batching", "pads", "alone", "report")
    derived = ("slug", "version_tag", "tag", "image", "memory_mib")
    return {
        **{name: getattr(contents, name) for name in (*fields, *derived)},
        "canary": len(contents.versions) > 1,
        "flags": flags(contents),
        "models_file": MODELS_FILE,
        "settings": [BATCHING_FILE] * bool(contents.batching) + [MONITORING_FILE],
        "base_image": BASE_IMAGE,
        "prometheus_image": PROMETHEUS_IMAGE,
        "grafana_image": GRAFANA_IMAGE,
        "grpc_port": GRPC_PORT,
        "rest_port": REST_PORT,
        "prometheus_port": PROMETHEUS_PORT,
        "grafana_port": GRAFANA_PORT,
        "models_folder": MODELS,
        "config_folder": CONFIG,
        "healthcheck": HEALTHCHECK,
        "metrics_path": METRICS_PATH,
        "datasource": DATASOURCE,
        "user": USER,
        "poll_seconds": POLL_SECONDS,
        "drain_seconds": DRAIN_SECONDS,
        "connection_minutes": CONNECTION_MINUTES,
        "call_rows": LONGEST_CALL,
        "enqueued_batches": ENQUEUED_BATCHES,
    }
