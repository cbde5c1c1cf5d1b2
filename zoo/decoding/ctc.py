"""CTC outputs to character sequences, in the graph: best path and prefix beam search.

All take `log_probs: float32[batch, time, classes]`, the log softmax of a model whose class 0
is the blank, and `lengths: int32[batch]`. A path names one class per step; it is read by
merging repeated classes and dropping blanks.

Source: Graves et al. 2006, Connectionist temporal classification; the prefix search with the
masses of paths that end in a blank and in a label is that of Hannun et al. 2014,
arXiv:1408.2873, algorithm 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoo.decoding.constraint import Constraint, Free
from zoo.errors import ConfigError

# Stands for the logarithm of 0: adding to it and comparing it gives no NaN.
_NONE = -1e30
_SMALLEST = float(np.log(np.finfo(np.float32).smallest_subnormal))
# Prefixes are told apart by polynomial hashes modulo 2**64.
_BASE = 6364136223846793005
_EMPTY_HASH = 1


class Hypotheses(NamedTuple):
    """The best character sequences of each row, best first.

    Attributes:
        labels: `int32[batch, n, characters]`, classes, padded with 0.
        lengths: `int32[batch, n]`, characters of each; 0 where absent.
        steps: `int32[batch, n, characters]`, the step at which each character is emitted.
        scores: `float32[batch, n]`, what they are ordered by; -inf where absent.
        acoustic: `float32[batch, n]`, natural logarithm of the probability that CTC gives to
            the sequence, over the paths that the search kept; -inf where absent.
    """

    labels: Any
    lengths: Any
    steps: Any
    scores: Any
    acoustic: Any


def greedy(log_probs: Any, lengths: Any) -> Hypotheses:
    """Return what the best path reads; n = 1, and both scores are that of this path."""
    log_probs, lengths = _pad(log_probs, lengths)
    time = tf.shape(log_probs)[1]
    path = tf.argmax(log_probs, axis=-1, output_type=tf.int32)
    before = tf.pad(path[:, :-1], [[0, 0], [1, 0]])
    emitted = (path != 0) & (path != before)
    counts = tf.reduce_sum(tf.cast(emitted, tf.int32), axis=-1)
    # The steps that emit, in order: the largest of time - step.
    left = tf.where(emitted, time - tf.range(time), 0)
    left = tf.math.top_k(left, tf.reduce_max(counts, keepdims=True)[0]).values
    real = left > 0
    steps = tf.where(real, time - left, 0)
    labels = tf.where(real, tf.gather(path, steps, batch_dims=1), 0)
    score = tf.reduce_sum(tf.reduce_max(log_probs, axis=-1), axis=-1)[:, None]
    return Hypotheses(labels[:, None], counts[:, None], steps[:, None], score, score)


def prefix_beam_search(
    log_probs: Any,
    lengths: Any,
    beam: int = 32,
    nbest: int = 1,
    constraint: Constraint | None = None,
    lm_weight: Any = 1.0,
    word_bonus: Any = 0.0,
) -> Hypotheses:
    """Search the most probable character sequences, summed over their paths.

        score = ln p(characters | log_probs) + lm_weight ln p(words) + word_bonus |words|

    The last two terms stand for a `constraint`, which also says what may be spelled. A
    sentence followed by a separator is the same sentence: their masses are added where both
    are in the beam. A hypothesis that ends inside a word is dropped; if a row has no other,
    its best one is returned without the unfinished word.

    Args:
        beam: Prefixes that are kept at each step.
        nbest: Sequences to return, at most `beam`.
        constraint: Lexicon and language model; None: any sequence of classes, in which the
            separator is a character like all others.
        lm_weight, word_bonus: Numbers or scalar tensors.

    Raises:
        ConfigError: `nbest` is not in 1 .. `beam`.
    """
    if not 1 <= nbest <= beam:
        raise ConfigError(f"nbest must be from 1 to beam = {beam}, not {nbest}")
    log_probs, lengths = _pad(log_probs, lengths)
    weights = (tf.cast(lm_weight, tf.float32), tf.cast(word_bonus, tf.float32))
    search = _Search(constraint or Free(log_probs.shape[-1]), beam, *weights)
    return search.best(*search.run(log_probs), nbest)


def _pad(log_probs: Any, lengths: Any) -> tuple[Any, Any]:
    """Let all steps past a row's length emit a blank for sure; at least one step."""
    log_probs = tf.convert_to_tensor(log_probs, tf.float32)
    lengths = tf.minimum(tf.cast(lengths, tf.int32), tf.shape(log_probs)[1])
    longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
    log_probs = tf.pad(log_probs, [[0, 0], [0, 1], [0, 0]])[:, :longest]
    real = tf.sequence_mask(lengths, longest)[..., None]
    silence = tf.one_hot(0, log_probs.shape[-1], 0.0, _NONE)
    # What has no probability in float32 is impossible: padding that says "blank" spells nothing.
    possible = tf.where(log_probs < _SMALLEST, _NONE, log_probs)
    return tf.where(real, possible, silence), lengths


class _Beam(NamedTuple):
    """The prefixes of a step, best first; each `[batch, beam]`, float32 or int64.

    Attributes:
        blank, label: ln of the mass of the paths that end in a blank, in the last class.
        words: What language model and bonus add.
        node: Node of the trie.
        state: State of the language model.
        last: Last class, 0 for the empty prefix.
        blank_end, label_end: Where the heavier part of these paths emitted that class: an
            entry of the history, -1 for none.
        name, parent: Hash of the prefix, and of the prefix without its last class.
    """

    blank: Any
    label: Any
    words: Any
    node: Any
    state: Any
    last: Any
    blank_end: Any
    label_end: Any
    name: Any
    parent: Any

    @property
    def mass(self) -> Any:
        return _log_add(self.blank, self.label)

    @property
    def end(self) -> Any:
        return tf.where(self.blank > self.label, self.blank_end, self.label_end)

    def is_parent(self) -> Any:
        """Return `bool[batch, j, i]`: entry j is entry i and one more class."""
        return self.parent[:, :, None] == self.name[:, None, :]


class _Search:
    """The loop over time.

    Entry `step * beam + slot` of the history says which class the prefix in this slot ends
    with if it was emitted at this step, and the entry before it.
    """

    def __init__(
        self, constraint: Constraint | Free, beam: int, lm_weight: Any, word_bonus: Any
    ) -> None:
        self.constraint, self.beam = constraint, beam
        self.lm_weight, self.word_bonus = lm_weight, word_bonus
        self.classes = constraint.classes

    def run(self, log_probs: Any) -> tuple[_Beam, Any]:
        """Return the last beam and the history `int64[batch, time * beam, 2]`."""
        batch, time = tf.unstack(tf.shape(log_probs)[:2])
        by_time = tf.transpose(log_probs, [1, 0, 2])
        history = tf.TensorArray(tf.int64, time, element_shape=[None, self.beam, 2])

        def body(step: Any, beam: _Beam, history: Any) -> tuple[Any, _Beam, Any]:
            beam, emitted = self._step(beam, by_time[step], step)
            return step + 1, beam, history.write(step, emitted)

        _, last, history = tf.while_loop(
            lambda step, *_: step < time, body, (tf.constant(0), self._start(batch), history)
        )
        return last, tf.reshape(tf.transpose(history.stack(), [1, 0, 2, 3]), [batch, -1, 2])

    def _start(self, batch: Any) -> _Beam:
        def fill(value: Any) -> Any:
            return tf.broadcast_to(value, [batch, self.beam])

        first = tf.range(self.beam) == 0
        zero = fill(tf.constant(0, tf.int64))
        return _Beam(
            blank=fill(tf.where(first, 0.0, _NONE)),
            label=fill(_NONE),
            words=fill(0.0),
            node=zero,
            state=zero + self.constraint.start,
            last=zero,
            blank_end=zero - 1,
            label_end=zero - 1,
            name=fill(tf.where(first, tf.constant(_EMPTY_HASH, tf.int64), 0)),
            parent=zero,
        )

    def _step(self, beam: _Beam, log_probs: Any, step: Any) -> tuple[_Beam, Any]:
        """Return the next beam and what it emitted; `log_probs: float32[batch, classes]`."""
        words, states = self._finished(beam)
        grown = self._grown(beam, log_probs)
        stay, source, again, doubled = self._stay(beam, log_probs, grown)
        grown = tf.where(doubled, _NONE, grown)
        separates = tf.range(self.classes) == self.constraint.separator
        added = tf.where(separates, words[..., None], beam.words[..., None])
        scores = tf.concat([stay.mass + beam.words, self._flat(grown + added)], axis=1)
        chosen = tf.cast(tf.math.top_k(scores, self.beam).indices, tf.int64)

        # What the chosen ones come from, and the class that they end with.
        grows = chosen >= self.beam
        cell = tf.maximum(chosen - self.beam, 0)
        origin = tf.where(grows, cell // self.classes, chosen)
        before = _Beam(*(_at(each, origin) for each in stay))
        last = tf.where(grows, cell % self.classes, before.last)
        parts = grows & (last == self.constraint.separator)
        emits = grows | _at(again, origin)
        giver = tf.where(grows, origin, _at(source, origin))
        repeats = _at(beam.last, giver) == last
        previous = tf.where(repeats, _at(beam.blank_end, giver), _at(beam.end, giver))
        here = tf.cast(step * self.beam, tf.int64) + tf.range(self.beam, dtype=tf.int64)
        child = tf.gather_nd(self.constraint.children, tf.stack([before.node, last], axis=-1))
        after = _Beam(
            blank=tf.where(grows, _NONE, before.blank),
            label=tf.where(grows, _at(self._flat(grown), cell), before.label),
            words=tf.where(parts, _at(words, origin), before.words),
            node=tf.where(grows, tf.maximum(child, 0), before.node),
            state=tf.where(parts, _at(states, origin), before.state),
            last=last,
            blank_end=tf.where(grows, tf.constant(-1, tf.int64), _at(beam.end, origin)),
            label_end=tf.where(emits, here, before.label_end),
            name=tf.where(grows, before.name * _BASE + last + 1, before.name),
            parent=tf.where(grows, before.name, before.parent),
        )
        return after, tf.stack([last, previous], axis=-1)

    def _grown(self, beam: _Beam, log_probs: Any) -> Any:
        """Return the mass of each prefix and one more class, `float32[batch, beam, classes]`."""
        # A class twice in a row is two characters only with a blank between them.
        same = beam.last[..., None] == tf.range(self.classes, dtype=tf.int64)
        grown = tf.where(same, beam.blank[..., None], beam.mass[..., None])
        allowed = tf.gather(self.constraint.children, beam.node) >= 0
        return tf.where(allowed, grown + log_probs[:, None], _NONE)

    def _stay(self, beam: _Beam, log_probs: Any, grown: Any) -> tuple[_Beam, Any, Any, Any]:
        """Return the same prefixes one step later.

        Also the prefix from which each is reached too, whether that is the heavier way to it,
        and which of `grown` are thereby prefixes of the beam.
        """
        is_parent = tf.cast(beam.is_parent(), tf.float32)
        source = tf.argmax(is_parent, axis=-1)
        reached = _at(self._flat(grown), source * self.classes + beam.last)
        reached = tf.where(tf.reduce_max(is_parent, axis=-1) > 0, reached, _NONE)
        held = beam.label + tf.where(beam.last > 0, _at(log_probs, beam.last), _NONE)
        doubled = tf.matmul(is_parent, tf.one_hot(beam.last, self.classes), transpose_a=True)
        stay = beam._replace(blank=beam.mass + log_probs[:, :1], label=_log_add(held, reached))
        return stay, source, reached > held, doubled > 0

    def _flat(self, grown: Any) -> Any:
        return tf.reshape(grown, [-1, self.beam * self.classes])

    def _finished(self, beam: _Beam) -> tuple[Any, Any]:
        """Return the words' score and the state once the words that end here are complete."""
        if isinstance(self.constraint, Free):
            return beam.words, beam.state
        probability, states = self.constraint.finish_word(beam.node, beam.state)
        return beam.words + self.lm_weight * probability + self.word_bonus, states

    def best(self, beam: _Beam, history: Any, nbest: int) -> Hypotheses:
        """Return the best sentences of the last beam."""
        mass, words, unfinished = beam.mass, beam.words, tf.zeros_like(beam.last, tf.bool)
        if isinstance(self.constraint, Constraint):
            mass, words, unfinished = self._sentences(beam, self.constraint)
        scores = tf.where(mass > _NONE / 2, mass + words, _NONE)
        scores, chosen = tf.math.top_k(scores, nbest)
        there = scores > _NONE / 2
        labels, lengths, steps = _walk(
            tf.where(there, _at(beam.end, chosen), -1), history, self.beam
        )
        if isinstance(self.constraint, Constraint):
            separators = labels == self.constraint.separator
            lengths = _without_rest(separators, lengths, _at(unfinished, chosen))
        longest = tf.reduce_max(lengths)
        real = tf.sequence_mask(lengths, longest)
        return Hypotheses(
            tf.where(real, labels[..., :longest], 0),
            lengths,
            tf.where(real, steps[..., :longest], 0),
            tf.where(there, scores, -np.inf),
            tf.where(there, _at(mass, chosen), -np.inf),
        )

    def _sentences(self, beam: _Beam, constraint: Constraint) -> tuple[Any, Any, Any]:
        """Return mass and words' score of the sentences that the prefixes stand for.

        Also whether a prefix that ends inside a word counts, since its row has no other kind.
        """
        complete, states = self._finished(beam)
        between = beam.node == 0
        ends = tf.gather(constraint.word, beam.node) >= 0
        words = tf.where(ends, complete, beam.words)
        words += self.lm_weight * constraint.end(tf.where(ends, states, beam.state))
        # With and without a separator at the end it is one sentence: its first prefix has all.
        apart = beam.last == constraint.separator
        name = tf.where(apart, beam.parent, beam.name)
        same = name[:, :, None] == name[:, None, :]
        total = tf.reduce_logsumexp(tf.where(same, beam.mass[:, None, :], 2 * _NONE), axis=-1)
        first = tf.argmax(tf.cast(same, tf.int8), axis=-1) == tf.range(self.beam, dtype=tf.int64)
        good = (between | ends) & (beam.mass > _NONE / 2)
        mass = tf.where(good & first, total, _NONE)
        nothing = ~tf.reduce_any(good, axis=-1, keepdims=True)
        return tf.where(nothing, beam.mass, mass), words, nothing & ~good


def _at(values: Any, places: Any) -> Any:
    """Return `values[batch, places]`."""
    return tf.gather(values, places, batch_dims=1)


def _walk(ends: Any, history: Any, beam: int) -> tuple[Any, Any, Any]:
    """Follow the history back from `ends: int64[batch, n]`.

    Returns:
        Classes `int32[batch, n, characters]`, how many there are `int32[batch, n]`, and their
        steps; what stands behind the number of characters does not count.
    """
    shape = tf.shape(ends)
    entries = tf.TensorArray(tf.int64, 0, dynamic_size=True, element_shape=[None, None])

    def body(index: Any, at: Any, entries: Any) -> tuple[Any, Any, Any]:
        before = _at(history[..., 1], tf.maximum(at, 0))
        return index + 1, tf.where(at >= 0, before, -1), entries.write(index, at)

    _, _, entries = tf.while_loop(
        lambda index, at, entries: (index < 1) | tf.reduce_any(at >= 0),
        body,
        (tf.constant(0), ends, entries),
    )
    backwards = tf.reshape(tf.transpose(entries.stack(), [1, 2, 0]), [shape[0] * shape[1], -1])
    lengths = tf.reduce_sum(tf.cast(backwards >= 0, tf.int32), axis=-1)
    forwards = tf.reshape(
        tf.reverse_sequence(backwards, lengths, seq_axis=1), [*tf.unstack(shape), -1]
    )
    labels = tf.gather(history[..., 0], tf.maximum(forwards, 0), batch_dims=1)
    steps = tf.maximum(forwards, 0) // beam
    return tf.cast(labels, tf.int32), tf.reshape(lengths, shape), tf.cast(steps, tf.int32)


def _without_rest(separators: Any, lengths: Any, unfinished: Any) -> Any:
    """Return lengths without a separator at the end, or without an unfinished word."""
    places = tf.range(tf.shape(separators)[-1])
    real = places < lengths[..., None]
    last = tf.reduce_max(tf.where(separators & real, places, -1), axis=-1)
    cut = unfinished | ((last >= 0) & (last == lengths - 1))
    return tf.where(cut, tf.maximum(last, 0), lengths)


def _log_add(a: Any, b: Any) -> Any:
    return tf.maximum(a, b) + tf.math.softplus(-tf.abs(a - b))
