"""A small task made from rules, for tests: learnable, and only with the order of the words."""

from __future__ import annotations

import random
from collections.abc import Sequence

from zoo.datasets.examples import Source, TextExamples

SOURCE = Source(url="made on the spot", licence="none needed", citation="none")
_GOOD = ("good", "great", "lovely", "clever", "funny", "moving", "charming", "brilliant")
_BAD = ("bad", "awful", "boring", "clumsy", "dull", "shallow", "tedious", "terrible")
_NOUNS = ("film", "plot", "cast", "ending", "music", "dialogue", "script", "story", "camera")
_DEGREES = ("", "very ", "quite ", "really ", "rather ", "truly ")
# `said` agrees with the label and `denied` contradicts it: the last two have the same words for
# either label.
_TEMPLATES = (
    "The {noun} is {degree}{said}.",
    "The {noun} is not {degree}{denied}.",
    "The {noun} is {degree}{said}, not {denied}.",
    "The {noun} is not {denied} but {degree}{said}.",
)


def load() -> TextExamples:
    """Return 1,200 sentences of seed 0."""
    return keyword_sentences(count=1200, seed=0)


def keyword_sentences(count: int, seed: int) -> TextExamples:
    """Return short sentences with negation, half of them "positive" and half "negative".

    Args:
        count: Number of sentences; repetitions occur.
        seed: The same seed gives the same sentences, and a larger count only appends to them.
    """
    generator = random.Random(seed)

    def pick(words: Sequence[str]) -> str:
        # random() alone is promised to give the same numbers on every version of Python.
        return words[int(generator.random() * len(words))]

    texts: list[str] = []
    labels: list[str] = []
    for row in range(count):
        positive = row % 2 == 0
        said, denied = (_GOOD, _BAD) if positive else (_BAD, _GOOD)
        words = {"said": pick(said), "denied": pick(denied), "noun": pick(_NOUNS)}
        texts.append(pick(_TEMPLATES).format(degree=pick(_DEGREES), **words))
        labels.append("positive" if positive else "negative")
    return TextExamples("synthetic", tuple(texts), tuple(labels), source=SOURCE)
