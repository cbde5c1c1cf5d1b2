"""One SavedModel in memory: what it offers, whether a request fits, and its answer.

Requests are checked before the graph runs, in the order and with the codes of the reference
server. Shapes are the exception: there the graph itself fails, here a message says why.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops that tokenizers in a graph need
from tensorflow.core.protobuf import saved_model_pb2

from serving import errors, protocol
from serving.protocol.tensors import as_bytes
from serving.values import DEFAULT_SIGNATURE, Signature, signatures_of

TAG = "serve"


class Servable:
    """A loaded SavedModel. Safe to use from many threads.

    Args:
        folder: The version folder, with `saved_model.pb` in it.

    Attributes:
        signature_defs: SignatureDef messages by name, as the file has them.
        signatures: The same without TensorFlow's own, as plain values.

    Raises:
        InternalFault: The folder does not hold a SavedModel that can be loaded.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.signature_defs = _signature_defs(folder)
            # The loaded object owns the variables: signatures alone would not keep them.
            self._model = tf.saved_model.load(str(folder), tags=[TAG])
        except Exception as error:  # whatever a broken file makes TensorFlow raise
            raise errors.InternalFault(f"cannot load '{folder}': {one_line(error)}") from error
        self.signatures: dict[str, Signature] = signatures_of(self.signature_defs)

    def signature(self, name: str) -> Signature:
        """Return a signature; "serving_default" for the empty name.

        Raises:
            FailedPrecondition: There is no such signature.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise errors.FailedPrecondition(f'Serving signature key "{name}" not found.')
        return self.signatures[name]

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Run a signature.

        Args:
            signature_name: Which one; empty for "serving_default".
            inputs: An array per input, text as `str` or `bytes` elements.
            output_filter: The outputs that are wanted; empty for all.

        Returns:
            An array per output, text as `bytes`.

        Raises:
            FailedPrecondition: There is no such signature.
            InvalidArgument: The inputs or the filter do not fit the signature.
            ServingError: The graph failed.
        """
        name = signature_name or DEFAULT_SIGNATURE
        signature = self.signature(name)
        check_inputs(signature, inputs)
        _check_filter(signature, output_filter)
        try:
            tensors = {key: tf.constant(_for_tensorflow(array)) for key, array in inputs.items()}
            outputs = self._model.signatures[name](**tensors)
            return {key: outputs[key].numpy() for key in output_filter or sorted(outputs)}
        except tf.errors.OpError as error:
            raise errors.from_code(error.error_code, graph_message(error.message)) from error
        except MemoryError as error:
            raise errors.ResourceExhausted("not enough memory for the request") from error


def check_inputs(signature: Signature, inputs: Mapping[str, np.ndarray]) -> None:
    """Refuse inputs that do not fit: by number, then name, then type, then shape.

    Raises:
        InvalidArgument: They do not fit.
    """
    expected = signature.inputs
    if len(inputs) != len(expected):
        raise errors.InvalidArgument(
            f"input size does not match signature: {len(inputs)}!={len(expected)} "
            f"len({_names(inputs)}) != len({_names(expected)}). "
            f"Sent extra: {_names(set(inputs) - set(expected))}. "
            f"Missing but required: {_names(set(expected) - set(inputs))}."
        )
    for name in expected:
        if name not in inputs:
            raise errors.InvalidArgument(
                f"Signature input alias: {name}(feed name: {expected[name].feed}) not found in "
                "request and no default value provided. Inputs expected to be in the request "
                f"{_names(inputs)}, or default input alias set: "
            )
    by_feed = sorted(expected, key=lambda name: expected[name].feed)
    for index, name in enumerate(by_feed):
        sent = protocol.data_type(inputs[name].dtype)
        if sent != expected[name].data_type:
            raise errors.InvalidArgument(
                f"Expects arg[{index}] to be {expected[name].type_name} but "
                f"{protocol.type_name(sent)} is provided"
            )
    for name in by_feed:
        if not expected[name].accepts(inputs[name].shape):
            raise errors.InvalidArgument(
                f"input '{name}' must have the shape {_shape(expected[name].shape or ())}, "
                f"but {_shape(inputs[name].shape)} was sent"
            )


def _check_filter(signature: Signature, output_filter: Sequence[str]) -> None:
    """Refuse outputs that the signature lacks, or that are asked for twice."""
    for index, name in enumerate(output_filter):
        if name not in signature.outputs:
            raise errors.InvalidArgument(
                f"output tensor alias not found in signature: {name} Outputs expected to be in "
                f"the set {_names(signature.outputs)}."
            )
        if name in output_filter[:index]:
            raise errors.InvalidArgument(f"duplicate output tensor alias: {name}")


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _shape(shape: Sequence[int | None]) -> str:
    return "[" + ",".join("-1" if size is None else str(size) for size in shape) + "]"


def _signature_defs(folder: Path) -> dict[str, Any]:
    """Read the SignatureDef messages of the graph that is meant for serving."""
    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for graph in saved_model.meta_graphs:
        if TAG in graph.meta_info_def.tags:
            # Copies: a part of a message would keep the whole graph in memory.
            return {name: copy.deepcopy(each) for name, each in graph.signature_def.items()}
    raise ValueError(f"no graph in it has the tag '{TAG}'")


def _for_tensorflow(array: np.ndarray) -> np.ndarray:
    """Return text as `bytes`, which is all that TensorFlow takes for sure."""
    if array.dtype.kind not in "OSUT":
        return array
    flat = np.empty(array.size, object)
    flat[:] = as_bytes(array)
    return flat.reshape(array.shape)


def graph_message(text: str) -> str:
    """Return what an op said, without where the model's Python code stood when it was traced."""
    said = text.split("\n\t [[")[0].split(" [Op:")[0].strip()
    if said.startswith("Graph execution error"):
        said = said.splitlines()[-1]
    return said or "the graph failed"


def one_line(error: BaseException) -> str:
    """Return an error's message as a single line, with its class where it says too little."""
    text = " ".join(str(error).split())
    return text if " " in text else f"{type(error).__name__}: {text}"
