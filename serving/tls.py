"""Encrypted connections of a client: the same three PEM files for gRPC and REST."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.errors import InvalidArgument


@dataclass(frozen=True)
class Tls:
    """Whom to trust, and who one is.

    Attributes:
        ca: PEM file of the certificates that the server's is checked against; None for the
            authorities that this machine trusts.
        cert: PEM file of the client's own certificate, for a server that asks for one.
        key: PEM file of its private key.

    Raises:
        ValueError: One of certificate and key is given without the other.
    """

    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("a client certificate needs both, 'cert' and 'key'")

    def ssl_context(self) -> ssl.SSLContext:
        """Return the files as Python's TLS takes them.

        Raises:
            InvalidArgument: A file cannot be read, or does not hold what it should.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except OSError as error:  # what OpenSSL complains about is one, too
            raise InvalidArgument(f"{self} cannot be used: {error}") from error
        return context

    def grpc_credentials(self) -> Any:
        """Return the files as gRPC takes them, a `grpc.ChannelCredentials`.

        Raises:
            InvalidArgument: A file cannot be read, or does not hold what it should.
        """
        import grpc

        self.ssl_context()  # gRPC itself accepts any bytes, and then never connects
        ca, cert, key = (
            None if file is None else Path(file).read_bytes()
            for file in (self.ca, self.cert, self.key)
        )
        return grpc.ssl_channel_credentials(ca, key, cert)
