"""The flags of `python -m serving.server`: the reference server's names and meanings.

One field of `Options` is one flag. Nothing here imports TensorFlow, so that help and
mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn


def _flag(default: Any, help_text: str, at_least: int | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text, "at_least": at_least})


@dataclasses.dataclass(frozen=True)
class Options:
    """What the server was asked to do.

    Not the reference's are the default of `rest_api_port`, 8501 as in its container, and that 0
    takes a free port; -1 opens none. Only `host` is a flag that the reference lacks.
    """

    port: int = _flag(8500, "TCP port of the gRPC interface; 0 takes a free one")
    grpc_socket_path: str = _flag("", "Unix socket of the gRPC interface, beside the TCP port")
    rest_api_port: int = _flag(
        8501, "TCP port of the REST interface, never encrypted; 0 takes a free one, -1 none"
    )
    host: str = _flag("127.0.0.1", "address to listen on; 0.0.0.0 for every interface")
    rest_api_num_threads: int = _flag(0, "REST calls that run at once; 0 for the default", 0)
    rest_api_timeout_in_ms: int = _flag(30000, "milliseconds that a REST call may take", 1)
    rest_api_enable_cors_support: bool = _flag(False, "let web pages of other origins call")
    model_name: str = _flag("default", "name under which the model is served")
    model_base_path: str = _flag("", "folder with the model's numbered version folders")
    model_config_file: str = _flag(
        "", "ModelServerConfig text file; --model_name and --model_base_path do not count then"
    )
    model_config_file_poll_wait_seconds: int = _flag(
        0, "seconds between two looks at that file; 0 looks once, at the start", 0
    )
    file_system_poll_wait_seconds: int = _flag(
        1, "seconds between two looks for new versions; 0 looks once, at the start", 0
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "let a label that is not in use stand for a version that is not loaded"
    )
    max_num_load_retries: int = _flag(5, "how often a version that does not load is retried", 0)
    load_retry_interval_micros: int = _flag(60_000_000, "microseconds between two such tries")
    enable_batching: bool = _flag(False, "gather calls into batches")
    batching_parameters_file: str = _flag("", "BatchingParameters text file")
    enable_per_model_batching_parameters: bool = _flag(
        False, "batch by batching_params.pbtxt in the version folder, where there is one"
    )
    enable_model_warmup: bool = _flag(True, "ask a model its recorded requests before others do")
    num_request_iterations_for_warmup: int = _flag(0, "how often each of them; 0 counts as 1")
    enable_serialization_as_tensor_content: bool = _flag(
        False, "answer with tensors as bytes, not as lists of numbers"
    )
    saved_model_tags: str = _flag("serve", "which graph of a SavedModel; commas between tags")
    enable_signature_method_name_check: bool = _flag(
        False, "refuse calls that ask a signature for what it is not made for"
    )
    monitoring_config_file: str = _flag("", "MonitoringConfig text file")
    ssl_config_file: str = _flag("", "SSLConfig text file; encrypts the gRPC interface")
    use_alts_credentials: bool = _flag(False, "not to be had: encrypt with --ssl_config_file")
    grpc_max_threads: int = _flag(0, "gRPC calls that run at once; 0 for the default", 0)
    grpc_channel_arguments: str = _flag("", "settings of gRPC itself: NAME=VALUE,NAME=VALUE")
    enable_grpc_healthcheck_service: bool = _flag(False, "answer grpc.health.v1")
    tensorflow_session_parallelism: int = _flag(
        0, "threads of an operation, and operations at once; 0 leaves both to TensorFlow", 0
    )
    tensorflow_intra_op_parallelism: int = _flag(0, "threads that share one operation's work", 0)
    tensorflow_inter_op_parallelism: int = _flag(0, "operations that run at once", 0)
    ignored: tuple[str, ...] = ()
    """Flags that were given and have no meaning here."""


IGNORED: Mapping[str, type] = {
    "enable_profiler": bool,
    "flush_filesystem_caches": bool,
    "mixed_precision": str,
    "num_load_threads": int,
    "num_tflite_interpreters_per_pool": int,
    "num_tflite_pools": int,
    "num_unload_threads": int,
    "per_process_gpu_memory_fraction": float,
    "platform_config_file": str,
    "prefer_tflite_model": bool,
    "remove_unused_fields_from_bundle_metagraph": bool,
    "skip_initialize_tpu": bool,
    "tensorflow_session_config_file": str,
    "thread_pool_factory_config_file": str,
    "xla_cpu_compilation_enabled": bool,
    "xla_gpu_compilation_enabled": bool,
}
"""The reference's other flags. They are taken, so that its command lines work as they are."""

_FLAGS = [field for field in dataclasses.fields(Options) if field.metadata]


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and end with code 2."""
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(2)


class _Version(argparse.Action):
    """Prints the versions of this server and of TensorFlow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"SeqZoo ModelServer: {metadata.version('seqzoo')}")
        print(f"TensorFlow Library: {metadata.version('tensorflow')}")
        raise SystemExit(0)


def parse(arguments: Sequence[str]) -> Options:
    """Read the flags, written `--flag=value` or `--flag value`.

    A flag that is true or false may stand alone, which makes it true.

    Raises:
        SystemExit: With code 2 and one line on stderr for an unknown flag or a bad value;
            with code 0 for `--help` and `--version`.
    """
    parser = _parser()
    values, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = unknown[0].split("=")[0]
        known = ["version", "help", *(field.name for field in _FLAGS), *IGNORED]
        near = difflib.get_close_matches(name.lstrip("-"), known, n=1)
        hint = f"; did you mean '--{near[0]}'?" if near else "; see --help"
        parser.error(f"unknown flag '{name}'{hint}")
    given = vars(values)
    ignored = tuple(name for name in IGNORED if name in given)
    options = Options(**{field.name: given[field.name] for field in _FLAGS}, ignored=ignored)
    if mistake := _mistake(options):
        parser.error(mistake)
    return options


def _parser() -> _Parser:
    parser = _Parser(prog="serving.server", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        default=argparse.SUPPRESS,
        help="display the versions and end",
    )
    for field in _FLAGS:
        kind, help_text = type(field.default), field.metadata["help"]
        _add(parser, field.name, kind, field.default, f"{help_text} (default: {field.default!r})")
    group = parser.add_argument_group("flags of the reference that change nothing here")
    for name, kind in IGNORED.items():
        _add(group, name, kind, argparse.SUPPRESS, None)
    return parser


def _add(parser: Any, name: str, kind: type, default: Any, help_text: str | None) -> None:
    """Declare a flag; one that is true or false needs no value."""
    alone = {"nargs": "?", "const": True} if kind is bool else {}
    parser.add_argument(
        f"--{name}",
        type=_boolean if kind is bool else kind,
        default=default,
        metavar="VALUE",
        help=help_text,
        **alone,
    )


def _boolean(text: str) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"must be true or false, not '{text}'")
    return text in ("true", "1")


def _mistake(options: Options) -> str | None:
    """Return what is wrong with the flags' values, if anything is."""
    for name, least in (("port", 0), ("rest_api_port", -1)):
        if not least <= getattr(options, name) <= 65535:
            return f"--{name} must be a port from 0 to 65535, not {getattr(options, name)}"
    for field in _FLAGS:
        least, value = field.metadata["at_least"], getattr(options, field.name)
        if least is not None and value < least:
            rule = "must not be negative" if least == 0 else f"must be at least {least}"
            return f"--{field.name} {rule}: {value}"
    return _mistake_in_combination(options) or _mistake_in_model(options)


def _mistake_in_combination(options: Options) -> str | None:
    """Return which flags do not go together."""
    if options.port == options.rest_api_port != 0:
        return f"--port and --rest_api_port must differ, but both are {options.port}"
    if options.batching_parameters_file and not options.enable_batching:
        return "--batching_parameters_file is set without --enable_batching"
    if options.use_alts_credentials:
        return "--use_alts_credentials cannot be had here: encrypt with --ssl_config_file"
    names = ("session", "intra_op", "inter_op")
    if all(getattr(options, f"tensorflow_{name}_parallelism") for name in names):
        return (
            "--tensorflow_session_parallelism stands for --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism: all three cannot be set"
        )
    return None


def _mistake_in_model(options: Options) -> str | None:
    """Return what is wrong with the model, if no file says what is served."""
    if options.model_config_file:
        return None
    if not options.model_name:
        return "--model_name must not be empty"
    if not options.model_base_path:
        return "--model_base_path is required: the folder with the numbered version folders"
    if not Path(options.model_base_path).is_dir():
        return f"--model_base_path must be an existing folder, not '{options.model_base_path}'"
    return None
