"""A word list as a trie."""

from __future__ import annotations

import pytest

from zoo.decoding import Constraint, Lexicon, NGram
from zoo.errors import ConfigError, DataError


def found(lexicon: Lexicon, text: str) -> int:
    """Return the id of the word that a text spells; -1 for none, -2 where the trie ends."""
    node = 0
    for character in text:
        node = int(lexicon.children[node, lexicon.alphabet.index(character) + 1])
        if node < 0:
            return -2
    return int(lexicon.word[node])


def test_every_word_is_found_and_nothing_else():
    lexicon = Lexicon(["to", "tone", "a", "to"], " aeont")
    assert lexicon.words == ("to", "tone", "a")
    assert [found(lexicon, word) for word in lexicon.words] == [0, 1, 2]
    assert [found(lexicon, text) for text in ("", "t", "ton", "toe", "o")] == [-1, -1, -1, -2, -2]
    assert len(lexicon.word) == 6  # the root, t, to, ton, tone, a
    assert (lexicon.children[:, 0] == -1).all()


@pytest.mark.parametrize("word", ["", "toe", "a a"])
def test_what_cannot_be_spelled_is_refused(word: str):
    with pytest.raises(DataError, match=f"not '{word}'"):
        Lexicon(["a", word], " at")


def test_no_words_and_odd_alphabets_are_refused():
    with pytest.raises(DataError, match="at least one word"):
        Lexicon([], "ab")
    for alphabet in ("", "aa"):
        with pytest.raises(ConfigError, match="one or more different characters"):
            Lexicon(["a"], alphabet)
    with pytest.raises(ConfigError, match="has no ' ' to separate words by"):
        Constraint(Lexicon(["a"], "a"), NGram.estimate([["a"]]))
