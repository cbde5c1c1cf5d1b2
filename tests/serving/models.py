"""A small SavedModel with one signature for each thing that a server has to get right."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

ECHOED = {
    "bool": tf.bool,
    "double": tf.float64,
    "int16": tf.int16,
    "int32": tf.int32,
    "int64": tf.int64,
    "int8": tf.int8,
    "uint8": tf.uint8,
    "uint32": tf.uint32,
    "uint64": tf.uint64,
}
"""Input names of the signature "echo" and their types."""


class Toy(tf.Module):
    """Answers without having learned anything.

    Args:
        bias: What the signature "half" adds to half of its input.
    """

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = tf.Variable(bias)

    def classify(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return a label per text; the empty text is a bad row."""
        length = tf.strings.length(text)
        short = tf.cast(length < 5, tf.float32)
        return {
            "label": tf.where(length < 5, "short", "long ✓"),
            "length": tf.cast(length, tf.int64),
            "probabilities": tf.stack([short, 1.0 - short], axis=1),
            "text_bytes": text,
            "text_plain": text,
            "status": tf.where(length == 0, "the text is empty", ""),
        }

    def half(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return half of the input plus the bias."""
        return {"y": x / 2.0 + self.bias}

    def scale(self, x: tf.Tensor, factor: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return a matrix times a scalar, and the scalar."""
        return {"product": x * factor, "factor": factor}

    def pick(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return an element of a table of three; fails for any other index."""
        return {"value": tf.gather([10, 20, 30], index)}

    def spin(self, rounds: tf.Tensor) -> dict[str, tf.Tensor]:
        """Count up to `rounds` one by one, to take time."""
        return {"rounds": tf.while_loop(lambda i: i < rounds, lambda i: i + 1, [tf.constant(0)])[0]}

    def echo(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the inputs."""
        return {name: tf.identity(each) for name, each in inputs.items()}

    def halves(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return 16-bit numbers, which JSON has no place for."""
        return {"y": x, "brain": tf.cast(x, tf.bfloat16)}


def save(folder: Path, bias: float = 2.0) -> None:
    """Write the model into a version folder."""
    toy = Toy(bias)

    def signature(function: object, **specs: tf.TensorSpec) -> object:
        return tf.function(function).get_concrete_function(**specs)

    signatures = {
        "serving_default": signature(toy.classify, text=tf.TensorSpec([None], tf.string)),
        "half": signature(toy.half, x=tf.TensorSpec([None], tf.float32)),
        "scale": signature(
            toy.scale, x=tf.TensorSpec([None, 2], tf.float32), factor=tf.TensorSpec([], tf.float32)
        ),
        "pick": signature(toy.pick, index=tf.TensorSpec([None], tf.int32)),
        "spin": signature(toy.spin, rounds=tf.TensorSpec([], tf.int32)),
        "echo": signature(
            toy.echo, **{name: tf.TensorSpec([None], dtype) for name, dtype in ECHOED.items()}
        ),
        "halves": signature(toy.halves, x=tf.TensorSpec([None], tf.float16)),
    }
    tf.saved_model.save(toy, str(folder), signatures=signatures)
