"""CTC searches beside a sum over every path, worked out one by one."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.decoding import Constraint, Lexicon, NGram, greedy, prefix_beam_search
from zoo.decoding.ctc import Hypotheses
from zoo.errors import ConfigError

ALPHABET = "ab "
WORDS = ("a", "ab", "ba")
SENTENCES = (["a", "ab"], ["ab"], ["ba", "a", "ab"], ["a"], ["a", "a"])
MODEL = NGram.estimate(SENTENCES, order=2)


def random_log_probs(seed: int, *shape: int) -> np.ndarray:
    """Return log probabilities, rather peaked."""
    logits = 2 * np.random.default_rng(seed).normal(size=shape)
    return (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))).astype(np.float32)


def read(path: Sequence[int]) -> tuple[int, ...]:
    """Return the classes that a path reads."""
    return tuple(one for one, _ in itertools.groupby(path) if one)


def masses(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """Return the probability of every sequence of classes, over all of its paths."""
    total: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        total[read(path)] += math.exp(sum(log_probs[t, one] for t, one in enumerate(path)))
    return total


def sentence_scores(log_probs: np.ndarray, weight: float, bonus: float) -> dict[str, float]:
    """Return the score of every sentence of `WORDS`; one separator may stand at the end."""
    total: dict[str, float] = defaultdict(float)
    for classes, mass in masses(log_probs).items():
        text = "".join(ALPHABET[one - 1] for one in classes)
        words = text.removesuffix(" ").split(" ") if text else []
        if all(word in WORDS for word in words):
            total[" ".join(words)] += mass
    return {
        text: math.log(mass)
        + weight * math.log(10) * MODEL.score(text.split())
        + bonus * len(text.split())
        for text, mass in total.items()
    }


def texts(found: Hypotheses, row: int = 0, alphabet: str = ALPHABET) -> list[str]:
    """Return the n-best list of a row."""
    labels, lengths = np.asarray(found.labels)[row], np.asarray(found.lengths)[row]
    there = np.isfinite(np.asarray(found.scores)[row])
    return [
        "".join(alphabet[one - 1] for one in label[:length])
        for label, length, is_there in zip(labels, lengths, there, strict=True)
        if is_there
    ]


@pytest.fixture(scope="module")
def constraint() -> Constraint:
    return Constraint(Lexicon(WORDS, ALPHABET), MODEL)


class TestGreedy:
    def test_the_best_path_is_read(self):
        log_probs = random_log_probs(0, 3, 9, 4)
        found = greedy(log_probs, [9, 5, 0])
        for row, length in enumerate((9, 5, 0)):
            path = log_probs[row, :length].argmax(axis=-1)
            expected = read(path)
            assert tuple(np.asarray(found.labels)[row, 0, : len(expected)]) == expected
            assert not np.asarray(found.labels)[row, 0, len(expected) :].any()
            assert int(found.lengths[row, 0]) == len(expected)
            steps = [t for t in range(length) if path[t] and (t == 0 or path[t] != path[t - 1])]
            assert [*np.asarray(found.steps)[row, 0, : len(steps)]] == steps
            score = log_probs[row, :length].max(axis=-1).sum()
            assert float(found.scores[row, 0]) == pytest.approx(score, abs=1e-4)


class TestFreeSearch:
    @pytest.mark.parametrize("seed", range(6))
    def test_a_wide_beam_finds_the_masses_of_all_paths(self, seed: int):
        log_probs = random_log_probs(seed, 1, 5, 3)
        expected = sorted(masses(log_probs[0]).items(), key=lambda item: -item[1])[:8]
        found = prefix_beam_search(log_probs, [5], beam=200, nbest=8)
        got = [tuple(np.asarray(found.labels)[0, n, : int(found.lengths[0, n])]) for n in range(8)]
        assert got == [classes for classes, _ in expected]
        np.testing.assert_allclose(
            found.scores[0], [math.log(mass) for _, mass in expected], atol=1e-4
        )
        np.testing.assert_array_equal(found.scores, found.acoustic)

    def test_what_is_absent_has_no_score(self):
        found = prefix_beam_search(random_log_probs(0, 1, 1, 2), [1], beam=4, nbest=4)
        assert np.isfinite(found.scores[0]).tolist() == [True, True, False, False]
        assert np.asarray(found.lengths)[0, 2:].tolist() == [0, 0]

    def test_an_n_best_list_longer_than_the_beam_is_refused(self):
        with pytest.raises(ConfigError, match="nbest must be from 1 to beam = 2, not 3"):
            prefix_beam_search(random_log_probs(0, 1, 1, 2), [1], beam=2, nbest=3)


class TestLexiconSearch:
    @pytest.mark.parametrize(("weight", "bonus"), [(0.0, 0.0), (1.0, 0.0), (0.7, 1.5)])
    @pytest.mark.parametrize("seed", range(4))
    def test_a_wide_beam_finds_every_sentence(
        self, constraint: Constraint, seed: int, weight: float, bonus: float
    ):
        log_probs = random_log_probs(seed, 1, 6, 4)
        expected = sorted(
            sentence_scores(log_probs[0], weight, bonus).items(), key=lambda item: -item[1]
        )
        found = prefix_beam_search(log_probs, [6], 100, 100, constraint, weight, bonus)
        assert texts(found) == [text for text, _ in expected]
        there = np.isfinite(found.scores[0])
        np.testing.assert_allclose(
            found.scores[0][there], [score for _, score in expected], atol=1e-3
        )

    def test_an_unfinished_word_is_cut_where_there_is_nothing_else(self, constraint: Constraint):
        path = [1, 3, 2]  # "a b": no word is "b"
        log_probs = np.log(np.eye(4, dtype=np.float32)[None, path] * 0.999 + 2.5e-4)
        assert texts(prefix_beam_search(log_probs, [3], 1, 1, constraint)) == ["a"]
        assert texts(prefix_beam_search(log_probs[:, 2:], [1], 1, 1, constraint)) == [""]

    def test_characters_know_when_they_were_said(self, constraint: Constraint):
        path = [0, 1, 1, 0, 3, 3, 1, 0, 2, 2]  # "a ab"
        log_probs = np.log(np.eye(4, dtype=np.float32)[None, path] * 0.999 + 2.5e-4)
        found = prefix_beam_search(log_probs, [10], 8, 1, constraint)
        assert texts(found) == ["a ab"]
        assert np.asarray(found.steps)[0, 0].tolist() == [1, 4, 6, 8]

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 10_000), beam=st.sampled_from([2, 5]))
    def test_only_known_words_are_found(self, constraint: Constraint, seed: int, beam: int):
        log_probs = random_log_probs(seed, 2, 12, 4)
        found = prefix_beam_search(log_probs, [12, 7], beam, beam, constraint, 0.5, 0.5)
        for row in range(2):
            for text in texts(found, row):
                assert set(text.split()) <= set(WORDS)
                assert text == " ".join(text.split())
        scores = np.asarray(found.scores)
        assert (scores[:, :-1] >= scores[:, 1:]).all()


def free(log_probs: Any, lengths: Any) -> Hypotheses:
    return prefix_beam_search(log_probs, lengths, 8, 3)


@pytest.mark.parametrize("search", [greedy, free], ids=["greedy", "beam"])
def test_a_row_among_others_gives_what_it_gives_alone(search: Callable[..., Hypotheses]):
    log_probs, lengths = random_log_probs(3, 4, 11, 4), [11, 4, 0, 7]
    shapes = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None], tf.int32)]
    traced = tf.function(search, input_signature=shapes)
    together = traced(tf.constant(log_probs), tf.constant(lengths))
    for row, length in enumerate(lengths):
        alone = traced(
            tf.constant(log_probs[row : row + 1, : max(length, 1)]), tf.constant([length])
        )
        assert texts(alone) == texts(together, row)
        np.testing.assert_allclose(alone.scores[0], together.scores[row], atol=1e-5)
