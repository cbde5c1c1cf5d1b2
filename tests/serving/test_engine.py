"""The options of the engine: defaults, and what the reference refuses, in its words."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from serving import errors
from serving.server.engine import BatchingParameters, EngineOptions, cores


def test_the_defaults_are_the_references() -> None:
    assert dataclasses.asdict(BatchingParameters()) == {
        "max_batch_size": 1000,
        "batch_timeout_micros": 0,
        "max_enqueued_batches": 10,
        "num_batch_threads": cores(),
        "allowed_batch_sizes": (),
        "pad_variable_length_inputs": False,
        "enable_large_batch_splitting": False,
        "max_execution_batch_size": None,
    }
    assert EngineOptions().tags == ("serve",) and EngineOptions().batching is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_batch_size": 0}, "input_batch_size_limit must be positive; was 0"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be non-negative; was -1"),
        ({"num_batch_threads": 0}, "num_batch_threads must be positive; was 0"),
        ({"max_enqueued_batches": -1}, "max_enqueued_batches must be positive; was -1"),
        (
            {"max_enqueued_batches": 0, "enable_large_batch_splitting": True},
            "max_enqueued_batches must be positive; was 0",
        ),
        (
            {"max_batch_size": 8, "allowed_batch_sizes": (2, 4)},
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; "
            "expected 8",
        ),
        (
            {"max_batch_size": 8, "allowed_batch_sizes": (4, 2, 8)},
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        (
            {"max_batch_size": 8, "allowed_batch_sizes": (4, 8, 8)},
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        (
            {
                "max_batch_size": 8,
                "enable_large_batch_splitting": True,
                "max_execution_batch_size": 16,
            },
            "When enable_large_batch_splitting is true, input_batch_size_limit must be greater "
            "than or equal to max_execution_batch_size.",
        ),
    ],
)
def test_what_the_reference_refuses_is_refused(values: dict, message: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        BatchingParameters(**values)
    assert str(caught.value) == message


def test_what_the_reference_accepts_is_accepted() -> None:
    BatchingParameters(max_enqueued_batches=0)
    BatchingParameters(max_batch_size=8, max_execution_batch_size=16)  # not looked at
    BatchingParameters(max_batch_size=1, allowed_batch_sizes=(1,), num_batch_threads=99)


def test_the_largest_batch_is_smaller_than_a_call_only_where_calls_are_split() -> None:
    assert BatchingParameters(max_batch_size=8, max_execution_batch_size=2).largest_batch == 8
    split = BatchingParameters(
        max_batch_size=8, max_execution_batch_size=2, enable_large_batch_splitting=True
    )
    assert split.largest_batch == 2


def test_options_are_checked_without_tensorflow() -> None:
    code = "import sys, serving.server.engine; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
