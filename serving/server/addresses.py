"""Ports to listen on."""

from __future__ import annotations

import socket

from serving.errors import Unreachable


def join(host: str, port: int) -> str:
    """Return "host:port", with the brackets that IPv6 needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str, port: int) -> socket.socket:
    """Return a TCP socket that holds an address; port 0 takes a free port.

    Raises:
        Unreachable: The address cannot be had, for example because it is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named; it costs 40 ms a call.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A port that a dead server left behind may be taken; one that is listened on may not.
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        reason = error.strerror or error
        raise Unreachable(f"cannot listen on {join(host, port)}: {reason}") from error
    return taken
