"""The rows that a pipeline is asked on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.errors import DataError
from zoo.pipeline import Pipeline


class Rows(NamedTuple):
    """What is asked.

    Attributes:
        key: What the name of a row is called.
        names: One per row, as people know it; may be ''.
        raw: Rows by input name.
    """

    key: str
    names: list[str]
    raw: dict[str, Any]


def read(pipeline: Pipeline, words: Sequence[str]) -> Rows:
    """Return the rows that words and files hold.

    Raises:
        DataError: A file cannot be read, or does not fit the pipeline.
    """
    return (
        _histories(pipeline, words) if "history" in pipeline.inputs else _one_each(pipeline, words)
    )


def _one_each(pipeline: Pipeline, words: Sequence[str]) -> Rows:
    from serving.protocol.tensors import data_type
    from serving.rows import read_rows
    from serving.values import TensorSpec

    (port,) = pipeline.inputs
    inputs = {port: TensorSpec(data_type(pipeline.inputs[port].dummy(0).dtype), (None,))}
    read = [(word, row) for word in words for row in read_rows([word], inputs)[port]]
    names = [row if isinstance(row, str) else word for word, row in read]
    return Rows(port, names, {port: np.array([row for _, row in read], dtype=object)})


def _histories(pipeline: Pipeline, words: Sequence[str]) -> Rows:
    """Return the series of tables; those of one table are the channels of one that has some."""
    from zoo.datasets.series import read_series

    channels = pipeline.inputs["history"].shape[1:]
    names: list[str] = []
    histories: list[np.ndarray] = []
    for word in words:
        found = read_series(Path(word))
        if not channels:
            names += found.ids
            histories += found.values
        elif len(found) == channels[0] and len({len(values) for values in found.values}) == 1:
            names.append(word)
            histories.append(np.stack(found.values, axis=1))
        else:
            raise DataError(
                f"'{word}' must hold {channels[0]} series of equal length, which are the "
                f"channels of this model, and holds {len(found)}"
            )
    time = max(map(len, histories))
    raw = np.zeros((len(histories), time, *histories[0].shape[1:]), np.float32)
    for row, values in zip(raw, histories, strict=True):
        row[: len(values)] = values
    lengths = np.array([len(values) for values in histories], np.int32)
    return Rows("unique_id", names, {"history": raw, "length": lengths})
