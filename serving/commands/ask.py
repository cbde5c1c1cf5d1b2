"""Serve a model folder on free ports and ask it the same rows over REST and gRPC.

python -m serving ask models/sentiment "A slow start, but what a finish!"
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "serve a model for a moment and ask it over REST and gRPC"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("folder", type=Path, help="an exported model, e.g. models/sentiment")
    parser.add_argument("rows", nargs="+", help="raw rows, one word each")


def run(options: argparse.Namespace) -> None:
    """Print the request as a line for curl, then each row's answer over each transport."""
    from serving.client import Client
    from serving.parity import Probes, latest_version, serve_alone
    from serving.rows import json_lines

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
            for line in json_lines(answers, len(options.rows)):
                print(f"{transport}: {line}")
