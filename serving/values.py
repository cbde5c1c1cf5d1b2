"""The plain values that a client and a server speak of: tensor specs, signatures, versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving import protocol

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class TensorSpec:
    """What a signature says about one input or output.

    Attributes:
        data_type: Number of the published DataType enum.
        shape: Size of each axis, None where any size will do; None if the rank is open.
        feed: Name of the tensor in the graph.
    """

    data_type: int
    shape: tuple[int | None, ...] | None
    feed: str = ""

    @property
    def dtype(self) -> np.dtype:
        """The NumPy type; `object` for strings."""
        return protocol.numpy_dtype(self.data_type)

    @property
    def type_name(self) -> str:
        """TensorFlow's name of the type, for example "float" or "string"."""
        return protocol.type_name(self.data_type)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Say whether an array of this shape fits."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            wanted in (None, size) for wanted, size in zip(self.shape, shape, strict=True)
        )

    @classmethod
    def from_info(cls, info: Any) -> TensorSpec:
        """Read a TensorInfo message, ours or TensorFlow's."""
        if info.tensor_shape.unknown_rank:
            return cls(info.dtype, None, info.name)
        sizes = (dim.size for dim in info.tensor_shape.dim)
        return cls(info.dtype, tuple(None if size < 0 else size for size in sizes), info.name)

    @classmethod
    def of(cls, dtype: str, *shape: int | None) -> TensorSpec:
        """Make a spec from a NumPy type name ("object" for strings) and axis sizes."""
        return cls(protocol.data_type(np.dtype(dtype)), shape)


@dataclass(frozen=True)
class Signature:
    """One way of asking a model: its named inputs and outputs."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


def signatures_of(signature_defs: Mapping[str, Any]) -> dict[str, Signature]:
    """Read SignatureDef messages by name, leaving out those of TensorFlow's own use."""
    return {
        name: Signature(
            {key: TensorSpec.from_info(info) for key, info in sorted(each.inputs.items())},
            {key: TensorSpec.from_info(info) for key, info in sorted(each.outputs.items())},
        )
        for name, each in sorted(signature_defs.items())
        if not name.startswith("__")
    }


@dataclass(frozen=True)
class ModelRef:
    """Which model a call is meant for; neither version nor label means the latest version."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Call:
    """One question to a model.

    Attributes:
        model: Which model and version.
        signature_name: Name of the signature to run.
        signature: That signature, as the model's metadata describes it.
        inputs: An array per input, of the signature's type; text as `str` or `bytes`.
    """

    model: ModelRef
    signature_name: str
    signature: Signature
    inputs: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class VersionStatus:
    """How one version of a model is doing.

    Attributes:
        version: Number of the version's folder.
        state: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
        code: Name of the status code, "OK" unless the version failed.
        message: Why it failed; empty if it did not.
    """

    version: int
    state: str
    code: str = "OK"
    message: str = ""
