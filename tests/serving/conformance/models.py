"""The saved models that the servers under test are given.

Two sizes: `save_probe` has a signature for each thing that a client can ask for, `save_half`
is the smallest model there is, for tests that need many versions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

ECHOED = {
    "bool": tf.bool,
    "double": tf.float64,
    "int32": tf.int32,
    "int64": tf.int64,
    "int8": tf.int8,
    "uint8": tf.uint8,
    "uint32": tf.uint32,
    "uint64": tf.uint64,
}
"""Input names of the signature "echo", and their types."""

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_METHODS = {"named_classify": CLASSIFY, "named_regress": REGRESS}
_FEATURES = {
    "x": tf.io.FixedLenFeature([], tf.float32),
    "shift": tf.io.FixedLenFeature([], tf.float32, 0.0),
}

Tensors = dict[str, tf.Tensor]


class Half(tf.Module):
    """Half of x, plus a number by which the versions of a model can be told apart.

    Args:
        bias: That number.
        megabytes: Size of a variable that is there only to be missed if it is not given back.
    """

    def __init__(self, bias: float, megabytes: int = 0) -> None:
        super().__init__()
        self.bias = tf.Variable(bias)
        self.ballast = tf.Variable(tf.random.uniform([megabytes, 2**18]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def half(self, x: tf.Tensor) -> Tensors:
        """Return x / 2 + bias."""
        return {"y": x / 2.0 + self.bias}


@tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "seconds")])
def hold(seconds: tf.Tensor) -> Tensors:
    """Return the input, after as many seconds as the largest of its numbers says."""
    start = tf.timestamp()
    end = start + tf.cast(tf.reduce_max(seconds), tf.float64)
    loop = tf.while_loop(lambda now: now < end, lambda now: [tf.timestamp()], [start])
    with tf.control_dependencies(loop):
        return {"seconds": tf.identity(seconds)}


def save_half(folder: Path, bias: float, megabytes: int = 0) -> None:
    """Write a version folder with the signatures "serving_default" and "hold"."""
    half = Half(bias, megabytes)
    signatures = {"serving_default": half.half, "hold": hold}
    tf.saved_model.save(half, str(folder), signatures=signatures)


def save_probe(folder: Path, bias: float) -> None:
    """Write a version folder with every signature that the tests ask for."""
    half = Half(bias)
    signatures = {"serving_default": half.half, "hold": hold}
    for name, (function, specs) in _SIGNATURES.items():
        signatures[name] = tf.function(function).get_concrete_function(**specs)
    for name, outputs in _ON_EXAMPLES.items():
        spec = tf.TensorSpec([None], tf.string, "inputs")
        signatures[name] = tf.function(_on_examples(outputs), input_signature=[spec])
    tf.saved_model.save(half, str(folder), signatures=signatures)
    _rename_methods(folder / "saved_model.pb")


def save_warm_up(folder: Path, *signatures: str) -> None:
    """Put warm-up requests into a version folder: to each of the signatures, with x = 1."""
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name in signatures:
            request = predict_pb2.PredictRequest(model_spec={"signature_name": name})
            request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
            record = prediction_log_pb2.PredictionLog(predict_log={"request": request})
            writer.write(record.SerializeToString())


def _spec(dtype: Any = tf.float32, shape: Any = (None,)) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype)


_SIGNATURES: dict[str, tuple[Callable[..., Tensors], dict[str, tf.TensorSpec]]] = {
    "two": (
        lambda a, b: {"sum": a + b, "difference": a - b},
        {"a": _spec(), "b": _spec()},
    ),
    "text": (
        lambda text: {
            "upper": tf.strings.upper(text),
            "raw_bytes": tf.identity(text),
            "length": tf.cast(tf.strings.length(text), tf.int64),
        },
        {"text": _spec(tf.string)},
    ),
    "string": (lambda s: {"s": tf.identity(s)}, {"s": _spec(tf.string)}),
    "integer": (lambda n: {"n": tf.identity(n)}, {"n": _spec(tf.int64)}),
    "float": (lambda x: {"x": tf.identity(x)}, {"x": _spec()}),
    "echo": (
        lambda **inputs: {name: tf.identity(each) for name, each in inputs.items()},
        {name: _spec(dtype) for name, dtype in ECHOED.items()},
    ),
    "matrix": (
        lambda x: {"y": tf.matmul(x, tf.ones([4, 2]))},
        {"x": _spec(shape=(None, 4))},
    ),
    "scalar": (lambda x: {"y": x * 2.0}, {"x": _spec(shape=())}),
    "uneven": (lambda x: {"all": tf.identity(x), "one": x[:1]}, {"x": _spec()}),
    "pick": (
        lambda index: {"value": tf.gather([10.0, 20.0, 30.0], index)},
        {"index": _spec(tf.int32)},
    ),
    "rows": (
        lambda x: {"rows": tf.identity(x), "batch": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])},
        {"x": _spec(shape=(None, None))},
    ),
    "half_precision": (lambda x: {"x": tf.cast(x, tf.float16)}, {"x": _spec()}),
}


def _classified(x: tf.Tensor) -> Tensors:
    """Return two classes for each number: negative and positive."""
    negative = tf.cast(x < 0, tf.float32)
    labels = tf.tile([["negative", "positive"]], [tf.size(x), 1])
    return {"classes": labels, "scores": tf.stack([negative, 1 - negative], axis=1)}


_ON_EXAMPLES: dict[str, Callable[[tf.Tensor], Tensors]] = {
    "classify": _classified,
    "classes": lambda x: {"classes": _classified(x)["classes"]},
    "scores": lambda x: {"scores": x[:, None] / 2.0 + 2.0},
    "regress": lambda x: {"outputs": x / 2.0 + 2.0},
    "named_classify": _classified,
    "named_regress": lambda x: {"outputs": x / 2.0 + 2.0},
}


def _on_examples(outputs: Callable[[tf.Tensor], Tensors]) -> Callable[[tf.Tensor], Tensors]:
    """Return a function of serialized Examples: its argument is their x, shifted."""

    def signature(inputs: tf.Tensor) -> Tensors:
        parsed = tf.io.parse_example(inputs, _FEATURES)
        return outputs(parsed["x"] + parsed["shift"])

    return signature


def _rename_methods(path: Path) -> None:
    """Say of some signatures what they are for; TensorFlow 2 writes "predict" to all."""
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for name, method in _METHODS.items():
        saved_model.meta_graphs[0].signature_def[name].method_name = method
    path.write_bytes(saved_model.SerializeToString())
