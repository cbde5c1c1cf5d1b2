"""Labelled texts as every loader returns them: columns of equal length, and their origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.errors import DataError, suggestion

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, as a model card states it.

    Attributes:
        url: The page or file that the data are published under.
        licence: The licence, or "not stated" with what is known instead.
        citation: Authors, year and title of the publication to cite.
    """

    url: str
    licence: str
    citation: str


def check_columns(
    name: str, unit: str, count: int, columns: Mapping[str, Sequence[Any] | None]
) -> None:
    """Refuse columns of a data set that do not go together.

    Args:
        name: The data set's name.
        unit: What a row is.
        count: Number of rows.
        columns: Values by column, None for a column that is not there; "splits" among them.

    Raises:
        DataError: A column differs in length, or a split is not one of the three.
    """
    for column, values in columns.items():
        if values is not None and len(values) != count:
            raise DataError(
                f"data set '{name}': every column needs one value per {unit}, and there "
                f"are {count} {unit}s but {len(values)} {column}"
            )
    for split in sorted(set(columns["splits"] or ()) - set(PARTS)):
        raise DataError(f"data set '{name}': '{split}' is not a part{suggestion(split, PARTS)}")


@dataclass(frozen=True)
class TextExamples:
    """Rows of a text classification data set; the columns are tuples of equal length.

    Attributes:
        name: The data set's name, as in `datasets.NAMES`, or the file that was read.
        texts: One raw text per row.
        labels: One class name per row.
        splits: One of "train", "validation", "test" per row where the data set brings its own
            parts, else None.
        ratings: A human rating per row in the data set's own unit, or None where it has none.
        source: The origin, or None for files of the user's own.

    Raises:
        DataError: If the columns differ in length or a split is not one of the three.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...] | None = None
    ratings: tuple[float, ...] | None = None
    source: Source | None = None

    def __post_init__(self) -> None:
        columns = {"labels": self.labels, "splits": self.splits, "ratings": self.ratings}
        check_columns(self.name, "text", len(self.texts), columns)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.texts)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that occur, in sorted order."""
        return tuple(sorted(set(self.labels)))

    @property
    def class_counts(self) -> dict[str, int]:
        """The number of rows of each class, in the order of `classes`."""
        counts = Counter(self.labels)
        return {name: counts[name] for name in self.classes}

    def select(self, rows: Iterable[int]) -> TextExamples:
        """Return the given rows (indices from 0), in the given order."""
        chosen = tuple(rows)
        return TextExamples(
            name=self.name,
            texts=tuple(self.texts[row] for row in chosen),
            labels=tuple(self.labels[row] for row in chosen),
            splits=None if self.splits is None else tuple(self.splits[row] for row in chosen),
            ratings=None if self.ratings is None else tuple(self.ratings[row] for row in chosen),
            source=self.source,
        )
