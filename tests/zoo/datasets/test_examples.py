from __future__ import annotations

import pytest

from zoo.datasets import TextExamples
from zoo.errors import DataError

EXAMPLES = TextExamples(
    name="three",
    texts=("a", "b", "c"),
    labels=("y", "x", "y"),
    splits=("train", "test", "validation"),
    ratings=(1.0, -1.0, 2.0),
)


def test_classes_and_counts():
    assert len(EXAMPLES) == 3
    assert EXAMPLES.classes == ("x", "y")
    assert EXAMPLES.class_counts == {"x": 1, "y": 2}


def test_select_takes_every_column():
    chosen = EXAMPLES.select([2, 0])
    assert chosen.texts == ("c", "a")
    assert chosen.labels == ("y", "y")
    assert chosen.splits == ("validation", "train")
    assert chosen.ratings == (2.0, 1.0)


def test_select_without_optional_columns():
    assert TextExamples("n", ("a", "b"), ("x", "y")).select([1]) == TextExamples(
        "n", ("b",), ("y",)
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"labels": ("x",)}, "2 texts but 1 labels"),
        ({"splits": ("train",)}, "2 texts but 1 splits"),
        ({"ratings": (1.0, 2.0, 3.0)}, "2 texts but 3 ratings"),
        ({"splits": ("train", "tests")}, "'tests' is not a part; did you mean 'test'"),
    ],
)
def test_inconsistent(columns, message):
    with pytest.raises(DataError, match=message):
        TextExamples(**{"name": "n", "texts": ("a", "b"), "labels": ("x", "y"), **columns})
