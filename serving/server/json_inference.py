"""Requests to classify and regress in JSON, by the rules and messages of the reference server.

A request lists its Examples as objects of features, each a value or a list of values of one
kind: integers and booleans, decimal numbers, or text and `{"b64": ...}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2

from serving.errors import InvalidArgument
from serving.server.json_answers import decimals
from serving.server.json_requests import (
    as_float,
    encoded,
    format_error,
    from_base64,
    is_object,
    json_type,
)

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_examples(document: Mapping[str, Any]) -> list[bytes]:
    """Return a request's Examples, serialized, with the context that they share in each.

    Raises:
        InvalidArgument: There are none, or one is not an object of features.
    """
    context = _example(document["context"]) if "context" in document else b""
    if "examples" not in document:
        raise format_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise format_error(document, "'examples' value is an empty array")
    # A serialized message put before another is their merger.
    return [context + _example(example) for example in examples]


def write_classes(rows: Iterable[Sequence[tuple[str, float]]]) -> str:
    """Return the answer to a request to classify: pairs of label and score for each Example."""
    written = []
    for row in rows:
        scores = decimals(np.array([score for _, score in row], np.float32))
        pairs = (
            f"[{json.dumps(label, ensure_ascii=False)}, {score}]"
            for (label, _), score in zip(row, scores, strict=True)
        )
        written.append(f"[{', '.join(pairs)}]")
    return _results(written)


def write_values(values: Sequence[float]) -> str:
    """Return the answer to a request to regress: a number for each Example."""
    return _results(decimals(np.array(values, np.float32)))


def _results(written: Iterable[str]) -> str:
    return f'{{\n    "results": [{", ".join(written)}\n    ]\n}}'


def _example(value: Any) -> bytes:
    """Return an object of features as a serialized Example."""
    if not isinstance(value, dict):
        raise InvalidArgument(f"Example must be JSON object but got JSON {json_type(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        # A name must be valid text here; no model asks for one that is not.
        feature = example.features.feature[encoded(name).decode(errors="replace")]
        for item in content if isinstance(content, list) else [content]:
            _add(feature, name, item)
    return example.SerializeToString()


def _add(feature: feature_pb2.Feature, name: str, item: Any) -> None:
    """Add a value to a feature, which holds values of one kind."""
    if item is None or isinstance(item, list) or is_object(item):
        raise InvalidArgument(
            f"Feature: {name} has element with unexpected JSON type: {json_type(item)}"
        )
    kind, value = _value(name, item)
    held = feature.WhichOneof("kind")
    if held not in (None, kind):
        raise InvalidArgument(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[held]}"
        )
    getattr(feature, kind).value.append(value)


def _value(name: str, item: Any) -> tuple[str, Any]:
    """Return the kind of list that a value belongs in, and how it stands there."""
    if isinstance(item, str):
        return "bytes_list", encoded(item)
    if isinstance(item, dict):
        return "bytes_list", from_base64(item)
    if isinstance(item, bool):
        return "int64_list", int(item)
    if isinstance(item, int) and -(2**63) <= item < 2**64:
        if item >= 2**63:
            raise InvalidArgument(
                f"Feature: {name} has uint64_t element. Only int64_t is supported."
            )
        return "int64_list", item
    with np.errstate(over="ignore"):
        return "float_list", float(np.float32(as_float(item)))
