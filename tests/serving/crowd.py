"""A small SavedModel whose answers tell how calls were batched."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

Outputs = dict[str, tf.Tensor]


class Crowd(tf.Module):
    """Has a variable and a table, so that batches need both."""

    def __init__(self) -> None:
        super().__init__()
        self.one = tf.Variable(1.0)
        words = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2])
        self.numbers = tf.lookup.StaticHashTable(words, -1)

    def rows(self, x: tf.Tensor) -> Outputs:
        """Return the input, and for each row how many ran together."""
        return {"x": tf.identity(x), "together": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])}

    def grid(self, x: tf.Tensor, factor: tf.Tensor) -> Outputs:
        """Return a number per cell, row by row times a factor."""
        return {"y": x * factor[:, None, None] * self.one, "together": self.rows(x)["together"]}

    def words(self, words: tf.Tensor) -> Outputs:
        """Return the words of each row, and their numbers."""
        return {"words": tf.identity(words), "numbers": self.numbers.lookup(words)}

    def pick(self, index: tf.Tensor) -> Outputs:
        """Return an element of a table of three; fails for any other index."""
        return {"value": tf.gather([10, 20, 30], index)}

    def odd(self, x: tf.Tensor) -> Outputs:
        """Return an answer by row, one for all rows, and one for the first row only."""
        return {"x": tf.identity(x), "sum": tf.reduce_sum(x), "first": x[:1]}

    def scaled(self, x: tf.Tensor, factor: tf.Tensor) -> Outputs:
        """Return a vector times a scalar."""
        return {"y": x * factor}

    def constant(self) -> Outputs:
        """Return what needs no input."""
        return {"y": tf.constant([7.0])}

    def anything(self, x: tf.Tensor) -> Outputs:
        """Return an input of any rank."""
        return {"x": tf.identity(x)}


def save(folder: Path) -> None:
    """Write the model into a version folder."""
    crowd = Crowd()
    vector = tf.TensorSpec([None], tf.float32)
    specs = {
        "rows": {"x": tf.TensorSpec([None], tf.int64)},
        "grid": {"x": tf.TensorSpec([None, None, None], tf.float32), "factor": vector},
        "words": {"words": tf.TensorSpec([None, None], tf.string)},
        "pick": {"index": tf.TensorSpec([None], tf.int32)},
        "odd": {"x": vector},
        "scaled": {"x": vector, "factor": tf.TensorSpec([], tf.float32)},
        "constant": {},
        "anything": {"x": tf.TensorSpec(None, tf.float32)},
    }
    signatures = {
        name: tf.function(getattr(crowd, name)).get_concrete_function(**inputs)
        for name, inputs in specs.items()
    }
    tf.saved_model.save(crowd, str(folder), signatures=signatures)
