"""The files that flags name, and what they say: plain values, read without TensorFlow.

They are text protos. Where the published protos come with no Python package, their messages
are declared here, with the published names and numbers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import message_factory, text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving import errors
from serving.protocol.notation import Table
from serving.protocol.rest import METRICS_PATH
from serving.server import model_list
from serving.server.engine import BatchingParameters
from serving.server.flags import Options

if TYPE_CHECKING:
    from serving.server.tls import TlsOptions

PER_MODEL = "batching_params.pbtxt"
"""File of a version folder that says how this version is batched."""

MESSAGES = {
    "BatchingParameters": (
        "google.protobuf.Int64Value max_batch_size = 1",
        "google.protobuf.Int64Value batch_timeout_micros = 2",
        "google.protobuf.Int64Value max_enqueued_batches = 3",
        "google.protobuf.Int64Value num_batch_threads = 4",
        "google.protobuf.StringValue thread_pool_name = 5",
        "repeated int64 allowed_batch_sizes = 6",
        "bool pad_variable_length_inputs = 7",
        "google.protobuf.BoolValue enable_large_batch_splitting = 8",
        "google.protobuf.Int64Value max_execution_batch_size = 9",
    ),
    "PrometheusConfig": ("bool enable = 1", "string path = 2"),
    "MonitoringConfig": ("PrometheusConfig prometheus_config = 1",),
    "SSLConfig": (
        "string server_key = 1",
        "string server_cert = 2",
        "string custom_ca = 3",
        "bool client_verify = 4",
    ),
}
_FILE = Table("seqzoo.serving.config", MESSAGES).declare("seqzoo/serving_config.proto")


@dataclass(frozen=True)
class Settings:
    """What the server was asked to do, with what the files say.

    Attributes:
        options: The flags.
        models: The ModelServerConfig message.
        batching: How calls are gathered; None runs each by itself.
        metrics_path: Where REST gives out metrics; None if it does not.
        tls: How gRPC is encrypted; None if it is not.
    """

    options: Options
    models: Any
    batching: BatchingParameters | None
    metrics_path: str | None
    tls: TlsOptions | None


def read(options: Options) -> Settings:
    """Read the files that flags name.

    Raises:
        NotFound: There is no such file.
        InvalidArgument: A file is not what it should be, or says what cannot be done.
    """
    file = options.model_config_file
    models = model_server_config(Path(file)) if file else single_model(options)
    model_list.check(models, ModelServerConfig())
    batching = None
    if options.enable_batching:
        file = options.batching_parameters_file
        batching = batching_parameters(Path(file)) if file else BatchingParameters()
    file = options.monitoring_config_file
    path = metrics_path(Path(file)) if file else None
    file = options.ssl_config_file
    return Settings(options, models, batching, path, tls_options(Path(file)) if file else None)


def single_model(options: Options) -> Any:
    """Return the ModelServerConfig message that stands for one model, given by flags."""
    config = ModelServerConfig()
    base_path = str(Path(options.model_base_path).absolute())
    config.model_config_list.config.add(
        name=options.model_name, base_path=base_path, model_platform=model_list.PLATFORM
    )
    return config


def model_server_config(file: Path) -> Any:
    """Return the ModelServerConfig message of a file.

    Raises:
        NotFound: There is no such file.
        InvalidArgument: It is not the text of such a message.
    """
    return _parse(file, ModelServerConfig())


def batching_parameters(file: Path) -> BatchingParameters:
    """Return what a file with a BatchingParameters message says.

    Raises:
        NotFound: There is no such file.
        InvalidArgument: It is not the text of such a message, or its values cannot be used.
    """
    names = {field.name for field in dataclasses.fields(BatchingParameters)}
    values: dict[str, Any] = {}
    for field, value in _parse(file, _message("BatchingParameters")).ListFields():
        if field.name in names:
            values[field.name] = tuple(value) if field.is_repeated else _unwrapped(value)
    return BatchingParameters(**values)


def batching_of_version(folder: Path, common: BatchingParameters) -> BatchingParameters | None:
    """Return how one version of a model is batched, by a file in its folder.

    Args:
        folder: The version folder.
        common: What holds for all models: the threads.

    Returns:
        The parameters; None if there is no such file, which runs each call by itself.

    Raises:
        InvalidArgument: The file cannot be used.
    """
    file = folder / PER_MODEL
    if not file.is_file():
        return None
    own = batching_parameters(file)
    return dataclasses.replace(own, num_batch_threads=common.num_batch_threads)


def metrics_path(file: Path) -> str | None:
    """Return where metrics are given out, by a file with a MonitoringConfig message.

    Returns:
        A path; None if the file does not turn them on.

    Raises:
        NotFound: There is no such file.
        InvalidArgument: It is not the text of such a message.
    """
    prometheus = _parse(file, _message("MonitoringConfig")).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


def tls_options(file: Path) -> TlsOptions:
    """Return what a file with an SSLConfig message says.

    Raises:
        NotFound: There is no such file.
        InvalidArgument: It is not the text of such a message, or what it says cannot be used.
    """
    from serving.server.tls import TlsOptions, server_credentials

    config = _parse(file, _message("SSLConfig"))
    options = TlsOptions(
        server_key=config.server_key.encode(),
        server_cert=config.server_cert.encode(),
        custom_ca=config.custom_ca.encode(),
        client_verify=config.client_verify,
    )
    server_credentials(options)  # only to be refused early
    return options


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_FILE.message_types_by_name[name])()


def _unwrapped(value: Any) -> Any:
    return getattr(value, "value", value)


def _parse(file: Path, message: Any) -> Any:
    """Read a file into a message, and return that."""
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), message)
    except OSError as error:
        raise errors.NotFound(f"{file}; {error.strerror or error}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        kind = f"tensorflow.serving.{message.DESCRIPTOR.name}"
        raise errors.InvalidArgument(
            f"Invalid protobuf file: '{file}': Error parsing text-format {kind}: {error}"
        ) from error
