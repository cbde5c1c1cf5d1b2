"""Train, validation and test parts by a hash of the text.

The part of a row depends on its text alone: equal texts never straddle a border, and rows that
are added later move no other row.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

from zoo.datasets.examples import PARTS, TextExamples
from zoo.errors import ConfigError, DataError


@dataclass(frozen=True)
class Fractions:
    """The expected share of rows in the validation and test parts; the rest is for training.

    Raises:
        ConfigError: Unless both are at least 0 and together less than 1.
    """

    validation: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        # Written so that a NaN is refused too.
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise ConfigError(
                "validation and test fraction must be at least 0 and together less than 1; "
                f"received {self.validation} and {self.test}"
            )


class Split(NamedTuple):
    """The three parts of a data set."""

    train: TextExamples
    validation: TextExamples
    test: TextExamples


def normalise(text: str) -> str:
    """Return the form in which two texts count as equal: NFKC, case-folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def part_of(text: str, fractions: Fractions, salt: str = "") -> str:
    """Return "train", "validation" or "test" for a text.

    A pure function: the same on every platform and Python version whose Unicode tables agree
    on the text's characters.

    Args:
        text: The raw text; what `normalise` makes equal gets the same part.
        fractions: Expected shares; the test part is cut first.
        salt: Another salt gives another, independent split.
    """
    key = f"{salt}\0{normalise(text)}".encode("utf-8", "surrogatepass")
    position = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64
    if position < fractions.test:
        return "test"
    if position < fractions.test + fractions.validation:
        return "validation"
    return "train"


def split_examples(examples: TextExamples, fractions: Fractions, salt: str = "") -> Split:
    """Divide a data set into its three parts, keeping the order of the rows in each.

    A part that the data set brings itself is taken as it is, and its fraction is not used; a
    part that it lacks is cut from the training rows. Official parts are not searched for
    texts that they share: published scores count those rows too.

    Raises:
        DataError: If a part would be empty.
    """
    official = examples.splits or ("train",) * len(examples)
    wanted = Fractions(
        validation=0.0 if "validation" in official else fractions.validation,
        test=0.0 if "test" in official else fractions.test,
    )
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, (text, part) in enumerate(zip(examples.texts, official, strict=True)):
        rows[part_of(text, wanted, salt) if part == "train" else part].append(row)
    for part, chosen in rows.items():
        if not chosen:
            raise DataError(
                f"data set '{examples.name}': no row falls into the {part} part; each part needs "
                f"at least one, and there are {len(examples)} rows with validation fraction "
                f"{wanted.validation} and test fraction {wanted.test}"
            )
    return Split(*(examples.select(rows[part]) for part in PARTS))
