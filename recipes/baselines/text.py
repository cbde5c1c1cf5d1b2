"""Trivial text classifiers that a recipe's model has to beat, measured in the same run."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo import metrics
from zoo.datasets import TextExamples, check_labels

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# A word or a single other sign: punctuation carries sentiment.
TOKEN_PATTERN = r"\w+|[^\w\s]"
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
INTERPOLATIONS = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Baseline:
    """What a baseline reaches on the test part.

    Attributes:
        name: The method, a key for `metrics.json`.
        predictions: One class name per row of the test part.
        accuracy: Share of right predictions, in [0, 1].
        f1_macro: Mean of the classes' F1 scores, in [0, 1].
        seconds: Wall-clock time of fitting, choosing and predicting.
        settings: The hyperparameters that were chosen.
    """

    name: str
    predictions: tuple[str, ...]
    accuracy: float
    f1_macro: float
    seconds: float
    settings: dict[str, float]

    def record(self) -> dict[str, float]:
        """Return the numbers for `metrics.json`."""
        scores = {"accuracy": self.accuracy, "f1_macro": self.f1_macro}
        return {**scores, "seconds": self.seconds, **self.settings}


def majority(train: TextExamples, test: TextExamples) -> Baseline:
    """Predict the most frequent class of the training part for every row.

    Of equally frequent classes the first in sorted order is taken.
    """
    started = time.perf_counter()
    counts = train.class_counts
    winner = max(train.classes, key=lambda name: counts[name])
    return _measured("majority", (winner,) * len(test), test, started, {})


def nb_svm(
    train: TextExamples,
    validation: TextExamples,
    test: TextExamples,
) -> Baseline:
    """Fit a linear SVM on naive Bayes features (Wang and Manning 2012, "Baselines and Bigrams").

    Features are the presence of words, signs and their bigrams, times the log-count ratio r of
    the class; more than two classes are told apart one against the rest. Only the training part
    is fitted; C and the interpolation are those with the best accuracy on the validation part,
    the first among equals.

    Args:
        train: The rows that features, ratios and weights are fitted on.
        validation: The rows that C and the interpolation are chosen on.
        test: The rows that are predicted.

    Raises:
        DataError: If another part has a label that the training part lacks.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # takes a second to import

    started = time.perf_counter()
    for part, rows in {"validation": validation, "test": test}.items():
        check_labels(train.labels, rows.labels, part)
    vectorizer = CountVectorizer(binary=True, ngram_range=(1, 2), token_pattern=TOKEN_PATTERN)
    features = vectorizer.fit_transform(train.texts)
    held_out = vectorizer.transform(validation.texts)
    best_accuracy, settings = -1.0, {}
    for strength in STRENGTHS:
        machines = _Machines.fitted(features, train, strength)
        for beta in INTERPOLATIONS:
            candidate = machines.interpolated(beta)
            reached = metrics.accuracy(candidate.predict(held_out), validation.labels)
            if reached > best_accuracy:
                best_accuracy, best = reached, candidate
                settings = {"C": strength, "interpolation": beta}
    predictions = best.predict(vectorizer.transform(test.texts))
    return _measured("nb_svm", predictions, test, started, settings)


def log_count_ratio(features: csr_matrix, positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return r = ln((p / |p|) / (q / |q|)), the naive Bayes weight of each feature.

    p counts a feature in the positive rows, q in the others, both from 1; |.| is the sum.

    Args:
        features: 0 or 1, [rows, features].
        positive: Which rows belong to the class, [rows].
    """
    p = 1.0 + features[positive].sum(axis=0, dtype=np.float64)
    q = 1.0 + features[~positive].sum(axis=0, dtype=np.float64)
    return np.asarray(np.log(p / p.sum()) - np.log(q / q.sum())).ravel()


@dataclass(frozen=True)
class _Machines:
    """Linear classifiers on the naive Bayes features, one column per class told apart.

    Two classes need one machine, for the second of them.

    Attributes:
        classes: The class names.
        ratios: The log-count ratios, [features, machines].
        weights: The weights of the scaled features, [features, machines].
        biases: [machines].
    """

    classes: tuple[str, ...]
    ratios: NDArray[np.float64]
    weights: NDArray[np.float64]
    biases: NDArray[np.float64]

    @classmethod
    def fitted(cls, features: csr_matrix, train: TextExamples, strength: float) -> _Machines:
        """Fit one machine per class with C = strength."""
        from sklearn.svm import LinearSVC

        ratios, weights, biases = [], [], []
        for target in train.classes[1:] if len(train.classes) == 2 else train.classes:
            positive = np.array([label == target for label in train.labels])
            ratio = log_count_ratio(features, positive)
            # Long texts converge slowly; beyond this tolerance no more than noise changes.
            machine = LinearSVC(C=strength, dual=True, tol=0.01, random_state=0)
            machine.fit(features.multiply(ratio).tocsr(), positive)
            ratios.append(ratio)
            weights.append(machine.coef_[0])
            biases.append(machine.intercept_[0])
        return cls(train.classes, np.stack(ratios, 1), np.stack(weights, 1), np.array(biases))

    def interpolated(self, beta: float) -> _Machines:
        """Move all weights towards the mean of their magnitudes: (1 - beta) mean|w| + beta w."""
        mean = np.abs(self.weights).mean(axis=0)
        return replace(self, weights=(1 - beta) * mean + beta * self.weights)

    def predict(self, features: csr_matrix) -> tuple[str, ...]:
        """Return one class name per row of unscaled features."""
        scores = features @ (self.ratios * self.weights) + self.biases
        chosen = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(int)
        return tuple(self.classes[index] for index in chosen)


def _measured(
    name: str,
    predictions: tuple[str, ...],
    test: TextExamples,
    started: float,
    settings: dict[str, float],
) -> Baseline:
    """Score a baseline's predictions; its clock stops here, before the scoring."""
    seconds = time.perf_counter() - started
    return Baseline(
        name=name,
        predictions=predictions,
        accuracy=metrics.accuracy(predictions, test.labels),
        f1_macro=metrics.f1_macro(predictions, test.labels),
        seconds=seconds,
        settings=settings,
    )
