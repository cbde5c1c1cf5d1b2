"""What a client does between its questions to a transport: without I/O and without waiting.

Each method of `Flows` is a generator. It yields an `Ask` (a question for the transport) or a
`Pause`, gets the answer sent or the error thrown in, and returns what the caller gets. So
`Client` and `AsyncClient` share everything but how a step is carried out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from serving.casting import bad_rows, nearest, to_arrays, with_text
from serving.errors import FailedPrecondition, RequestRefused, ServerFault, TimedOut, Unreachable
from serving.values import Call, ModelRef, Signature, VersionStatus

TIMEOUT = 60.0
"""Seconds to wait for an answer, unless told otherwise."""

T = TypeVar("T")
OnBadRow = Literal["raise", "return"]


@dataclass(frozen=True)
class Retries:
    """How often to ask again what got no answer (`Unreachable`: UNAVAILABLE, HTTP 503).

    Nothing else is asked again: a refusal stays one, and who timed out has no time left. That
    a question may reach the server twice does no harm, since answering it changes nothing.

    Attributes:
        attempts: Questions at most, the first one included.
        first_pause: Seconds before the second question; the pause doubles from then on.
        longest_pause: Seconds that a pause takes at most.

    Raises:
        ValueError: Fewer than one attempt, or a negative pause.
    """

    attempts: int = 4
    first_pause: float = 0.1
    longest_pause: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts}")
        if min(self.first_pause, self.longest_pause) < 0:
            raise ValueError(f"pauses must not be negative: {self}")

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row.

        A random part, up to half, is left off, so that clients which failed together do not
        come back together.
        """
        longest = min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 1, 64))
        return longest * random.uniform(0.5, 1.0)


RETRIES = Retries()


@dataclass(frozen=True)
class Ask:
    """A question for the transport.

    Attributes:
        method: Name of the transport's method.
        about: Its argument.
        timeout: Seconds to wait for the answer.
    """

    method: Literal["predict", "metadata", "status"]
    about: Call | ModelRef
    timeout: float

    def put_to(self, transport: Any) -> Any:
        """Return the transport's answer; an awaitable of it if the transport is async."""
        return getattr(transport, self.method)(self.about, self.timeout)


@dataclass(frozen=True)
class Pause:
    """Seconds to wait before the next question."""

    seconds: float


Flow = Generator[Ask | Pause, Any, T]


class Flows:
    """The flows of one client.

    Args:
        model: Name under which the model is served.
        version: A version of it; the latest if neither version nor label is given.
        label: A label that the server gave to a version.
        timeout: Seconds for a whole flow, with all its questions and pauses.
        retries: How often to ask again.
        clock: Returns seconds, as `time.monotonic` does.

    Raises:
        ValueError: Both a version and a label are given, or the timeout is not positive.
    """

    def __init__(
        self,
        model: str,
        version: int | None,
        label: str | None,
        timeout: float,
        retries: Retries,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if version is not None and label is not None:
            raise ValueError(f"give a version ({version}) or a label ('{label}'), not both")
        self._model = ModelRef(model, version, label)
        self._timeout = _positive(timeout)
        self._retries = retries
        self._clock = clock
        self._signatures: Mapping[str, Signature] = {}

    def predict(
        self,
        inputs: Any,
        named: Mapping[str, Any],
        signature: str,
        on_bad_row: OnBadRow,
        timeout: float | None,
    ) -> Flow[dict[str, np.ndarray]]:
        """Ask for an answer to a batch; see `Client.predict`."""
        if on_bad_row not in ("raise", "return"):
            raise ValueError(f"on_bad_row must be 'raise' or 'return', not '{on_bad_row}'")
        deadline = self._deadline_in(timeout)
        chosen = yield from self.signature(signature, deadline)
        arrays = to_arrays(inputs, named, chosen)
        call = Call(self._model, signature, chosen, arrays)
        try:
            outputs = yield from self._ask("predict", call, deadline)
        except (RequestRefused, ServerFault):
            self._signatures = {}  # a new version may have come with other signatures
            raise
        answer = {name: with_text(array) for name, array in outputs.items()}
        if on_bad_row == "raise" and (error := bad_rows(answer, arrays)):
            raise error
        return answer

    def metadata(self, deadline: float | None = None) -> Flow[dict[str, Signature]]:
        """Ask for the signatures, and remember them."""
        deadline = self._deadline_in(None) if deadline is None else deadline
        signatures = yield from self._ask("metadata", self._model, deadline)
        self._signatures = signatures
        return signatures

    def signature(self, name: str, deadline: float | None = None) -> Flow[Signature]:
        """Return a remembered signature, asking the server for what is not remembered."""
        known = self._signatures
        if name not in known:
            known = yield from self.metadata(deadline)
        if name not in known:
            raise FailedPrecondition(
                f"model '{self._model.name}' has no signature '{name}'{nearest(name, known)}"
            )
        return known[name]

    def status(self) -> Flow[list[VersionStatus]]:
        """Ask how the versions are doing."""
        return (yield from self._ask("status", self._model, self._deadline_in(None)))

    def _deadline_in(self, timeout: float | None) -> float:
        """Return when a flow that begins now has to end."""
        return self._clock() + (self._timeout if timeout is None else _positive(timeout))

    def _ask(
        self,
        method: Literal["predict", "metadata", "status"],
        about: Call | ModelRef,
        deadline: float,
    ) -> Flow[Any]:
        """Ask until there is an answer, the attempts are used up, or time is."""
        failures = 0
        while True:
            remaining = deadline - self._clock()
            if remaining <= 0:
                raise TimedOut(f"no time is left to ask model '{self._model.name}'")
            try:
                return (yield Ask(method, about, remaining))
            except Unreachable:
                failures += 1
                pause = self._retries.pause(failures)
                # Rather tell now what is wrong than wait and tell that time is up.
                if failures == self._retries.attempts or self._clock() + pause >= deadline:
                    raise
            yield Pause(pause)


def _positive(timeout: float) -> float:
    if not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds, not {timeout}")
    return timeout
