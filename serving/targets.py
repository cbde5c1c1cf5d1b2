"""Running servers that commands talk to, and how their connections are encrypted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import MisuseError

if TYPE_CHECKING:
    from serving.tls import Tls


def add_tls_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of an encrypted connection."""
    group = parser.add_argument_group("encrypted connections, by files in PEM")
    group.add_argument("--ca", type=Path, metavar="FILE", help="whom to trust as the server")
    group.add_argument("--cert", type=Path, metavar="FILE", help="certificate of this client")
    group.add_argument("--key", type=Path, metavar="FILE", help="its private key")


def tls_of(options: argparse.Namespace) -> Tls | None:
    """Return the encryption that was asked for, None if none was.

    Raises:
        MisuseError: One of certificate and key is given without the other, or without --ca.
    """
    from serving.tls import Tls

    if not (options.ca or options.cert or options.key):
        return None
    if options.ca is None or (options.cert is None) != (options.key is None):
        raise MisuseError("an encrypted connection takes --ca, and --cert and --key both or none")
    return Tls(options.ca, options.cert, options.key)
