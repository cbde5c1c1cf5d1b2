"""Data sets by name, and files of the user's own.

    examples = datasets.load("rt-polarity")
    train, validation, test = datasets.split_examples(examples, datasets.Fractions())

To add a data set, write a module with `load() -> TextExamples` that states url, sha256, licence
and counts, and add a line to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from zoo.datasets import imdb, movie_snippets, rt_polarity, synthetic
from zoo.datasets.examples import PARTS, Source, TextExamples
from zoo.datasets.splits import Fractions, Split, normalise, part_of, split_examples
from zoo.datasets.synthetic import keyword_sentences
from zoo.datasets.table_file import check_labels, read_table
from zoo.errors import UnknownNameError

LOADERS: Mapping[str, Callable[[], TextExamples]] = MappingProxyType(
    {
        "movie-snippets": movie_snippets.load,
        "rt-polarity": rt_polarity.load,
        "imdb": imdb.load,
        "synthetic": synthetic.load,
    }
)
NAMES: tuple[str, ...] = tuple(LOADERS)


def load(name: str) -> TextExamples:
    """Return a data set of the table, fetching its files if no cache folder has them.

    Raises:
        UnknownNameError: If the table has no such name.
        DataUnavailableError: If a file is neither in the cache nor to be downloaded.
    """
    if name not in LOADERS:
        raise UnknownNameError("data set", name, LOADERS)
    return LOADERS[name]()


__all__ = [
    "LOADERS",
    "NAMES",
    "PARTS",
    "Fractions",
    "Source",
    "Split",
    "TextExamples",
    "check_labels",
    "keyword_sentences",
    "load",
    "normalise",
    "part_of",
    "read_table",
    "split_examples",
]
