"""Starts the server, keeps it running, and stops it without cutting calls off."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from pathlib import Path

from serving import errors
from serving.server.addresses import join
from serving.server.core import ServerCore
from serving.server.flags import Options
from serving.server.grpc_api import start as start_grpc
from serving.server.lifecycle import ModelVersions
from serving.server.rest_api import RestServer

log = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds that running calls get to finish once the server is told to stop."""

GRPC_READY = "Running gRPC ModelServer at {} ..."
REST_READY = "Exporting HTTP/REST API at:{} ..."


def serve(options: Options, rest_listener: socket.socket) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        options: What was asked for.
        rest_listener: Socket that holds the address of the REST interface.

    Returns:
        The exit code: 0 after a clean stop, 1 if the server could not start.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    models = {options.model_name: ModelVersions(options.model_name, Path(options.model_base_path))}
    core = ServerCore(models)
    try:
        wait_for_models(core, options.file_system_poll_wait_seconds, stop)
        if not stop.is_set():
            _run(core, options, rest_listener, stop)
    except errors.ServingError as error:
        print(f"Failed to start server. Error: {error}", file=sys.stderr)
        return 1
    return 0


def wait_for_models(core: ServerCore, seconds: float, stop: threading.Event) -> None:
    """Wait until every model has a version that can be asked.

    Raises:
        FailedPrecondition: None will have: what is there does not load.
    """
    core.refresh()
    while not core.is_ready() and not stop.is_set():
        if failures := core.failures():
            raise errors.FailedPrecondition(failures[0])
        stop.wait(seconds or 1)
        core.refresh()


def _run(
    core: ServerCore, options: Options, rest_listener: socket.socket, stop: threading.Event
) -> None:
    """Open both interfaces, say where, and serve until told to stop."""
    grpc_server, grpc_port = start_grpc(core, options.host, options.port)
    rest = RestServer(core, rest_listener)
    watcher = threading.Thread(
        target=core.watch, args=(options.file_system_poll_wait_seconds, stop), daemon=True
    )
    if options.file_system_poll_wait_seconds:
        watcher.start()
    print(GRPC_READY.format(join(options.host, grpc_port)), flush=True)
    print(REST_READY.format(join(options.host, rest.port)), flush=True)
    stop.wait()
    log.info("stopping: no new calls are taken")
    grpc_stopped = grpc_server.stop(GRACE)
    rest.stop(GRACE)
    grpc_stopped.wait()
