"""`python -m serving`: ask an exported model, and check that it answers as trained."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from serving.errors import ServingError
from zoo.errors import MisuseError, SeqZooError


class _Parser(argparse.ArgumentParser):
    """Complains in one line, as the rest of the project does."""

    def error(self, message: str) -> NoReturn:
        raise MisuseError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure, 2 for misuse."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except SeqZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ServingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def ask(options: argparse.Namespace) -> None:
    """Serve a model folder on free ports and ask it the same rows over REST and gRPC."""
    from serving.client import Client
    from serving.parity import Probes, latest_version, serve_alone

    version = latest_version(options.folder)
    (port,) = Probes.read(version).inputs
    name = version.resolve().parent.name  # of BASE/NAME/VERSION
    with serve_alone(version, name) as server:
        body = json.dumps({"instances": [{port: row} for row in options.rows]}, ensure_ascii=False)
        print(f"curl {server.rest_url}/v1/models/{name}:predict -d '{body}'")
        clients = {
            "REST": Client.rest(server.rest_url, name),
            "gRPC": Client.grpc(server.grpc_address, name),
        }
        for transport, client in clients.items():
            with client:
                answers = client.predict({port: list(options.rows)}, on_bad_row="return")
            for index in range(len(options.rows)):
                row = {name: _readable(values[index]) for name, values in answers.items()}
                print(f"{transport}: {json.dumps(row, ensure_ascii=False)}")


def parity(options: argparse.Namespace) -> None:
    """Compare every way of asking a model with the trained pipeline."""
    from serving.parity import check

    largest = 0.0
    for finding in check(options.folder):
        largest = max(largest, finding.difference)
        print(
            f"{finding.transport:<10}  batches of {finding.batch_size:>2}: "
            f"{finding.calls:>3} calls, largest difference {finding.difference:.1e}",
            flush=True,
        )
    print(f"parity: ok, largest difference {largest:.1e}")


def _readable(value: Any) -> Any:
    return value if isinstance(value, str) else value.tolist()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("python -m serving", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for run in (ask, parity):
        command = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        command.add_argument("folder", type=Path, help="an exported model, e.g. models/sentiment")
        command.set_defaults(run=run)
        if run is ask:
            command.add_argument("rows", nargs="+", help="raw rows, one word each")
    return parser


if __name__ == "__main__":
    sys.exit(main())
