"""Encrypted connections to the gRPC interface."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from serving import errors


@dataclass(frozen=True)
class TlsOptions:
    """Who the server says it is, and whom it lets in. All in PEM form.

    Attributes:
        server_key: The server's private key.
        server_cert: Its certificate, followed by those that vouch for it.
        custom_ca: Certificates of the authorities that a client's may be signed by.
        client_verify: Only clients with such a certificate are let in.
    """

    server_key: bytes
    server_cert: bytes
    custom_ca: bytes = b""
    client_verify: bool = False


def server_credentials(options: TlsOptions) -> grpc.ServerCredentials:
    """Return what makes a port an encrypted one.

    Raises:
        InvalidArgument: A part is missing.
    """
    if not options.server_key or not options.server_cert:
        raise errors.InvalidArgument("TLS needs both 'server_key' and 'server_cert'")
    if options.client_verify and not options.custom_ca:
        raise errors.InvalidArgument(
            "'client_verify' needs 'custom_ca': without it no client's certificate can be checked"
        )
    return grpc.ssl_server_credentials(
        [(options.server_key, options.server_cert)],
        root_certificates=options.custom_ca or None,
        require_client_auth=options.client_verify,
    )
