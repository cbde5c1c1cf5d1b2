"""How much the language model counts in a search: chosen where the truth is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from zoo.decoding.transcripts import Transcriber

LM_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
WORD_BONUSES = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
"""What is tried."""

PLAIN = (1.0, 0.0)
"""The pair that probabilities alone would take: of equals the one nearest to it is chosen."""


def compiled_search(finish: Transcriber) -> Callable[[Any, Any, Any], Any]:
    """Return a graph of a search.

    It takes logits, `float32[batch, steps, classes]`, the weight of the language model and the
    bonus of a word, and gives the best texts, `string[batch]`.
    """
    specs = (
        tf.TensorSpec([None, None, len(finish.alphabet) + 1]),
        tf.TensorSpec([]),
        tf.TensorSpec([]),
    )
    return tf.function(
        lambda *inputs: finish.texts(finish.find(*inputs))[:, 0], input_signature=specs
    )


def fit_weights(
    finish: Transcriber, parts: Sequence[Any], error: Callable[[Sequence[Any]], Any]
) -> tuple[float, float]:
    """Return the weight of the language model and the bonus of a word with the least error.

    Args:
        finish: A search for words.
        parts: Batches of logits, `float32[batch, steps, classes]`.
        error: Takes the texts of each batch, `string[batch]`, and gives a number, or several of
            which the first one that differs decides.
    """
    search = compiled_search(finish)

    def cost(pair: tuple[float, float]) -> tuple[Any, float]:
        errors = error([search(logits, *pair) for logits in parts])
        return errors, math.dist(pair, PLAIN)

    return min(itertools.product(LM_WEIGHTS, WORD_BONUSES), key=cost)
