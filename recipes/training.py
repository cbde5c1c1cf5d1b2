"""The training loop: one step, many times, safe against being killed at any of them.

A checkpoint holds all that the next step depends on: weights, the optimizer's state, the
states of every dropout, epoch and step, and the best weights so far. The order of the
data is a pure function of seed and epoch. So a run that is killed and started again ends
with the weights of one that never stopped. (`.keras` files lack the dropout states.)

The loop does not know what its steps run on: its run says so, which is one device unless
`recipes.distribution` has spread it over several.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from recipes.headline import Headline
from recipes.progress import Progress
from recipes.run import CHECKPOINT, HISTORY, Run
from zoo.errors import TrainingError
from zoo.preprocessing.batching import Batch, BucketedBatches


@dataclass
class State:
    """Where training stands, apart from the arrays.

    Attributes:
        epoch, step: The next step to be taken, both from 0.
        loss_sum: Sum of the losses of this epoch's steps.
        examples, seconds: Trained on so far, over all processes.
        history: Per finished epoch `epoch`, `loss` and the validation metrics.
        best_epoch: Its weights are the result; -1 before the first validation.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    examples: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1


def row_weights(features: Any, targets: Any, weights: Any) -> Any:
    """Return the sum of the rows' weights: what a mean over rows divides by."""
    return tf.reduce_sum(weights)


class OneDevice:
    """What the steps of a training run on: one device of this process.

    Attributes:
        is_chief: Whether this process is the one that writes the run folder.
    """

    is_chief = True

    def parts(self, batch: Batch) -> Sequence[Batch]:
        """Return what of a batch each device of this process takes."""
        return [batch]

    def step(
        self,
        model: keras.Model,
        loss: Callable[..., Any],
        counts: Callable[..., Any],
        optimizer: keras.optimizers.Optimizer,
    ) -> Callable[[Sequence[Any]], Any]:
        """Return a training step: takes features, targets and weights by part, gives the loss."""

        # One graph for all lengths: without this each padded length is traced anew.
        @tf.function(reduce_retracing=True)
        def step(features: Any, targets: Any, weights: Any) -> Any:
            with tf.GradientTape() as tape:
                value = loss(model, features, targets, weights)
            gradients = tape.gradient(value, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            return value

        return lambda parts: step(*parts[0])

    def begin(self, model: keras.Model) -> None:
        """Make ready for the first step of this process, with all variables restored."""

    def from_chief(self, content: bytes) -> bytes:
        """Return what the chief passed."""
        return content

    def agreed(self, numbers: Sequence[float]) -> Sequence[float]:
        """Return the numbers that the chief passed, of which all pass equally many."""
        return numbers

    def end(self) -> None:
        """Let other processes go, behind the last step."""


class Trainer:
    """Trains a model and keeps the weights of its best epoch.

    Args:
        model: A built Keras model.
        loss: `(model, features, targets, weights) -> scalar`, called in training mode.
        batches: The training rows.
        targets: `[rows, ...]`, aligned with the rows of `batches`; an array or a tree of them.
        validate: Returns metrics of the validation part by name.
        monitor: The metric of `validate` that decides which epoch is best.
        optimizer: A Keras optimizer.
        epochs: Passes over the training rows.
        run: Where checkpoints and logs go, and what devices the steps run on.
        checkpoint_seconds: Time between checkpoints within an epoch.
        counts: `(features, targets, weights) -> scalar`, what `loss` divides by: parts of a
            batch are added up as loss times count, and divided by the sum of the counts.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Callable[..., Any],
        batches: BucketedBatches,
        targets: Any,
        validate: Callable[[], Mapping[str, float]],
        monitor: Headline,
        optimizer: keras.optimizers.Optimizer,
        epochs: int,
        run: Run,
        checkpoint_seconds: float = 60.0,
        counts: Callable[..., Any] = row_weights,
    ) -> None:
        self.model, self.batches, self.targets = model, batches, targets
        self.validate, self.monitor = validate, monitor
        self.optimizer, self.epochs, self.run = optimizer, epochs, run
        self.checkpoint_seconds = checkpoint_seconds
        self.devices = run.devices or OneDevice()
        self.state = State()
        optimizer.build(model.trainable_variables)
        self._best = [np.asarray(value) for value in model.weights]
        self._step = self.devices.step(model, loss, counts, optimizer)

    def fit(self) -> State:
        """Train to the end, or until the run has seen enough, and load the best weights.

        Raises:
            TrainingError: The loss is not finite.
        """
        self.restore()
        self.devices.begin(self.model)
        with self._logs().as_default(), Progress(self.epochs) as progress:
            while self.state.epoch < self.epochs and self._goes_on():
                self._epoch(progress)
        for variable, value in zip(self.model.weights, self._best, strict=True):
            variable.assign(value)
        self.devices.end()
        return self.state

    def _logs(self) -> Any:
        if self.devices.is_chief:
            return tf.summary.create_file_writer(str(self.run.path("logs")))
        return tf.summary.create_noop_writer()

    def _goes_on(self) -> bool:
        return bool(self.devices.agreed([self.run.goes_on(self.state.history)])[0])

    def _epoch(self, progress: Progress) -> None:
        state = self.state
        plan = self.batches.epoch(state.epoch)
        progress.start(state.epoch, len(plan), state.step)
        saved = mark = time.monotonic()
        while state.step < len(plan):
            batch = plan[state.step]
            loss = float(self._step([*map(self._arrays, self.devices.parts(batch))]))
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at epoch {state.epoch + 1}, step {state.step + 1}: "
                    "lower learning_rate or clip_norm"
                )
            now = time.monotonic()
            rows = int(batch.weights.sum())
            state.step += 1
            state.loss_sum += loss
            state.examples += rows
            state.seconds += now - mark
            mark = now
            progress.step(rows, loss)
            if now - saved > self.checkpoint_seconds:
                self.save()
                saved = mark = time.monotonic()
        self._finish_epoch(len(plan))
        progress.end(state.history[-1], is_best=state.best_epoch == state.epoch - 1)

    def _finish_epoch(self, steps: int) -> None:
        """Validate, keep the weights if they are the best, and write everything down."""
        state = self.state
        scores = self.validate()
        # All judge by the same numbers, whatever the last digits of their own.
        scores = dict(zip(scores, self.devices.agreed([*scores.values()]), strict=True))
        row = {"epoch": state.epoch + 1, "loss": state.loss_sum / steps, **scores}
        if self._is_best(row):
            state.best_epoch = state.epoch
            self._best = [np.asarray(value) for value in self.model.weights]
        state.history.append(row)
        for name, value in row.items():
            tf.summary.scalar(name, value, step=state.epoch + 1)
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        self.save()
        self.run.write_json(HISTORY, state.history)

    def _is_best(self, row: Mapping[str, float]) -> bool:
        """Say whether an epoch is better than all before it."""
        name, is_better = self.monitor.metric, self.monitor.is_better
        numbers = [past[name] for past in self.state.history if not math.isnan(past[name])]
        return not math.isnan(row[name]) and all(is_better(row[name], past) for past in numbers)

    def _arrays(self, batch: Batch) -> tuple[Any, Any, Any]:
        targets = keras.tree.map_structure(lambda values: values[batch.rows], self.targets)
        return self.batches.pad(batch), targets, batch.weights

    def _variables(self) -> list[Any]:
        # `variables`, unlike `weights`, includes the states of the SeedGenerators.
        return [*self.model.variables, *self.optimizer.variables]

    def save(self) -> None:
        """Write the checkpoint."""
        arrays: dict[str, Any] = {"state": json.dumps(vars(self.state))}
        arrays |= {f"now_{index}": value for index, value in enumerate(self._variables())}
        arrays |= {f"best_{index}": value for index, value in enumerate(self._best)}
        self.run.write(CHECKPOINT, lambda file: np.savez(file, allow_pickle=False, **arrays))

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one."""
        content = self.devices.from_chief(self.run.read(CHECKPOINT))
        if not content:
            return
        with np.load(io.BytesIO(content)) as arrays:
            for index, variable in enumerate(self._variables()):
                variable.assign(arrays[f"now_{index}"])
            self._best = [arrays[f"best_{index}"] for index in range(len(self._best))]
            self.state = State(**json.loads(str(arrays["state"])))


def scorer(model: keras.Model, *names: str) -> Callable[..., Any]:
    """Return the compiled inference of `model`, whose inputs have these names."""
    specs = {each.name: tf.TensorSpec(each.shape, each.dtype) for each in model.inputs}

    def score(*inputs: Any) -> Any:
        return model(dict(zip(names, inputs, strict=True)), training=False)

    # One graph for all shapes.
    return tf.function(score, input_signature=[specs[name] for name in names])
