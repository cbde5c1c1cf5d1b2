"""The gRPC interface on its ports: services, health, reflection, encryption, start and stop."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving import errors
from serving.server.addresses import bind, join
from serving.server.core import ServerCore
from serving.server.engine import CALLS
from serving.server.grpc_api import SERVICES, Method, answer
from serving.server.tls import TlsOptions, server_credentials

MESSAGE_LIMIT = 1024
"""Bytes of an error's message that are sent, as by the reference."""

HEALTHY = ("ModelService", "PredictionService")
"""What the health service speaks of, beside the server as a whole: the reference's names."""

_WAITING = 1000
"""Threads for calls beyond those that run: a client that sends no message holds one."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_OPTIONS = {
    "grpc.max_receive_message_length": 2**31 - 1,
    "grpc.max_send_message_length": 2**31 - 1,
    # Otherwise a second server on the same port starts, and takes every other connection.
    "grpc.so_reuseport": 0,
}


@dataclass(frozen=True)
class GrpcOptions:
    """How the interface is opened.

    Attributes:
        host: Address to listen on.
        port: TCP port to listen on; 0 takes a free one.
        socket_path: Unix socket to listen on too; empty for none.
        max_threads: Calls that run at once, further ones wait; 0 for `CALLS`.
        channel_arguments: gRPC's own settings, "NAME=VALUE,NAME=VALUE".
        health: Whether to answer `grpc.health.v1`.
        tls: Key and certificates; None for connections that are not encrypted.
    """

    host: str = "127.0.0.1"
    port: int = 0
    socket_path: str = ""
    max_threads: int = 0
    channel_arguments: str = ""
    health: bool = True
    tls: TlsOptions | None = None


class GrpcServer:
    """The running interface; made by `start`.

    Attributes:
        port: The TCP port that it listens on.
    """

    def __init__(self, core: ServerCore, options: GrpcOptions) -> None:
        at_once = options.max_threads or CALLS
        self._pool = ThreadPoolExecutor(at_once + _WAITING, "grpc")
        self._running = threading.BoundedSemaphore(at_once)
        arguments = {**_OPTIONS, **channel_arguments(options.channel_arguments)}
        self._server = grpc.server(self._pool, options=tuple(arguments.items()))
        self._health = health.HealthServicer()
        self._serve(core, options.health)
        self.port = _listen(self._server, options)
        self._server.start()

    def stop(self, grace_seconds: float) -> None:
        """Take no new calls, let running ones finish for so many seconds, and end."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_seconds).wait()
        self._pool.shutdown(wait=False)

    def _serve(self, core: ServerCore, with_health: bool) -> None:
        """Register the services."""
        for service, methods in SERVICES.items():
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(
                    _behaviour(core, name, method, self._running)
                )
                for name, method in methods.items()
            }
            generic = grpc.method_handlers_generic_handler(service, handlers)
            self._server.add_generic_rpc_handlers((generic,))
        names = [*SERVICES, reflection.SERVICE_NAME]
        if with_health:
            for name in HEALTHY:
                self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            names.append(health.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, descriptors())


def start(core: ServerCore, options: GrpcOptions) -> GrpcServer:
    """Start the interface.

    Raises:
        InvalidArgument: The channel arguments or the TLS options cannot be used.
        Unreachable: An address cannot be had, for example because it is in use.
    """
    return GrpcServer(core, options)


def channel_arguments(text: str) -> dict[str, int | str]:
    """Read "NAME=VALUE,NAME=VALUE"; a value that is a 32-bit integer becomes one.

    Raises:
        InvalidArgument: A part has no name or no value.
    """
    arguments: dict[str, int | str] = {}
    for part in filter(None, text.split(",")):
        name, sign, value = part.partition("=")
        if not name or not sign:
            raise errors.InvalidArgument(
                f"a gRPC channel argument must be NAME=VALUE, not '{part}'"
            )
        is_int = re.fullmatch(r"\s*[+-]?\d+\s*", value, re.ASCII)
        arguments[name] = int(value) if is_int and -(2**31) <= int(value) < 2**31 else value
    return arguments


def descriptors() -> DescriptorPool:
    """Return what reflection tells of: the messages and services, in a pool of their own.

    The published modules with the services' descriptors were made for a protobuf of long ago
    and cannot be imported any more, so the services are described here.
    """
    pool, added = DescriptorPool(), set[str]()
    for module in (health_pb2, reflection_pb2):
        _add_file(pool, module.DESCRIPTOR, added)
    for service, methods in SERVICES.items():
        package, _, name = service.rpartition(".")
        file = descriptor_pb2.FileDescriptorProto(
            name=f"{service.replace('.', '/')}.proto", package=package, syntax="proto3"
        )
        described = file.service.add(name=name)
        for method, (request, response, *_) in methods.items():
            for message in (request.DESCRIPTOR, response.DESCRIPTOR):
                _add_file(pool, message.file, added)
                if message.file.name not in file.dependency:
                    file.dependency.append(message.file.name)
            described.method.add(
                name=method,
                input_type=f".{request.DESCRIPTOR.full_name}",
                output_type=f".{response.DESCRIPTOR.full_name}",
            )
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_file(pool: DescriptorPool, file: Any, added: set[str]) -> None:
    """Copy a file, after those that it depends on, into a pool."""
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add_file(pool, dependency, added)
    pool.AddSerializedFile(file.serialized_pb)


def _behaviour(
    core: ServerCore, name: str, method: Method, running: threading.BoundedSemaphore
) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """Return the function that gRPC calls for a method."""

    def call(content: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            with running:
                if not context.is_active():  # nobody waits for the answer any more
                    return b""
                return answer(core, name, method, content)
        except errors.ServingError as error:
            code = _CODES[errors.row_of(error).code]
            return context.abort(code, shortened(errors.message_of(error)))  # by an exception

    return call


def shortened(message: str) -> str:
    """Return a message that is not longer than the reference sends them."""
    encoded = message.encode()
    if len(encoded) <= MESSAGE_LIMIT:
        return message
    return encoded[:MESSAGE_LIMIT].decode(errors="ignore") + "...TRUNCATED"


def _listen(server: grpc.Server, options: GrpcOptions) -> int:
    """Open the TCP port, and the Unix socket if one is wanted; return the port."""
    credentials = server_credentials(options.tls) if options.tls else None
    try:
        port = _add(server, join(options.host, options.port), credentials)
    except errors.Unreachable:
        bind(options.host, options.port).close()  # says what is wrong with the address
        if credentials is None:
            raise
        raise errors.InvalidArgument(
            "'server_key' and 'server_cert' must be PEM of a key and its certificate, and "
            "'custom_ca' must be PEM of certificates"
        ) from None
    if options.socket_path:
        _refuse_live_socket(options.socket_path)
        _add(server, f"unix:{options.socket_path}", credentials)
    return port


def _add(server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    """Listen on an address; gRPC does not tell why it cannot."""
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise errors.Unreachable(f"cannot listen on {address}") from error


def _refuse_live_socket(path: str) -> None:
    """Refuse a Unix socket that a server listens on; gRPC would take it away from that one.

    A file that a dead server left behind is replaced.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:  # nobody listens, or binding will say what is wrong
            return
    raise errors.Unreachable(f"cannot listen on unix:{path}: another server does")
