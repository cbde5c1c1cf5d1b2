"""Starts the server, keeps it running, and stops it without cutting calls off."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving import errors
from serving.server import configs, grpc_server
from serving.server.addresses import join
from serving.server.configs import Settings
from serving.server.core import ServerCore
from serving.server.engine import EngineOptions
from serving.server.flags import Options
from serving.server.grpc_server import GrpcOptions
from serving.server.lifecycle import Retries
from serving.server.rest_server import RestOptions, RestServer
from serving.server.servable import Servable

log = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds that running calls get to finish once the server is told to stop."""

GRPC_READY = "Running gRPC ModelServer at {} ..."
SOCKET_READY = "Running gRPC ModelServer at UNIX socket {} ..."
REST_READY = "Exporting HTTP/REST API at:{} ..."


def serve(settings: Settings, rest_listener: socket.socket | None) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: What was asked for.
        rest_listener: Socket that holds the address of the REST interface; None for none.

    Returns:
        The exit code: 0 after a clean stop, 1 if the server could not start.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    options, stop = settings.options, threading.Event()
    if options.ignored:
        names = ", ".join(f"--{name}" for name in options.ignored)
        log.warning("ignored, since they have no meaning here: %s", names)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    gc.freeze()  # what is there by now stays: no search for garbage needs to look at it
    try:
        _run(settings, rest_listener, stop)
    except errors.ServingError as error:
        if not stop.is_set():
            print(f"Failed to start server. Error: {error}", file=sys.stderr)
            return 1
    return 0


def _run(settings: Settings, rest_listener: socket.socket | None, stop: threading.Event) -> None:
    """Load the models, open the interfaces, say where, and serve until told to stop."""
    options = settings.options
    core = ServerCore(
        lambda name, folder: Servable(folder, engine_options(settings, folder), name),
        Retries(options.max_num_load_retries, options.load_retry_interval_micros / 1e6),
        options.allow_version_labels_for_unavailable_models,
        stop,
    )
    if options.file_system_poll_wait_seconds:
        _in_background(core.watch, options.file_system_poll_wait_seconds)
    core.reload(settings.models)
    if options.model_config_file and options.model_config_file_poll_wait_seconds:
        _in_background(watch_config, core, options, stop)
    grpc = grpc_server.start(core, grpc_options(settings))
    rest = RestServer(core, rest_listener, rest_options(settings)) if rest_listener else None
    print(GRPC_READY.format(join(options.host, grpc.port)), flush=True)
    if options.grpc_socket_path:
        print(SOCKET_READY.format(options.grpc_socket_path), flush=True)
    if rest:
        print(REST_READY.format(join(options.host, rest.port)), flush=True)
        if settings.tls:
            log.warning("REST is not encrypted, as in the reference: --rest_api_port=-1 opens none")
    stop.wait()
    log.info("stopping: no new calls are taken")
    draining = _in_background(grpc.stop, GRACE)
    if rest:
        rest.stop(GRACE)
    draining.join()


def watch_config(core: ServerCore, options: Options, stop: threading.Event) -> None:
    """Read the file with the list of models every so many seconds until told to stop.

    Where it cannot be used, that is logged, and what is served stays as it is.
    """
    file, told = Path(options.model_config_file), ""
    while not stop.wait(options.model_config_file_poll_wait_seconds):
        try:
            core.apply(configs.model_server_config(file))
            told = ""
        except errors.ServingError as error:
            if str(error) != told:
                log.error("the list of models stays as it is: %s", error)
            told = str(error)
        except Exception:  # the watcher must outlive whatever a disk does
            log.exception("could not look at the list of models")


def engine_options(settings: Settings, folder: Path) -> EngineOptions:
    """Return how the version in a folder is to be run.

    Raises:
        InvalidArgument: The folder has batching parameters that cannot be used.
    """
    options, batching = settings.options, settings.batching
    if batching and options.enable_per_model_batching_parameters:
        batching = configs.batching_of_version(folder, batching)
    intra, inter = options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism
    if not intra and not inter:
        intra = inter = options.tensorflow_session_parallelism
    return EngineOptions(
        tags=tuple(options.saved_model_tags.split(",")),
        batching=batching,
        intra_op_threads=intra,
        inter_op_threads=inter,
        warm_up=options.enable_model_warmup,
        warm_up_iterations=max(options.num_request_iterations_for_warmup, 1),
        tensor_content=options.enable_serialization_as_tensor_content,
        check_method_names=options.enable_signature_method_name_check,
    )


def grpc_options(settings: Settings) -> GrpcOptions:
    """Return how the gRPC interface is to be opened."""
    options = settings.options
    return GrpcOptions(
        host=options.host,
        port=options.port,
        socket_path=options.grpc_socket_path,
        max_threads=options.grpc_max_threads,
        channel_arguments=options.grpc_channel_arguments,
        health=options.enable_grpc_healthcheck_service,
        tls=settings.tls,
    )


def rest_options(settings: Settings) -> RestOptions:
    """Return how the REST interface is to answer."""
    options = settings.options
    return RestOptions(
        threads=options.rest_api_num_threads,
        timeout_ms=options.rest_api_timeout_in_ms,
        cors=options.rest_api_enable_cors_support,
        metrics_path=settings.metrics_path,
    )


def _in_background(work: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread
