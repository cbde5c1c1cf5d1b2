"""Certificates for tests of encrypted connections, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def make(folder: Path) -> Path:
    """Write ca.crt, and server.crt, server.key, client.crt, client.key that it vouches for.

    The server is this machine, as "localhost" or 127.0.0.1. Without openssl the test is skipped.
    """
    try:
        _openssl(folder, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt")
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    for name in ("server", "client"):
        _openssl(
            folder,
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt"),
            *("-CA", "ca.crt", "-CAkey", "ca.key"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        )
    return folder


def _openssl(folder: Path, *arguments: str) -> None:
    """Make a key and a certificate."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
