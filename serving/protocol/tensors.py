"""TensorProto to NumPy and back.

A TensorProto holds its values either as raw little-endian bytes (`tensor_content`) or in
the list of its type (`float_val`, `int_val`, ...), where a list that is too short stands for
one whose last value goes on to the end, and an empty one for zeros.

Strings are object arrays of `bytes`. The functions read and write any message with the
published field names, so they serve both our own messages and TensorFlow's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from serving.protocol import messages

# Protobuf cannot carry more in one message, so no honest tensor is larger; the limit keeps
# a few bytes that claim a huge shape from taking all the memory.
MAX_BYTES = 2**31


class _Kind(NamedTuple):
    """How one element type is stored."""

    numpy: str
    field: str
    stored_as: str
    """The type of the list's values: equal to `numpy`, wider, or its raw bits."""


_KINDS = {
    "DT_FLOAT": _Kind("float32", "float_val", "float32"),
    "DT_DOUBLE": _Kind("float64", "double_val", "float64"),
    "DT_INT32": _Kind("int32", "int_val", "int32"),
    "DT_UINT8": _Kind("uint8", "int_val", "int32"),
    "DT_INT16": _Kind("int16", "int_val", "int32"),
    "DT_INT8": _Kind("int8", "int_val", "int32"),
    "DT_STRING": _Kind("object", "string_val", "object"),
    "DT_COMPLEX64": _Kind("complex64", "scomplex_val", "float32"),
    "DT_INT64": _Kind("int64", "int64_val", "int64"),
    "DT_BOOL": _Kind("bool", "bool_val", "bool"),
    "DT_BFLOAT16": _Kind("bfloat16", "half_val", "uint16"),
    "DT_UINT16": _Kind("uint16", "int_val", "int32"),
    "DT_COMPLEX128": _Kind("complex128", "dcomplex_val", "float64"),
    "DT_HALF": _Kind("float16", "half_val", "uint16"),
    "DT_UINT32": _Kind("uint32", "uint32_val", "uint32"),
    "DT_UINT64": _Kind("uint64", "uint64_val", "uint64"),
}
_PACKED_AS = ("float32", "float64")  # numbers that the wire has as they are
_KIND_OF = {messages.DataType.values_by_name[name].number: kind for name, kind in _KINDS.items()}
_NUMBER_OF = {kind.numpy: number for number, kind in _KIND_OF.items()}


@functools.cache
def numpy_dtype(number: int) -> np.dtype:
    """Return the NumPy type of a DataType number; `object` for strings.

    Raises:
        ValueError: NumPy has no such type (resource, variant, quantised, unknown).
    """
    if number not in _KIND_OF:
        raise ValueError(f"tensors of type {type_name(number)} have no NumPy form")
    name = _KIND_OF[number].numpy
    if name == "bfloat16":
        import ml_dtypes  # only who uses bfloat16 pays for the import

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


@functools.lru_cache(256)  # NumPy takes its time over a type's name
def data_type(dtype: np.dtype) -> int:
    """Return the DataType number of a NumPy type; every kind of text is a string.

    Raises:
        ValueError: The protocol has no such type (datetime, structured, ...).
    """
    name = "object" if dtype.kind in "OSUT" else dtype.name
    if name not in _NUMBER_OF:
        raise ValueError(f"arrays of type {dtype} cannot be sent as tensors")
    return _NUMBER_OF[name]


def type_name(number: int) -> str:
    """Return TensorFlow's short name of a DataType number: "float", "int64", "string"."""
    value = messages.DataType.values_by_number.get(number)
    return value.name.removeprefix("DT_").lower() if value else f"unknown ({number})"


def as_bytes(array: np.ndarray) -> list[bytes]:
    """Return the elements of a text array, flat, as UTF-8.

    Raises:
        ValueError: An element is neither `str` nor `bytes`, or has no UTF-8 form.
    """
    flat = array.ravel().tolist()
    for index, item in enumerate(flat):
        if isinstance(item, str):
            flat[index] = item.encode()
        elif not isinstance(item, bytes):
            raise ValueError(
                f"a string tensor takes str or bytes, but element {index} is a "
                f"{type(item).__name__}"
            )
    return flat


def to_proto(array: np.ndarray, proto: Any = None, content: bool = True) -> Any:
    """Write an array into a TensorProto.

    Args:
        array: Any shape; text as `str` or `bytes` elements.
        proto: The message to fill; a new one of ours when it is None.
        content: Numbers as raw bytes (compact) rather than as a list of values, which is how
            the reference server answers.

    Returns:
        The filled message.

    Raises:
        ValueError: The protocol has no such type, or a text element is not text.
    """
    proto = messages.TensorProto() if proto is None else proto
    proto.dtype = number = data_type(array.dtype)
    shape = proto.tensor_shape
    shape.SetInParent()
    for size in array.shape:
        shape.dim.add(size=size)
    kind = _KIND_OF[number]
    if kind.numpy == "object":
        proto.string_val.extend(as_bytes(array))
    elif content:
        proto.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    else:
        _list(array.astype(numpy_dtype(number), copy=False).reshape(-1), kind, proto)
    return proto


def _list(flat: np.ndarray, kind: _Kind, proto: Any) -> None:
    """Write numbers into the list of their type."""
    if kind.stored_as in _PACKED_AS:
        # On the wire such a list is its raw bytes, which saves a Python object for each number.
        content = flat.astype(flat.dtype.newbyteorder("<"), copy=False).tobytes()
        field = proto.DESCRIPTOR.fields_by_name[kind.field].number
        proto.MergeFromString(_varint(field << 3 | 2) + _varint(len(content)) + content)
        return
    same_size = np.dtype(kind.stored_as).itemsize == flat.dtype.itemsize
    stored = flat.view(kind.stored_as) if same_size else flat.astype(kind.stored_as)
    getattr(proto, kind.field).extend(stored.tolist())


def _varint(number: int) -> bytes:
    """Return a number as the wire has it: seven bits in each byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def from_proto(proto: Any) -> np.ndarray:
    """Read a TensorProto into a new array; strings as an object array of `bytes`.

    Raises:
        ValueError: The message contradicts itself (a negative or unknown dimension, content
            of the wrong length), claims more than `MAX_BYTES`, or has no NumPy form.
    """
    dtype = numpy_dtype(proto.dtype)
    if proto.tensor_shape.unknown_rank:
        raise ValueError("a tensor's shape must be known, but its rank is not")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise ValueError(f"a tensor's dimensions must not be negative: {list(shape)}")
    count = math.prod(shape)
    if count * dtype.itemsize > MAX_BYTES:
        raise ValueError(f"a tensor of shape {list(shape)} is larger than {MAX_BYTES} bytes")
    if dtype.kind == "O":
        return _strings(proto, count).reshape(shape)
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise ValueError(
                f"a tensor of shape {list(shape)} and type {dtype} has "
                f"{count * dtype.itemsize} bytes, but {len(proto.tensor_content)} were sent"
            )
        return _numbers(proto.tensor_content, dtype).reshape(shape)
    return _listed(proto, dtype, count).reshape(shape)


def _numbers(content: bytes, dtype: np.dtype) -> np.ndarray:
    """Read raw little-endian numbers."""
    if dtype.kind == "b":
        return np.frombuffer(content, np.uint8) != 0
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)


def _listed(proto: Any, dtype: np.dtype, count: int) -> np.ndarray:
    """Read numbers from the list of their type, repeating the last one to `count`."""
    kind = _KIND_OF[proto.dtype]
    values = getattr(proto, kind.field)
    if kind.stored_as == "uint16":
        # Raw bits in a signed field: whatever lies above the lower 16 is not part of them.
        stored = (np.array(values, np.int64) & 0xFFFF).astype(np.uint16).view(dtype)
    elif dtype.kind == "c":
        stored = np.array(values[: len(values) // 2 * 2], kind.stored_as).view(dtype)
    else:
        stored = np.array(values, kind.stored_as).astype(dtype, copy=False)
    if len(stored) >= count:
        return stored[:count]
    filler = stored[-1] if len(stored) else dtype.type(0)
    return np.concatenate([stored, np.full(count - len(stored), filler, dtype)])


def _strings(proto: Any, count: int) -> np.ndarray:
    """Read strings from their list, or from content made of all lengths, then all bytes."""
    values: Sequence[bytes] = proto.string_val
    if proto.tensor_content:
        values = _string_content(proto.tensor_content, count)
    flat = np.empty(count, object)
    given = min(len(values), count)
    flat[:given] = values[:given]
    flat[given:] = values[-1] if len(values) else b""
    return flat


def _string_content(content: bytes, count: int) -> list[bytes]:
    """Split the raw form of a string tensor: `count` varint lengths, then the strings."""
    lengths, position = [], 0
    for _ in range(count):
        length, shift = 0, 0
        while True:
            if position >= len(content) or shift > 28:
                raise ValueError("the lengths in a string tensor's content cannot be read")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if sum(lengths) != len(content) - position:
        raise ValueError("the lengths in a string tensor's content do not add up")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings
