"""The training loop: what it leaves behind, and that being killed changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from recipes.headline import Headline
from recipes.run import Run
from recipes.training import OneDevice, Trainer, scorer
from zoo.errors import TrainingError
from zoo.layers import masked_cross_entropy
from zoo.models import SequenceClassifier
from zoo.preprocessing import BucketedBatches

ROWS, CLASSES, EPOCHS = 40, 2, 4


class Killed(Exception):
    """Stands for the end of the process between two steps."""


@contextmanager
def trainer(
    folder: Path, learning_rate: float = 0.01, devices: OneDevice | None = None, **options: Any
) -> Iterator[Trainer]:
    """A small training with every kind of dropout, the same at each call."""
    keras.utils.set_random_seed(7)
    random = np.random.default_rng(7)
    rows = [
        random.integers(2, 20, length).astype(np.int32) for length in random.integers(1, 9, ROWS)
    ]
    targets = np.eye(CLASSES, dtype=np.float32)[[int(row[0]) % CLASSES for row in rows]]
    batches = BucketedBatches(rows, batch_size=8, shapes=2, seed=1)
    model = SequenceClassifier(
        20, CLASSES, 8, units=4, word_dropout=0.2, embedding_dropout=0.2, dropout=0.2
    )

    score = scorer(model, "tokens")

    def loss(model: Any, tokens: Any, targets: Any, weights: Any) -> Any:
        return masked_cross_entropy(targets, model({"tokens": tokens}, training=True), weights)

    def validate() -> dict[str, float]:
        logits = batches.map(score)
        return {"accuracy": float(np.mean(logits.argmax(-1) == targets.argmax(-1)))}

    with Run(folder, "test", {}, devices) as run:
        yield Trainer(
            model,
            loss,
            batches,
            targets,
            validate,
            Headline("accuracy"),
            keras.optimizers.Adam(learning_rate),
            EPOCHS,
            run,
            **options,
        )


def everything(trained: Trainer) -> list[np.ndarray]:
    return [np.asarray(value) for value in (*trained.model.variables, *trained.optimizer.variables)]


def test_training_learns_and_records_every_epoch(tmp_path: Path) -> None:
    with trainer(tmp_path, learning_rate=0.05) as trained:
        state = trained.fit()
        history = trained.run.read_json("history.json")
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["loss"] < history[0]["loss"]
    assert state.examples == EPOCHS * ROWS
    assert state.seconds > 0
    assert list((tmp_path / "logs").glob("events.*"))


def test_the_weights_of_the_best_epoch_are_the_result(tmp_path: Path) -> None:
    scores = iter([0.1, 0.9, 0.9, 0.3])
    seen: list[list[np.ndarray]] = []
    with trainer(tmp_path) as trained:

        def validate() -> dict[str, float]:
            seen.append([np.asarray(value) for value in trained.model.weights])
            return {"accuracy": next(scores)}

        trained.validate = validate
        state = trained.fit()
    # Of two equal epochs the first.
    assert state.best_epoch == 1
    for value, expected in zip(trained.model.weights, seen[1], strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A training that ran through."""
    with trainer(tmp_path_factory.mktemp("whole")) as whole:
        whole.fit()
    return whole


@pytest.mark.parametrize("steps", [10, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_training_ends_with_the_weights_of_one_that_ran_through(
    tmp_path: Path, whole: Trainer, steps: int
) -> None:
    # A checkpoint behind every step, as if a minute lay between.
    with trainer(tmp_path / "killed", checkpoint_seconds=0) as first:
        step, count = first._step, itertools.count()

        def until_killed(*batch: Any) -> Any:
            if next(count) == steps:
                raise Killed
            return step(*batch)

        first._step = until_killed
        with pytest.raises(Killed):
            first.fit()
    with trainer(tmp_path / "killed") as second:
        second.fit()

    assert second.state.history == whole.state.history
    assert second.state.examples == whole.state.examples
    for resumed, expected in zip(everything(second), everything(whole), strict=True):
        np.testing.assert_array_equal(resumed, expected)


def test_a_finished_training_is_not_trained_further(whole: Trainer) -> None:
    with trainer(whole.run.folder) as second:
        second._step = None  # type: ignore[assignment]
        second.fit()
    for again, expected in zip(everything(second), everything(whole), strict=True):
        np.testing.assert_array_equal(again, expected)


class Told(OneDevice):
    """The devices of a worker that is not the chief, whose numbers are these."""

    is_chief = False

    def __init__(self, *numbers: float) -> None:
        self.numbers, self.ended = iter(numbers), False

    def agreed(self, numbers: Sequence[float]) -> Sequence[float]:
        return [next(self.numbers)]

    def end(self) -> None:
        self.ended = True


def test_the_chief_decides_which_epoch_is_best_and_whether_to_go_on(tmp_path: Path) -> None:
    devices = Told(True, 0.25, True, 0.125, False)
    with trainer(tmp_path, devices=devices) as trained:
        state = trained.fit()
    assert [row["accuracy"] for row in state.history] == [0.25, 0.125]
    assert state.best_epoch == 0 and devices.ended
    assert not (tmp_path / "logs").exists()


def test_the_chief_tells_where_to_go_on(tmp_path: Path, whole: Trainer) -> None:
    devices = OneDevice()
    checkpoint = (whole.run.folder / "checkpoint.npz").read_bytes()
    devices.from_chief = lambda content: checkpoint  # type: ignore[method-assign]
    with trainer(tmp_path / "other", devices=devices) as other:
        other.restore()
    assert other.state == whole.state
    for ours, theirs in zip(other.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_loss_that_is_no_number_stops_with_epoch_and_step(tmp_path: Path) -> None:
    with trainer(tmp_path) as trained:
        trained._step = lambda *_: float("nan")  # type: ignore[assignment]
        with pytest.raises(TrainingError, match="the loss is nan at epoch 1, step 1"):
            trained.fit()
        assert not trained.run.path("checkpoint.npz").exists()
