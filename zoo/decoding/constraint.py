"""What a search may spell, and what its words add to the score."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from zoo.decoding.automaton import Automaton
from zoo.decoding.lexicon import SEPARATOR, Lexicon
from zoo.decoding.ngram import NGram
from zoo.errors import ConfigError


class Constraint:
    """A lexicon with a language model: words of the one, weighed by the other.

    A separator stands between two words, never first and never twice.

    Attributes:
        classes: Number of classes, the blank included.
        separator: Class of " ".
        children: `int64[nodes, classes]`, where a class leads to, -1 where it must not follow.
        word: `int64[nodes]`, the word that ends at a node, -1 for none.
        start: State of the language model before the first word.

    Args:
        lexicon: The words; " " must be in its alphabet.
        model: Their probabilities.

    Raises:
        ConfigError: The alphabet has no " ".
    """

    def __init__(self, lexicon: Lexicon, model: NGram) -> None:
        if SEPARATOR not in lexicon.alphabet:
            raise ConfigError(f"the alphabet '{lexicon.alphabet}' has no ' ' to separate words by")
        self.separator = lexicon.alphabet.index(SEPARATOR) + 1
        children = lexicon.children.astype(np.int64)
        children[lexicon.word >= 0, self.separator] = 0
        self.classes = children.shape[1]
        self.children = tf.constant(children)
        self.word = tf.constant(lexicon.word.astype(np.int64))
        self._automaton = Automaton(model, lexicon.words)
        self.start = self._automaton.start

    def finish_word(self, nodes: Any, states: Any) -> tuple[Any, Any]:
        """Return `(ln p(word | state), next state)` of the words that end at nodes."""
        return self._automaton.advance(states, tf.gather(self.word, nodes))

    def end(self, states: Any) -> Any:
        """Return `ln p(</s> | state)`."""
        return self._automaton.end(states)


class Free:
    """No constraint: any sequence of classes, in which the separator is like all others."""

    separator = -1
    start = 0

    def __init__(self, classes: int) -> None:
        self.classes = classes
        # One node, to which everything leads but the blank.
        self.children = tf.constant([[-1] + [0] * (classes - 1)], tf.int64)
