"""What a person hands to a client to the arrays that a signature takes, and back."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.errors import InvalidArgument, RowError
from serving.values import Signature, TensorSpec


def to_arrays(inputs: Any, named: Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    """Return an array per input, of the signature's type; text as `str` and `bytes`.

    Args:
        inputs: A mapping by name; or the array or list of the only input; or None.
        named: Inputs by name, instead of `inputs`.
        signature: What they have to fit.

    Raises:
        InvalidArgument: A name, a type, a value or a shape does not fit.
    """
    by_name = _by_name(inputs, named, signature)
    arrays = {name: _cast(name, value, signature.inputs[name]) for name, value in by_name.items()}
    for name, array in arrays.items():
        spec = signature.inputs[name]
        if not spec.accepts(array.shape):
            raise InvalidArgument(
                f"input '{name}' must have the shape {_written(spec.shape or ())}, but "
                f"{_written(array.shape)} was given"
            )
    return arrays


def with_text(array: np.ndarray) -> np.ndarray:
    """Return an output with its bytes as `str` wherever they are valid UTF-8."""
    if array.dtype != object:
        return array
    text = np.empty(array.shape, object)
    for index, item in np.ndenumerate(array):
        text[index] = _decoded(item)
    return text


def bad_rows(answer: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]) -> RowError | None:
    """Return the error that the output `status`, one text per row, stands for, if it does."""
    status = answer.get("status")
    sizes = {array.shape[0] for array in inputs.values() if array.ndim}
    if status is None or status.dtype != object or status.ndim != 1 or len(status) not in sizes:
        return None
    rows = {index: str(reason) for index, reason in enumerate(status) if reason}
    return RowError(rows, answer) if rows else None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the tail of a message about an unknown name."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{hint} (known: {', '.join(names)})"


def _written(shape: Sequence[int | None]) -> str:
    return "[" + ",".join("-1" if size is None else str(size) for size in shape) + "]"


def _by_name(inputs: Any, named: Mapping[str, Any], signature: Signature) -> Mapping[str, Any]:
    """Return the inputs as a mapping whose names are those of the signature."""
    if inputs is None:
        inputs = named
    elif named:
        raise InvalidArgument(f"inputs are given twice: as one argument, and as {sorted(named)}")
    elif not isinstance(inputs, Mapping):
        if len(signature.inputs) != 1:
            raise InvalidArgument(f"name the inputs: there are {sorted(signature.inputs)}")
        inputs = {next(iter(signature.inputs)): inputs}
    for name in inputs:
        if name not in signature.inputs:
            raise InvalidArgument(f"unknown input '{name}'{nearest(name, signature.inputs)}")
    missing = sorted(set(signature.inputs) - set(inputs))
    if missing:
        raise InvalidArgument(f"missing input '{missing[0]}' (given: {sorted(inputs)})")
    return inputs


def _cast(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    """Return an input as an array of the signature's type.

    Numbers may become wider in kind (bool, integer, real, complex) and less precise, but a
    real number never becomes an integer, and an integer never another one.
    """
    if spec.dtype == object:
        return _text(name, value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidArgument(f"input '{name}' is not rectangular: {error}") from error
    kinds = "buifc"
    order = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    given = "f" if array.size == 0 or array.dtype.name == "bfloat16" else array.dtype.kind
    wanted = "f" if spec.dtype.name == "bfloat16" else spec.dtype.kind
    if array.size and (given not in kinds or order[given] > order[wanted]):
        raise InvalidArgument(
            f"input '{name}' takes {spec.type_name}, which {array.dtype} does not turn into"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(spec.dtype, copy=False)
    if wanted in "iu" and not np.array_equal(cast, array):
        raise InvalidArgument(f"input '{name}' takes {spec.type_name}, but a value is beyond it")
    return cast


def _text(name: str, value: Any) -> np.ndarray:
    """Return text as an object array of `str` and `bytes`."""
    # Not through NumPy's own text types: they drop zero bytes at an element's end.
    array = np.asarray(value, dtype=object)
    for item in array.flat:
        if not isinstance(item, str | bytes):
            raise InvalidArgument(
                f"input '{name}' takes text (str or bytes, in rectangular lists), but an "
                f"element is a {type(item).__name__}"
            )
        if isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise InvalidArgument(f"input '{name}' is not valid text: {error}") from error
    return array


def _decoded(item: str | bytes) -> str | bytes:
    if isinstance(item, str):
        return item
    try:
        return item.decode()
    except UnicodeDecodeError:
        return item
