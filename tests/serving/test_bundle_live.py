"""A bundle in use: the embedded server, started with the flags and files of the image."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.__main__ import main
from serving.bundle import Plan, bundle
from serving.client import Client
from serving.protocol.rest import METRICS_PATH
from serving.server import RunningServer, launch


@pytest.fixture(scope="module")
def made(tiny_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with two versions, moved into reach of a server that runs here."""
    folder = tmp_path_factory.mktemp("bundle")
    for version in ("1", "2"):
        shutil.copytree(tiny_export, folder / "tiny" / version)
    bundle(Plan(folder / "tiny", folder / "made", stable=1, goal=None), print)
    config = folder / "made" / "config" / "models.config"
    config.write_text(config.read_text().replace('"/models/', f'"{folder}/made/models/'))
    return folder / "made"


@pytest.fixture(scope="module")
def server(made: Path) -> Iterator[RunningServer]:
    """The embedded server, started with the flags and files of the image."""
    text = (made / "Dockerfile").read_text().replace("\\\n", "")
    _, *words = json.loads(re.search("^ENTRYPOINT (.*)$", text, re.MULTILINE)[1])
    flags = [word.replace("=/config/", f"={made}/config/") for word in words]
    flags = [re.sub("^(--(?:rest_api_)?port)=.*", r"\1=0", flag) for flag in flags]
    with launch("unused", made, *flags) as running:
        yield running


@pytest.mark.slow
class TestServer:
    """What a container would do, by the server that speaks its protocol."""

    def test_it_answers_the_example_over_rest(self, made: Path, server: RunningServer):
        body = (made / "requests" / "rest.json").read_bytes()
        url = f"{server.rest_url}/v1/models/tiny/labels/stable:predict"
        with urllib.request.urlopen(url, body, timeout=60) as answer:
            assert json.load(answer)["outputs"]["status"] == [""]

    def test_it_answers_the_example_over_grpc(self, made: Path, server: RunningServer):
        answer = self.ask(made, server)
        assert list(answer.outputs["status"].string_val) == [b""]
        assert answer.model_spec.version.value == 2

    def test_a_call_may_be_larger_than_a_batch(self, server: RunningServer):
        with Client.grpc(server.grpc_address, "tiny") as client:
            assert len(client.predict(text=["A joy."] * 100)["label"]) == 100

    def test_it_is_healthy(self, made: Path, server: RunningServer):
        port = server.rest_url.rpartition(":")[2]
        script = ["bash", str(made / "healthcheck.sh")]
        assert subprocess.run([*script, port, "tiny"], timeout=30, check=False).returncode == 0
        assert subprocess.run([*script, port, "nobody"], timeout=30, check=False).returncode == 1
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    def test_prometheus_finds_its_metrics(self, server: RunningServer):
        with urllib.request.urlopen(server.rest_url + METRICS_PATH, timeout=30) as answer:
            assert b":tensorflow:serving:request_count" in answer.read()

    def test_the_canary_is_promoted_and_rolled_back(self, made: Path, server: RunningServer):
        words = [str(made / "config" / "models.config"), "tiny"]
        target = ["--target", server.grpc_address]
        for command, version in ((["promote", *words, "2"], 2), (["rollback", *words], 1)):
            assert main([*command, *target]) == 0
            assert self.ask(made, server, "stable").model_spec.version.value == version
            assert self.ask(made, server, "canary").model_spec.version.value == 2

    def ask(self, made: Path, server: RunningServer, label: str = "") -> Any:
        """Send the example over gRPC and return the answer."""
        text = (made / "requests" / "grpc.json").read_text()
        request = json_format.Parse(text, predict_pb2.PredictRequest())
        if label:
            request.model_spec.version_label = label
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            return stub.Predict(request, timeout=60)
