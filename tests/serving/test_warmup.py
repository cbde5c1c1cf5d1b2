"""Warm-up: the requests that a folder recorded are asked before the model is ready."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow_serving.apis import input_pb2, prediction_log_pb2

from serving import errors
from serving.server import metrics, warmup
from serving.server.engine import BatchingParameters, EngineOptions
from serving.server.servable import Servable
from tests.serving import judge
from tests.serving.judge import example

Record = prediction_log_pb2.PredictionLog


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The judge's version folder; its warm-up is each test's own."""
    folder = tmp_path_factory.mktemp("judge") / "1"
    judge.save(folder)
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The signatures that are run, in their order."""
    names: list[str] = []
    predict = Servable.predict

    def counting(self: Servable, name: str, *rest: Any) -> Any:
        names.append(name)
        return predict(self, name, *rest)

    monkeypatch.setattr(Servable, "predict", counting)
    return names


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the metrics are told of warm-ups."""
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(metrics, "warmed_up", lambda *values: told.append(values))
    return told


@pytest.fixture
def write(model: Path) -> Callable[..., Path]:
    """Makes the folder's warm-up file out of records."""

    def write(*records: Any) -> Path:
        file = model / warmup.FILE
        file.parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(file)) as writer:
            for record in records:
                is_bytes = isinstance(record, bytes)
                writer.write(record if is_bytes else record.SerializeToString())
        return file

    return write


def sent() -> input_pb2.Input:
    """Return one Example as an Input message."""
    message = input_pb2.Input()
    message.example_list.examples.add().ParseFromString(example(x=1.0))
    return message


def predict(signature: str = "value", **inputs: Any) -> Record:
    """Return a record that asks a signature, by default rightly."""
    record = Record()
    request = record.predict_log.request
    request.model_spec.signature_name = signature
    for name, value in (inputs or {"inputs": [example(x=1.0)]}).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return record


def classify() -> Record:
    """Return a record of a classification."""
    record = Record()
    record.classify_log.request.input.CopyFrom(sent())
    return record


def regress() -> Record:
    """Return a record of a regression."""
    record = Record()
    record.regress_log.request.model_spec.signature_name = "value"
    record.regress_log.request.input.CopyFrom(sent())
    return record


def multi_inference() -> Record:
    """Return a record that does both at once."""
    record = Record()
    request = record.multi_inference_log.request
    request.input.CopyFrom(sent())
    for signature, method in (("classes", "classify"), ("column", "regress")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "judge", signature
    return record


def failure(folder: Path) -> errors.ServingError:
    """Return why a folder does not load."""
    with pytest.raises(errors.ServingError) as caught:
        Servable(folder)
    return caught.value


def test_every_kind_of_request_is_asked(
    model: Path, write: Callable, asked: list[str], told: list[tuple[Any, ...]]
) -> None:
    write(predict(), Record(), classify(), regress(), multi_inference())
    Servable(model)
    assert asked == ["value", "", "value", "classes", "column"]
    assert told[0][:2] == (str(model), None) and told[0][2] > 0


def test_requests_are_repeated_as_often_as_asked_for(
    model: Path, write: Callable, asked: list[str]
) -> None:
    write(predict(), classify())
    Servable(model, EngineOptions(warm_up_iterations=3))
    assert asked == ["value"] * 3 + [""] * 3


def test_nothing_is_asked_where_that_is_not_wanted_or_nothing_was_recorded(
    model: Path, write: Callable, asked: list[str], told: list[tuple[Any, ...]]
) -> None:
    file = write(predict("no such signature"))
    Servable(model, EngineOptions(warm_up=False))
    file.unlink()
    Servable(model)
    assert not asked and not told


def test_a_request_that_fails_fails_the_load(
    model: Path, write: Callable, told: list[tuple[Any, ...]]
) -> None:
    write(predict(), predict("nobody"))
    error = failure(model)
    assert isinstance(error, errors.FailedPrecondition)
    assert str(error) == 'Serving signature key "nobody" not found.'
    assert told[0][1] is error


def test_a_tensor_that_contradicts_itself_fails_the_load(model: Path, write: Callable) -> None:
    record = predict()
    record.predict_log.request.inputs["inputs"].tensor_shape.dim[0].size = -2
    write(record)
    assert str(failure(model)) == "tensor parsing error: inputs"


def test_a_request_larger_than_a_batch_fails_the_load(model: Path, write: Callable) -> None:
    write(predict(inputs=[example(x=1.0)] * 3))
    with pytest.raises(errors.InvalidArgument, match="larger than maximum input batch size 2"):
        Servable(model, EngineOptions(batching=BatchingParameters(max_batch_size=2)))


def test_records_that_are_not_requests_are_refused(model: Path, write: Callable) -> None:
    file = write(b"\xff\xff")
    error = failure(model)
    assert isinstance(error, errors.InvalidArgument)
    assert str(error) == f"Failed to parse warmup record from {file}"
    streamed = Record()
    streamed.session_run_log.SetInParent()
    write(streamed)
    error = failure(model)
    assert isinstance(error, errors.Unimplemented)
    assert str(error) == "Unsupported log_type for warmup: 5"


def test_a_file_that_holds_no_records_is_refused(model: Path, write: Callable) -> None:
    file = write(predict())
    whole = file.read_bytes()
    for content in (b"no TFRecord file at all", whole[:-3], whole[:14]):
        file.write_bytes(content)
        error = failure(model)
        assert isinstance(error, errors.DataLoss)
        assert str(error).endswith(". Please verify your warmup data is in TFRecord format.")


def test_more_than_a_thousand_requests_are_refused(
    model: Path, write: Callable, asked: list[str]
) -> None:
    file = write(*[Record()] * 1000)
    Servable(model)
    write(*[Record()] * 1001)
    error = failure(model)
    assert isinstance(error, errors.InvalidArgument)
    assert str(error) == f"Number of warmup records exceeds the maximum (1000) at {file}"
