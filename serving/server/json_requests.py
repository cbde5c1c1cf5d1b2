"""JSON to tensors, by the rules and with the messages of the reference server.

A request holds its tensors by row (`instances`: one value or object per row) or by column
(`inputs`: one value per tensor). Text is passed on byte by byte, valid UTF-8 or not, and
`{"b64": ...}` carries bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from serving.errors import InvalidArgument, Unimplemented
from serving.server import json_text
from serving.values import TensorSpec

_SHOWN_CHARACTERS = 256
_DEEPEST = 64
"""Lists inside of one another: more than any tensor has dimensions, and than NumPy's have."""
_REAL = ("float", "double")
_INTEGERS = {
    # TensorFlow's type -> the range that a number in JSON must lie in. The narrow types take
    # any 32-bit number and keep its lower bits.
    **dict.fromkeys(("int32", "int16", "int8", "uint8"), (-(2**31), 2**31 - 1)),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def document(body: bytes) -> dict[str, Any]:
    """Return the JSON object at the start of a body.

    Raises:
        InvalidArgument: There is none.
    """
    value = json_text.parse(body)
    if not isinstance(value, dict):
        raise InvalidArgument(f"JSON Value: {_show(value)} Is not object")
    return value


def signature_name(document: Mapping[str, Any]) -> str:
    """Return the signature that a request names; empty if it names none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidArgument(
            f"JSON Value: {_show(document)} not formatted correctly. 'signature_name' key must "
            "be a string value."
        )
    return name


def read_inputs(
    document: Mapping[str, Any], specs: Mapping[str, TensorSpec], signature: str
) -> tuple[dict[str, np.ndarray], bool]:
    """Return a request's tensors by name, and whether it holds them by row.

    Args:
        document: The request.
        specs: The signature's inputs.
        signature: Its name.

    Raises:
        InvalidArgument: The request does not fit the inputs.
        Unimplemented: An input's type cannot be written in JSON.
    """
    if not specs:
        raise InvalidArgument(f"Failed to get input map for signature: {signature}")
    if "instances" in document:
        if "inputs" in document:
            raise format_error(
                document,
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to "
                "exist ",
            )
        return _read_rows(document, specs), True
    if "inputs" in document:
        return _read_columns(document["inputs"], specs), False
    raise InvalidArgument("Missing 'inputs' or 'instances' key")


def _read_rows(
    document: Mapping[str, Any], specs: Mapping[str, TensorSpec]
) -> dict[str, np.ndarray]:
    """Read `instances`: a list of values, or of objects with one value per input."""
    rows = document["instances"]
    if not isinstance(rows, list):
        raise format_error(document, "Expecting 'instances' to be an list/array")
    if not rows:
        raise format_error(document, "No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(specs) > 1:
        raise InvalidArgument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    named = is_object(rows[0])
    columns = {name: _Column(spec) for name, spec in specs.items()}
    for index, row in enumerate(rows):
        if named:
            _read_object(index, row, columns)
        elif is_object(row):
            raise InvalidArgument(
                f"Expecting value/list but got object at item {index} of input list"
            )
        else:
            _add(next(iter(columns.values())), row, f"element: {index}")
    return {name: column.array(len(rows)) for name, column in columns.items()}


def _read_object(index: int, row: Any, columns: Mapping[str, _Column]) -> None:
    """Read one row of named values."""
    if not is_object(row):
        raise InvalidArgument(f"Expecting object but got list at item {index} of input list")
    for name, value in row.items():
        if name not in columns:
            raise InvalidArgument(
                f"Failed to process element: {index} key: {name} of 'instances' list. Error: "
                f"INVALID_ARGUMENT: JSON object: does not have named input: {name}"
            )
        _add(columns[name], value, f"element: {index} key: {name}")
    if set(row) != set(columns):
        raise InvalidArgument(
            f"Failed to process element: {index} of 'instances' list. JSON object: "
            f"{_show(row)} keys must be equal to: {','.join(sorted(columns))}"
        )


class _Column:
    """One input of a request by row: the values so far, and the shape that all rows share."""

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._shape: list[int] | None = None
        self._values: list[Any] = []

    def add(self, value: Any) -> None:
        """Add one row's value."""
        shape = _shape_of(value)
        values = _leaves(value, shape, self._spec)
        if self._shape is None:
            self._shape = shape
        elif self._shape != shape:
            expected = int(np.prod(self._shape))
            if expected != len(values):
                raise InvalidArgument(f"Expecting tensor size: {expected} but got: {len(values)}")
            raise InvalidArgument(f"Expecting shape {_list(self._shape)} but got: {_list(shape)}")
        self._values += values

    def array(self, rows: int) -> np.ndarray:
        """Return all rows as one array."""
        return _array(self._values, [rows, *(self._shape or [])], self._spec)


def _add(column: _Column, value: Any, where: str) -> None:
    """Add one row's value; errors say where it stands."""
    try:
        column.add(value)
    except InvalidArgument as error:
        raise InvalidArgument(
            f"Failed to process {where} of 'instances' list. Error: INVALID_ARGUMENT: {error}"
        ) from error


def _read_columns(value: Any, specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Read `inputs`: the value of the only input, or an object with one value per input."""
    if not is_object(value):
        if len(specs) > 1:
            raise InvalidArgument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        value = {next(iter(specs)): value}
    arrays = {}
    for name, spec in specs.items():
        if name not in value:
            raise InvalidArgument(f"Missing named input: {name} in 'inputs' object.")
        shape = _shape_of(value[name])
        arrays[name] = _array(_leaves(value[name], shape, spec), shape, spec)
    return arrays


def _shape_of(value: Any) -> list[int]:
    """Return the shape that the first elements of nested lists claim."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > _DEEPEST:
            raise InvalidArgument(f"Encountered list at unexpected level: {_DEEPEST}")
        if not value:
            break
        value = value[0]
    return shape


def _leaves(value: Any, shape: list[int], spec: TensorSpec) -> list[Any]:
    """Return the values of nested lists after checking that they have the shape and the type."""
    leaves: list[Any] = []
    _collect(value, shape, 0, spec, leaves)
    return leaves


def _collect(value: Any, shape: list[int], level: int, spec: TensorSpec, leaves: list[Any]) -> None:
    """Add the values under one level of nested lists."""
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise InvalidArgument(
                f"JSON Value: {_show(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {rank}"
            )
        leaves.append(_leaf(value, spec))
        return
    if level >= rank:
        raise InvalidArgument(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise InvalidArgument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected "
            f"size: {shape[level]}"
        )
    if level == rank - 1 and spec.type_name in _REAL and {*map(type, value)} <= {int, float}:
        leaves += value  # what most requests are made of, without a call per number
        return
    for item in value:
        _collect(item, shape, level + 1, spec, leaves)


def _leaf(value: Any, spec: TensorSpec) -> Any:
    """Return one value, text as bytes, after checking its type."""
    wanted = spec.type_name
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if wanted == "string":
        if isinstance(value, str):
            return encoded(value)
        if isinstance(value, dict):
            return from_base64(value)
        fits = False
    elif isinstance(value, dict):
        fits = False
    elif wanted in _REAL:
        fits = number
    elif wanted == "bool":
        fits = isinstance(value, bool)
    elif wanted in _INTEGERS:
        low, high = _INTEGERS[wanted]
        fits = number and isinstance(value, int) and low <= value <= high
    else:
        raise Unimplemented(f"Conversion of JSON Value: {_show(value)} to type: {wanted}")
    if not fits:
        raise InvalidArgument(
            f"JSON Value: {_show(value)} Type: {json_type(value)} is not of expected type: {wanted}"
        )
    return value


def as_float(value: float) -> float:
    """Return a number as floating point.

    Raises:
        InvalidArgument: It is an integer beyond the largest one.
    """
    try:
        return float(value)
    except OverflowError as error:
        message = "JSON Parse error: Number too big to be stored in double."
        raise InvalidArgument(message) from error


def encoded(text: str) -> bytes:
    """Return the bytes that stood in the request for a text."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from error


def from_base64(value: dict[str, Any]) -> bytes:
    """Return the bytes that an object `{"b64": "..."}` stands for.

    Raises:
        InvalidArgument: It is another object, or not in base64.
    """
    if is_object(value):
        raise InvalidArgument(f"JSON Value: {_show(value)} not formatted correctly for base64 data")
    try:
        text = "".join(value["b64"].split())  # white space does not count, as in the reference
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("Unable to base64 decode") from error


def _array(values: list[Any], shape: list[int], spec: TensorSpec) -> np.ndarray:
    """Return checked values as an array of the input's type."""
    if spec.dtype.kind == "O":
        flat = np.empty(len(values), object)
        flat[:] = values
    elif spec.dtype.kind == "f":
        with np.errstate(over="ignore"):
            flat = np.array([*map(as_float, values)], np.float64).astype(spec.dtype)
    else:
        wide = np.uint64 if spec.type_name == "uint64" else np.int64
        flat = np.array(values, wide).astype(spec.dtype)
    return flat.reshape(shape)


def is_object(value: Any) -> bool:
    """Say whether a value is a JSON object other than {"b64": "..."}."""
    if not isinstance(value, dict):
        return False
    return not (len(value) == 1 and isinstance(value.get("b64"), str))


def format_error(document: Any, rule: str) -> InvalidArgument:
    """Return the error for a document that breaks a rule, which is said after its start."""
    return InvalidArgument(f"JSON Value: {_show(document)} {rule}")


def _list(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def json_type(value: Any) -> str:
    """Return the reference's name of a JSON type."""
    if isinstance(value, bool):
        return str(value)
    for kind, name in ((dict, "Object"), (list, "Array"), (str, "String")):
        if isinstance(value, kind):
            return name
    return "Null" if value is None else "Number"


def _show(value: Any) -> str:
    """Return the start of a JSON value, lists on one line and objects on several."""
    shown, length = [], 0
    for piece in _pieces(value, 0):
        if length >= _SHOWN_CHARACTERS:
            break
        shown.append(piece)
        length += len(piece)
    # Bytes that are not UTF-8 came in as surrogates, which no message may carry.
    return "".join(shown).encode(errors="replace").decode()


def _pieces(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, list):
        yield "["
        for index, item in enumerate(value):
            yield ", " if index else ""
            yield from _pieces(item, depth)
        yield "]"
    elif isinstance(value, dict) and value:
        for index, (key, item) in enumerate(value.items()):
            yield ("," if index else "{") + "\n" + "    " * (depth + 1)
            yield f"{json.dumps(key, ensure_ascii=False)}: "
            yield from _pieces(item, depth + 1)
        yield "\n" + "    " * depth + "}"
    else:
        yield json.dumps(value, ensure_ascii=False)[:_SHOWN_CHARACTERS]
