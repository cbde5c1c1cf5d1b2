"""One SavedModel in memory: what it offers, whether a request fits, and its answer.

Requests are checked before the graph runs, in the order and with the codes of the reference
server: all but shapes, which are for the graph to bear or not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving import errors, protocol
from serving.protocol.tensors import as_bytes
from serving.server import metrics
from serving.server.batching import Batcher
from serving.server.engine import EngineOptions
from serving.server.graph import LoadedGraph, Step
from serving.values import DEFAULT_SIGNATURE, Signature, signatures_of

METHOD_NAMES = (
    "tensorflow/serving/predict",
    "tensorflow/serving/classify",
    "tensorflow/serving/regress",
)
"""What a signature can be made for, if that is looked at."""

STEPS = 100
"""Choices of outputs that are compiled; beyond them all outputs are computed, then chosen."""


class Servable:
    """A loaded SavedModel. Safe to use from many threads.

    Its memory is given back when the last reference to it goes, which a running call holds.

    Args:
        folder: The version folder, with `saved_model.pb` in it.
        options: How it is run; None for what `EngineOptions` says.
        name: Name under which the metrics know it.

    Attributes:
        options: How it is run.
        signature_defs: SignatureDef messages by name, as the file has them.
        signatures: The same without TensorFlow's own, as plain values.

    Raises:
        ServingError: The folder does not hold a SavedModel that can be loaded, or a request of
            its warm-up fails.
    """

    def __init__(self, folder: Path, options: EngineOptions | None = None, name: str = "") -> None:
        self.options = options or EngineOptions()
        self._name = name
        self._graph = _load(folder, self.options)
        self.signature_defs = self._graph.signature_defs
        self.signatures: dict[str, Signature] = signatures_of(self.signature_defs)
        self._steps: dict[tuple[str, tuple[str, ...]], Step] = {}
        self._lock = threading.Lock()
        if self.options.warm_up:
            # Warm-up makes calls of every kind, and those are made of a Servable.
            from serving.server.warmup import warm_up

            warm_up(self, folder)

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
        api: str = "Predict",
    ) -> dict[str, np.ndarray]:
        """Run a signature.

        Args:
            signature_name: Which one; empty for "serving_default".
            inputs: An array per input, text as `str` or `bytes` elements.
            output_filter: The outputs that are wanted; empty for all.
            api: The kind of call for which it is run, as the metrics name it.

        Returns:
            An array per output, text as `bytes`.

        Raises:
            FailedPrecondition: There is no such signature, or its outputs cannot be batched.
            InvalidArgument: The inputs or the filter do not fit the signature.
            InternalFault: The signature is not made to be asked, and that is looked at.
            Unreachable: Too many calls wait for a batch.
            ServingError: The graph failed.
        """
        name = signature_name or DEFAULT_SIGNATURE
        signature = self.signature(name)
        self._check_method(name)
        inputs = {**self._defaults(name), **inputs}
        check_inputs(signature, inputs)
        _check_filter(signature, output_filter)
        wanted = tuple(output_filter) or tuple(signature.outputs)
        computed = self._run(name, inputs, wanted, api)
        return {key: computed[key] for key in wanted}

    def _defaults(self, name: str) -> dict[str, np.ndarray]:
        """Return what stands for inputs that a call may leave out."""
        defaults = self.signature_defs[name].defaults
        return {key: protocol.from_proto(proto) for key, proto in defaults.items()}

    def _run(
        self, name: str, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], api: str
    ) -> dict[str, np.ndarray]:
        """Run a signature on inputs that fit; return at least the outputs that are wanted."""
        arrays = [_for_tensorflow(inputs[key]) for key in self.signatures[name].inputs]
        try:
            outputs, step = self._step(name, wanted)
            began = time.perf_counter()
            computed = step(arrays)
        except tf.errors.OpError as error:
            raise errors.from_code(error.error_code, graph_message(error.message)) from error
        except MemoryError as error:
            raise errors.ResourceExhausted("not enough memory for the request") from error
        metrics.ran(self._name, api, "TF1", time.perf_counter() - began)
        return dict(zip(outputs, computed, strict=True))

    def _check_method(self, name: str) -> None:
        """Refuse a signature that is not made to be asked, if the server was told to look."""
        method = self.signature_defs[name].method_name
        if self.options.check_method_names and method not in METHOD_NAMES:
            raise errors.InternalFault(
                "Expected prediction signature method_name to be one of "
                f"{{{', '.join(METHOD_NAMES)}}}. Was: {method}"
            )

    def _step(self, name: str, wanted: Sequence[str]) -> tuple[tuple[str, ...], Step]:
        """Return which outputs to compute, and what computes them."""
        outputs = tuple(sorted(wanted))
        if len(self._steps) >= STEPS and (name, outputs) not in self._steps:
            outputs = tuple(self.signatures[name].outputs)
        step = self._steps.get((name, outputs))
        if step is None:
            with self._lock:
                step = self._steps.get((name, outputs))
                step = step or self._make_step(name, outputs)
                self._steps[name, outputs] = step
        return outputs, step

    def _make_step(self, name: str, outputs: Sequence[str]) -> Step:
        signature = self.signatures[name]
        feeds = [spec.feed for spec in signature.inputs.values()]
        fetches = [signature.outputs[key].feed for key in outputs]
        if self.options.batching is None:
            return self._graph.step(feeds, fetches)
        return Batcher(self._graph, self._name, name, feeds, fetches, self.options.batching)


def _load(folder: Path, options: EngineOptions) -> LoadedGraph:
    """Load the graph; raise what it fails with as a `ServingError`."""
    try:
        return LoadedGraph(folder, options)
    except errors.ServingError:
        raise
    except tf.errors.OpError as error:
        raise errors.from_code(error.error_code, graph_message(error.message)) from error
    except Exception as error:  # whatever a broken file makes TensorFlow raise
        raise errors.InternalFault(f"cannot load '{folder}': {one_line(error)}") from error


def check_inputs(signature: Signature, inputs: Mapping[str, np.ndarray]) -> None:
    """Refuse inputs that do not fit: by number, then name, then type. Shapes are the graph's.

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


def _for_tensorflow(array: np.ndarray) -> np.ndarray:
    """Return text as `bytes` and numbers in this machine's order: a session takes only those."""
    if array.dtype.kind not in "OSUT":
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    flat = np.empty(array.size, object)
    flat[:] = as_bytes(array)
    return flat.reshape(array.shape)


def graph_message(text: str) -> str:
    """Return what an op said, without where in the graph it stands."""
    said = text.split("\n\t [[")[0].split(" [Op:")[0].strip()
    if said.startswith("Graph execution error"):
        said = said.splitlines()[-1]
    return said or "the graph failed"


def one_line(error: BaseException) -> str:
    """Return an error's message as a single line, with its class where it says too little."""
    text = " ".join(str(error).split())
    return text if " " in text else f"{type(error).__name__}: {text}"
