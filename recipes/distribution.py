"""Training on several devices of a machine, or on several machines, as on a single device.

A step takes the same batch as on one device. Each replica of the model takes every n-th row
of it; what they find is added up before anything else is made of it, so that the loss, the
gradient, its norm and the step are those of the whole batch, up to rounding. The losses here
are means over what is not padding, of which one replica may have more than another: each
counts with its share of what the loss divides by (`counts` of `recipes.training.Trainer`).

Without dropout, therefore, the curve of the loss is the same on any number of replicas. With
dropout, and whatever else is drawn in training, every replica draws masks of its own, from a
seed that follows from that of the model and its number: the curve is another one, as with
another seed, but the same every time for the same number of replicas, also of a training that
was killed in between.

Every worker goes through the same batches in the same order, and works out the validation
part. The chief, of rank 0, alone has a run folder: it restores and saves, its numbers decide
which epoch is best, and what comes after the training is its own. When a worker is gone, the
others end within seconds; all are then started again, and go on from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Self

import keras
import numpy as np
import tensorflow as tf

from recipes.cluster import Cluster, meet
from recipes.run import Run
from recipes.training import OneDevice
from zoo.errors import ConfigError, TrainingError
from zoo.pipeline import Pipeline
from zoo.preprocessing.batching import Batch

SUM = tf.distribute.ReduceOp.SUM
FORMING = 60.0
"""Seconds that TensorFlow may take to connect workers that have met."""

_WORDS = 1 << 24  # of a checkpoint at once
_GONE = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)


class Dismissed(Exception):
    """The training is over, and with it the part of a worker that is not the chief."""


class Replicas(OneDevice):
    """The replicas of a model that a strategy keeps equal, on the devices of this machine.

    Args:
        strategy: Of `tf.distribute`.
        rank: That of this process.

    Attributes:
        count: Number of replicas, over all processes.
    """

    def __init__(self, strategy: tf.distribute.Strategy, rank: int = 0) -> None:
        self.is_chief = rank == 0
        self.count = strategy.num_replicas_in_sync
        own = len(strategy.extended.worker_devices)
        self._strategy, self._first, self._own = strategy, rank * own, own

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Build and train models on all devices within this `with` block."""
        with self._strategy.scope():
            yield

    def parts(self, batch: Batch) -> Sequence[Batch]:
        """Return what of a batch each device of this process takes, at least one row each."""
        starts = range(self._first, self._first + self._own)
        return [
            # Not a block of rows each: those that do not count are the last ones.
            Batch(batch.rows[start :: self.count], batch.weights[start :: self.count], batch.length)
            for start in starts
        ]

    def step(
        self,
        model: keras.Model,
        loss: Callable[..., Any],
        counts: Callable[..., Any],
        optimizer: keras.optimizers.Optimizer,
    ) -> Callable[[Sequence[Any]], float]:
        """Return a training step: takes features, targets and weights by part, gives the loss."""
        # Keras clips what each replica found and adds up then, and has no option against it.
        # Here it is given sums.
        optimizer._all_reduce_sum_gradients = lambda pairs: pairs
        variables = model.trainable_variables

        def on_replica(features: Any, targets: Any, weights: Any) -> Any:
            with tf.GradientTape() as tape:
                count = counts(features, targets, weights)
                total = loss(model, features, targets, weights) * count
            gradients = tape.gradient(total, variables)
            *gradients, total, count = tf.distribute.get_replica_context().all_reduce(
                SUM, [*gradients, total, count]
            )
            optimizer.apply([_divided(each, count) for each in gradients], variables)
            return tf.math.divide_no_nan(total, count)

        @tf.function(reduce_retracing=True)
        def step(parts: Any) -> Any:
            losses = self._strategy.run(on_replica, parts)
            return self._strategy.experimental_local_results(losses)[0]

        return lambda parts: float(step(self._distributed(parts)))

    def _distributed(self, parts: Sequence[Any]) -> Any:
        """Return the parts of this process as values that `run` hands out to its replicas."""
        tensors = keras.tree.map_structure(tf.convert_to_tensor, [*parts])
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tensors[context.replica_id_in_sync_group - self._first]
        )

    def begin(self, model: keras.Model) -> None:
        """Let the dropouts of every replica go their own way."""
        # Replicas are equal in these states too, and would draw the same masks.
        states = [each for each in model.variables if each.path.endswith("seed_generator_state")]

        @tf.function
        def diverge() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for state in states:
                state.assign_add(tf.cast([replica, 0], state.dtype))

        self._strategy.run(diverge)

    def check_equal(self, data: Any, pipeline: Pipeline) -> None:
        """Check that this worker has what the chief has: as many rows, and the same model.

        Raises:
            ConfigError: It has not; its batches would be others.
        """
        ours = {part: len(rows) for part, rows in data._asdict().items()}
        ours["parameters"] = pipeline.model.count_params()
        for name, theirs in zip(ours, self.agreed([*ours.values()]), strict=True):
            if ours[name] != theirs:
                raise ConfigError(
                    f"{name}: this worker has {ours[name]:,} and the chief {theirs:,.0f}, but all "
                    "need the same data and the same version"
                )
        # Where another has stopped at that, this ends here too, before anything is written.
        self.agreed([0])

    def assist(self, recipe: ModuleType, config: Any) -> None:
        """Take the part of a worker that is not the chief; shows and writes nothing.

        Raises:
            TrainingError: Another worker is gone.
        """
        with (
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
            contextlib.suppress(Dismissed),
            self.scope(),
        ):
            data = recipe.load(config)
            pipeline = recipe.build(config, data)
            self.check_equal(data, pipeline)
            recipe.train(config, data, pipeline, Bystander(self))


class Workers(Replicas):
    """Replicas on the devices of several processes, of which this is one.

    Args:
        strategy: Of `tf.distribute`.
        rank: That of this process.
    """

    def __init__(self, strategy: tf.distribute.Strategy, rank: int) -> None:
        super().__init__(strategy, rank)

        def on_replica(values: Any) -> Any:
            context = tf.distribute.get_replica_context()
            told = tf.where(context.replica_id_in_sync_group == 0, values, tf.zeros_like(values))
            return context.all_reduce(SUM, told)

        @tf.function(reduce_retracing=True)
        def tell(values: Any) -> Any:
            told = strategy.run(on_replica, (values,))
            return strategy.experimental_local_results(told)[0]

        self._tell = tell

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Build and train models on all devices within this `with` block.

        Raises:
            TrainingError: Another worker is gone.
        """
        try:
            with super().scope():
                yield
        except _GONE:
            raise TrainingError(
                "another worker is gone: start all of them again with the same command, and the "
                "training goes on from the last checkpoint"
            ) from None

    def from_chief(self, content: bytes) -> bytes:
        """Return what the chief passed."""
        # Of no values at all TensorFlow's sum crashes.
        length = int(self._tell(tf.constant([len(content)], tf.int64))[0])
        words = np.frombuffer(content.ljust(-(-length // 4) * 4, b"\0"), np.int32)
        chunks = [words[start : start + _WORDS] for start in range(0, len(words), _WORDS)]
        return b"".join(self._tell(tf.constant(each)).numpy().tobytes() for each in chunks)[:length]

    def agreed(self, numbers: Sequence[float]) -> Sequence[float]:
        """Return the numbers that the chief passed, of which all pass equally many."""
        return self._tell(tf.constant(numbers, tf.float64)).numpy().tolist()

    def end(self) -> None:
        """Let this process go, behind the last step, if it is not the chief.

        Raises:
            Dismissed: It is not.
        """
        if not self.is_chief:
            raise Dismissed


class Bystander(Run):
    """The run of a worker that is not the chief: it has no folder, and keeps nothing.

    Args:
        devices: What the training runs on.
    """

    def __init__(self, devices: Replicas) -> None:
        self.devices = devices

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, name: str) -> bytes:
        """Return nothing: what there is, the chief tells."""
        return b""

    def write(self, name: str, fill: Callable[[IO[bytes]], Any]) -> None:
        """Keep nothing."""


def spread(workers: Cluster | None, job: Mapping[str, Any]) -> Replicas:
    """Return what a training runs on, once all its workers are there.

    Args:
        workers: All of them; None for the devices of this machine alone.
        job: Recipe and resolved configuration as JSON values.

    Raises:
        ConfigError: A worker was started with another configuration, its port is taken, or a
            batch has fewer rows than there are replicas.
        MisuseError: A worker did not come.
    """
    if workers is None:
        # All of one kind; a machine without GPU has one CPU unless told otherwise.
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        found = Replicas(tf.distribute.MirroredStrategy([each.name for each in devices]))
    else:
        meet(workers, job)
        found = Workers(_connected(), workers.rank)
    if job["batch_size"] < found.count:
        raise ConfigError(
            f"batch_size must be at least {found.count}, a row for each replica, not "
            f"{job['batch_size']}"
        )
    return found


def _connected() -> tf.distribute.Strategy:
    """Return the strategy of workers that have met.

    Raises:
        TrainingError: They do not reach each other.
    """
    # TensorFlow waits for a worker that went just now for ever, and keeps Python from doing
    # anything about it. Only this ends the process; what it writes wakes the one that says why.
    words = "error: a worker went while all were connecting: start all of them again"
    code = "import sys; sys.stdin.read(1) and print(sys.argv[1], file=sys.stderr)"
    with subprocess.Popen([sys.executable, "-S", "-c", code, words], stdin=subprocess.PIPE) as wake:
        told: Any = wake.stdin
        faulthandler.dump_traceback_later(FORMING, exit=True, file=told)
        try:
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except tf.errors.OpError as error:
            reason = error.message.partition("\n")[0]
            raise TrainingError(f"the workers cannot be connected: {reason}") from None
        finally:
            faulthandler.cancel_dump_traceback_later()
    # It takes the signal for itself, to save at the last moment, which is not asked for here.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return strategy


def _divided(gradient: Any, count: Any) -> Any:
    # Not made dense: Keras takes the norm of such a gradient row by row, repeated ones apart.
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.math.divide_no_nan(gradient.values, count)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.math.divide_no_nan(gradient, count)
