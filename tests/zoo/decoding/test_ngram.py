"""N-gram models: Kneser-Ney by hand, sums of probabilities, and ARPA files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from zoo.decoding import NGram
from zoo.decoding.automaton import Automaton
from zoo.errors import ConfigError, DataError

TEXTS = [text.split() for text in ("a b", "a b c", "a c", "b a b", "c", "a b a b", "d a")]


def probability(model: NGram, word: str, *history: str) -> float:
    return 10 ** model.log10(word, history)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_probabilities_after_every_history_sum_to_1(order: int):
    model = NGram.estimate(TEXTS, order)
    words = [word for word in model.words if word != "<s>"]
    for history in [(), ("<s>",), ("a",), ("a", "b"), ("<s>", "a", "b"), ("c", "d"), ("?",)]:
        total = sum(probability(model, word, *history) for word in words)
        assert total == pytest.approx(1.0, abs=1e-9)


def test_a_bigram_model_worked_by_hand():
    model = NGram.estimate([["a", "b"], ["a"]], order=2)
    # Continuations: a after <s>; b after a; </s> after a and b. Discounts are 0.5, 1 and 1.5.
    # Unigrams: a(.) = 4, freed 0.5 + 0.5 + 1 = 2, so gamma is 1/2 over 4 equal words.
    assert probability(model, "a") == pytest.approx(0.5 / 4 + 0.5 / 4)
    assert probability(model, "</s>") == pytest.approx(1 / 4 + 0.5 / 4)
    assert probability(model, "<unk>") == pytest.approx(0.5 / 4)
    # After <s> stands "a" twice: (2 - 1) / 2, and gamma is 1 / 2.
    assert probability(model, "a", "<s>") == pytest.approx(0.5 + 0.5 * probability(model, "a"))
    assert probability(model, "b", "<s>") == pytest.approx(0.5 * probability(model, "b"))


def test_what_is_frequent_is_likelier_and_the_score_is_the_sum():
    model = NGram.estimate(TEXTS, 3)
    assert probability(model, "b", "a") > probability(model, "c", "a")
    expected = [("a", "<s>"), ("b", "<s>", "a"), ("</s>", "a", "b")]
    total = math.prod(probability(model, *each[:1], *each[1:]) for each in expected)
    assert model.score(["a", "b"]) == pytest.approx(math.log10(total))
    assert model.perplexity([["a", "b"]]) == pytest.approx(total ** (-1 / 3))
    assert model.perplexity(TEXTS) < NGram.estimate(TEXTS, 1).perplexity(TEXTS)


def test_words_outside_a_vocabulary_count_as_unknown():
    model = NGram.estimate(TEXTS, 2, vocabulary=["a", "b"])
    assert set(model.words) == {"a", "b", "<s>", "</s>", "<unk>"}
    assert probability(model, "c", "b") == probability(model, "never", "b")


def test_an_arpa_file_is_the_same_model(tmp_path: Path):
    model = NGram.estimate(TEXTS, 3)
    model.write_arpa(tmp_path / "model.arpa")
    again = NGram.read_arpa(tmp_path / "model.arpa")
    assert again.order == 3
    assert again.entries.keys() == model.entries.keys()
    for text in [*TEXTS, ["c", "c", "x", "a"]]:
        assert again.score(text) == pytest.approx(model.score(text), abs=1e-6)


GOOD = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1 <s> -0.3\n-0.5 a\n-0.5 </s>\n\n\\end\\\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "data", "must hold"),
        ("ngram 1=3", "ngram 2=3", "line 2: 'ngram 1=count' must stand here"),
        ("ngram 1=3", "ngram 1=4", "4 1-grams were announced, not 3"),
        ("-0.5 a", "-0.5", "line 6: log10 p, 1 words and at most"),
        ("-0.5 a", "x a", "line 6: log10 p and back-off weight must be numbers"),
        ("-0.5 a", "0.5 a", "line 6: log10 p must be finite and at most 0"),
        ("-0.5 a", "-0.5 </s>", "line 7: '</s>' is listed twice"),
        ("\\end\\", "", "end with"),
    ],
)
def test_a_broken_arpa_file_is_refused(tmp_path: Path, old: str, new: str, message: str):
    file = tmp_path / "model.arpa"
    file.write_text(GOOD)
    assert NGram.read_arpa(file).order == 1
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        NGram.read_arpa(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_bad_arguments_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        NGram(0, {})
    with pytest.raises(DataError, match="at least one sentence"):
        NGram.estimate([])
    with pytest.raises(DataError, match="nor hold spaces: 'a b'"):
        NGram.estimate([["a b"]])
    with pytest.raises(DataError, match="cannot be read as an ARPA file"):
        NGram.read_arpa(tmp_path)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_automaton_gives_the_scores_of_the_model(order: int):
    model = NGram.estimate(TEXTS, order)
    words = ("a", "b", "c", "d", "never")
    automaton = Automaton(model, words)
    rng = np.random.default_rng(0)
    sentences = rng.integers(0, len(words), (20, 6))
    states = tf.fill([20], tf.constant(automaton.start, tf.int64))
    for place in range(6):
        scores, states = automaton.advance(states, tf.constant(sentences[:, place]))
        for row, score in zip(sentences, scores.numpy(), strict=True):
            said = [words[each] for each in row]
            expected = math.log(10) * model.log10(said[place], ["<s>", *said[:place]])
            assert score == pytest.approx(expected, rel=1e-5)
    ends = automaton.end(states).numpy()
    expected = [model.log10("</s>", ["<s>", *(words[w] for w in row)]) for row in sentences]
    np.testing.assert_allclose(ends, math.log(10) * np.array(expected), rtol=1e-5)
