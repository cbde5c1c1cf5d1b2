"""Batching: calls share runs of the graph, and none feels the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.serving.conformance.calls import (
    answer,
    half,
    outputs_of,
    predict,
    predict_request,
    refused,
    spec,
)
from tests.serving.conformance.conftest import Started, model, write_config
from tests.serving.conformance.process import PATIENCE, Server

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
PARAMETERS = """
max_batch_size { value: 4 }
batch_timeout_micros { value: 300000 }
max_enqueued_batches { value: 2 }
num_batch_threads { value: 1 }
allowed_batch_sizes: [2, 4]
pad_variable_length_inputs: true
"""
ROWS = spec("probe", "rows")


@pytest.fixture(scope="module")
def server(start: Started, probe_base: Path, tmp_path_factory: Any) -> Server:
    """A server that makes batches of two or four rows, and runs one of them at a time."""
    file = tmp_path_factory.mktemp("batching") / "parameters.txt"
    file.write_text(PARAMETERS)
    return start(
        model_name="probe",
        model_base_path=probe_base,
        enable_batching=True,
        batching_parameters_file=file,
    ).wait()


def at_once(server: Server, *requests: Any) -> list[Any]:
    """Send requests at the same time; return the outputs, or the error, of each."""
    calls = [server.predictor.Predict.future(each, timeout=PATIENCE) for each in requests]
    errors = [call.exception() for call in calls]
    return [
        outputs_of(call.result()) if error is None else error
        for call, error in zip(calls, errors, strict=True)
    ]


def in_time(sent: Callable[[], Any]) -> Any:
    """Send something again until it has come in time to share a batch, which is up to the machine.

    Args:
        sent: Sends it, and returns nothing when it did not share a batch.
    """
    for _ in range(20):
        if (shared := sent()) is not None:
            return shared
    raise AssertionError("calls have never shared a batch")


def rows(*numbers: float) -> Any:
    """Return a request of one row."""
    return predict_request(ROWS, x=[[*numbers]])


class TestSharing:
    def test_a_call_alone_is_filled_up_to_an_allowed_size(self, server: Server):
        got = predict(server, ROWS, x=[[5.0]])
        assert (got["rows"].tolist(), got["batch"].tolist()) == ([[5.0]], [2])

    def test_calls_at_the_same_time_share_a_run(self, server: Server):
        def sent() -> Any:
            got = at_once(server, *(rows(float(number)) for number in range(4)))
            return got if all(each["batch"] == [4] for each in got) else None

        got = in_time(sent)
        assert [each["rows"].tolist() for each in got] == [[[number]] for number in range(4)]

    def test_a_call_of_several_rows_keeps_them_together(self, server: Server):
        got = predict(server, ROWS, x=[[1.0], [2.0], [3.0]])
        assert got["rows"].tolist() == [[1.0], [2.0], [3.0]]
        assert got["batch"].tolist() == [4, 4, 4]

    def test_calls_over_rest_share_too(self, server: Server):
        def sent() -> Any:
            with ThreadPoolExecutor(4) as pool:
                body = {"signature_name": "rows", "instances": [[1.0]]}
                path = "/v1/models/probe:predict"
                posted = [pool.submit(server.post, path, body) for _ in range(4)]
            told = [answer(each.result())["predictions"][0] for each in posted]
            return told if all(each["batch"] == 4 for each in told) else None

        assert all(each["rows"] == [1.0] for each in in_time(sent))

    def test_shorter_rows_are_filled_with_their_first_element(self, server: Server):
        def sent() -> Any:
            got = at_once(server, rows(7.0, 8.0), rows(1.0, 2.0, 3.0))
            return got if got[0]["rows"].shape == (1, 3) else None

        short, long = in_time(sent)
        assert short["rows"].tolist() == [[7.0, 8.0, 7.0]]
        assert long["rows"].tolist() == [[1.0, 2.0, 3.0]]

    def test_every_caller_gets_its_own_answer(self, server: Server):
        def ask(number: int) -> None:
            try:
                assert half(server, "probe", float(number)) == number / 2 + 1
            except grpc.RpcError as error:
                assert error.code() is UNAVAILABLE  # the queue may be full

        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(ask, number) for number in range(400)]:
                each.result()

    def test_signatures_do_not_mix(self, server: Server):
        two = predict_request(spec("probe", "two"), a=[1.0], b=[2.0])
        one = predict_request(spec("probe", "float"), x=[5.0])
        for _ in range(3):
            got = at_once(server, two, one, two, one)
            assert [each.get("sum") for each in got] == [[3.0], None] * 2
            assert [each.get("x") for each in got] == [None, [5.0]] * 2


class TestRefusals:
    def test_more_rows_than_a_batch_holds_are_refused(self, server: Server):
        with refused(INVALID, part="is larger than maximum input batch size 4"):
            predict(server, ROWS, x=[[1.0]] * 5)

    def test_a_tensor_without_rows_is_refused(self, server: Server):
        with refused(INVALID, "Batching Run() input tensors must have at least one dimension"):
            predict(server, spec("probe", "scalar"), x=1.0)

    def test_inputs_of_different_sizes_are_refused(self, server: Server):
        with refused(INVALID, "Batching Run() input tensors must have equal 0th-dimension size"):
            predict(server, spec("probe", "two"), a=[1.0], b=[1.0, 2.0])

    def test_a_full_queue_is_told(self, server: Server):
        hold = predict_request(spec("probe", "hold"), seconds=[1.0] * 4)
        got = at_once(server, *([hold] * 6))
        errors = [each for each in got if isinstance(each, grpc.RpcError)]
        assert 1 <= len(errors) < 6
        text = "The batch scheduling queue to which this task was submitted is full"
        for each in errors:
            assert each.code() is UNAVAILABLE
            assert text in each.details()
        assert half(server, "probe") == 2.0


class TestFailures:
    def test_a_call_that_fails_alone_is_told_why(self, server: Server):
        with refused(INVALID, part="is not in [0, 3)"):
            predict(server, spec("probe", "pick"), index=np.array([7], np.int32))

    @pytest.mark.usefixtures("beyond_reference")
    def test_a_call_that_fails_does_not_fail_the_others_of_its_batch(self, server: Server):
        about = spec("probe", "pick")
        requests = [
            predict_request(about, index=np.array([index], np.int32)) for index in (0, 7, 1, 9)
        ]
        for _ in range(3):
            good, bad, also_good, also_bad = at_once(server, *requests)
            assert (good["value"], also_good["value"]) == ([10.0], [20.0])
            for error, index in ((bad, 7), (also_bad, 9)):
                assert error.code() is INVALID
                assert f"= {index} is not in [0, 3)" in error.details()


@pytest.mark.slow
def test_parameters_may_lie_in_the_version_folder(start: Started, probe_base: Path, tmp_path: Path):
    for name in ("with", "without"):
        shutil.copytree(probe_base / "1", tmp_path / name / "1")
    text = PARAMETERS.replace("num_batch_threads { value: 1 }", "")
    (tmp_path / "with" / "1" / "batching_params.pbtxt").write_text(text)
    common = tmp_path / "common.txt"
    common.write_text("num_batch_threads { value: 1 } max_batch_size { value: 3 }")
    configs = [model(name, tmp_path / name) for name in ("with", "without")]
    server = start(
        model_config_file=write_config(tmp_path / "models.txt", *configs),
        enable_batching=True,
        enable_per_model_batching_parameters=True,
        batching_parameters_file=common,
    ).wait()
    assert predict(server, spec("with", "rows"), x=[[1.0]])["batch"] == [2]
    assert predict(server, spec("without", "rows"), x=[[1.0]])["batch"] == [1]
    assert predict(server, spec("without", "rows"), x=[[1.0]] * 5)["batch"].tolist() == [5] * 5
