"""Encrypted gRPC, for clients whose certificate is known."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc
import pytest

from tests.serving.conformance.calls import answer, half, predict_request, refused
from tests.serving.conformance.conftest import Started
from tests.serving.conformance.process import PATIENCE, Server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.crt, and with the keys and certificates of a server and two clients.

    The authority vouches for the server and the client, and has never heard of the stranger.
    """
    folder = tmp_path_factory.mktemp("certificates")
    try:
        for name in ("ca", "other"):
            openssl(folder, name)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    for name, authority in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        openssl(
            folder,
            name,
            *("-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        )
    return folder


def openssl(folder: Path, name: str, *arguments: str) -> None:
    """Make a key and a certificate."""
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-keyout", f"{name}.key", "-out", f"{name}.crt", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def credentials(certificates: Path, name: str = "") -> grpc.ChannelCredentials:
    """Return what a client shows: the certificate of that name, or none."""
    authority = (certificates / "ca.crt").read_bytes()
    if not name:
        return grpc.ssl_channel_credentials(authority)
    key, certificate = ((certificates / f"{name}.{end}").read_bytes() for end in ("key", "crt"))
    return grpc.ssl_channel_credentials(authority, key, certificate)


@pytest.fixture(scope="module")
def server(start: Started, certificates: Path, half_base: Path) -> Server:
    """A server that asks clients for a certificate."""
    fields = {"server_key": "server.key", "server_cert": "server.crt", "custom_ca": "ca.crt"}
    lines = ["client_verify: true"]
    for field, file in fields.items():
        text = (certificates / file).read_text().replace("\n", "\\n")
        lines.append(f'{field}: "{text}"')
    config = certificates / "ssl.txt"
    config.write_text("\n".join(lines))
    return start(
        credentials(certificates, "client"),
        model_name="half",
        model_base_path=half_base,
        ssl_config_file=config,
    ).wait()


def test_a_client_with_a_certificate_is_served(server: Server):
    assert half(server) == 4.0


@pytest.mark.parametrize("name", ["", "stranger"], ids=["none", "unknown"])
def test_no_other_client_is_served(server: Server, certificates: Path, name: str):
    refuse(server, credentials(certificates, name))


def test_nothing_is_served_unencrypted(server: Server):
    refuse(server, None)


def refuse(server: Server, shown: grpc.ChannelCredentials | None) -> None:
    """Expect that a client does not get through."""
    with server.connect(shown) as channel, refused(grpc.StatusCode.UNAVAILABLE):
        channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=lambda request: request.SerializeToString(),
        )(predict_request("half", x=[2.0]), timeout=PATIENCE)


def test_the_rest_interface_stays_as_it_is(server: Server):
    response = server.post("/v1/models/half:predict", {"instances": [2.0]})
    assert answer(response) == {"predictions": [4.0]}
