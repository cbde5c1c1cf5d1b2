"""Many calls in one run: TensorFlow's batching kernel around the graph of a signature.

The kernel (`BatchFunction`) gathers the calls that wait, joins their inputs along the first
axis, runs the graph once, and gives each call its rows. It knows nothing of calls whose
inputs differ in another axis:

- Without `pad_variable_length_inputs` each such shape has a queue of its own; since a kernel
  has one queue, several stand in the graph, and a call says which of them it goes to.
- With it, a call's row travels as one element, whatever its shape, together with that shape
  and the value that fills it up; within the batch the rows are laid out again as one array.

A batch that fails says nothing of who is to blame, so its calls then run each by itself.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from serving import errors
from serving.server import metrics
from serving.server.engine import BatchingParameters
from serving.server.graph import LoadedGraph, Step

log = logging.getLogger(__name__)

QUEUES = 16
"""Shapes that have a queue of their own; calls of further shapes run each by itself."""

LARGEST = 2**31 - 1
"""The largest number that the kernel's parameters can hold."""

Shapes = tuple[tuple[int, ...] | None, ...]
"""Each input's shape without its first axis; None where calls of any shape share a batch."""


class Batcher:
    """Runs the graph from some inputs to some outputs, in batches. For many threads.

    Args:
        graph: The model.
        model: Its name, for the metrics.
        name: The signature's name, for the metrics and the queues.
        feeds: Names of the tensors that are fed.
        fetches: Names of the tensors that are fetched.
        parameters: How calls are gathered.
    """

    def __init__(
        self,
        graph: LoadedGraph,
        model: str,
        name: str,
        feeds: Sequence[str],
        fetches: Sequence[str],
        parameters: BatchingParameters,
    ) -> None:
        self._graph = graph
        self._model, self._name = model, name
        self._feeds, self._fetches = list(feeds), list(fetches)
        self._parameters = parameters
        shapes = [graph.graph.get_tensor_by_name(name).shape for name in feeds]
        varying = [shape.rank is None or None in shape[1:].as_list() for shape in shapes]
        pads = parameters.pad_variable_length_inputs
        self._padded = [
            pads and varies and shape.rank is not None
            for varies, shape in zip(varying, shapes, strict=True)
        ]
        self._places = QUEUES if varying != self._padded else 1
        self._queues: dict[Shapes, np.ndarray] = {}
        self._step: Step | None = None

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run a call, together with others where there are any.

        Args:
            arrays: One per tensor that is fed; all with as many rows.

        Returns:
            An array per tensor that is fetched, with this call's rows.

        Raises:
            InvalidArgument: The inputs do not have rows, have different numbers of them, or
                too many.
            FailedPrecondition: An output does not have a row for each row of the inputs.
            tf.errors.OpError: The graph failed, or the queue is full (UNAVAILABLE).
        """
        rows = self._rows(arrays)
        queue = self._queue(arrays) if all(array.size for array in arrays) else None
        if queue is not None:
            try:
                return self._run(queue, arrays)
            except tf.errors.UnavailableError:  # no room in the queue: nothing was run
                raise
            except tf.errors.OpError as error:
                log.debug("a batch of '%s' failed: %s", self._name, error.message)
        outputs = self._graph.step(self._feeds, self._fetches)(arrays)
        _check_rows(outputs, rows)
        return outputs

    def _rows(self, arrays: Sequence[np.ndarray]) -> int:
        """Return how many rows a call has."""
        if not arrays:
            raise errors.InvalidArgument("Batching Run() must have at least one input tensor")
        if not all(array.ndim for array in arrays):
            raise errors.InvalidArgument(
                "Batching Run() input tensors must have at least one dimension"
            )
        rows = len(arrays[0])
        if any(len(array) != rows for array in arrays):
            raise errors.InvalidArgument(
                "Batching Run() input tensors must have equal 0th-dimension size"
            )
        if rows > self._parameters.max_batch_size:
            raise errors.InvalidArgument(
                f"Task size {rows} is larger than maximum input batch size "
                f"{self._parameters.max_batch_size}"
            )
        return rows

    def _queue(self, arrays: Sequence[np.ndarray]) -> np.ndarray | None:
        """Return the queue for calls of this shape, or None if there are too many already."""
        shapes = tuple(
            None if padded else array.shape[1:]
            for array, padded in zip(arrays, self._padded, strict=True)
        )
        queue = self._queues.get(shapes)
        if queue is None and len(self._queues) < self._places:
            with self._graph.extended():
                number = len(self._queues)
                if number < self._places:
                    self._queues.setdefault(shapes, np.array(number, np.int32))
            queue = self._queues.get(shapes)
        return queue

    def _run(self, queue: np.ndarray, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run a call in a batch; tell the metrics of the batch if the call's row is its first."""
        step = self._step
        if step is None:
            with self._graph.extended():
                step = self._step = self._step or self._make_step()
        *outputs, report = step([queue, *arrays])
        for _, total, added, waited in report[report[:, 0] == 0].tolist():
            counts = int(total - added), int(total), int(added)
            metrics.batched(self._model, self._name, *counts, waited)
        return outputs

    def _make_step(self) -> Step:
        """Add the kernels to the graph, and what leads a call to one of them."""
        inputs = [self._graph.graph.get_tensor_by_name(name) for name in self._feeds]
        encoded = [
            _encode(tensor) if padded else (tensor,)
            for tensor, padded in zip(inputs, self._padded, strict=True)
        ]
        call = _call(inputs[0])
        function = _function(self._graph.graph, self._feeds, self._fetches, (call, *encoded))
        kernel = functools.partial(
            tf.raw_ops.BatchFunction,
            in_tensors=tf.nest.flatten((call, encoded)),
            captured_tensors=function.captured_inputs,
            f=function,
            Tout=[output.dtype for output in function.outputs],
            **_attributes(self._parameters),
        )
        label = ",".join([self._name, *self._fetches])
        queues = [f"{label}/{place}" for place in range(self._places)]
        queue = tf.compat.v1.placeholder(tf.int32, [])
        outputs = tf.switch_case(
            queue, [functools.partial(kernel, batching_queue=each) for each in queues]
        )
        feeds = [queue.name, *self._feeds]
        return self._graph.step(feeds, [output.name for output in outputs])


def _attributes(parameters: BatchingParameters) -> dict[str, Any]:
    """Return the parameters as the kernel has them."""
    largest, sizes = parameters.largest_batch, parameters.allowed_batch_sizes
    if largest < parameters.max_batch_size:
        # The kernel takes the largest batch from the sizes; without any, every size is allowed.
        sizes = (*(size for size in sizes or range(1, largest) if size < largest), largest)
    return {
        "num_batch_threads": min(parameters.num_batch_threads, LARGEST),
        "max_batch_size": min(parameters.max_batch_size, LARGEST),
        "batch_timeout_micros": min(parameters.batch_timeout_micros, LARGEST),
        "max_enqueued_batches": min(max(parameters.max_enqueued_batches, 1), LARGEST),
        "allowed_batch_sizes": list(sizes),
        "enable_large_batch_splitting": parameters.enable_large_batch_splitting,
        # One name for the whole model: its queues share the threads.
        "shared_name": "batching",
    }


def _function(
    graph: tf.Graph, feeds: Sequence[str], fetches: Sequence[str], example: Sequence[Any]
) -> Any:
    """Return the graph from inputs to outputs as a function of a batch.

    Args:
        graph: The graph, which is the default one.
        feeds: Names of the inputs.
        fetches: Names of the outputs.
        example: What `_call` and, for each input, `_encode` give for one call.
    """
    part, resources = _between(graph, feeds, fetches)
    shapes = [graph.get_tensor_by_name(name).shape for name in feeds]

    def run(calls: Any, *encoded: Any) -> list[Any]:
        inside = tf.compat.v1.get_default_graph()
        given = {tensor.name: inside.capture(tensor) for tensor in resources}
        for name, parts, shape in zip(feeds, encoded, shapes, strict=True):
            given[name] = _decode(parts, shape) if len(parts) > 1 else parts[0]
        outputs = tf.graph_util.import_graph_def(part, given, return_elements=fetches, name="")
        return [*outputs, _report(calls)]

    specs = tf.nest.map_structure(_any_rows, example)
    return tf.function(run, autograph=False).get_concrete_function(*specs)


def _any_rows(tensor: Any) -> tf.TensorSpec:
    """Return the spec of a tensor with any number of rows."""
    known = tensor.shape.rank is not None
    return tf.TensorSpec([None, *tensor.shape[1:]] if known else None, tensor.dtype)


def _between(
    graph: tf.Graph, feeds: Sequence[str], fetches: Sequence[str]
) -> tuple[Any, list[Any]]:
    """Return the part of a graph that leads from inputs to outputs.

    Returns:
        A GraphDef message, and the tensors that stand for variables and tables: they stay
        outside of the part, which has to be given them.
    """
    whole = graph.as_graph_def()
    nodes = {node.name: node for node in whole.node}
    known, waiting = set(map(_node, feeds)), list(map(_node, fetches))
    part, resources = graph_pb2.GraphDef(versions=whole.versions), []
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        known.add(name)
        made = graph.get_operation_by_name(name).outputs
        if made and made[0].dtype == tf.resource:
            resources.append(made[0])
        else:
            part.node.append(nodes[name])
            waiting += map(_node, nodes[name].input)
    return part, resources


def _node(tensor: str) -> str:
    """Return the name of the operation that makes a tensor, or that is waited for."""
    return tensor.lstrip("^").split(":")[0]


def _encode(tensor: Any) -> tuple[Any, Any, Any]:
    """Return a call's input as elements that can be joined with those of any other shape.

    Returns:
        variant[rows], each row as one element; int64[rows, axes], the shape of each;
        type[rows], the value that fills each up: the input's first element.
    """
    shape = tf.shape(tensor, out_type=tf.int64)
    rows, inner = shape[0], shape[1:]
    flat = tf.reshape(tensor, [-1])
    elements = tf.raw_ops.RaggedTensorToVariant(
        rt_nested_splits=[tf.range(rows + 1) * tf.reduce_prod(inner)],
        rt_dense_values=flat,
        batched_input=True,
    )
    return elements, tf.tile(inner[None], [rows, 1]), tf.fill([rows], flat[0])


def _decode(parts: Any, shape: Any) -> Any:
    """Return a batch's input as one array, each row filled up to the longest."""
    elements, inner, fill = parts
    values = tf.raw_ops.RaggedTensorFromVariant(
        encoded_ragged=elements,
        input_ragged_rank=-1,
        output_ragged_rank=1,
        Tvalues=fill.dtype,
        Tsplits=tf.int64,
    ).output_dense_values
    largest = tf.reduce_max(inner, axis=0)
    axes = shape.rank - 1
    used = True
    for axis in range(axes):
        reach = tf.range(largest[axis]) < inner[:, axis, None]
        used &= tf.reshape(reach, [-1, *[1] * axis, largest[axis], *[1] * (axes - 1 - axis)])
    filled = tf.broadcast_to(tf.reshape(fill, [-1, *[1] * axes]), tf.shape(used))
    # Places and values follow each other in the same order: row by row, axis by axis.
    joined = tf.tensor_scatter_nd_update(filled, tf.where(used), values)
    return tf.ensure_shape(joined, shape)


def _call(tensor: Any) -> Any:
    """Return what is told of each row of a call: who calls, which row it is, and since when."""
    rows = tf.shape(tensor)[0]
    who = tf.fill([rows], tf.random.uniform([], dtype=tf.float64))
    since = tf.fill([rows], tf.timestamp())
    return tf.stack([who, tf.range(rows, dtype=tf.float64), since], axis=1)


def _report(calls: Any) -> Any:
    """Return what is known of the batch, once for each row: float64[rows, 4].

    The row's place in the batch, the batch's rows, those that the kernel added to reach an
    allowed size, and the seconds that the row waited.
    """
    rows = tf.shape(calls)[0]
    # What the kernel adds are copies of the batch's first row.
    who, row, since = tf.unstack(calls, axis=1)
    copies = tf.equal(who, who[0]) & tf.equal(row, row[0])
    added = tf.math.count_nonzero(copies, dtype=tf.float64) - 1
    total = tf.cast(rows, tf.float64)
    return tf.stack(
        [
            tf.range(rows, dtype=tf.float64),
            tf.fill([rows], total),
            tf.fill([rows], added),
            tf.timestamp() - since,
        ],
        axis=1,
    )


def _check_rows(outputs: Sequence[np.ndarray], rows: int) -> None:
    """Refuse outputs that cannot be given row by row, as a batch's cannot either."""
    for output in outputs:
        if not output.ndim:
            raise errors.FailedPrecondition("Batched output tensor has 0 dimensions")
        if len(output) != rows:
            raise errors.FailedPrecondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors"
            )
