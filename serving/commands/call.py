"""Ask a running server, and print a line of JSON per row.

    python -m serving call sentiment "A joy." "A bore."
    python -m serving call sentiment reviews.txt --target 10.0.0.5:8500
    python -m serving call commands yes.wav no.wav --rest
    python -m serving call forecast sales.csv --signature serving_default

A word that names a file is read, any other is the text of a row. A .txt file is a row per line;
a .csv file is a row per line if its header names the inputs, and else a table of numbers; any
other file, such as a WAV or an image, is one row of bytes. The exit code is 1 if the model could
not use a row; its status says why.
"""

from __future__ import annotations

import argparse

HELP = "send text, a WAV, a CSV or an image to a running server"

BATCH = 32
"""Rows per call: what a server that makes batches of that many still takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", help="name under which the model is served")
    parser.add_argument("rows", nargs="+", metavar="TEXT_OR_FILE", help="what to send")
    parser.add_argument(
        "--target",
        metavar="HOST:PORT",
        help="the server (default: 127.0.0.1:8500, with --rest 127.0.0.1:8501)",
    )
    parser.add_argument("--rest", action="store_true", help="over REST instead of gRPC")
    parser.add_argument(
        "--signature", default="serving_default", help="of the model (default: serving_default)"
    )
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds (default: 60)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, help="a version instead of the latest one")
    which.add_argument("--label", help="a label instead of the latest version")


def run(options: argparse.Namespace) -> int:
    """Print the answers; return 1 if a row cannot be used."""
    from serving.client import Client
    from serving.errors import RowError
    from serving.rows import json_lines, read_rows

    chosen = {name: getattr(options, name) for name in ("version", "label", "timeout")}
    if options.rest:
        url = f"http://{options.target or '127.0.0.1:8501'}"
        client = Client.rest(url, options.model, **chosen)
    else:
        client = Client.grpc(options.target or "127.0.0.1:8500", options.model, **chosen)
    code = 0
    with client:
        rows = read_rows(options.rows, client.signature(options.signature).inputs)
        count = len(next(iter(rows.values())))
        for start in range(0, count, BATCH):
            batch = {name: values[start : start + BATCH] for name, values in rows.items()}
            try:
                answer = client.predict(batch, signature=options.signature)
            except RowError as error:
                answer, code = dict(error.answer), 1
            for line in json_lines(answer, min(BATCH, count - start)):
                print(line, flush=True)
    return code
