"""What a client asks, and when again: no transport, no waiting, a clock that is set by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving import errors
from serving.flows import RETRIES, Ask, Flow, Flows, Pause, Retries
from serving.values import ModelRef, Signature, TensorSpec

HALF = Signature({"x": TensorSpec.of("float32", None)}, {"y": TensorSpec.of("float32", None)})
ANSWER = {"y": np.float32([1])}
AWAY = errors.Unreachable("nobody listens")


class Talk:
    """Plays the transport and the clock for one client's flows."""

    def __init__(self, timeout: float = 60.0, retries: Retries = RETRIES) -> None:
        self.now = 1000.0
        self.flows = Flows("toy", None, None, timeout, retries, clock=lambda: self.now)
        self.steps: list[Ask | Pause] = []

    def predict(self, timeout: float | None = None) -> Flow[dict[str, np.ndarray]]:
        return self.flows.predict([2.0], {}, "serving_default", "raise", timeout)

    def run(self, flow: Flow[Any], *outcomes: Any, seconds: float = 0.0) -> Any:
        """Let each question take so long and come to the next outcome; return the result."""
        left = list(outcomes)
        step = next(flow)
        try:
            while True:
                self.steps.append(step)
                if isinstance(step, Pause):
                    self.now += step.seconds
                    step = next(flow)
                    continue
                self.now += min(seconds, step.timeout)
                outcome = left.pop(0)
                if isinstance(outcome, Exception):
                    step = flow.throw(outcome)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            assert not left, "not everything was asked"
            return end.value

    @property
    def asked(self) -> list[str]:
        return [step.method for step in self.steps if isinstance(step, Ask)]

    @property
    def pauses(self) -> list[float]:
        return [step.seconds for step in self.steps if isinstance(step, Pause)]


SIGNATURES = {"serving_default": HALF}


def test_a_prediction_asks_for_the_signatures_once() -> None:
    talk = Talk()
    for outcomes in ((SIGNATURES, ANSWER), (ANSWER,)):
        assert talk.run(talk.predict(), *outcomes)["y"].tolist() == [1]
    assert talk.asked == ["metadata", "predict", "predict"]
    assert isinstance(talk.steps[0], Ask) and talk.steps[0].about == ModelRef("toy")


def test_what_cannot_be_reached_is_asked_again_after_growing_pauses() -> None:
    talk = Talk(retries=Retries(attempts=6, first_pause=0.1, longest_pause=0.5))
    assert talk.run(talk.predict(), SIGNATURES, *[AWAY] * 5, ANSWER)["y"].tolist() == [1]
    assert talk.asked == ["metadata", *["predict"] * 6]
    for pause, longest in zip(talk.pauses, [0.1, 0.2, 0.4, 0.5, 0.5], strict=True):
        assert longest / 2 <= pause <= longest


def test_pauses_differ_between_clients() -> None:
    retries = Retries()
    assert len({retries.pause(1) for _ in range(20)}) > 1
    assert retries.pause(10_000) <= retries.longest_pause


def test_the_last_attempt_tells_what_is_wrong() -> None:
    talk = Talk(retries=Retries(attempts=3))
    with pytest.raises(errors.Unreachable, match="nobody listens"):
        talk.run(talk.flows.status(), AWAY, AWAY, AWAY)
    assert talk.asked == ["status"] * 3 and len(talk.pauses) == 2


@pytest.mark.parametrize(
    "kind",
    [
        errors.TimedOut,
        errors.InvalidArgument,
        errors.NotFound,
        errors.ResourceExhausted,
        errors.Aborted,
        errors.InternalFault,
        errors.ServerFault,
    ],
)
def test_no_other_error_is_asked_again(kind: type[errors.ServingError]) -> None:
    talk = Talk()
    with pytest.raises(kind):
        talk.run(talk.predict(), SIGNATURES, kind("no"))
    assert talk.asked == ["metadata", "predict"] and not talk.pauses


def test_the_deadline_covers_all_questions_and_pauses() -> None:
    talk = Talk(timeout=10, retries=Retries(attempts=100, first_pause=1, longest_pause=1))
    with pytest.raises(errors.Unreachable):
        talk.run(talk.predict(), SIGNATURES, *[AWAY] * 20, seconds=1)
    timeouts = [step.timeout for step in talk.steps if isinstance(step, Ask)]
    assert timeouts[0] == 10 and timeouts[1] == 9
    assert timeouts == sorted(timeouts, reverse=True) and timeouts[-1] > 0
    assert talk.now <= 1010


def test_a_call_has_a_deadline_of_its_own() -> None:
    talk = Talk(timeout=10)
    talk.run(talk.predict(timeout=3), SIGNATURES, ANSWER)
    assert [step.timeout for step in talk.steps if isinstance(step, Ask)] == [3, 3]


def test_nothing_is_asked_once_time_is_up() -> None:
    talk = Talk(timeout=1)
    with pytest.raises(errors.TimedOut, match="no time is left to ask model 'toy'"):
        talk.run(talk.predict(), SIGNATURES, seconds=2)
    assert talk.asked == ["metadata"]


def test_signatures_are_forgotten_after_a_refusal() -> None:
    talk = Talk()
    with pytest.raises(errors.InvalidArgument):
        talk.run(talk.predict(), SIGNATURES, errors.InvalidArgument("no"))
    talk.run(talk.predict(), SIGNATURES, ANSWER)
    assert talk.asked == ["metadata", "predict"] * 2


def test_values_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="attempts must be at least 1, not 0"):
        Retries(attempts=0)
    with pytest.raises(ValueError, match="pauses must not be negative"):
        Retries(first_pause=-1)
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds, not 0"):
        Talk(timeout=0)
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds, not nan"):
        next(Talk().predict(timeout=float("nan")))
