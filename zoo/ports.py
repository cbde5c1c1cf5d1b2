"""Ports: what goes into and comes out of a pipeline, declared once.

The signature of the SavedModel, dummy batches, warm-up records, the model card and the
checks on a request all derive from the same declaration, so they cannot disagree.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zoo.errors import PortError, suggestion


@dataclass(frozen=True)
class Port:
    """One named tensor, without its batch axis.

    Attributes:
        shape: Sizes of the axes behind the batch axis; None = free.
        dtype: A TensorFlow type name; "string" for text and bytes.
        meaning: One sentence for people, with the unit where there is one.

    Raises:
        PortError: A string port with further axes: those reach no server in one piece.
    """

    shape: tuple[int | None, ...]
    dtype: str
    meaning: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.dtype == "string" and self.shape:
            raise PortError(f"a string port holds one string per row, not {self}")

    def __str__(self) -> str:
        """`float32[batch, 2]`: the way shapes are written throughout the project."""
        axes = ["batch", *("any" if size is None else str(size) for size in self.shape)]
        return f"{self.dtype}[{', '.join(axes)}]"

    def dummy(self, batch: int, free: int = 1) -> np.ndarray:
        """Return a batch of zeros or empty strings; free axes have size `free`."""
        shape = (batch, *(free if size is None else size for size in self.shape))
        if self.dtype == "string":
            return np.full(shape, b"", dtype=object)
        return np.zeros(shape, dtype=self.dtype)

    def array(self, value: Any) -> np.ndarray:
        """Return `value` as an array; text becomes bytes, which need not be valid UTF-8."""
        if self.dtype != "string":
            return np.asarray(value)
        # Objects, since NumPy's own strings lose the NULs at their end.
        return np.asarray(_as_bytes(np.asarray(value, dtype=object)), dtype=object)

    def mismatch(self, value: np.ndarray) -> str | None:
        """Say what is wrong with `value`, or return None if it fits."""
        if value.ndim != len(self.shape) + 1:
            return f"has {value.ndim} axes {list(value.shape)}"
        for size, received in zip(self.shape, value.shape[1:], strict=True):
            if size is not None and size != received:
                return f"has shape {list(value.shape)}"
        if self.dtype == "string":
            strange = {type(item).__name__ for item in value if not isinstance(item, bytes)}
            return f"holds {', '.join(sorted(strange))}" if strange else None
        return None if value.dtype == self.dtype else f"has dtype {value.dtype}"


class Ports(Mapping[str, Port]):
    """An ordered table from name to `Port`.

    Example: `Ports(text=Port((), "string", "UTF-8 text of any length"))`.
    """

    def __init__(self, **ports: Port) -> None:
        self._ports = ports

    def __getitem__(self, name: str) -> Port:
        return self._ports[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def __len__(self) -> int:
        return len(self._ports)

    def __repr__(self) -> str:
        return f"Ports({', '.join(f'{name}={port}' for name, port in self.items())})"

    def dummy(self, batch: int = 1, free: int = 1) -> dict[str, np.ndarray]:
        """Return one batch of neutral values that fits every port."""
        return {name: port.dummy(batch, free) for name, port in self.items()}

    def check(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return `batch` as arrays, strings as bytes.

        Raises:
            PortError: A name is missing or unknown, a shape or dtype differs, or the
                batch sizes disagree.
        """
        for name in batch:
            if name not in self:
                raise PortError(f"unknown input '{name}'{suggestion(name, self)}")
        arrays = {}
        for name, port in self.items():
            if name not in batch:
                raise PortError(f"input '{name}' is missing: {port} is required")
            arrays[name] = port.array(batch[name])
            if problem := port.mismatch(arrays[name]):
                raise PortError(f"input '{name}' must be {port}, but {problem}")
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise PortError(f"all inputs must have the same batch size, but received {sizes}")
        return arrays

    def tensor_specs(self) -> dict[str, Any]:
        """Return a `tf.TensorSpec` per port, with a free batch axis."""
        import tensorflow as tf

        return {
            name: tf.TensorSpec((None, *port.shape), port.dtype, name=name)
            for name, port in self.items()
        }

    def rows_to_json(self, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return rows of these ports as JSON values, strings and bytes in base64."""
        return {
            name: [base64.b64encode(value).decode() for value in rows[name]]
            if port.dtype == "string"
            else rows[name].tolist()
            for name, port in self.items()
        }

    def rows_from_json(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Rebuild what `rows_to_json` returned."""
        return {
            name: np.array([base64.b64decode(text) for text in values[name]], dtype=object)
            if port.dtype == "string"
            else np.array(values[name], dtype=port.dtype)
            for name, port in self.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` is the inverse."""
        return {name: asdict(port) for name, port in self.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Ports:
        """Rebuild from what `to_json` returned."""
        return cls(**{name: Port(**port) for name, port in values.items()})


@dataclass(frozen=True)
class Endpoint:
    """A function that is served under a signature name.

    Attributes:
        call: Raw tensors by name to answer tensors by name, traceable by `tf.function`.
        inputs, outputs: Its ports.
    """

    call: Callable[[Mapping[str, Any]], dict[str, Any]]
    inputs: Ports
    outputs: Ports


def _encode(item: Any) -> Any:
    # Half of a surrogate pair gives bytes that are no UTF-8: the row's problem, not the batch's.
    return item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item


_as_bytes = np.frompyfunc(_encode, nin=1, nout=1)
