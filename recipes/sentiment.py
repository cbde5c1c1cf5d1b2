"""Sentiment: raw text in, label and calibrated probabilities out.

    python -m recipes sentiment train --run-dir runs/sentiment
    python -m recipes sentiment train --dataset imdb --preset large --run-dir runs/imdb
    python -m recipes sentiment train --data mine.csv --text-column review --label-column stars

A bidirectional LSTM reads subwords; the strongest activations over time and an attention
vote decide. On human-rated sentences the targets are graded: a sentence that people found
hardly positive counts for less than one that they found splendid.

Measured beside NB-SVM in the same run: see the result table in the README.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recipes import baselines as reference
from recipes.config import require
from recipes.run import Run
from zoo import datasets, decoding, layers, metrics, models, preprocessing
from zoo.pipeline import Pipeline


@dataclass(frozen=True)
class Config:
    """What a run depends on."""

    dataset: str = "movie-snippets"
    """A data set by name: movie-snippets, rt-polarity, imdb or synthetic."""
    data: Path | None = None
    """Own table instead: .csv, .tsv or .jsonl, also .gz; with a header line or object keys."""
    text_column: str = "text"
    """Column of the own table that holds the text."""
    label_column: str = "label"
    """Column that holds the label; any number of classes. A column "split" is respected."""
    validation_fraction: float = 0.1
    """Share of the rows that chooses the best epoch (rows go by a hash of their text)."""
    test_fraction: float = 0.1
    """Share of the rows that is scored once, at the end."""

    vocabulary: int = 4000
    """Most subwords, learned from the training part."""
    lower_case: bool = True
    """Fold case before looking subwords up."""
    max_length: int = 128
    """Most subwords of a text that are read; the rest is cut off."""

    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent layer."""
    embedding_units: int = 128
    """Size of a subword's vector."""
    units: int = 64
    """State size per direction."""
    layers: int = 1
    """Bidirectional layers on top of each other."""
    pooling: str = "max+attention"
    """How steps become one vector: attention, max, mean, or several joined by "+"."""

    word_dropout: float = 0.1
    """Share of subwords hidden from training."""
    embedding_dropout: float = 0.3
    """Share of embedding features dropped from a whole text."""
    dropout: float = 0.5
    """Share of features dropped between layers and before the scores."""
    grading: float = 2.0
    """Sharpness of targets from graded ratings, where there are ratings; 0 = plain labels."""

    epochs: int = 8
    """Passes over the training part; the best one by validation accuracy is kept."""
    batch_size: int = 64
    """Texts per step."""
    learning_rate: float = 2e-3
    """Peak of the schedule: one epoch of warm-up, then a cosine down to 0."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient."""
    seed: int = 0
    """Seed of weights, dropout and order."""

    def __post_init__(self) -> None:
        """Check every range, so that a bad value is named before anything is loaded."""
        require(self, "at least 300", lambda n: n >= 300, "vocabulary")
        sizes = ("max_length", "embedding_units", "units", "layers", "epochs", "batch_size")
        require(self, "at least 1", lambda n: n >= 1, *sizes)
        rates = ("word_dropout", "embedding_dropout", "dropout")
        require(self, "at least 0 and below 1", lambda rate: 0 <= rate < 1, *rates)
        require(self, "above 0", lambda value: value > 0, "learning_rate", "clip_norm")
        require(self, "at least 0", lambda value: value >= 0, "grading")


PRESETS = {
    "tiny": Config(
        dataset="synthetic", vocabulary=400, embedding_units=16, units=16, epochs=4, dropout=0.2
    ),
    "base": Config(),
    "large": Config(vocabulary=12_000, max_length=400, embedding_units=256, units=256),
}

SAMPLES = 64
"""Real texts that travel with the pipeline, for warm-up and comparison."""


def load(config: Config) -> datasets.Split:
    """Return train, validation and test part."""
    if config.data is not None:
        examples = datasets.read_table(config.data, config.text_column, config.label_column)
    else:
        examples = datasets.load(config.dataset)
    fractions = datasets.Fractions(config.validation_fraction, config.test_fraction)
    data = datasets.split_examples(examples, fractions)
    datasets.check_labels(data.train.labels, data.validation.labels, "validation")
    datasets.check_labels(data.train.labels, data.test.labels, "test")
    return data


def build(config: Config, data: datasets.Split) -> Pipeline:
    """Return the untrained pipeline; only the training part is looked at."""
    vocabulary = preprocessing.learn_vocabulary(
        data.train.texts, config.vocabulary, config.lower_case
    )
    encoder = preprocessing.TextEncoder(vocabulary, config.max_length)
    model = models.SequenceClassifier(
        encoder.vocabulary_size,
        len(data.train.classes),
        config.embedding_units,
        config.cell,
        config.units,
        config.layers,
        config.pooling,
        config.word_dropout,
        config.embedding_dropout,
        config.dropout,
        config.seed,
    )
    samples = [text.encode() for text in data.validation.texts[:SAMPLES]]
    return Pipeline(encoder, model, decoding.LabelDecoder(data.train.classes), {"text": samples})


def train(config: Config, data: datasets.Split, pipeline: Pipeline, run: Run) -> dict[str, Any]:
    """Train `pipeline` in place, then calibrate it on the validation part."""
    import keras
    from scipy.special import softmax

    from recipes.training import Trainer, scorer  # here, not above: it loads TensorFlow

    classes = data.train.classes
    batches = _batches(config, pipeline, data.train.texts)
    held_out = _batches(config, pipeline, data.validation.texts)
    answers = np.array([classes.index(label) for label in data.validation.labels])
    score = scorer(pipeline.model, "tokens")

    def validate() -> dict[str, float]:
        logits = held_out.map(score)
        return {
            "validation_loss": metrics.negative_log_likelihood(softmax(logits, axis=-1), answers),
            "accuracy": metrics.accuracy(logits.argmax(axis=-1), answers),
        }

    steps = len(batches.epoch(0))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, config.epochs * steps, warmup_target=config.learning_rate, warmup_steps=steps
    )
    state = Trainer(
        pipeline.model,
        _loss,
        batches,
        preprocessing.class_targets(data.train.labels, classes, data.train.ratings, config.grading),
        validate,
        "accuracy",
        keras.optimizers.Adam(schedule, global_clipnorm=config.clip_norm),
        config.epochs,
        run,
    ).fit()
    temperature = decoding.fit_temperature(held_out.map(score), answers)
    pipeline.finish = decoding.LabelDecoder(classes, temperature)
    return {
        "best_epoch": state.best_epoch + 1,
        "train_seconds": state.seconds,
        "examples_per_second": state.examples / state.seconds,
    }


def evaluate(config: Config, data: datasets.Split, pipeline: Pipeline) -> dict[str, float]:
    """Return the metrics of the test part, asked as a client would ask."""
    answer = predict(pipeline, data.test.texts)
    classes = data.train.classes
    truth = np.array([classes.index(label) for label in data.test.labels])
    guess = answer["probabilities"].argmax(axis=-1)
    return {
        "accuracy": metrics.accuracy(guess, truth),
        "f1_macro": metrics.f1_macro(guess, truth),
        "log_likelihood_loss": metrics.negative_log_likelihood(answer["probabilities"], truth),
        "calibration_error": metrics.expected_calibration_error(answer["probabilities"], truth),
    }


def baselines(config: Config, data: datasets.Split) -> dict[str, dict[str, Any]]:
    """Return what needs no neural network, on the same parts."""
    return {
        "nb_svm": reference.nb_svm(data.train, data.validation, data.test).record(),
        "majority": reference.majority(data.train, data.test).record(),
    }


def report(
    config: Config, data: datasets.Split, pipeline: Pipeline, run: Run, results: dict[str, Any]
) -> None:
    """Write pictures and the page of the run."""


SIGNATURES = ("serving_default",)


def main() -> None:
    """Run this recipe from the command line."""
    from recipes.__main__ import main as recipes

    sys.exit(recipes(["sentiment", *sys.argv[1:]]))


def predict(pipeline: Pipeline, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the pipeline's answers to raw texts."""
    return pipeline.predict({"text": np.array(texts, dtype=object)})


def _loss(model: Any, tokens: Any, targets: Any, weights: Any) -> Any:
    logits = model({"tokens": tokens}, training=True)
    return layers.masked_cross_entropy(targets, logits, weights)


def _batches(
    config: Config, pipeline: Pipeline, texts: Sequence[str]
) -> preprocessing.BucketedBatches:
    """Map texts through the very `prepare` that is served, and cut the padding off again."""
    rows = []
    for start in range(0, len(texts), 1024):
        tokens = pipeline.prepare({"text": texts[start : start + 1024]})["tokens"].numpy()
        rows += [row[: max(np.count_nonzero(row), 1)] for row in tokens]
    return preprocessing.BucketedBatches(rows, config.batch_size, seed=config.seed)


if __name__ == "__main__":
    main()
