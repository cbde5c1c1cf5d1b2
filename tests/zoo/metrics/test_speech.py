"""Error rates of transcripts, worked by hand."""

from __future__ import annotations

import pytest

from zoo.errors import DataError
from zoo.metrics import (
    alignment,
    character_error_rate,
    sentence_error_rate,
    word_error_rate,
)

TRUTH = ["one two three", "yes", "stop the car"]
GUESS = ["one too three four", "", "stop the car"]


def test_rates_are_taken_over_all_rows_together():
    assert word_error_rate(TRUTH, GUESS) == pytest.approx(3 / 7)
    # "w" to "o", " four", and "yes" gone.
    assert character_error_rate(TRUTH, GUESS) == pytest.approx(9 / 28)
    assert sentence_error_rate(TRUTH, GUESS) == pytest.approx(2 / 3)
    for rate in (word_error_rate, character_error_rate, sentence_error_rate):
        assert rate(TRUTH, TRUTH) == 0


def test_more_words_than_were_said_make_more_than_1():
    assert word_error_rate(["a"], ["b c d"]) == 3


def test_an_alignment_names_every_edit():
    assert alignment("one two three five", "one too three four five") == [
        ("equal", "one", "one"),
        ("substitute", "two", "too"),
        ("equal", "three", "three"),
        ("insert", "", "four"),
        ("equal", "five", "five"),
    ]
    assert alignment("a b c", "a c")[1] == ("delete", "b", "")
    assert alignment("a", "") == [("delete", "a", "")]
    assert alignment("", "a") == [("insert", "", "a")]
    assert alignment("", "") == []


@pytest.mark.parametrize("rate", [word_error_rate, character_error_rate, sentence_error_rate])
def test_what_cannot_be_counted_is_refused(rate):
    with pytest.raises(DataError, match="2 true texts but 1 transcripts"):
        rate(["a", "b"], ["a"])
    with pytest.raises(DataError, match="at least one true word"):
        rate(["", " "], ["a", "b"])


def test_any_white_space_stands_between_words():
    assert word_error_rate(["one\ttwo"], ["one  two"]) == 0
    assert alignment("one\ttwo", " one two") == [("equal", "one", "one"), ("equal", "two", "two")]
