"""Classify and regress: one answer per `tf.Example`, from a signature made for it.

Such a signature has the one input `inputs`, serialized Examples as strings. To classify it
gives `classes` (labels, string[examples, classes]), `scores` (float32[examples, classes]) or
both; to regress it gives `outputs` (float32[examples] or float32[examples, 1]). Checks, their
order, codes and messages are the reference server's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from serving import errors, protocol
from serving.server.servable import Servable
from serving.values import DEFAULT_SIGNATURE

CLASSIFY = "tensorflow/serving/classify"
"""Method name of a signature that classifies."""

REGRESS = "tensorflow/serving/regress"
"""Method name of a signature that regresses."""

Classes = list[tuple[str, float]]
"""Label and score of each class; "" or 0.0 where the signature gives only the other."""


class Task(NamedTuple):
    """One part of a multi-inference."""

    model: str
    signature_name: str
    method_name: str


def classify(servable: Servable, signature_name: str, examples: Sequence[bytes]) -> list[Classes]:
    """Return the classes of each Example.

    Args:
        servable: The model.
        signature_name: Which signature; empty for "serving_default".
        examples: Serialized Examples.

    Raises:
        InvalidArgument: There is no such signature, it is not made to classify, there are no
            Examples, or the outputs are not of the form that a classification has.
        ServingError: The graph failed.
    """
    definition = _definition(servable, signature_name, "No signature was found with the name: ")
    _check_classification(servable, definition)
    return _classify(servable, signature_name, definition, examples)


def regress(servable: Servable, signature_name: str, examples: Sequence[bytes]) -> list[float]:
    """Return the value of each Example.

    Args:
        servable: The model.
        signature_name: Which signature; empty for "serving_default".
        examples: Serialized Examples.

    Raises:
        InvalidArgument: There is no such signature, it is not made to regress, there are no
            Examples, or the output is not one number for each.
        ServingError: The graph failed.
    """
    definition = _definition(servable, signature_name, "No signature was found with the name: ")
    _check_regression(servable, definition)
    return _regress(servable, signature_name, examples)


def multi_inference(
    servable: Servable, tasks: Sequence[Task], examples: Sequence[bytes]
) -> list[Any]:
    """Return the answer to each task, all on the same Examples; none runs unless all may.

    An answer is what `classify` or `regress` gives.

    Raises:
        InvalidArgument: As for `classify` and `regress`, or the tasks differ in their model
            or agree in their signature.
        Unimplemented: A task's method is neither to classify nor to regress.
        ServingError: A graph failed.
    """
    definitions = [_check_task(servable, tasks, index) for index in range(len(tasks))]
    return [
        _classify(servable, task.signature_name, definition, examples)
        if task.method_name == CLASSIFY
        else _regress(servable, task.signature_name, examples)
        for task, definition in zip(tasks, definitions, strict=True)
    ]


def examples_of(sent: Any) -> list[bytes]:
    """Return the serialized Examples of an Input message, the context merged into each.

    A serialized message put before another is their merger, so nothing is parsed for it.
    """
    if sent.WhichOneof("kind") == "example_list_with_context":
        listed = sent.example_list_with_context
        context = listed.context.SerializeToString()
        return [context + example.SerializeToString() for example in listed.examples]
    return [example.SerializeToString() for example in sent.example_list.examples]


def _definition(servable: Servable, signature_name: str, refusal: str) -> Any:
    """Return a signature's SignatureDef message."""
    name = signature_name or DEFAULT_SIGNATURE
    if name not in servable.signature_defs:
        raise errors.InvalidArgument(f"{refusal}{name}")
    return servable.signature_defs[name]


def _check_task(servable: Servable, tasks: Sequence[Task], index: int) -> Any:
    """Refuse a task that does not fit the model or those before it; return its SignatureDef."""
    task = tasks[index]
    name = task.signature_name or DEFAULT_SIGNATURE
    if not task.model:
        raise errors.InvalidArgument("Found ModelSpec with an empty model name.")
    if task.model != tasks[0].model:
        raise errors.InvalidArgument(
            "All ModelSpecs in a MultiInferenceRequest must access the same model name."
        )
    if name in (each.signature_name or DEFAULT_SIGNATURE for each in tasks[:index]):
        raise errors.InvalidArgument(f"Duplicate evaluation of signature: {name}")
    definition = _definition(servable, name, "Requested signature not found in model graph: ")
    if task.method_name == CLASSIFY:
        _check_classification(servable, definition)
    elif task.method_name == REGRESS:
        _check_regression(servable, definition)
    else:
        raise errors.Unimplemented(f"Unsupported signature method_name: {task.method_name}")
    return definition


def _check_classification(servable: Servable, definition: Any) -> None:
    """Refuse a signature that is not made to classify."""
    _check_method(servable, definition, "classification", CLASSIFY)
    if len(definition.inputs) != 1:
        raise errors.InvalidArgument("Expected one input Tensor.")
    if len(definition.outputs) not in (1, 2):
        raise errors.InvalidArgument(
            f"Expected one or two output Tensors, found {len(definition.outputs)}"
        )
    if "inputs" not in definition.inputs:
        raise errors.InvalidArgument(
            f"No classification inputs found in SignatureDef: {definition}"
        )
    if "classes" not in definition.outputs and "scores" not in definition.outputs:
        raise errors.InvalidArgument(
            "Expected classification signature outputs to contain at least one of "
            f'"classes" or "scores". Signature was: {definition}'
        )


def _check_regression(servable: Servable, definition: Any) -> None:
    """Refuse a signature that is not made to regress."""
    _check_method(servable, definition, "regression", REGRESS)
    if len(definition.inputs) != 1:
        raise errors.InvalidArgument("Expected one input Tensor.")
    if len(definition.outputs) != 1:
        raise errors.InvalidArgument("Expected one output Tensor.")
    if "inputs" not in definition.inputs:
        raise errors.InvalidArgument(f"No regression inputs found in SignatureDef: {definition}")
    if "outputs" not in definition.outputs:
        raise errors.InvalidArgument(f"No regression outputs found in SignatureDef: {definition}")


def _check_method(servable: Servable, definition: Any, kind: str, method_name: str) -> None:
    """Refuse a signature of another method, if the server was told to look at that."""
    if servable.options.check_method_names and definition.method_name != method_name:
        raise errors.InvalidArgument(
            f"Expected {kind} signature method_name to be {method_name}. "
            f"Was: {definition.method_name}"
        )


def _run(
    servable: Servable,
    signature_name: str,
    examples: Sequence[bytes],
    wanted: Sequence[str],
    api: str,
) -> dict[str, np.ndarray]:
    """Run a signature on Examples."""
    if not examples:
        raise errors.InvalidArgument("Input is empty.")
    inputs = np.empty(len(examples), object)
    inputs[:] = examples
    return servable.predict(signature_name, {"inputs": inputs}, wanted, api)


def _classify(
    servable: Servable, signature_name: str, definition: Any, examples: Sequence[bytes]
) -> list[Classes]:
    """Run a signature that is known to classify."""
    wanted = [name for name in ("classes", "scores") if name in definition.outputs]
    outputs = _run(servable, signature_name, examples, wanted, "Classify")
    for name, data_type in (("classes", "DT_STRING"), ("scores", "DT_FLOAT")):
        if name in outputs:
            _check_classes(name, outputs[name], data_type, len(examples))
    sizes = [array.shape[1] for array in outputs.values()]
    if len(set(sizes)) > 1:
        raise errors.InvalidArgument(
            f"Tensors class and score should match in dim_size(1). Got {sizes[0]} vs. {sizes[1]}"
        )
    shape = (len(examples), sizes[0])
    labels = outputs.get("classes", np.full(shape, b"", object)).tolist()
    scores = outputs.get("scores", np.zeros(shape)).tolist()
    return [
        [(label.decode(errors="replace"), score) for label, score in zip(*row, strict=True)]
        for row in zip(labels, scores, strict=True)
    ]


def _check_classes(name: str, array: np.ndarray, data_type: str, examples: int) -> None:
    """Refuse an output that does not hold something of each class for each Example."""
    if array.ndim != 2:
        raise errors.InvalidArgument(
            f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
        )
    if _type(array) != data_type:
        raise errors.InvalidArgument(f"Expected {name} Tensor of {data_type}. Got: {_type(array)}")
    if len(array) != examples:
        raise errors.InvalidArgument(
            f"Expected {name} output batch size of {examples}. Got: {len(array)}"
        )


def _regress(servable: Servable, signature_name: str, examples: Sequence[bytes]) -> list[float]:
    """Run a signature that is known to regress."""
    values = _run(servable, signature_name, examples, ["outputs"], "Regress")["outputs"]
    if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        raise errors.InvalidArgument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] "
            f"but got {_shape(values)}"
        )
    if len(values) != len(examples):
        raise errors.InvalidArgument(
            f"Input batch size did not match output batch size: {len(examples)} vs. {len(values)}"
        )
    if _type(values) != "DT_FLOAT":
        raise errors.InvalidArgument(f"Expected output Tensor of DT_FLOAT.  Got: {_type(values)}")
    return values.ravel().tolist()


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _type(array: np.ndarray) -> str:
    return protocol.messages.DataType.values_by_number[protocol.data_type(array.dtype)].name
