"""Sentence polarity of Pang and Lee: 5,331 positive and 5,331 negative review sentences.

Lower-cased tokens divided by spaces; no official split and no ratings. The sentences of
`movie-snippets` and SST-2 are the same ones.
"""

from __future__ import annotations

from zoo.datasets.cache import DataFile, fetch
from zoo.datasets.examples import Source, TextExamples

_FOLDER = (
    "https://raw.githubusercontent.com/dennybritz/cnn-text-classification-tf/"
    "18762b459e21d9c70e5c242f8d43fc4e6db37a0d/data/rt-polaritydata"
)
FILES = {
    "positive": DataFile(
        path="rt_polarity/rt-polarity.pos",
        sha256="4134882974a28d0c7b5151256f0e33a6169984ee7372c279e673f1114f475d58",
        url=f"{_FOLDER}/rt-polarity.pos",
    ),
    "negative": DataFile(
        path="rt_polarity/rt-polarity.neg",
        sha256="2d11cfbc790f1cd96d78339f41ce53ced1efa83cd22d37d6788fa3fe3d17e2fd",
        url=f"{_FOLDER}/rt-polarity.neg",
    ),
}
SOURCE = Source(
    url="https://www.cs.cornell.edu/people/pabo/movie-review-data/",
    licence="not stated; cite the paper",
    citation="B. Pang and L. Lee (2005), Seeing Stars: Exploiting Class Relationships for "
    "Sentiment Categorization with Respect to Rating Scales, ACL",
)


def load() -> TextExamples:
    """Return the 10,662 sentences, the positive ones first.

    Raises:
        DataUnavailableError: If a file is neither in the cache nor to be downloaded.
    """
    texts: list[str] = []
    labels: list[str] = []
    for label, file in FILES.items():
        # Not splitlines(), which also divides at characters that occur inside of texts.
        lines = fetch(file).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        texts += [line.strip() for line in lines]
        labels += [label] * len(lines)
    return TextExamples("rt-polarity", tuple(texts), tuple(labels), source=SOURCE)
