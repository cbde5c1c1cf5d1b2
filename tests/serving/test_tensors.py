"""Arrays to TensorProto and back, by our reading and by TensorFlow's."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from serving.protocol import data_type, from_proto, messages, numpy_dtype, to_proto, type_name

NUMBERS = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 "
    "complex128"
).split()
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ARRAYS = st.sampled_from(NUMBERS).flatmap(lambda name: hnp.arrays(np.dtype(name), SHAPES))
TEXTS = hnp.arrays(object, SHAPES, elements=st.binary(max_size=6), fill=st.nothing())


def same(left: np.ndarray, right: np.ndarray) -> None:
    """Assert that two arrays have the same type, shape and bits."""
    assert left.dtype == right.dtype and left.shape == right.shape
    if left.dtype == object:
        assert left.tolist() == right.tolist()
    else:
        assert left.tobytes() == right.tobytes()


@given(array=ARRAYS, content=st.booleans())
def test_numbers_survive(array: np.ndarray, content: bool) -> None:
    same(from_proto(to_proto(array, content=content)), array)


@given(array=TEXTS)
def test_texts_survive(array: np.ndarray) -> None:
    same(from_proto(to_proto(array)), array)


@given(array=ARRAYS, content=st.booleans())
def test_tensorflow_reads_ours(array: np.ndarray, content: bool) -> None:
    proto = to_proto(array, tensor_pb2.TensorProto(), content=content)
    np.testing.assert_array_equal(
        tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype)).numpy(), array
    )


@given(array=ARRAYS | TEXTS)
def test_we_read_tensorflows(array: np.ndarray) -> None:
    dtype = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    for tensor in (
        tf.make_tensor_proto(array, dtype, array.shape),
        tensor_pb2.TensorProto.FromString(
            tf.io.serialize_tensor(tf.constant(array, dtype, array.shape)).numpy()
        ),
    ):
        same(from_proto(messages.TensorProto.FromString(tensor.SerializeToString())), array)


@pytest.mark.parametrize("content", [True, False])
def test_bfloat16(content: bool) -> None:
    array = np.array([[1.5, -2, np.inf]], ml_dtypes.bfloat16)
    proto = to_proto(array, tensor_pb2.TensorProto(), content=content)
    same(from_proto(proto), array)
    same(tf.make_ndarray(proto), array)


def test_other_byte_orders_and_views() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    for content in (True, False):
        np.testing.assert_array_equal(from_proto(to_proto(array, content=content)), array)


def test_every_kind_of_text_is_a_string() -> None:
    for array in (
        np.array(["é", "b"]),
        np.array(["é".encode(), b"b"]),
        np.array(["é", b"b"], object),
        np.array(["é", "b"], np.dtypes.StringDType()),
    ):
        assert from_proto(to_proto(array)).tolist() == ["é".encode(), b"b"]


def proto_of(dtype: str, shape: list[int], **values: object):
    """Return a TensorProto with these fields."""
    proto = messages.TensorProto(dtype=messages.DataType.values_by_name[dtype].number, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def test_short_lists_go_on_with_their_last_value() -> None:
    assert from_proto(proto_of("DT_FLOAT", [2, 2], float_val=[7])).tolist() == [[7, 7], [7, 7]]
    assert from_proto(proto_of("DT_INT64", [3], int64_val=[1, 2])).tolist() == [1, 2, 2]
    assert from_proto(proto_of("DT_STRING", [3], string_val=[b"a"])).tolist() == [b"a"] * 3
    assert from_proto(proto_of("DT_COMPLEX64", [2], scomplex_val=[1, 2])).tolist() == [1 + 2j] * 2
    assert from_proto(proto_of("DT_HALF", [2], half_val=[0x3C00])).tolist() == [1, 1]


def test_empty_lists_stand_for_zeros() -> None:
    assert from_proto(proto_of("DT_INT32", [2])).tolist() == [0, 0]
    assert from_proto(proto_of("DT_STRING", [2])).tolist() == [b"", b""]
    assert from_proto(proto_of("DT_BOOL", [])).tolist() is False


def test_long_lists_are_cut() -> None:
    assert from_proto(proto_of("DT_FLOAT", [1], float_val=[1, 2])).tolist() == [1]
    assert from_proto(proto_of("DT_STRING", [1], string_val=[b"a", b"b"])).tolist() == [b"a"]


def test_string_content_is_lengths_then_bytes() -> None:
    content = bytes([1, 0x80, 0x01]) + b"a" + b"b" * 128
    array = from_proto(proto_of("DT_STRING", [2], tensor_content=content))
    assert array.tolist() == [b"a", b"b" * 128]


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (proto_of("DT_FLOAT", [-1]), "must not be negative"),
        (proto_of("DT_FLOAT", [2], tensor_content=b"1234"), "has 8 bytes, but 4 were sent"),
        (proto_of("DT_FLOAT", [2**40]), "is larger than"),
        (proto_of("DT_STRING", [2**40]), "is larger than"),
        (proto_of("DT_FLOAT", [2**40, 0, 2**40], float_val=[1]), "array is too big"),
        (proto_of("DT_RESOURCE", [1]), "type resource have no NumPy form"),
        (proto_of("DT_INVALID", [1]), "type invalid have no NumPy form"),
        (proto_of("DT_STRING", [2], tensor_content=b"\x01"), "cannot be read"),
        (proto_of("DT_STRING", [1], tensor_content=b"\x05a"), "do not add up"),
        (messages.TensorProto(dtype=1, tensor_shape={"unknown_rank": True}), "its rank is not"),
        (messages.TensorProto(dtype=999), "type unknown \\(999\\) have no NumPy form"),
    ],
)
def test_malformed_tensors_are_refused(proto: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_proto(proto)


def test_what_is_no_tensor_is_refused() -> None:
    with pytest.raises(ValueError, match="arrays of type datetime64"):
        to_proto(np.array(["2020-01-01"], "datetime64[D]"))
    with pytest.raises(ValueError, match="element 1 is a int"):
        to_proto(np.array(["a", 1], object))


def test_names_and_numbers() -> None:
    assert type_name(1) == "float" and type_name(7) == "string"
    assert all(data_type(numpy_dtype(number)) == number for number in (1, 2, 3, 7, 9, 10, 14, 19))
