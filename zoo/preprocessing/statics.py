"""What is known of a series as a whole and does not change within it, inside the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.errors import ConfigError, DataError
from zoo.ports import Port

PREFIX = "static_"
"""What the input of a column is called begins so."""

MOST_CATEGORIES = 1000
Fitted = Mapping[str, Any]
"""By column: share of the series by category, or mean and deviation of its numbers."""


class Statics:
    """Categories and numbers of a series to what a forecaster reads.

    Takes `static_NAME` for each column: `string[batch]` for a category, `float32[batch]` for a
    number. A category is a one for its place and zeros for the others, less the share that each
    has of the series it was fitted to; a number is scaled by mean and deviation. So what is
    unknown, a category that was not there, an empty text or NaN, is 0: the mean of all series.

    Args:
        fitted: As `fit_statics` returns it.
    """

    def __init__(self, fitted: Fitted) -> None:
        self._fitted = {
            name: dict(found) if isinstance(found, Mapping) else tuple(map(float, found))
            for name, found in fitted.items()
        }

    @property
    def size(self) -> int:
        """Numbers per series."""
        return sum(len(each) if isinstance(each, dict) else 1 for each in self._fitted.values())

    @property
    def ports(self) -> dict[str, Port]:
        """The inputs."""
        kinds = {True: ("string", "category"), False: ("float32", "number")}
        found = {}
        for name, each in self._fitted.items():
            dtype, kind = kinds[isinstance(each, dict)]
            empty = "''" if isinstance(each, dict) else "NaN"
            meaning = f"the series' {name}, a {kind}; {empty}: unknown"
            found[PREFIX + name] = Port((), dtype, meaning)
        return found

    def __call__(self, raw: Mapping[str, Any]) -> Any:
        """Return `float32[batch, size]`."""
        parts = []
        for name, each in self._fitted.items():
            values = raw[PREFIX + name][:, None]
            if isinstance(each, dict):
                here = tf.equal(values, tf.constant([*each]))
                far = tf.cast(here, tf.float32) - tf.constant([*each.values()])
                parts.append(tf.where(tf.reduce_any(here, axis=1, keepdims=True), far, 0.0))
            else:
                mean, size = each
                scaled = tf.math.divide_no_nan(values - mean, size)
                parts.append(tf.where(tf.math.is_finite(scaled), scaled, 0.0))
        return tf.concat(parts, axis=1)

    def probe(self, rows: int) -> dict[str, np.ndarray]:
        """Return inputs at the edges of what may be sent."""
        found = {}
        for name, each in self._fitted.items():
            if isinstance(each, dict):
                texts = [category.encode() for category in each]
                some: Any = np.array([*texts[:3], b"", b"\xff", b"none such"], dtype=object)
            else:
                some = np.array([each[0], np.nan, np.inf, 1e30, -each[0]], np.float32)
            found[PREFIX + name] = np.resize(some, rows)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what rebuilds this, as JSON values."""
        return {
            name: each if isinstance(each, dict) else list(each)
            for name, each in self._fitted.items()
        }


def fit_statics(columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what `Statics` is made from.

    Args:
        columns: Per column what stands in the table for each series, '' = unknown. A column is
            one of numbers if everything in it is a number.

    Raises:
        ConfigError: The name of a column cannot be one of an input.
        DataError: A column holds nothing, or too many categories.
    """
    fitted: dict[str, Any] = {}
    for name, texts in columns.items():
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ConfigError(f"statics must be of letters, digits and _, not '{name}'")
        known = [text for text in texts if text]
        numbers = [_number(text) for text in known]
        if not known:
            raise DataError(f"static '{name}' is empty for every series")
        if all(number is not None for number in numbers):
            values = np.array(numbers, float)
            fitted[name] = [float(values.mean()), float(values.std())]
            continue
        categories, counts = np.unique(known, return_counts=True)
        if len(categories) > MOST_CATEGORIES:
            raise DataError(
                f"static '{name}' has {len(categories)} categories, and at most "
                f"{MOST_CATEGORIES} are learned"
            )
        shares = (counts / counts.sum()).tolist()
        fitted[name] = dict(zip(categories.tolist(), shares, strict=True))
    return fitted


def static_columns(inputs: Mapping[str, Port]) -> tuple[str, ...]:
    """Return the columns that inputs ask for."""
    return tuple(name.removeprefix(PREFIX) for name in inputs if name.startswith(PREFIX))


def static_rows(
    inputs: Mapping[str, Port], columns: Mapping[str, Sequence[str]], where: str
) -> dict[str, np.ndarray]:
    """Return the inputs of series, `[series]` each.

    Args:
        inputs: Those of the encoder.
        columns: Per column what stands in the table for each series, '' = unknown.
        where: The table's name, for messages.

    Raises:
        DataError: What must be a number is none.
    """
    found: dict[str, np.ndarray] = {}
    for column in static_columns(inputs):
        texts = columns[column]
        if inputs[PREFIX + column].dtype == "string":
            found[PREFIX + column] = np.array([text.encode() for text in texts], dtype=object)
            continue
        numbers = [_number(text) for text in texts]
        if None in numbers:
            text = texts[numbers.index(None)]
            raise DataError(f"{where}: static '{column}' must be a number or empty, not '{text}'")
        found[PREFIX + column] = np.array(numbers, np.float32)
    return found


def _number(text: str) -> float | None:
    """Return NaN for an empty text, None for what is no finite number."""
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return number if not text or np.isfinite(number) else None
