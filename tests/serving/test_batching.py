"""Batching: every call gets its own answer, whoever it shares a batch with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import errors
from serving.server import batching, metrics
from serving.server.engine import BatchingParameters, EngineOptions
from serving.server.servable import Servable
from tests.serving import crowd

LONG = 20_000_000
"""Microseconds that a batch waits; it is full before, or the test would take as long."""

Call = tuple[str, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version folder of the crowd."""
    folder = tmp_path_factory.mktemp("crowd") / "1"
    crowd.save(folder)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> Servable:
    """The crowd, unbatched."""
    return Servable(folder)


@pytest.fixture
def batched(folder: Path) -> Callable[..., Servable]:
    """Makes the crowd with batching parameters."""
    return lambda **values: Servable(
        folder, EngineOptions(batching=BatchingParameters(**values)), "crowd"
    )


def ask(servable: Servable, calls: Sequence[Call]) -> list[Any]:
    """Return the answers, or the errors, to calls that are made at the same time."""

    def one(call: Call) -> Any:
        try:
            return servable.predict(*call)
        except errors.ServingError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def rows(*values: int) -> Call:
    """Return a call of the signature that tells how many ran together."""
    return "rows", {"x": np.array(values, np.int64)}


def grid(value: float, *shape: int) -> Call:
    """Return a call with as many numbers from a value upwards, all times two."""
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + np.float32(value)
    return "grid", {"x": x, "factor": np.full(shape[0], 2, np.float32)}


def refusal(servable: Servable, call: Call) -> errors.ServingError:
    """Return the error that a call ends with."""
    with pytest.raises(errors.ServingError) as caught:
        servable.predict(*call)
    return caught.value


class TestSharing:
    def test_calls_that_wait_run_together_and_each_gets_its_own_rows(self, batched: Callable):
        servable = batched(max_batch_size=8, batch_timeout_micros=LONG)
        answers = ask(servable, [rows(10), rows(20, 21), rows(30, 31, 32), rows(40, 41)])
        assert [answer["x"].tolist() for answer in answers] == [
            [10],
            [20, 21],
            [30, 31, 32],
            [40, 41],
        ]
        assert {size for answer in answers for size in answer["together"].tolist()} == {8}

    def test_a_batch_is_filled_up_to_an_allowed_size(self, batched: Callable):
        servable = batched(max_batch_size=8, allowed_batch_sizes=(3, 8))
        answer = servable.predict(*rows(5))
        assert answer["x"].tolist() == [5] and answer["together"].tolist() == [3]

    def test_each_signature_and_choice_of_outputs_has_a_queue_of_its_own(self, batched: Callable):
        servable = batched(max_batch_size=2, batch_timeout_micros=LONG)
        with ThreadPoolExecutor(4) as pool:
            all_outputs = [pool.submit(servable.predict, *rows(i)) for i in (1, 2)]
            some = [pool.submit(servable.predict, *rows(i), ["x"]) for i in (3, 4)]
        assert [each.result()["x"].tolist() for each in (*all_outputs, *some)] == [
            [1],
            [2],
            [3],
            [4],
        ]
        assert list(some[0].result()) == ["x"]

    def test_the_metrics_are_told_once_of_each_batch(
        self, batched: Callable, monkeypatch: pytest.MonkeyPatch
    ):
        told: list[tuple[Any, ...]] = []
        monkeypatch.setattr(metrics, "batched", lambda *values: told.append(values))
        servable = batched(max_batch_size=4, batch_timeout_micros=LONG, allowed_batch_sizes=(2, 4))
        ask(servable, [rows(1, 2), rows(3), rows(4)])
        assert [values[:5] for values in told] == [("crowd", "rows", 4, 4, 0)]
        assert told[0][5] >= 0
        told.clear()
        few = batched(max_batch_size=8, allowed_batch_sizes=(8,))
        few.predict(*rows(1, 2, 3))
        assert [values[2:5] for values in told] == [(3, 8, 5)]


class TestShapes:
    def test_calls_of_different_shapes_do_not_fail_each_other(self, batched: Callable):
        servable = batched(max_batch_size=8, batch_timeout_micros=20_000)
        calls = [grid(i, 1, 1 + i % 3, 2) for i in range(12)]
        for answer, (_, inputs) in zip(ask(servable, calls), calls, strict=True):
            assert np.array_equal(answer["y"], inputs["x"] * 2)

    def test_shapes_beyond_the_bound_run_alone(
        self, batched: Callable, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(batching, "QUEUES", 2)
        servable = batched(max_batch_size=8)
        for length in range(1, 6):
            assert servable.predict(*grid(3, 2, length, 1))["y"].shape == (2, length, 1)

    def test_an_input_of_any_rank_is_batched_by_shape(self, batched: Callable):
        servable = batched(max_batch_size=8, batch_timeout_micros=20_000)
        shapes = [(1,), (2, 3), (1, 2, 2), (3, 3)]
        answers = ask(servable, [("anything", {"x": np.ones(s, np.float32)}) for s in shapes])
        assert [answer["x"].shape for answer in answers] == shapes

    def test_a_call_without_rows_is_answered_as_if_unbatched(
        self, batched: Callable, alone: Servable
    ):
        for call in (rows(), grid(0, 0, 2, 3), grid(0, 2, 0, 3)):
            expected = alone.predict(*call)
            answer = batched(max_batch_size=8).predict(*call)
            assert {k: v.shape for k, v in answer.items()} == {
                k: v.shape for k, v in expected.items()
            }


class TestPadding:
    def test_shorter_calls_are_filled_up_with_their_own_first_element(self, batched: Callable):
        servable = batched(
            max_batch_size=4, batch_timeout_micros=LONG, pad_variable_length_inputs=True
        )
        short, long = ask(servable, [grid(5, 2, 1, 3), grid(100, 2, 3, 2)])
        # The first element of the call, not of each row.
        assert short["y"].tolist() == [
            [[10, 12, 14], [10, 10, 10], [10, 10, 10]],
            [[16, 18, 20], [10, 10, 10], [10, 10, 10]],
        ]
        assert long["y"].tolist() == [
            [[200, 202, 200], [204, 206, 200], [208, 210, 200]],
            [[212, 214, 200], [216, 218, 200], [220, 222, 200]],
        ]
        assert short["together"].tolist() == [4, 4]

    def test_text_is_filled_up_too(self, batched: Callable):
        servable = batched(
            max_batch_size=2, batch_timeout_micros=LONG, pad_variable_length_inputs=True
        )
        calls: list[Call] = [
            ("words", {"words": np.array([["b"]])}),
            ("words", {"words": np.array([["a", "b", "ü"]])}),
        ]
        short, long = ask(servable, calls)
        assert short["words"].tolist() == [[b"b", b"b", b"b"]]
        assert short["numbers"].tolist() == [[2, 2, 2]]
        assert long["words"].tolist() == [[b"a", b"b", "ü".encode()]]
        assert long["numbers"].tolist() == [[1, 2, -1]]

    def test_allowed_sizes_and_padding_go_together(self, batched: Callable):
        servable = batched(
            max_batch_size=8, allowed_batch_sizes=(4, 8), pad_variable_length_inputs=True
        )
        answer = servable.predict(*grid(1, 3, 2, 2))
        assert np.array_equal(answer["y"], grid(1, 3, 2, 2)[1]["x"] * 2)
        assert answer["together"].tolist() == [4, 4, 4]

    def test_inputs_without_an_open_axis_are_left_as_they_are(self, batched: Callable):
        servable = batched(max_batch_size=4, pad_variable_length_inputs=True)
        assert servable.predict(*rows(1, 2))["x"].tolist() == [1, 2]


class TestFailures:
    def test_a_call_that_fails_does_not_fail_its_mates(self, batched: Callable):
        servable = batched(max_batch_size=4, batch_timeout_micros=LONG)
        calls: list[Call] = [("pick", {"index": np.int32([i])}) for i in (0, 1, 7, 2)]
        first, second, bad, last = ask(servable, calls)
        assert [first["value"][0], second["value"][0], last["value"][0]] == [10, 20, 30]
        assert isinstance(bad, errors.InvalidArgument)
        assert str(bad) == "indices[0] = 7 is not in [0, 3)"

    def test_a_call_that_finds_no_room_is_refused_and_the_others_are_answered(
        self, batched: Callable
    ):
        servable = batched(max_batch_size=4, batch_timeout_micros=LONG, max_enqueued_batches=1)
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(servable.predict, *rows(*range(n))) for n in (3, 2)]
            refused = None
            while refused is None:  # whichever came second; the first waits for a full batch
                refused = next((each for each in waiting if each.done()), None)
            accepted = waiting[1 - waiting.index(refused)]
            room = 4 - (3 if accepted is waiting[0] else 2)
            filler = servable.predict(*rows(*[9] * room))
        error = refused.exception()
        assert isinstance(error, errors.Unreachable)
        assert str(error) == (
            "The batch scheduling queue to which this task was submitted is full; currently 1 "
            "batches enqueued and max_enqueued_batches is 1"
        )
        assert accepted.result()["x"].tolist() == list(range(4 - room))
        assert filler["x"].tolist() == [9] * room

    def test_a_call_larger_than_a_batch_is_refused(self, batched: Callable):
        error = refusal(batched(max_batch_size=2), rows(1, 2, 3))
        assert isinstance(error, errors.InvalidArgument)
        assert str(error) == "Task size 3 is larger than maximum input batch size 2"

    def test_a_large_call_is_spread_over_batches_if_that_is_asked_for(self, batched: Callable):
        servable = batched(
            max_batch_size=8, enable_large_batch_splitting=True, max_execution_batch_size=3
        )
        answer = servable.predict(*rows(*range(8)))
        assert answer["x"].tolist() == list(range(8))
        assert max(answer["together"]) == 3
        assert "Task size 9" in str(refusal(servable, rows(*range(9))))

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (("constant", {}), "Batching Run() must have at least one input tensor"),
            (
                ("scaled", {"x": np.ones(2, np.float32), "factor": np.float32(2)}),
                "Batching Run() input tensors must have at least one dimension",
            ),
            (
                ("grid", {**grid(0, 2, 1, 1)[1], "factor": np.ones(3, np.float32)}),
                "Batching Run() input tensors must have equal 0th-dimension size",
            ),
        ],
    )
    def test_inputs_that_have_no_rows_in_common_are_refused(
        self, batched: Callable, call: Call, message: str
    ):
        error = refusal(batched(max_batch_size=2), call)
        assert isinstance(error, errors.InvalidArgument) and str(error) == message

    def test_outputs_that_are_not_by_row_are_refused(self, batched: Callable):
        servable = batched(max_batch_size=4)
        x = {"x": np.float32([1, 2])}
        for output, message in (
            ("sum", "Batched output tensor has 0 dimensions"),
            (
                "first",
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors",
            ),
        ):
            with pytest.raises(errors.FailedPrecondition) as caught:
                servable.predict("odd", x, [output])
            assert str(caught.value) == message
        assert servable.predict("odd", x, ["x"])["x"].tolist() == [1, 2]


class TestMemory:
    @pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux")
    def test_the_batch_threads_end_with_the_model(self, batched: Callable):
        before = len(os.listdir("/proc/self/task"))
        servable = batched(max_batch_size=4, num_batch_threads=100)
        servable.predict(*rows(1))
        servable.predict(*grid(1, 1, 2, 3))
        during = len(os.listdir("/proc/self/task"))
        assert before + 90 < during < before + 150, "all queues share the threads"
        del servable
        assert len(os.listdir("/proc/self/task")) < before + 50


CALLS = st.one_of(
    st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=5).map(lambda v: rows(*v)),
    st.tuples(st.integers(-9, 9), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)).map(
        lambda v: grid(*v)
    ),
    st.lists(st.integers(-1, 3), min_size=1, max_size=4).map(
        lambda v: ("pick", {"index": np.array(v, np.int32)})
    ),
    st.lists(st.text(max_size=3), min_size=1, max_size=4).map(
        lambda v: ("words", {"words": np.array([v], object)})
    ),
)


@pytest.fixture(scope="module", params=[False, True], ids=["by shape", "padded"])
def crowded(folder: Path, request: pytest.FixtureRequest) -> Servable:
    """The crowd in batches of up to eight."""
    parameters = BatchingParameters(
        max_batch_size=8,
        batch_timeout_micros=2000,
        max_enqueued_batches=1000,
        allowed_batch_sizes=(2, 5, 8),
        pad_variable_length_inputs=request.param,
    )
    return Servable(folder, EngineOptions(batching=parameters))


class TestStress:
    @settings(max_examples=25, deadline=None)
    @given(calls=st.lists(CALLS, min_size=16, max_size=48))
    def test_every_answer_is_the_one_to_the_call_alone(
        self, crowded: Servable, alone: Servable, calls: list[Call]
    ):
        for answer, expected in zip(ask(crowded, calls), ask(alone, calls), strict=True):
            assert type(answer) is type(expected)
            if isinstance(answer, errors.ServingError):
                assert str(answer) == str(expected)
            else:
                assert_same(answer, expected)


def assert_same(answer: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Compare two answers, except for what was filled up and who ran together."""
    assert list(answer) == list(expected)
    for name in expected.keys() - {"together"}:
        cut = tuple(slice(size) for size in expected[name].shape)
        assert np.array_equal(answer[name][cut], expected[name]), name
        assert len(answer[name]) == len(expected[name])
