"""The running server, asked by our client: the same answers over every transport."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving import errors
from serving.client import Client
from serving.server import RunningServer
from tests.serving.models import ECHOED

TEXTS = ["a", "a long text ✓", "", b"\xff\x00\xfe", 'tab\t"quote"\\']
TRANSPORTS = ("rest", "grpc", "in_process")


@pytest.fixture(params=TRANSPORTS)
def client(request: pytest.FixtureRequest, toy_clients: dict[str, Client]) -> Client:
    """A client over each transport in turn."""
    return toy_clients[request.param]


def test_texts(client: Client) -> None:
    answer = client.predict(text=TEXTS, on_bad_row="return")
    assert answer["label"].tolist() == ["short", "long ✓", "short", "short", "long ✓"]
    assert answer["text_plain"].tolist() == answer["text_bytes"].tolist() == TEXTS
    assert answer["status"].tolist() == ["", "", "the text is empty", "", ""]
    assert answer["length"].dtype == np.int64 and answer["probabilities"].dtype == np.float32
    assert answer["probabilities"].shape == (5, 2)


def test_bad_rows(client: Client) -> None:
    with pytest.raises(errors.RowError) as caught:
        client.predict(text=["fine", ""])
    assert caught.value.rows == {1: "the text is empty"}


def test_every_type_and_the_ends_of_its_range(client: Client) -> None:
    inputs: dict[str, np.ndarray] = {}
    for name, dtype in ECHOED.items():
        kind = dtype.as_numpy_dtype
        if dtype.is_integer:
            inputs[name] = np.array([np.iinfo(kind).min, np.iinfo(kind).max], kind)
        else:
            inputs[name] = np.array([0, 1], kind)
    inputs["double"] = np.array([1 / 3, -np.inf])
    answer = client.predict(inputs, signature="echo")
    for name, array in inputs.items():
        assert answer[name].dtype == array.dtype
        np.testing.assert_array_equal(answer[name], array)


def test_numbers_shapes_and_scalars(client: Client) -> None:
    x = np.float32([np.nan, np.inf, -np.inf, 1e-30, 0.1])
    np.testing.assert_array_equal(client.predict(x, signature="half")["y"], x / 2 + 2)
    answer = client.predict(x=[[1, 2]], factor=0.5, signature="scale")
    assert answer["factor"].shape == () and answer["product"].tolist() == [[0.5, 1.0]]


def test_empty_batches(client: Client) -> None:
    answer = client.predict(text=[])
    assert {name: array.shape for name, array in answer.items()} == {
        "label": (0,),
        "length": (0,),
        "probabilities": (0, 2),
        "status": (0,),
        "text_bytes": (0,),
        "text_plain": (0,),
    }
    assert client.predict([], signature="half")["y"].dtype == np.float32


def test_the_same_errors(client: Client) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"'x' must have the shape \[-1,2\], but \[2"):
        client.predict(x=[1, 2], factor=1, signature="scale")
    with pytest.raises(errors.InvalidArgument, match=r"^indices\[0\] = 7 is not in \[0, 3\)$"):
        client.predict([7], signature="pick")
    with pytest.raises(errors.FailedPrecondition, match="has no signature 'haff'; did you mean"):
        client.predict([7], signature="haff")


def test_metadata_and_status(client: Client) -> None:
    signatures = client.metadata()
    assert set(signatures) == {"serving_default", "half", "scale", "pick", "spin", "echo", "halves"}
    scale = signatures["scale"].inputs
    assert scale["x"].shape == (None, 2) and scale["factor"].shape == ()
    assert [(each.version, each.state, each.code) for each in client.status()] == [
        (1, "AVAILABLE", "OK")
    ]


@pytest.mark.parametrize("transport", ["grpc", "in_process"])
def test_half_precision(transport: str, toy_clients: dict[str, Client]) -> None:
    answer = toy_clients[transport].predict([1.5], signature="halves")
    assert answer["y"].dtype == np.float16 and answer["brain"].dtype.name == "bfloat16"
    assert answer["brain"].tolist() == [1.5]


def test_half_precision_over_rest(toy_clients: dict[str, Client]) -> None:
    with pytest.raises(errors.Unimplemented, match="to type: half"):
        toy_clients["rest"].predict([1.5], signature="halves")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_other_models_versions_and_labels(
    transport: str, toy_server: RunningServer, toy_base_path: Any
) -> None:
    def make(model: str, **options: Any) -> Client:
        if transport == "rest":
            return Client.rest(toy_server.rest_url, model, **options)
        if transport == "grpc":
            return Client.grpc(toy_server.grpc_address, model, **options)
        return Client.in_process(toy_base_path, model, **options)

    with make("toy", version=1) as right:
        assert right.predict([2], signature="half")["y"].tolist() == [3.0]
    with (
        make("toy", version=9) as other,
        pytest.raises(errors.NotFound, match=r"Servable not found for request: Specific\(toy, 9"),
    ):
        other.predict(["a"])
    with (
        make("toy", label="stable") as labelled,
        pytest.raises(errors.InvalidArgument, match="Unrecognized servable version label: stable"),
    ):
        labelled.predict(["a"])
    if transport != "in_process":
        for name in ("nobody", "no/bo:dy ✓"):
            with (
                make(name) as unknown,
                pytest.raises(errors.NotFound, match=rf"Latest\({name}\)"),
            ):
                unknown.predict(["a"])


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_timeouts(transport: str, toy_server: RunningServer) -> None:
    make, address = {
        "rest": (Client.rest, toy_server.rest_url),
        "grpc": (Client.grpc, toy_server.grpc_address),
    }[transport]
    with make(address, "toy") as client:
        client.metadata()
        with pytest.raises(errors.TimedOut):
            client.predict(300_000, signature="spin", timeout=0.05)
