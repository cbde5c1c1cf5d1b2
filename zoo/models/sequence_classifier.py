"""One label for a whole sequence of tokens."""

from __future__ import annotations

from typing import Any

import keras

from zoo.errors import ConfigError
from zoo.layers.dropout import VariationalDropout, WordDropout
from zoo.layers.pooling import pooling as pooling_layer
from zoo.layers.recurrent import recurrent


@keras.saving.register_keras_serializable(package="seqzoo")
class SequenceClassifier(keras.Model):
    """Embedding, stacked bidirectional recurrence, pooling over real steps, logits.

    Takes `{"tokens": int32[batch, time]}`, 0 = padding, and gives
    `float32[batch, classes]` logits. A row of nothing but padding gives finite logits.

    Args:
        vocabulary_size: Number of token ids, padding and unknown included.
        classes: Number of labels.
        embedding_units: Size of a token's vector.
        cell: "lstm" or "gru".
        units: State size per direction.
        layers: Number of bidirectional layers.
        pooling: One or more of "attention", "max" and "mean", joined by "+"; several
            are concatenated.
        word_dropout: Share of tokens replaced by the unknown token in training.
        embedding_dropout: Variational dropout behind the embedding.
        dropout: Variational dropout between layers and plain dropout before the logits.
    """

    def __init__(
        self,
        vocabulary_size: int,
        classes: int,
        embedding_units: int = 128,
        cell: str = "lstm",
        units: int = 128,
        layers: int = 1,
        pooling: str = "max",
        word_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        if layers < 1:
            raise ConfigError(f"layers must be at least 1, not {layers}")

        # === Parts ===
        drop_words = WordDropout(word_dropout, name="word_dropout")
        embed = keras.layers.Embedding(
            vocabulary_size,
            embedding_units,
            mask_zero=True,
            name="embedding",
        )
        drop_embedding = VariationalDropout(embedding_dropout, name="embedding_dropout")
        stack = [_bidirectional(cell, units, index) for index in range(layers)]
        between = [
            VariationalDropout(dropout, name=f"dropout_{index}") for index in range(layers - 1)
        ]
        pools = [pooling_layer(name) for name in pooling.split("+")]
        drop_pooled = keras.layers.Dropout(dropout, name="dropout")
        classify = keras.layers.Dense(classes, dtype="float32", name="logits")

        # === Graph ===
        tokens = keras.Input((None,), dtype="int32", name="tokens")
        x = drop_embedding(embed(drop_words(tokens)))
        for index, layer in enumerate(stack):
            x = layer(x if index == 0 else between[index - 1](x))
        pooled = [pool(x) for pool in pools]
        x = pooled[0] if len(pooled) == 1 else keras.layers.Concatenate(name="pooled")(pooled)
        super().__init__({"tokens": tokens}, classify(drop_pooled(x)), **options)

        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.classes = classes
        self.embedding_units = embedding_units
        self.cell = cell
        self.units = units
        self.depth = layers
        self.pooling = pooling
        self.word_dropout = word_dropout
        self.embedding_dropout = embedding_dropout
        self.dropout = dropout

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "name": self.name,
            "vocabulary_size": self.vocabulary_size,
            "classes": self.classes,
            "embedding_units": self.embedding_units,
            "cell": self.cell,
            "units": self.units,
            "layers": self.depth,
            "pooling": self.pooling,
            "word_dropout": self.word_dropout,
            "embedding_dropout": self.embedding_dropout,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SequenceClassifier:
        """Rebuild from `get_config`; the functional graph is made by the constructor."""
        return cls(**config)


def _bidirectional(cell: str, units: int, index: int) -> keras.layers.Layer:
    forward = recurrent(cell, units, return_sequences=True, name="forward")
    backward = recurrent(cell, units, return_sequences=True, go_backwards=True, name="backward")
    return keras.layers.Bidirectional(
        forward, backward_layer=backward, name=f"bidirectional_{index}"
    )
