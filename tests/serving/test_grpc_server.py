"""The gRPC interface on its ports: addresses, encryption, health, reflection, start and stop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving import errors
from serving.server import grpc_server
from serving.server.grpc_server import GrpcOptions, GrpcServer, start
from serving.server.tls import TlsOptions
from serving.values import ModelRef, VersionStatus
from tests.serving import certificates

SECONDS = 20.0
"""How long a test waits for what must come."""


class Statuses:
    """A core that knows the status of any model, once it is let go on."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()

    def status(self, ref: ModelRef) -> list[VersionStatus]:
        self.asked.release()
        assert self.go_on.wait(SECONDS)
        if ref.name.startswith("é"):
            raise errors.NotFound(ref.name)
        return [VersionStatus(1, "AVAILABLE")]


@contextmanager
def running(core: Any = None, **options: Any) -> Iterator[GrpcServer]:
    """Run a server for the length of a block."""
    server = start(core or Statuses(), GrpcOptions(**options))
    try:
        yield server
    finally:
        server.stop(0)


def ask(channel: grpc.Channel, name: str = "any") -> Any:
    """Ask for the status of a model."""
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": name})
    return model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=SECONDS)


def answers(address: str, credentials: grpc.ChannelCredentials | None = None) -> bool:
    """Say whether a server at an address answers."""
    if credentials is None:
        opened = grpc.insecure_channel(address)
    else:
        # The name that its certificate has to hold, since the path of a socket is none.
        named = (("grpc.ssl_target_name_override", "localhost"),)
        opened = grpc.secure_channel(address, credentials, named)
    with opened as channel:
        try:
            return len(ask(channel).model_version_status) == 1
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            return False


class TestAddresses:
    def test_a_free_port_is_taken_for_port_zero(self):
        with running() as first, running() as second:
            assert first.port != second.port
            assert answers(f"127.0.0.1:{first.port}") and answers(f"127.0.0.1:{second.port}")

    def test_a_port_in_use_is_refused_and_not_shared(self):
        with running() as server:
            with pytest.raises(
                errors.Unreachable, match=f"cannot listen on 127.0.0.1:{server.port}"
            ):
                start(Statuses(), GrpcOptions(port=server.port))
            assert answers(f"127.0.0.1:{server.port}")

    def test_a_port_is_free_again_after_the_stop(self):
        with running() as server:
            port = server.port
        with running(port=port):
            assert answers(f"127.0.0.1:{port}")

    def test_only_the_host_that_was_named_is_listened_on(self):
        with running(host="127.0.0.2") as server:
            assert answers(f"127.0.0.2:{server.port}")
            assert not answers(f"127.0.0.1:{server.port}")

    def test_a_unix_socket_is_listened_on_beside_the_port(self, tmp_path: Path):
        path = tmp_path / "grpc.sock"
        with running(socket_path=str(path)) as server:
            assert answers(f"unix:{path}") and answers(f"127.0.0.1:{server.port}")

    def test_a_unix_socket_of_a_dead_server_is_replaced(self, tmp_path: Path):
        path = tmp_path / "grpc.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
            dead.listen()
        assert path.is_socket()
        with running(socket_path=str(path)):
            assert answers(f"unix:{path}")

    def test_a_unix_socket_of_a_live_server_is_left_to_it(self, tmp_path: Path):
        path = tmp_path / "grpc.sock"
        live = Statuses()
        with running(live, socket_path=str(path)):
            with pytest.raises(errors.Unreachable, match="another server does"):
                start(Statuses(), GrpcOptions(socket_path=str(path)))
            assert answers(f"unix:{path}")
            assert live.asked.acquire(blocking=False)

    def test_a_file_that_is_no_socket_is_left_alone(self, tmp_path: Path):
        path = tmp_path / "notes.txt"
        path.write_text("mine")
        with pytest.raises(errors.Unreachable, match="cannot listen on unix:"):
            start(Statuses(), GrpcOptions(socket_path=str(path)))
        assert path.read_text() == "mine"


class TestChannelArguments:
    def test_are_integers_where_they_read_as_32_bits_and_text_elsewhere(self):
        text = "grpc.max_connection_age_ms=5000,grpc.lb_policy_name=grpclb,a=-1,b=4294967296,c=1_0"
        assert grpc_server.channel_arguments(text) == {
            "grpc.max_connection_age_ms": 5000,
            "grpc.lb_policy_name": "grpclb",
            "a": -1,
            "b": "4294967296",
            "c": "1_0",
        }
        assert grpc_server.channel_arguments("") == {}

    @pytest.mark.parametrize("text", ["grpc.max_connection_age_ms", "a=1,=2"])
    def test_without_name_or_value_are_refused(self, text: str):
        with pytest.raises(errors.InvalidArgument, match="must be NAME=VALUE"):
            grpc_server.channel_arguments(text)

    def test_reach_the_server(self):
        limit = "grpc.max_connection_age_ms=600000,grpc.max_receive_message_length=16"
        with running(channel_arguments=limit) as server:
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                ask(channel)
                with pytest.raises(grpc.RpcError) as caught:
                    ask(channel, "a name too long for sixteen bytes")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of `certificates.make`, by name."""
    folder = certificates.make(tmp_path_factory.mktemp("certificates"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestTls:
    def test_a_client_that_trusts_the_authority_is_answered(self, files: dict[str, bytes]):
        tls = TlsOptions(files["server.key"], files["server.crt"])
        with running(tls=tls) as server:
            address = f"localhost:{server.port}"
            assert answers(address, grpc.ssl_channel_credentials(files["ca.crt"]))
            assert not answers(address)
            stranger = grpc.ssl_channel_credentials(files["client.crt"])
            assert not answers(address, stranger)

    def test_a_client_must_show_a_certificate_where_that_is_asked_for(
        self, files: dict[str, bytes]
    ):
        tls = TlsOptions(files["server.key"], files["server.crt"], files["ca.crt"], True)
        with running(tls=tls) as server:
            address = f"localhost:{server.port}"
            known = grpc.ssl_channel_credentials(
                files["ca.crt"], files["client.key"], files["client.crt"]
            )
            assert answers(address, known)
            assert not answers(address, grpc.ssl_channel_credentials(files["ca.crt"]))

    def test_a_unix_socket_is_encrypted_too(self, files: dict[str, bytes], tmp_path: Path):
        tls = TlsOptions(files["server.key"], files["server.crt"])
        path = tmp_path / "grpc.sock"
        with running(tls=tls, socket_path=str(path)):
            trusting = grpc.ssl_channel_credentials(files["ca.crt"])
            assert answers(f"unix:{path}", trusting) and not answers(f"unix:{path}")

    def test_what_cannot_encrypt_is_refused(self, files: dict[str, bytes]):
        key, certificate = files["server.key"], files["server.crt"]
        for tls, message in (
            (TlsOptions(b"", certificate), "TLS needs both 'server_key' and 'server_cert'"),
            (TlsOptions(key, certificate, client_verify=True), "'client_verify' needs 'custom_ca'"),
            (TlsOptions(key, b"nonsense"), "'server_cert' must be PEM"),
            (TlsOptions(files["client.key"], certificate), "'server_cert' must be PEM"),
            (TlsOptions(key, certificate, b"nonsense", True), "'custom_ca' must be PEM"),
        ):
            with pytest.raises(errors.InvalidArgument, match=message):
                start(Statuses(), GrpcOptions(tls=tls))


class TestHealth:
    def status(self, server: GrpcServer, service: str) -> int:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            return health_pb2_grpc.HealthStub(channel).Check(request, timeout=SECONDS).status

    @pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
    def test_server_and_services_are_serving(self, service: str):
        with running() as server:
            assert self.status(server, service) == health_pb2.HealthCheckResponse.SERVING

    def test_another_service_is_not_found(self):
        with running() as server, pytest.raises(grpc.RpcError) as caught:
            self.status(server, "OtherService")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    def test_is_not_there_unless_asked_for(self):
        with running(health=False) as server, pytest.raises(grpc.RpcError) as caught:
            self.status(server, "")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    """A channel to a server."""
    with running() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


class TestReflection:
    """What a client such as grpcurl learns of the interface from the server itself."""

    def ask(self, channel: grpc.Channel, **question: Any) -> Any:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(**question)
        return next(stub.ServerReflectionInfo(iter([request]), timeout=SECONDS))

    def test_lists_the_services(self, channel: grpc.Channel):
        listed = self.ask(channel, list_services="").list_services_response.service
        assert {each.name for each in listed} == {
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
            "tensorflow.serving.ModelService",
            "tensorflow.serving.PredictionService",
        }

    @pytest.mark.parametrize(
        ("service", "method", "request_", "field"),
        [
            ("PredictionService", "Predict", "PredictRequest", "inputs"),
            ("PredictionService", "MultiInference", "MultiInferenceRequest", "tasks"),
            ("ModelService", "HandleReloadConfigRequest", "ReloadConfigRequest", "config"),
        ],
    )
    def test_describes_methods_and_all_their_messages(
        self, channel: grpc.Channel, service: str, method: str, request_: str, field: str
    ):
        symbol = f"tensorflow.serving.{service}"
        response = self.ask(channel, file_containing_symbol=symbol)
        pool = DescriptorPool()
        files = response.file_descriptor_response.file_descriptor_proto
        pending = [FileDescriptorProto.FromString(content) for content in files]
        while pending:  # a file can be added once those are there that it depends on
            ready = [
                file for file in pending if not {*file.dependency} & {each.name for each in pending}
            ]
            assert ready, "a file is missing"
            for file in ready:
                pool.AddSerializedFile(file.SerializeToString())
                pending.remove(file)
        described = pool.FindServiceByName(symbol).methods_by_name[method]
        assert described.input_type.full_name == f"tensorflow.serving.{request_}"
        assert field in described.input_type.fields_by_name

    def test_what_is_not_there_is_not_found(self, channel: grpc.Channel):
        response = self.ask(channel, file_containing_symbol="tensorflow.serving.Nothing")
        assert response.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
