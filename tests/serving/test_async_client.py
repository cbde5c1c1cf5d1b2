"""The async client: the same answers and errors, many calls at once, over kept connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from serving import errors
from serving.async_client import AsyncClient
from serving.client import Client, Retries, Signature, TensorSpec
from serving.server import RunningServer
from serving.values import Call, ModelRef, VersionStatus

Talk = Callable[[AsyncClient], Coroutine[Any, Any, Any]]
AT_ONCE = Retries(first_pause=0.0)


@pytest.fixture(params=["rest", "grpc"])
def ask(request: pytest.FixtureRequest, toy_server: RunningServer) -> Callable[..., Any]:
    """Run a coroutine function with a client over each transport in turn."""

    def ask(talk: Talk, model: str = "toy", **options: Any) -> Any:
        async def main() -> Any:
            client = (
                AsyncClient.rest(toy_server.rest_url, model, **options)
                if request.param == "rest"
                else AsyncClient.grpc(toy_server.grpc_address, model, **options)
            )
            async with client:
                return await talk(client)

        return asyncio.run(main())

    return ask


def test_the_answers_are_those_of_the_sync_client(
    ask: Callable[..., Any], toy_clients: dict[str, Client]
) -> None:
    texts = ["a", "a long text ✓", "", b"\xff\x00\xfe"]
    answer = ask(lambda client: client.predict(text=texts, on_bad_row="return"))
    expected = toy_clients["grpc"].predict(text=texts, on_bad_row="return")
    assert answer.keys() == expected.keys()
    for name, array in expected.items():
        assert answer[name].dtype == array.dtype
        np.testing.assert_array_equal(answer[name], array)


def test_many_calls_run_at_once_and_each_gets_its_own_answer(ask: Callable[..., Any]) -> None:
    async def talk(client: AsyncClient) -> list[dict[str, np.ndarray]]:
        calls = (client.predict([number], signature="half") for number in range(64))
        return await asyncio.gather(*calls)

    answers = ask(talk)
    assert [answer["y"].tolist() for answer in answers] == [[n / 2 + 2] for n in range(64)]


def test_metadata_and_status(ask: Callable[..., Any], toy_clients: dict[str, Client]) -> None:
    assert ask(lambda client: client.metadata()).keys() == toy_clients["grpc"].metadata().keys()
    assert ask(lambda client: client.status()) == [VersionStatus(1, "AVAILABLE")]


def test_the_same_errors(ask: Callable[..., Any]) -> None:
    with pytest.raises(errors.RowError, match="row 1: the text is empty"):
        ask(lambda client: client.predict(text=["fine", ""]))
    with pytest.raises(errors.InvalidArgument, match=r"^indices\[0\] = 7 is not in \[0, 3\)$"):
        ask(lambda client: client.predict([7], signature="pick"))
    with pytest.raises(errors.NotFound, match=r"Latest\(nobody\)"):
        ask(lambda client: client.predict(["a"]), model="nobody")


def test_an_answer_that_takes_too_long_is_not_waited_for(ask: Callable[..., Any]) -> None:
    with pytest.raises(errors.TimedOut):
        ask(lambda client: client.predict(300_000, signature="spin", timeout=0.2))


@pytest.mark.parametrize("make", [AsyncClient.rest, AsyncClient.grpc])
def test_nobody_listens(make: Callable[..., AsyncClient]) -> None:
    async def main() -> None:
        address = "http://127.0.0.1:9" if make == AsyncClient.rest else "127.0.0.1:9"
        async with make(address, "toy", retries=AT_ONCE) as lonely:
            with pytest.raises(errors.Unreachable, match="127.0.0.1:9"):
                await lonely.status()

    asyncio.run(main())


class Flaky:
    """A transport that fails so many times before it answers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.closed = False

    async def predict(self, call: Call, timeout: float) -> dict[str, np.ndarray]:
        if self.failures:
            self.failures -= 1
            raise errors.Unreachable("not yet")
        return {"y": call.inputs["x"] * 2}

    async def metadata(self, model: ModelRef, timeout: float) -> dict[str, Signature]:
        spec = TensorSpec.of("float32", None)
        return {"serving_default": Signature({"x": spec}, {"y": spec})}

    async def status(self, model: ModelRef, timeout: float) -> list[VersionStatus]:
        await asyncio.sleep(timeout)
        return []

    async def close(self) -> None:
        self.closed = True


def test_a_transport_that_comes_back_is_asked_again() -> None:
    async def main() -> None:
        transport = Flaky(3)
        async with AsyncClient(transport, retries=AT_ONCE) as client:
            assert (await client.predict([2]))["y"].tolist() == [4]
        assert transport.closed
        with pytest.raises(errors.Unreachable, match="not yet"):
            await AsyncClient(Flaky(4), retries=AT_ONCE).predict([2])

    asyncio.run(main())


def test_a_cancelled_call_ends_at_once() -> None:
    async def main() -> None:
        call = asyncio.create_task(AsyncClient(Flaky(0)).status())
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
