"""Labels and ratings to target probabilities, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zoo.preprocessing import class_targets, token_targets


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_without_ratings_the_target_is_the_label():
    targets = class_targets(["b", "a", "c"], ["a", "b", "c"])
    assert targets.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert targets.dtype == np.float32


@pytest.mark.parametrize(
    ("labels", "classes", "ratings", "sharpness"),
    [
        (["n", "p"], ["n", "p"], [-1.0, 1.0], 0.0),
        (["n", "p"], ["n", "p"], None, 2.0),
        (["n", "p", "o"], ["n", "o", "p"], [-1.0, 1.0, 0.0], 2.0),
    ],
    ids=["no sharpness", "no ratings", "three classes"],
)
def test_ratings_are_ignored_where_they_mean_nothing(
    labels: list[str], classes: list[str], ratings: list[float] | None, sharpness: float
):
    targets = class_targets(labels, classes, ratings, sharpness)
    assert targets.tolist() == class_targets(labels, classes).tolist()


@pytest.mark.parametrize("classes", [["n", "p"], ["p", "n"]])
def test_graded_ratings_worked_by_hand(classes: list[str]):
    # The border lies between -1 and 2, at 0.5; the deviation of -3, -1, 2, 2 is sqrt(4.5).
    targets = class_targets(["n", "n", "p", "p"], classes, [-3.0, -1.0, 2.0, 2.0], sharpness=1.5)
    distances = np.array([-3.5, -1.5, 1.5, 1.5])
    upper = [sigmoid(1.5 * distance / math.sqrt(4.5)) for distance in distances]
    np.testing.assert_allclose(targets[:, classes.index("p")], upper, rtol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)


def test_every_target_stands_on_the_side_of_its_label():
    ratings = [-3.0, -0.1, 0.1, 3.0]
    targets = class_targets(["n", "n", "p", "p"], ["n", "p"], ratings, sharpness=2.0)
    assert targets.argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert np.all(np.diff(targets[:, 1]) > 0)


def test_a_sharper_target_is_closer_to_the_label():
    mild, sharp = (
        class_targets(["n", "p"], ["n", "p"], [-1.0, 1.0], sharpness) for sharpness in (1.0, 10.0)
    )
    assert np.all(sharp.max(axis=1) > mild.max(axis=1))
    np.testing.assert_allclose(sharp, np.eye(2), atol=1e-4)


def test_the_unit_of_the_ratings_does_not_matter():
    stars = class_targets(["n", "p", "p"], ["n", "p"], [1.0, 4.0, 5.0], 2.0)
    percent = class_targets(["n", "p", "p"], ["n", "p"], [20.0, 80.0, 100.0], 2.0)
    np.testing.assert_allclose(stars, percent, rtol=1e-6)


def test_characters_become_classes_from_1_and_0_fills_up():
    targets = token_targets(["ab", "", "bab?"], "ab")
    np.testing.assert_array_equal(targets["labels"], [[1, 2, 0], [0, 0, 0], [2, 1, 2]])
    np.testing.assert_array_equal(targets["label_lengths"], [2, 0, 3])
    assert token_targets([""], "ab")["labels"].shape == (1, 1)
