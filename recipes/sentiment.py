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
from recipes.headline import Headline
from recipes.report import Answers, Score, classification_page
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
    embedding_dropout: float = 0.5
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
        dataset="synthetic",
        vocabulary=400,
        embedding_units=16,
        units=16,
        word_dropout=0.0,
        embedding_dropout=0.1,
        dropout=0.1,
        epochs=5,
        batch_size=32,
        learning_rate=1e-2,
    ),
    "base": Config(),
    "large": Config(vocabulary=12_000, max_length=400, embedding_units=256, units=256),
}

# Test accuracy as published; rt-polarity by ten-fold cross-validation.
MARKS = {
    "imdb": [
        Score("Keras example, 2x BiLSTM", 0.8428, "keras.io"),
        Score("ULMFiT", 0.954, "Howard and Ruder 2018"),
        Score("XLNet", 0.9621, "Yang et al. 2019"),
    ],
    "rt-polarity": [Score("CNN-RNN", 0.8228, "Wang et al. 2016")],
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
    import keras

    keras.utils.set_random_seed(config.seed)  # initial weights and every dropout
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
    )
    samples = [text.encode() for text in data.validation.texts[:SAMPLES]]
    return Pipeline(encoder, model, decoding.LabelDecoder(data.train.classes), {"text": samples})


def train(config: Config, data: datasets.Split, pipeline: Pipeline, run: Run) -> dict[str, Any]:
    """Train `pipeline` in place, then calibrate it on the validation part."""
    from scipy.special import softmax

    from recipes.training import Trainer, scorer  # here, not above: it loads TensorFlow

    classes = data.train.classes
    batches = _batches(config, pipeline, data.train.texts)
    held_out = _batches(config, pipeline, data.validation.texts)
    truth = _class_ids(data.validation.labels, classes)
    score = scorer(pipeline.model, "tokens")

    def validate() -> dict[str, float]:
        logits = held_out.map(score)
        return {
            "validation_loss": metrics.negative_log_likelihood(softmax(logits, axis=-1), truth),
            "accuracy": metrics.accuracy(logits.argmax(axis=-1), truth),
        }

    state = Trainer(
        pipeline.model,
        _loss,
        batches,
        preprocessing.class_targets(data.train.labels, classes, data.train.ratings, config.grading),
        validate,
        HEADLINE,
        _optimizer(config, steps=len(batches.epoch(0))),
        config.epochs,
        run,
    ).fit()
    temperature = decoding.fit_temperature(held_out.map(score), truth)
    pipeline.finish = decoding.LabelDecoder(classes, temperature)
    return {
        "best_epoch": state.best_epoch + 1,
        "train_seconds": state.seconds,
        "examples_per_second": state.examples / state.seconds,
    }


def evaluate(
    config: Config, data: datasets.Split, pipeline: Pipeline
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the metrics of the test part, and the answers behind them.

    The raw texts go through the whole pipeline, as those of a client would.
    """
    answers = pipeline.predict({"text": np.array(data.test.texts, dtype=object)})
    probabilities = answers["probabilities"]
    truth = _class_ids(data.test.labels, data.train.classes)
    guess = probabilities.argmax(axis=-1)
    scores = {
        "accuracy": metrics.accuracy(guess, truth),
        "f1_macro": metrics.f1_macro(guess, truth),
        "cross_entropy": metrics.negative_log_likelihood(probabilities, truth),
        "calibration_error": metrics.expected_calibration_error(probabilities, truth),
    }
    return scores, answers


def baselines(config: Config, data: datasets.Split) -> dict[str, dict[str, Any]]:
    """Return what needs no neural network, on the same parts."""
    return {
        "nb_svm": reference.nb_svm(data.train, data.validation, data.test).record(),
        "majority": reference.majority(data.train, data.test).record(),
    }


def report(
    config: Config,
    data: datasets.Split,
    run: Run,
    results: dict[str, Any],
    answers: dict[str, np.ndarray],
) -> None:
    """Write the page of the run and its pictures."""
    classes = data.train.classes
    test = Answers(classes, data.test.texts, data.test.labels, answers["probabilities"])
    text = (
        f"A bidirectional {config.cell.upper()} with {config.pooling} pooling, trained on "
        f"{len(data.train):,} texts of {data.train.name}. The {len(data.test):,} texts of the "
        "test part were scored once, after training."
    )
    marks = [] if config.data else MARKS.get(config.dataset, [])
    classification_page(run, "Sentiment", text, test, results, marks)


HEADLINE = Headline("accuracy")
SIGNATURES = ("serving_default",)


def main() -> None:
    """Run this recipe from the command line."""
    from recipes.__main__ import main as recipes

    sys.exit(recipes(["sentiment", *sys.argv[1:]]))


def _class_ids(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    return np.array([classes.index(label) for label in labels])


def _optimizer(config: Config, steps: int) -> Any:
    """Adam that warms up for one epoch of `steps` steps and then cools down to 0."""
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, config.epochs * steps, warmup_target=config.learning_rate, warmup_steps=steps
    )
    return keras.optimizers.Adam(schedule, global_clipnorm=config.clip_norm)


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
