"""Fewer weights of the language model to try: which are the best, tests of decoding ask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def few_weights() -> Iterator[None]:
    """Try two pairs where a training would try 56."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.decoding.weights.LM_WEIGHTS", (0.5, 1.0))
        patch.setattr("zoo.decoding.weights.WORD_BONUSES", (0.0,))
        yield
