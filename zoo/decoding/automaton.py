"""An n-gram model as a finite automaton in constants, looked up inside the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.decoding.ngram import END, START, UNKNOWN, NGram, Words


class Automaton:
    """States are the contexts of the model, arcs its n-grams: state h, word w, to state h w.

    A state h is listed with its suffixes h, h', h'', .. down to the empty context, `order` of
    them, the last one repeated. The arc taken is that of the longest suffix that has one; the
    back-off weights of the longer suffixes are added to its score. Memory grows with the
    n-grams, never with states times words.

    Attributes:
        start: The state after <s>.

    Args:
        model: Any n-gram model.
        words: The words by id that `advance` takes; those unknown to the model are <unk>.
    """

    def __init__(self, model: NGram, words: Sequence[str]) -> None:
        ids = {word: number for number, word in enumerate(model.words)}
        states = _states(model)
        self.start = states[_start(model)]
        self._end = tf.constant(ids.get(END, ids[UNKNOWN]), tf.int64)
        self._words = tf.constant([ids.get(word, ids[UNKNOWN]) for word in words], tf.int64)

        suffixes = np.zeros((len(states), model.order), np.int64)
        weights = np.zeros((len(states), model.order), np.float32)
        for context, number in states.items():
            weight = 0.0
            for level in range(model.order):
                suffixes[number, level], weights[number, level] = states[context], weight
                if context:
                    weight += math.log(10) * model.entries.get(context, (0.0, 0.0))[1]
                    context = _longest(context[1:], states)
        # The key of an arc is its state and its word in one number.
        self._suffixes = tf.constant(suffixes * len(ids))
        self._weights = tf.constant(weights)

        arcs = sorted(
            (states[g[:-1]] * len(ids) + ids[g[-1]], math.log(10) * p, states[_longest(g, states)])
            for g, (p, _) in model.entries.items()
        )
        keys, scores, targets = zip(*arcs, strict=True)
        self._keys = tf.constant(keys, tf.int64)
        self._scores = tf.constant(scores, tf.float32)
        self._targets = tf.constant(targets, tf.int64)

    def advance(self, states: Any, words: Any) -> tuple[Any, Any]:
        """Return `(ln p(word | state) float32[...], next states int64[...])`.

        Args:
            states: `int64[...]`.
            words: `int64[...]`, ids of `words`; those below 0 give some finite answer.
        """
        return self._follow(states, tf.gather(self._words, tf.maximum(words, 0)))

    def end(self, states: Any) -> Any:
        """Return `ln p(</s> | state)`, `float32[...]`."""
        return self._follow(states, self._end)[0]

    def _follow(self, states: Any, words: Any) -> tuple[Any, Any]:
        wanted = tf.gather(self._suffixes, states) + words[..., None]
        places = tf.searchsorted(self._keys, tf.reshape(wanted, [-1]))
        places = tf.reshape(tf.minimum(places, self._keys.shape[0] - 1), tf.shape(wanted))
        found = tf.equal(tf.gather(self._keys, places), wanted)
        # The empty context has an arc for every word.
        level = tf.argmax(tf.cast(found, tf.int8), axis=-1, output_type=tf.int32)[..., None]
        axes = states.shape.rank
        place = tf.gather(places, level, batch_dims=axes)[..., 0]
        weight = tf.gather(tf.gather(self._weights, states), level, batch_dims=axes)[..., 0]
        return tf.gather(self._scores, place) + weight, tf.gather(self._targets, place)


def _states(model: NGram) -> dict[Words, int]:
    """Number the contexts that have an arc, or a back-off weight of their own."""
    contexts = {(), _start(model), *(ngram[:-1] for ngram in model.entries)}
    for ngram, (_, backoff) in model.entries.items():
        if backoff and len(ngram) < model.order:
            contexts.add(ngram)
    return {context: number for number, context in enumerate(sorted(contexts))}


def _start(model: NGram) -> Words:
    """Return the context of the first word; a model of single words has no contexts."""
    return (START,)[: model.order - 1]


def _longest(words: Words, states: dict[Words, int]) -> Words:
    """Return the longest suffix of `words` that is a state."""
    while words not in states:
        words = words[1:]
    return words
