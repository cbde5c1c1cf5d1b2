"""How a model is run: batched or not, on how many threads, warmed up or not.

Plain values, so that flags and configuration files can be checked before TensorFlow is there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from serving import errors

CALLS = 64
"""Calls of an interface that run at once: as many can wait for their batch together."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class BatchingParameters:
    """How calls are gathered into batches: the reference's names, defaults and rules.

    Attributes:
        max_batch_size: Rows of the largest batch, and of the largest call.
        batch_timeout_micros: Microseconds that a batch which is not full waits for more calls.
        max_enqueued_batches: Batches that may wait for a thread; 0 counts as 1. A call that
            finds no room is refused as UNAVAILABLE.
        num_batch_threads: Batches of one model that run at the same time.
        allowed_batch_sizes: Sizes to which batches are filled up with copies of a row, in
            increasing order, the last one `max_batch_size`; empty for any size.
        pad_variable_length_inputs: Calls whose inputs differ in an axis other than the first
            share a batch: the shorter ones are filled up with their own first element.
        enable_large_batch_splitting: A call may be spread over several batches.
        max_execution_batch_size: With that, rows of the largest batch; None for
            `max_batch_size`, which then is the limit of a call alone.

    Raises:
        InvalidArgument: A value is one that the reference refuses.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=cores)
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        if mistake := self._mistake():
            raise errors.InvalidArgument(mistake)

    @property
    def largest_batch(self) -> int:
        """Rows that run together at most."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def _mistake(self) -> str | None:
        """Return what is wrong with the values, if anything is."""
        sizes = self.allowed_batch_sizes
        if self.num_batch_threads < 1:
            return f"num_batch_threads must be positive; was {self.num_batch_threads}"
        if sizes and sizes[-1] != self.max_batch_size:
            return (
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{sizes[-1]}; expected {self.max_batch_size}"
            )
        if list(sizes) != sorted(set(sizes)):
            return "allowed_batch_sizes entries must be monotonically increasing"
        if self.max_batch_size < 1:
            return f"input_batch_size_limit must be positive; was {self.max_batch_size}"
        if self.batch_timeout_micros < 0:
            return f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}"
        if self.max_enqueued_batches < int(self.enable_large_batch_splitting):
            return f"max_enqueued_batches must be positive; was {self.max_enqueued_batches}"
        if not 1 <= self.largest_batch <= self.max_batch_size:
            return (
                "When enable_large_batch_splitting is true, input_batch_size_limit must be "
                "greater than or equal to max_execution_batch_size."
            )
        return None


@dataclass(frozen=True)
class EngineOptions:
    """How a SavedModel is loaded and run.

    Attributes:
        tags: Which graph of the SavedModel; all of its tags.
        batching: How calls are gathered; None runs each by itself.
        intra_op_threads: Threads that share the work of one operation; 0 for TensorFlow's choice.
        inter_op_threads: Operations that run at the same time; 0 for TensorFlow's choice. Both
            hold for the whole process, as the first model that it loads says.
        warm_up: Whether the model's recorded requests are asked before it is ready.
        warm_up_iterations: How often each of them is.
        tensor_content: Whether gRPC answers with numbers as bytes instead of lists.
        check_method_names: Whether a call is refused that asks a signature for what it is not
            made for.
    """

    tags: tuple[str, ...] = ("serve",)
    batching: BatchingParameters | None = None
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    warm_up: bool = True
    warm_up_iterations: int = 1
    tensor_content: bool = False
    check_method_names: bool = False
