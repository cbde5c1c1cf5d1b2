"""Recorded requests that a model answers before it is ready, so that nobody waits for its first.

They lie beside the model as a TFRecord file of PredictionLog messages.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.python.lib.io.tf_record import tf_record_random_reader
from tensorflow_serving.apis import prediction_log_pb2

from serving import errors, protocol
from serving.server import inference, metrics
from serving.server.servable import Servable, graph_message

log = logging.getLogger(__name__)

FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Where in a version folder the requests lie."""

LIMIT = 1000
"""Requests that a model may bring."""


def warm_up(servable: Servable, folder: Path) -> None:
    """Ask a model what its folder recorded, if anything, as often as its options say.

    Raises:
        ServingError: A request cannot be read, or fails, or there are too many of them.
    """
    file = folder / FILE
    if not file.is_file():
        log.info("No warmup data file found at %s", file)
        return
    began, failure = time.perf_counter(), None
    try:
        _replay(servable, file)
    except errors.ServingError as error:
        failure = error
        raise
    finally:
        metrics.warmed_up(str(folder), failure, time.perf_counter() - began)


def _replay(servable: Servable, file: Path) -> None:
    """Ask every request of a file."""
    count = 0
    for count, record in enumerate(records(file), start=1):
        try:
            request = prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError as error:
            raise errors.InvalidArgument(f"Failed to parse warmup record from {file}") from error
        for _ in range(servable.options.warm_up_iterations):
            _ask(servable, request)
        if count > LIMIT:
            raise errors.InvalidArgument(
                f"Number of warmup records exceeds the maximum ({LIMIT}) at {file}"
            )
    log.info("Number of warmup records read from %s: %d", file, count)


def records(file: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file.

    Raises:
        DataLoss: It is not one, or a record is damaged.
    """
    reader, offset = tf_record_random_reader(str(file)), 0
    while True:
        try:
            record, offset = reader.read(offset)
        except IndexError:
            return
        except tf.errors.OpError as error:
            raise errors.DataLoss(
                f"{graph_message(error.message)}. Please verify your warmup data is in TFRecord "
                "format."
            ) from error
        yield record


def _ask(servable: Servable, record: Any) -> None:
    """Ask one request; an empty record asks nothing."""
    kind = record.WhichOneof("log_type")
    if kind is None:
        return
    if kind not in CALLS:
        number = record.DESCRIPTOR.fields_by_name[kind].number
        raise errors.Unimplemented(f"Unsupported log_type for warmup: {number}")
    CALLS[kind](servable, getattr(record, kind).request)


def _predict(servable: Servable, request: Any) -> None:
    inputs = {name: _array(name, tensor) for name, tensor in request.inputs.items()}
    servable.predict(request.model_spec.signature_name, inputs, list(request.output_filter))


def _classify(servable: Servable, request: Any) -> None:
    name = request.model_spec.signature_name
    inference.classify(servable, name, inference.examples_of(request.input))


def _regress(servable: Servable, request: Any) -> None:
    name = request.model_spec.signature_name
    inference.regress(servable, name, inference.examples_of(request.input))


def _multi_inference(servable: Servable, request: Any) -> None:
    tasks = [
        inference.Task(task.model_spec.name, task.model_spec.signature_name, task.method_name)
        for task in request.tasks
    ]
    inference.multi_inference(servable, tasks, inference.examples_of(request.input))


CALLS: Mapping[str, Callable[[Servable, Any], None]] = {
    "predict_log": _predict,
    "classify_log": _classify,
    "regress_log": _regress,
    "multi_inference_log": _multi_inference,
}
"""What asks each kind of recorded request."""


def _array(name: str, tensor: Any) -> Any:
    try:
        return protocol.from_proto(tensor)
    except ValueError as error:
        raise errors.InvalidArgument(f"tensor parsing error: {name}") from error
