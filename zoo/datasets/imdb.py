"""Large Movie Review Dataset v1.0: 25,000 reviews for training and 25,000 for test.

Each part has 12,500 positive reviews (7 to 10 stars) and 12,500 negative ones (1 to 4). The
texts are raw, `<br />` included; tabs and line ends within them read as spaces. 123 texts occur
in both parts: the official split is kept as published.
"""

from __future__ import annotations

import gzip
import re
import tarfile
from pathlib import Path
from typing import NamedTuple

from zoo.datasets import cache
from zoo.datasets.cache import DataFile
from zoo.datasets.examples import Source, TextExamples

ARCHIVE = DataFile(
    path="imdb/aclImdb_v1.tar.gz",
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
)
# The same reviews as tables, which load in less than a second: used where a cache folder has
# them.
TABLES = {
    "train": (
        "imdb/train.tsv.gz",
        "38533cf16c1e25703c54223fc72a5d4e6ad3a1d05eb7cbcaf8e5c85d42d1cddf",
    ),
    "test": (
        "imdb/test.tsv.gz",
        "b7fdb190c412a0b11c10e72bb498a51c225ea478f325a2a4ec55bfd2c33977e9",
    ),
}
SOURCE = Source(
    url="https://ai.stanford.edu/~amaas/data/sentiment/",
    licence="not stated; for research, cite the paper",
    citation="A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng and C. Potts (2011), "
    "Learning Word Vectors for Sentiment Analysis, ACL",
)
_CLASSES = {"neg": "negative", "pos": "positive"}
_MEMBER = re.compile(r"aclImdb/(train|test)/(neg|pos)/(\d+)_(\d+)\.txt")
_TO_SPACE = str.maketrans("\t\r\n", "   ")


class Review(NamedTuple):
    """One review; its fields are in the order that reviews are sorted by."""

    is_test: bool
    polarity: str
    number: int
    stars: int
    text: str


def load() -> TextExamples:
    """Return the 50,000 labelled reviews: train before test, negative before positive, by number.

    `ratings` are the reviewer's stars, 1 to 10; `splits` is the official one.

    Raises:
        DataUnavailableError: If the archive is neither in the cache nor to be downloaded.
    """
    tables = {part: cache.find(path, sha256) for part, (path, sha256) in TABLES.items()}
    train, test = tables["train"], tables["test"]
    if train is not None and test is not None:
        reviews = read_table(train, is_test=False) + read_table(test, is_test=True)
    else:
        reviews = read_archive(cache.fetch(ARCHIVE))
    return TextExamples(
        name="imdb",
        texts=tuple(review.text for review in reviews),
        labels=tuple(_CLASSES[review.polarity] for review in reviews),
        splits=tuple("test" if review.is_test else "train" for review in reviews),
        ratings=tuple(float(review.stars) for review in reviews),
        source=SOURCE,
    )


def read_table(path: Path, is_test: bool) -> list[Review]:
    """Return the reviews of one table with the columns id, label, rating, amlm_split and text."""
    reviews = []
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        next(lines)
        for line in lines:
            identifier, _, _, _, text = line.rstrip("\n").split("\t")
            polarity, number, stars = identifier.split("_")
            reviews.append(Review(is_test, polarity, int(number), int(stars), text))
    return reviews


def read_archive(path: Path) -> list[Review]:
    """Return the labelled reviews of the official archive, sorted, without unpacking it."""
    reviews = []
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            match = _MEMBER.fullmatch(member.name)
            stream = archive.extractfile(member) if match else None
            if match and stream:
                part, polarity, number, stars = match.groups()
                text = stream.read().decode("utf-8").translate(_TO_SPACE)
                reviews.append(Review(part == "test", polarity, int(number), int(stars), text))
    return sorted(reviews)
