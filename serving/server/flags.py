"""The flags of `python -m serving.server`: the reference server's names and meanings.

One field of `Options` is one flag. Nothing here imports TensorFlow, so that help and
mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn


def _flag(default: Any, help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(frozen=True)
class Options:
    """What the server was asked to do."""

    port: int = _flag(8500, "TCP port of the gRPC interface; 0 takes a free one")
    rest_api_port: int = _flag(8501, "TCP port of the REST interface; 0 takes a free one")
    host: str = _flag("127.0.0.1", "address to listen on; 0.0.0.0 for every interface")
    model_name: str = _flag("default", "name under which the model is served")
    model_base_path: str = _flag("", "folder with the model's numbered version folders")
    file_system_poll_wait_seconds: int = _flag(
        1, "seconds between two looks for new versions; 0 looks once, at the start"
    )


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

    Raises:
        SystemExit: With code 2 and one line on stderr for an unknown flag or a bad value;
            with code 0 for `--help` and `--version`.
    """
    parser = _Parser(prog="serving.server", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        default=argparse.SUPPRESS,
        help="display the versions and end",
    )
    for field in dataclasses.fields(Options):
        parser.add_argument(
            f"--{field.name}",
            type=type(field.default),
            default=field.default,
            metavar="VALUE",
            help=f"{field.metadata['help']} (default: {field.default!r})",
        )
    values, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = unknown[0].split("=")[0]
        known = ["version", "help", *(field.name for field in dataclasses.fields(Options))]
        near = difflib.get_close_matches(name.lstrip("-"), known, n=1)
        hint = f"; did you mean '--{near[0]}'?" if near else "; see --help"
        parser.error(f"unknown flag '{name}'{hint}")
    options = Options(**vars(values))
    if mistake := _mistake(options):
        parser.error(mistake)
    return options


def _mistake(options: Options) -> str | None:
    """Return what is wrong with the flags' values, if anything is."""
    for name in ("port", "rest_api_port"):
        if not 0 <= getattr(options, name) <= 65535:
            return f"--{name} must be a port from 0 to 65535, not {getattr(options, name)}"
    if options.port == options.rest_api_port != 0:
        return f"--port and --rest_api_port must differ, but both are {options.port}"
    if options.file_system_poll_wait_seconds < 0:
        return (
            "--file_system_poll_wait_seconds must not be negative: "
            f"{options.file_system_poll_wait_seconds}"
        )
    if not options.model_name:
        return "--model_name must not be empty"
    if not options.model_base_path:
        return "--model_base_path is required: the folder with the numbered version folders"
    if not Path(options.model_base_path).is_dir():
        return f"--model_base_path must be an existing folder, not '{options.model_base_path}'"
    return None
