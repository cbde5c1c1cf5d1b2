from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recipes.baselines import majority, nb_svm
from recipes.baselines.text import log_count_ratio
from zoo.datasets import Fractions, TextExamples, keyword_sentences, split_examples
from zoo.errors import DataError


def rows(*pairs):
    return TextExamples("rows", tuple(text for text, _ in pairs), tuple(name for _, name in pairs))


@pytest.fixture(scope="module")
def split():
    return split_examples(keyword_sentences(count=800, seed=1), Fractions())


def test_log_count_ratio():
    features = csr_matrix([[1, 0], [1, 1], [0, 1]])
    # p = 1 + (2, 1), sum 5; q = 1 + (0, 1), sum 3.
    expected = [math.log(3 / 5 / (1 / 3)), math.log(2 / 5 / (2 / 3))]
    ratio = log_count_ratio(features, np.array([True, True, False]))
    assert ratio == pytest.approx(expected)


def test_majority():
    result = majority(rows(("x", "b"), ("y", "b"), ("z", "a")), rows(("x", "b"), ("w", "a")))
    assert result.predictions == ("b", "b")
    assert result.accuracy == 0.5
    assert result.f1_macro == pytest.approx(1 / 3)  # b: 2/3, a: 0
    assert set(result.record()) == {"accuracy", "f1_macro", "seconds"}


def test_majority_of_equals_is_the_first():
    assert majority(rows(("x", "b"), ("y", "a")), rows(("x", "b"))).predictions == ("a",)


def test_nb_svm_beats_the_majority(split):
    result = nb_svm(*split)
    assert result.accuracy > majority(split.train, split.test).accuracy + 0.2
    assert len(result.predictions) == len(split.test)
    record = result.record()
    assert set(record) == {"accuracy", "f1_macro", "seconds", "C", "interpolation"}
    assert record["seconds"] > 0


def test_nb_svm_is_deterministic(split):
    first, second = nb_svm(*split), nb_svm(*split)
    assert first.predictions == second.predictions and first.settings == second.settings


def test_nb_svm_does_not_look_at_test_labels(split):
    flipped = {"positive": "negative", "negative": "positive"}
    labels = tuple(flipped[label] for label in split.test.labels)
    other = TextExamples("flipped", split.test.texts, labels)
    honest, fooled = nb_svm(*split), nb_svm(split.train, split.validation, other)
    assert honest.predictions == fooled.predictions and honest.settings == fooled.settings


def test_nb_svm_tells_three_classes_apart_by_words_and_punctuation():
    texts = {"question": "is it {}?", "order": "do {} now!", "statement": "it is {}."}
    words = ("red", "blue", "green", "late", "early", "open")
    train = rows(*((text.format(w), name) for name, text in texts.items() for w in words[:4]))
    test = rows(*((text.format(w), name) for name, text in texts.items() for w in words[4:]))
    assert nb_svm(train, train, test).accuracy == 1.0


def test_label_seen_only_in_another_part():
    known = rows(("good", "pos"), ("bad", "neg"))
    with pytest.raises(DataError, match="label 'new' occurs in the test part"):
        nb_svm(known, known, rows(("x", "new")))
