"""Tensors to JSON, as the reference server writes them: by row or by column.

Text is passed on byte by byte, valid UTF-8 or not; tensors whose name ends in `_bytes` are
written as `{"b64": ...}`.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator, Mapping

import numpy as np

from serving import protocol
from serving.errors import InvalidArgument

_BYTES_SUFFIX = "_bytes"
_INTEGERS = {"int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"}
_WRITABLE = {"float", "double", "string", "bool", *_INTEGERS}


def write_rows(outputs: Mapping[str, np.ndarray]) -> str:
    """Return the answer to a request by row: one value, or one object of values, per row.

    Raises:
        InvalidArgument: An output has no rows, or another number of them, or a type that
            cannot be written in JSON.
    """
    rows: int | None = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise InvalidArgument(f"Tensor name: {name} has no shape information ")
        if rows is not None and len(array) != rows:
            raise InvalidArgument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}"
            )
        rows = len(array)
    columns = {
        name: [_nested(tokens, array.shape[1:]) for _ in range(len(array))]
        for name, array in outputs.items()
        for tokens in [_tokens(name, array)]
    }
    if len(columns) == 1:
        written = list(next(iter(columns.values())))
    else:
        written = [
            "{" + ", ".join(f"{json.dumps(name)}: {row[i]}" for name, row in columns.items()) + "}"
            for i in range(rows or 0)
        ]
    return f'{{\n    "predictions": [{", ".join(written)}\n    ]\n}}'


def write_columns(outputs: Mapping[str, np.ndarray]) -> str:
    """Return the answer to a request by column: the only output, or an object of outputs.

    Raises:
        InvalidArgument: A type cannot be written in JSON.
    """
    columns = {name: _nested(_tokens(name, array), array.shape) for name, array in outputs.items()}
    if len(columns) == 1:
        return f'{{\n    "outputs": {next(iter(columns.values()))}\n}}'
    written = ",\n".join(f"        {json.dumps(name)}: {text}" for name, text in columns.items())
    return f'{{\n    "outputs": {{\n{written}\n    }}\n}}'


def _nested(tokens: Iterator[str], shape: tuple[int, ...]) -> str:
    """Return the next tokens as nested lists of a shape."""
    if not shape:
        return next(tokens)
    if len(shape) == 1:
        return f"[{', '.join(itertools.islice(tokens, shape[0]))}]"
    return f"[{', '.join(_nested(tokens, shape[1:]) for _ in range(shape[0]))}]"


def _tokens(name: str, array: np.ndarray) -> Iterator[str]:
    """Return the JSON text of each element, in order."""
    kind = protocol.type_name(protocol.data_type(array.dtype))
    if kind not in _WRITABLE:
        raise InvalidArgument(f"Failed to write JSON value for tensor type: {kind}")
    flat = array.ravel()
    if kind in ("float", "double"):
        return iter(decimals(flat))
    if kind == "bool":
        return ("true" if value else "false" for value in flat.tolist())
    if kind in _INTEGERS:
        return map(str, flat.tolist())
    if name.endswith(_BYTES_SUFFIX):
        return (f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in flat)
    return (
        json.dumps(value.decode(errors="surrogateescape"), ensure_ascii=False) for value in flat
    )


def decimals(flat: np.ndarray) -> list[str]:
    """Return numbers in six digits where these give the number back, otherwise in all digits."""
    digits = 9 if flat.dtype.itemsize == 4 else 17
    texts = [f"{value:g}" for value in flat.tolist()]
    with np.errstate(over="ignore"):
        exact = np.array(texts, np.float64).astype(flat.dtype) == flat
    for index in np.flatnonzero(~exact):
        texts[index] = f"{float(flat[index]):.{digits}g}"
    names = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return [
        names.get(text) or (text if "." in text or "e" in text else f"{text}.0") for text in texts
    ]
