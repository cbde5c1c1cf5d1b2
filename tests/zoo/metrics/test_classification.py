from __future__ import annotations

import math

import numpy as np
import pytest

from zoo import metrics
from zoo.errors import DataError


def test_accuracy():
    assert metrics.accuracy(["a", "b", "b", "a"], ["a", "b", "a", "a"]) == 0.75
    assert metrics.accuracy(np.array([1, 0]), [0, 1]) == 0.0


def test_f1_macro():
    # a: precision 2/2, recall 2/3, F1 4/5; b: precision 1/2, recall 1/1, F1 2/3.
    score = metrics.f1_macro(["a", "a", "b", "b"], ["a", "a", "a", "b"])
    assert score == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_f1_macro_of_a_class_never_predicted():
    # a: precision 2/3, recall 1, F1 4/5; b: 0.
    assert metrics.f1_macro(["a", "a", "a"], ["a", "a", "b"]) == pytest.approx(0.4)


def test_f1_macro_of_a_class_never_true():
    # a: precision 1, recall 1/2, F1 2/3; b: 0.
    assert metrics.f1_macro(["a", "b"], ["a", "a"]) == pytest.approx(1 / 3)


def test_one_class():
    assert metrics.accuracy(["a", "a"], ["a", "a"]) == 1.0
    assert metrics.f1_macro(["a", "a"], ["a", "a"]) == 1.0
    assert metrics.confusion_matrix(["a", "a"], ["a", "a"], ["a"]).tolist() == [[2]]


def test_confusion_matrix():
    matrix = metrics.confusion_matrix(
        ["a", "b", "b", "a", "b"], ["a", "a", "a", "b", "b"], classes=["b", "a", "never"]
    )
    # Rows are what is true: of two b one was taken for b, one for a; of three a two for b.
    assert matrix.tolist() == [[1, 1, 0], [2, 1, 0], [0, 0, 0]]
    assert matrix.dtype == np.int64


def test_confusion_matrix_of_an_unlisted_class():
    with pytest.raises(DataError, match="'c' is not among a, b"):
        metrics.confusion_matrix(["a", "c"], ["a", "b"], ["a", "b"])


def test_expected_calibration_error():
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]]
    # Two bins, (0, 0.5] and (0.5, 1]; all four confidences 0.9, 0.8, 0.7, 0.6 lie in the second:
    # mean confidence 0.75, three of four right: no gap.
    labels = [0, 1, 0, 0]
    assert metrics.expected_calibration_error(probabilities, labels, 2) == pytest.approx(0.0)
    # Five bins: 0.9 (right) alone in (0.8, 1], 0.8 (right) and 0.7 (right) in (0.6, 0.8],
    # 0.6 (wrong) in (0.4, 0.6]: (|1 - 0.9| + |2 - 1.5| + |0 - 0.6|) / 4.
    assert metrics.expected_calibration_error(probabilities, labels, 5) == pytest.approx(0.3)


def test_expected_calibration_error_at_the_ends():
    assert metrics.expected_calibration_error([[1.0, 0.0]], [0]) == 0.0
    assert metrics.expected_calibration_error([[1.0, 0.0]], [1]) == 1.0
    assert metrics.expected_calibration_error([[0.5, 0.5]], [0], bins=1) == 0.5


def test_negative_log_likelihood():
    value = metrics.negative_log_likelihood([[0.5, 0.5], [0.25, 0.75]], [1, 0])
    assert value == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert metrics.negative_log_likelihood([[1.0, 0.0]], [0]) == 0.0


def test_negative_log_likelihood_of_an_impossible_class_is_finite():
    value = metrics.negative_log_likelihood(np.array([[1.0, 0.0]], np.float32), [1])
    assert value == pytest.approx(12 * math.log(10))


@pytest.mark.parametrize(
    "metric",
    [
        metrics.accuracy,
        metrics.f1_macro,
        lambda a, b: metrics.confusion_matrix(a, b, ["a"]),
        metrics.expected_calibration_error,
        metrics.negative_log_likelihood,
    ],
)
def test_no_rows(metric):
    with pytest.raises(DataError, match="at least one row"):
        metric([], [])


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.f1_macro])
def test_different_lengths(metric):
    with pytest.raises(DataError, match=r"\(2,\) and \(3,\)"):
        metric(["a", "b"], ["a", "b", "b"])


@pytest.mark.parametrize(
    ("probabilities", "labels", "expected"),
    [
        ([0.5, 0.5], [0, 1], "rows, classes"),
        ([[0.5, 0.5]], [0, 1], "rows, classes"),
        ([[0.5, 0.5]], [2], "from 0 to 1; received int64 from 2 to 2"),
        ([[0.5, 0.5]], [-1], "from 0 to 1"),
        ([[0.5, 0.5]], [0.0], "received float64"),
        ([[0.5, 0.6]], [0], "sum to 1"),
        ([[1.5, -0.5]], [0], "at least 0"),
        ([[math.nan, 0.5]], [0], "at least 0"),
    ],
)
def test_malformed_probabilities(probabilities, labels, expected):
    for metric in (metrics.expected_calibration_error, metrics.negative_log_likelihood):
        with pytest.raises(DataError, match=expected):
            metric(probabilities, labels)
