"""Sentences of movie reviews with graded human ratings.

10,605 sentences of the rt-polarity reviews, each rated by at least 20 people from -4 (extremely
negative) to 4 (extremely positive), as they come in the source distribution of vaderSentiment
3.3.2. Without the 37 sentences rated exactly 0 and 2 repeated ones there remain 10,566: 5,241
positive and 5,325 negative. rt-polarity and SST-2 hold the same sentences: a model trained on
one of them has seen the test part of the others.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from zoo.datasets.examples import Source, TextExamples
from zoo.datasets.package_index import SourceDistribution, fetch
from zoo.datasets.splits import normalise
from zoo.errors import DataError

DISTRIBUTION = SourceDistribution(
    path="movie_snippets/vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    project="vaderSentiment",
    version="3.3.2",
)
ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
TABLE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
SOURCE = Source(
    url="https://github.com/cjhutto/vaderSentiment",
    licence="MIT (the package; the sentences are quoted from reviews on rottentomatoes.com)",
    citation="C. J. Hutto and E. Gilbert (2014), VADER: A Parsimonious Rule-based Model for "
    "Sentiment Analysis of Social Media Text, ICWSM; sentences of B. Pang and L. Lee (2005)",
)


def load() -> TextExamples:
    """Return the sentences, labelled "positive" for a rating above 0 and "negative" below.

    Ratings are means in [-4, 4]; sentences rated exactly 0 are left out, and of sentences that
    differ in case or white space alone the first is kept.

    Raises:
        DataUnavailableError: If the file is neither in the cache nor on the package index.
    """
    texts: dict[str, tuple[str, float]] = {}
    for line in read_member(fetch(DISTRIBUTION)).decode("utf-8").split("\r\n"):
        _, rating, text = line.split("\t")
        if float(rating) != 0:
            texts.setdefault(normalise(text), (text, float(rating)))
    return TextExamples(
        name="movie-snippets",
        texts=tuple(text for text, _ in texts.values()),
        labels=tuple("positive" if rating > 0 else "negative" for _, rating in texts.values()),
        ratings=tuple(rating for _, rating in texts.values()),
        source=SOURCE,
    )


def read_member(path: Path) -> bytes:
    """Return the bytes of the table, read through both archives without unpacking them."""
    with tarfile.open(path, "r:gz") as outer:
        archive = io.BytesIO(_extract(outer, ARCHIVE))
        with tarfile.open(fileobj=archive, mode="r:gz") as inner:
            return _extract(inner, TABLE)


def _extract(archive: tarfile.TarFile, name: str) -> bytes:
    """Return the bytes of one regular file in an archive."""
    stream = archive.extractfile(name)
    if stream is None:
        raise DataError(f"'{name}' in the archive must be a file, and is a folder or a link")
    with stream:
        return stream.read()
