"""A small SavedModel whose signatures classify and regress, rightly and in every wrong way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving.server import inference

FEATURES = {
    "x": tf.io.FixedLenFeature([], tf.float32),
    "shift": tf.io.FixedLenFeature([], tf.float32, 0.0),
}

Outputs = dict[str, tf.Tensor]


def example(**features: float) -> bytes:
    """Return a serialized Example of numbers."""
    message = tf.train.Example()
    for name, value in features.items():
        message.features.feature[name].float_list.value.append(value)
    return message.SerializeToString()


def _classified(x: tf.Tensor) -> Outputs:
    """Return two classes for each number: whether it is negative, and not."""
    negative = tf.cast(x < 0, tf.float32)
    labels = tf.tile([["negative", "positive"]], [tf.size(x), 1])
    return {"classes": labels, "scores": tf.stack([negative, 1 - negative], axis=1)}


_OUTPUTS: dict[str, Callable[[tf.Tensor], Outputs]] = {
    "serving_default": _classified,
    "classes": lambda x: {"classes": _classified(x)["classes"]},
    "scores": lambda x: {"scores": _classified(x)["scores"]},
    "bytes": lambda x: {"classes": tf.fill([tf.size(x), 1], b"\xff")},
    "flat_scores": lambda x: {"scores": x},
    "double_scores": lambda x: {"scores": tf.cast(_classified(x)["scores"], tf.float64)},
    "one_row": lambda x: {"scores": _classified(x)["scores"][:1]},
    "uneven": lambda x: {**_classified(x), "scores": x[:, None]},
    "three": lambda x: {**_classified(x), "more": x},
    "neither": lambda x: {"y": x},
    "value": lambda x: {"outputs": 2 * x},
    "column": lambda x: {"outputs": 2 * x[:, None]},
    "matrix": lambda x: {"outputs": tf.stack([x, x], axis=1)},
    "double": lambda x: {"outputs": tf.cast(x, tf.float64)},
    "sum": lambda x: {"outputs": tf.reduce_sum(x, keepdims=True)},
    "named_classify": _classified,
    "named_regress": lambda x: {"outputs": 2 * x},
}
_METHODS = {"named_classify": inference.CLASSIFY, "named_regress": inference.REGRESS}


def save(folder: Path) -> None:
    """Write the model into a version folder."""
    one = tf.TensorSpec([None], tf.string, "inputs")
    signatures = {
        name: tf.function(_on_examples(outputs), input_signature=[one])
        for name, outputs in _OUTPUTS.items()
    }
    other = tf.TensorSpec([None], tf.string, "text")
    signatures["other_input"] = tf.function(
        lambda text: {"scores": tf.ones([tf.size(text), 1])}, input_signature=[other]
    )
    signatures["other_regress"] = tf.function(
        lambda text: {"outputs": tf.ones([tf.size(text)])}, input_signature=[other]
    )
    signatures["two_inputs"] = tf.function(
        lambda inputs, text: {"scores": tf.ones([tf.size(inputs), 1])},
        input_signature=[one, other],
    )
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    _rename_methods(folder / "saved_model.pb")


def _on_examples(outputs: Callable[[tf.Tensor], Outputs]) -> Callable[[tf.Tensor], Outputs]:
    """Return a function of serialized Examples: its argument is their x, shifted."""

    def signature(inputs: tf.Tensor) -> Outputs:
        parsed = tf.io.parse_example(inputs, FEATURES)
        return outputs(parsed["x"] + parsed["shift"])

    return signature


def _rename_methods(path: Path) -> None:
    """Say of some signatures what they are for; TensorFlow 2 writes "predict" to all."""
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for name, method in _METHODS.items():
        saved_model.meta_graphs[0].signature_def[name].method_name = method
    path.write_bytes(saved_model.SerializeToString())
