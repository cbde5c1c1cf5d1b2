"""A word list as a trie over characters, in dense arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from zoo.errors import ConfigError, DataError

SEPARATOR = " "


def check_alphabet(alphabet: Sequence[str]) -> None:
    """Refuse an alphabet that is empty or lists a character, or a word, twice.

    Raises:
        ConfigError: It is.
    """
    if not alphabet or len(set(alphabet)) != len(alphabet):
        raise ConfigError(f"an alphabet must be one or more different characters, not '{alphabet}'")


class Lexicon:
    """The words that may be recognised.

    Attributes:
        alphabet: Character k - 1 is class k; class 0 is the blank.
        words: Every word once, in the order of its first mention; its place is its id.
        children: `int32[nodes, classes]`, the node that a class leads to, -1 for none. Node 0
            is the root, and column 0 is not used.
        word: `int32[nodes]`, the id of the word that ends at a node, -1 for none.

    Args:
        words: At least one; repeated words count once.
        alphabet: The characters of the model.

    Raises:
        ConfigError: The alphabet is empty or lists a character twice.
        DataError: No word, an empty one, or one with a character outside of the alphabet or
            with the separator " ".
    """

    def __init__(self, words: Iterable[str], alphabet: str) -> None:
        check_alphabet(alphabet)
        self.alphabet = alphabet
        self.words = tuple(dict.fromkeys(words))
        if not self.words:
            raise DataError("a lexicon must hold at least one word")
        classes = {character: k for k, character in enumerate(alphabet, 1)}
        classes.pop(SEPARATOR, None)
        branches: list[dict[int, int]] = [{}]
        ends: dict[int, int] = {}
        for number, word in enumerate(self.words):
            if not word or not classes.keys() >= set(word):
                raise DataError(
                    f"a word must consist of characters of '{alphabet}' other than the "
                    f"separator ' ', not '{word}'"
                )
            node = 0
            for character in word:
                following = branches[node].setdefault(classes[character], len(branches))
                if following == len(branches):
                    branches.append({})
                node = following
            ends[node] = number
        self.children = np.full((len(branches), len(alphabet) + 1), -1, np.int32)
        for node, branch in enumerate(branches):
            self.children[node, list(branch)] = list(branch.values())
        self.word = np.full(len(branches), -1, np.int32)
        self.word[list(ends)] = list(ends.values())
