"""The page of a recipe that gives one label per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recipes.report import figures
from recipes.report.page import Picture, Score, Section, Table
from recipes.report.summary import Summary, confident_mistakes, write_page
from recipes.run import Run
from zoo import metrics


@dataclass(frozen=True)
class Answers:
    """The test part and what the model said to it.

    Attributes:
        classes: Class names in the order of the probabilities.
        rows: Each row as a person would recognise it, such as its text.
        labels: The true class names.
        probabilities: `float32[rows, classes]`.
    """

    classes: Sequence[str]
    rows: Sequence[str]
    labels: Sequence[str]
    probabilities: np.ndarray

    @property
    def predictions(self) -> list[str]:
        """The most probable class of each row."""
        return [self.classes[index] for index in self.probabilities.argmax(axis=-1)]


def classification_page(
    run: Run,
    title: str,
    text: str,
    answers: Answers,
    results: Mapping[str, Any],
    published: Sequence[Score] = (),
) -> Path:
    """Write `index.html` with scores beside baselines and marks, curves and mistakes.

    Args:
        run: The run folder; its `history.json` gives the learning curves.
        title: Headline of the page.
        text: What was trained on what, in a sentence or two.
        answers: The test part, answered.
        results: As for `metrics.json`: test, baselines, best_epoch, train_seconds, ...
        published: What others reach on this data set.
    """
    mistakes = confident_mistakes(
        answers.rows, answers.labels, answers.predictions, answers.probabilities.max(axis=-1)
    )
    sections = [
        Section(
            "Most confident mistakes",
            "The wrong rows that the model was surest of: hard ones, or wrongly labelled ones.",
            table=mistakes,
        )
    ]
    summary, table = _summary(text, results, published), _score_table(results)
    return write_page(run, title, summary, [table], _pictures(run, answers, results), sections)


def _summary(text: str, results: Mapping[str, Any], published: Sequence[Score]) -> Summary:
    return Summary(
        text=text,
        metric="test accuracy",
        model=Score("model", results["test"]["accuracy"]),
        baselines=[Score(name, row["accuracy"]) for name, row in results["baselines"].items()],
        published=published,
        facts={
            "parameters": results["parameters"],
            "training, seconds": round(results["train_seconds"], 1),
            "examples per second": round(results["examples_per_second"]),
            "best epoch": results["best_epoch"],
        },
    )


def _score_table(results: Mapping[str, Any]) -> Table:
    model = {**results["test"], "seconds": results["train_seconds"]}
    rows = [
        (name, row["accuracy"], row["f1_macro"], row["seconds"])
        for name, row in {"model": model, **results["baselines"]}.items()
    ]
    percent = ("accuracy", "F1, macro")
    return Table("Test part", ("method", *percent, "seconds"), rows, percent)


def _pictures(run: Run, answers: Answers, results: Mapping[str, Any]) -> list[Picture]:
    truth = np.array([answers.classes.index(label) for label in answers.labels])
    matrix = metrics.confusion_matrix(answers.predictions, answers.labels, answers.classes)
    error = metrics.expected_calibration_error(answers.probabilities, truth)
    return [
        Picture(
            "learning_curves",
            "Loss and validation metrics per epoch; the weights of the marked epoch were kept.",
            "Line charts of loss and validation accuracy over the epochs",
            figures.learning_curves(run.read_json("history.json"), results["best_epoch"]),
        ),
        Picture(
            "confusion_matrix",
            "Counts, and percentages of each true class.",
            "Confusion matrix of the test part, true classes on the rows",
            figures.confusion_matrix(matrix, answers.classes),
        ),
        Picture(
            "reliability",
            "On the diagonal a probability can be taken at its word. "
            f"Expected calibration error: {error:.3f}.",
            "Reliability diagram: confidence against accuracy",
            figures.reliability(answers.probabilities, truth),
        ),
    ]
