"""The servers under test, the models that they serve, and their flags.

The tests of this folder know a server by what is published about it: flags, files, signals,
gRPC and HTTP. They import nothing of `serving` or `zoo`, so that they hold for any server.
Servers are started when first asked for, and shared by all tests that can bear it.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.conformance.process import Executable, Server, executables

METRICS_PATH = "/metrics/of/this/server"
VERSIONS = (1, 2, 3)
"""Versions of the model "half"; the bias of each is its number."""

FLAGS_WITHOUT_MEANING = {
    "num_load_threads": 2,
    "num_unload_threads": 2,
    "flush_filesystem_caches": False,
    "per_process_gpu_memory_fraction": 0.5,
    "remove_unused_fields_from_bundle_metagraph": False,
    "xla_cpu_compilation_enabled": False,
}
"""Flags of the reference that change nothing that a client could see."""

FIRST_FLAGS = {
    **FLAGS_WITHOUT_MEANING,
    "rest_api_num_threads": 8,
    "rest_api_timeout_in_ms": 4000,
    "rest_api_enable_cors_support": True,
    "model_config_file_poll_wait_seconds": 0,
    "file_system_poll_wait_seconds": 1,
    "allow_version_labels_for_unavailable_models": True,
    "enable_batching": False,
    "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 2,
    "max_num_load_retries": 0,
    "load_retry_interval_micros": 1000,
    "grpc_max_threads": 32,
    "grpc_channel_arguments": "grpc.max_connection_age_ms=2000000,grpc.lb_policy_name=grpclb",
    "enable_grpc_healthcheck_service": True,
    "tensorflow_intra_op_parallelism": 1,
    "tensorflow_inter_op_parallelism": 2,
    "saved_model_tags": "serve",
    "enable_signature_method_name_check": False,
}

Started = Callable[..., Server]


@pytest.fixture(scope="session", params=executables(), ids=str)
def executable(request: pytest.FixtureRequest) -> Executable:
    """What is tested."""
    return request.param


@pytest.fixture
def beyond_reference(executable: Executable) -> None:
    """Skip a test of something that the reference server does not promise."""
    if executable.is_reference:
        pytest.skip("the reference does not promise this")


@pytest.fixture(scope="session")
def half_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of a small model with three versions. Not to be written to."""
    from tests.serving.conformance import models

    base = tmp_path_factory.mktemp("half")
    for version in VERSIONS:
        models.save_half(base / str(version), float(version))
    return base


@pytest.fixture(scope="session")
def probe_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of the model with all signatures, as version 1. Not to be written to."""
    from tests.serving.conformance import models

    base = tmp_path_factory.mktemp("probe")
    models.save_probe(base / "1", 1.0)
    models.save_warm_up(base / "1", "serving_default", "float")
    return base


@pytest.fixture(scope="module")
def start(executable: Executable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Start servers by flags; they are stopped after the tests of the file."""
    with ExitStack() as running:

        def started(credentials: Any = None, **flags: Any) -> Server:
            folder = tmp_path_factory.mktemp("server")
            return running.enter_context(Server(executable, folder, flags, credentials))

        yield started


@pytest.fixture(scope="session")
def first(
    executable: Executable, half_base: Path, probe_base: Path, tmp_path_factory: Any
) -> Iterator[Server]:
    """A server with most flags set: "half" in three versions with labels, and "probe"."""
    folder = tmp_path_factory.mktemp("first")
    entry = model("half", half_base, all={})
    entry.version_labels.update({"stable": 1, "canary": 2, "future": 9})
    monitoring = f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}'
    (folder / "monitoring.txt").write_text(monitoring)
    flags = FIRST_FLAGS | {
        "model_config_file": write_config(folder / "models.txt", entry, model("probe", probe_base)),
        "monitoring_config_file": folder / "monitoring.txt",
    }
    with Server(executable, folder, flags) as server:
        yield server.wait()


@pytest.fixture(scope="session")
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the second server's unix socket; the file of a dead one lies there."""
    path = tmp_path_factory.mktemp("socket") / "rpc.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return path


@pytest.fixture(scope="session")
def second(
    executable: Executable, probe_base: Path, socket_path: Path, tmp_path_factory: Any
) -> Iterator[Server]:
    """A server with few flags: one model, and names of methods are looked at."""
    folder = tmp_path_factory.mktemp("second")
    flags = {
        "enable_signature_method_name_check": True,
        "model_name": "probe",
        "model_base_path": probe_base,
        "grpc_socket_path": socket_path,
        "tensorflow_session_parallelism": 1,
    }
    with Server(executable, folder, flags, apart=not executable.is_reference) as server:
        yield server.wait()


def model(name: str, base: Path, **policy: Any) -> model_server_config_pb2.ModelConfig:
    """Return a model's entry in a list of models.

    Args:
        name: Its name.
        base: Its base path.
        policy: Its version policy: `latest={"num_versions": 2}`, `all={}` or
            `specific={"versions": [1]}`.
    """
    return model_server_config_pb2.ModelConfig(
        name=name,
        base_path=str(base),
        model_platform="tensorflow",
        model_version_policy=policy or None,
    )


def write_config(path: Path, *configs: model_server_config_pb2.ModelConfig) -> Path:
    """Write a file with a list of models, at one stroke, and return its path."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.extend(configs)
    aside = path.with_suffix(".new")
    aside.write_text(text_format.MessageToString(config))
    aside.replace(path)
    return path


def add_version(base: Path, version: int, source: Path) -> Path:
    """Copy a version folder to a base path under another number, at one stroke."""
    aside = base.with_name(f"{base.name}-{version}")
    shutil.copytree(source, aside)
    return aside.rename(base / str(version))
