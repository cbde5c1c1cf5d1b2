"""Errors of transcripts, counted by jiwer: edits that turn what was said into what was heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from zoo.errors import DataError, MisuseError

Kind = Literal["equal", "substitute", "delete", "insert"]


class Edit(NamedTuple):
    """One word of an alignment.

    Attributes:
        kind: "equal", "substitute", "delete" or "insert".
        said: The true word; '' for an insertion.
        heard: The transcript's word; '' for a deletion.
    """

    kind: Kind
    said: str
    heard: str


def word_error_rate(truth: Sequence[str], guess: Sequence[str]) -> float:
    """Return substituted, deleted and inserted words over true words, of all rows together.

    Raises:
        DataError: The rows differ in number, or no true text has a word.
    """
    _check(truth, guess)
    return float(_jiwer().wer([*map(_words, truth)], [*map(_words, guess)]))


def character_error_rate(truth: Sequence[str], guess: Sequence[str]) -> float:
    """Return the same of characters, spaces included.

    Raises:
        DataError: As for `word_error_rate`.
    """
    _check(truth, guess)
    return float(_jiwer().cer(list(truth), list(guess)))


def sentence_error_rate(truth: Sequence[str], guess: Sequence[str]) -> float:
    """Return the share of rows whose words are not all right.

    Raises:
        DataError: As for `word_error_rate`.
    """
    _check(truth, guess)
    wrong = [a.split() != b.split() for a, b in zip(truth, guess, strict=True)]
    return sum(wrong) / len(wrong)


def alignment(truth: str, guess: str) -> list[Edit]:
    """Return the fewest edits that turn one text's words into the other's."""
    said, heard = truth.split(), guess.split()
    if not said or not heard:
        return [*(Edit("delete", w, "") for w in said), *(Edit("insert", "", w) for w in heard)]
    chunks = _jiwer().process_words(_words(truth), _words(guess)).alignments[0]
    return [edit for chunk in chunks for edit in _edits(chunk, said, heard)]


def _edits(chunk: Any, said: Sequence[str], heard: Sequence[str]) -> list[Edit]:
    true = said[chunk.ref_start_idx : chunk.ref_end_idx]
    found = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
    size = max(len(true), len(found))
    pairs = zip(true or [""] * size, found or [""] * size, strict=True)
    return [Edit(chunk.type, *pair) for pair in pairs]


def _words(text: str) -> str:
    """Return words with single spaces between them, all that jiwer splits at."""
    return " ".join(text.split())


def _check(truth: Sequence[str], guess: Sequence[str]) -> None:
    if len(truth) != len(guess):
        raise DataError(f"there are {len(truth)} true texts but {len(guess)} transcripts")
    if not any(text.split() for text in truth):
        raise DataError("an error rate needs at least one true word")


def _jiwer() -> Any:
    try:
        import jiwer
    except ImportError as error:
        raise MisuseError(
            "counting errors of transcripts takes jiwer: pip install -r requirements-speech.txt"
        ) from error
    return jiwer
