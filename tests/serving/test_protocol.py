"""Our messages against the published ones, field by field."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import error_codes_pb2, meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    status_pb2,
)

from serving.protocol import messages, rpc
from serving.protocol.notation import Table

PUBLISHED_FILES = (
    tensor_pb2,
    tensor_shape_pb2,
    meta_graph_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    status_pb2,
)


def published(name: str):
    """Return the published descriptor of a message by its name without package."""
    top, *nested = name.split(".")
    for module in PUBLISHED_FILES:
        if top in module.DESCRIPTOR.message_types_by_name:
            descriptor = module.DESCRIPTOR.message_types_by_name[top]
            for each in nested:
                descriptor = descriptor.nested_types_by_name[each]
            return descriptor
    raise AssertionError(f"no published message is called {name}")


def ours(name: str):
    """Return our descriptor of a message."""
    top, *nested = name.split(".")
    descriptor = messages.FILE.message_types_by_name[top]
    for each in nested:
        descriptor = descriptor.nested_types_by_name[each]
    return descriptor


def described(field) -> tuple:
    """Return what of a field decides the bytes on the wire."""
    oneof = field.containing_oneof and field.containing_oneof.name
    typed = field.message_type or field.enum_type
    return (
        field.number,
        field.type,
        field.is_repeated,
        field.is_packed,
        field.has_presence,
        oneof,
        typed and typed.name,
    )


@pytest.mark.parametrize("name", messages.MESSAGES)
def test_fields_equal_the_published_ones(name: str) -> None:
    theirs = published(name).fields_by_name
    for field in ours(name).fields:
        assert described(field) == described(theirs[field.name]), field.name
        if field.message_type and field.message_type.GetOptions().map_entry:
            value, published_value = (
                each.message_type.fields_by_name["value"] for each in (field, theirs[field.name])
            )
            assert described(value) == described(published_value)


def test_enums_equal_the_published_ones() -> None:
    state = get_model_status_pb2.ModelVersionStatus.State.DESCRIPTOR
    for enum, theirs in (
        (messages.DataType, types_pb2.DataType.DESCRIPTOR),
        (messages.Code, error_codes_pb2.Code.DESCRIPTOR),
        (messages.State, state),
    ):
        for value in enum.values:
            assert theirs.values_by_name[value.name].number == value.number
    assert len(messages.State.values) == len(state.values)


class Recorder:
    """A channel that only notes which methods a stub is made for."""

    def __init__(self) -> None:
        self.paths: set[str] = set()

    def unary_unary(self, path: str, *_: object, **__: object) -> None:
        """Note a method."""
        self.paths.add(path)


def test_method_paths_are_the_published_ones() -> None:
    channel = Recorder()
    prediction_service_pb2_grpc.PredictionServiceStub(channel)
    model_service_pb2_grpc.ModelServiceStub(channel)
    assert set(rpc.METHODS) <= channel.paths


def test_bytes_are_read_by_the_published_messages_and_back() -> None:
    request = messages.PredictRequest(output_filter=["label"])
    request.model_spec.name = "toy"
    request.model_spec.version.value = 7
    request.inputs["x"].float_val.extend([1.5, 2.5])
    content = request.SerializeToString(deterministic=True)
    theirs = predict_pb2.PredictRequest.FromString(content)
    assert theirs.model_spec.version.value == 7
    assert list(theirs.inputs["x"].float_val) == [1.5, 2.5]
    assert theirs.SerializeToString(deterministic=True) == content


def test_a_line_that_declares_no_field_is_refused() -> None:
    with pytest.raises(ValueError, match="Toy: 'int64 size' is not a field declaration"):
        Table("seqzoo.toys", {"Toy": ("int64 size",)}).declare("seqzoo/toys.proto")


def test_the_client_imports_neither_tensorflow_nor_the_library() -> None:
    code = (
        "import sys, serving.client\n"
        "roots = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(roots & {'tensorflow', 'tensorflow_text', 'tensorflow_serving', 'keras',\n"
        "                      'zoo', 'recipes', 'grpc', 'httpx', 'ml_dtypes'}))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"
