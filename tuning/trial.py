"""What happens in the fresh process of a trial: load, build, train, and write down what came of it.

The test part is never looked at: the score is the best value of the recipe's own metric on its
validation part. A trial that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recipes import config as configuration
from recipes.run import CHECKPOINT, HISTORY, Run, refuse_other
from serving.files import replace
from tuning.folder import (
    OUTCOME,
    attempt_at,
    best_folder,
    read_outcome,
    read_trial_config,
    trained,
    trial_folder,
    when_free,
)
from tuning.options import Settings
from tuning.spaces import OF_ALGORITHM, load_space, unknown_parameters
from tuning.spaces import configuration as trial_configuration
from zoo.errors import ConfigError, SeqZooError

SAME_FOLDER_SECONDS = 20.0
"""How long a trial waits for its folder; a process that was just killed may still hold it."""

LATENCY_SECONDS = 2.0
"""How long answers are measured for."""

NOT_OURS = 75
"""Exit code of a trial that another process has, or was given: nothing is said about it."""


@dataclass(frozen=True)
class Task:
    """A trial as a worker was given it.

    Attributes:
        search: The search folder.
        trial: The trial's name.
        parameters: KerasTuner's `HyperParameters`, as their configuration.
        threads: Cores to use.
        attempt: The how-manieth time the trial was handed out.
    """

    search: Path
    trial: str
    parameters: Mapping[str, Any]
    threads: int
    attempt: int = 1

    @property
    def folder(self) -> Path:
        """The trial's run folder."""
        return trial_folder(self.search, self.trial)


@dataclass
class Outcome:
    """What came of a trial; written to its folder, where the chief reads it.

    Attributes:
        score: The objective at the epoch whose weights are kept; None if there is none.
        objective: The metric that decided.
        curve: It after each epoch.
        size: Number of weights.
        latency_ms: Median answer of the exported model.
        seconds: That this attempt took, all in all.
        trained_seconds: That its training took of these.
        epoch_seconds: That an epoch of it took.
        refused: Whether a constraint is broken.
        reason: Why there is no score.
    """

    score: float | None = None
    objective: str = ""
    curve: Sequence[float] = ()
    size: int | None = None
    latency_ms: float | None = None
    seconds: float = 0.0
    trained_seconds: float = 0.0
    epoch_seconds: float = 0.0
    refused: bool = False
    reason: str = ""


class Refused(Exception):
    """A constraint of the search is broken."""


class NotOurs(Exception):
    """Another process has the trial, or was given it."""


class TrialRun(Run):
    """The run folder of a trial.

    Training in it ends at a rung of Hyperband, when nothing gets better, and when the trial was
    given to another worker: this one's may have been frozen, and taken to be lost.

    Args:
        task: The trial.
        recipe, config: See `Run`.
        epochs: Most of them, 0 for as many as the recipe trains.
        patience: Epochs without a better value after which it ends, 0 for no such end.

    Raises:
        ConfigError: The folder belongs to another configuration.
        NotOurs: Another process holds it.
    """

    def __init__(
        self, task: Task, recipe: str, config: Mapping[str, Any], epochs: int, patience: int
    ) -> None:
        refuse_other(task.folder, recipe, config)
        try:
            super().__init__(task.folder, recipe, config)
        except ConfigError:
            raise NotOurs from None
        self._task, self._epochs, self._patience = task, epochs, patience

    def goes_on(self, history: Sequence[Mapping[str, float]]) -> bool:
        """Say whether another epoch is worth it.

        Raises:
            NotOurs: Another worker was given the trial.
        """
        if attempt_at(self._task.search, self._task.trial) > self._task.attempt:
            raise NotOurs
        if self._epochs and len(history) >= self._epochs:
            return False
        if not self._patience or len(history) <= self._patience:
            return True
        # By what the recipe itself judges by.
        _, best_epoch = trained(self._task.folder)
        return len(history) - 1 - best_epoch < self._patience


def run_trial(task: Task) -> int:
    """Run a trial to its end and write its outcome; the whole of a fresh process."""
    began = time.monotonic()
    outcome = Outcome()
    try:
        _try(task, outcome)
    except NotOurs:
        return NOT_OURS
    except Refused as refusal:
        outcome.refused, outcome.reason = True, str(refusal)
    except (SeqZooError, MemoryError) as error:
        outcome.reason = str(error) or type(error).__name__
    except Exception as error:  # TensorFlow's errors have no common class of ours
        traceback.print_exc()  # into the trial's log
        outcome.reason = _first_line(error)
    outcome.seconds = time.monotonic() - began
    write_outcome(task, outcome)
    return 0


def write_outcome(task: Task, outcome: Outcome) -> None:
    """Leave what came of a trial in its folder, once: the first word about a trial stays."""
    if read_outcome(task.search, task.trial) is None:
        task.folder.mkdir(parents=True, exist_ok=True)
        replace(task.folder / OUTCOME, _json(asdict(outcome)))


def _try(task: Task, outcome: Outcome) -> None:
    import keras_tuner

    use_cores(task.threads)
    settings = Settings.read(task.search)
    recipe, base = settings.module, settings.start()
    hp = keras_tuner.HyperParameters.from_config(dict(task.parameters))
    space = load_space(settings.recipe, settings.space)
    config = trial_configuration(space, hp, base, settings.fixed)
    if late := unknown_parameters(hp, task.parameters["values"]):
        raise ConfigError(
            f"the space names parameter '{late[0]}' for some values of others only, which was not "
            "seen before: put it under hp.conditional_scope"
        )
    data = recipe.load(config)
    pipeline = recipe.build(config, data)
    _check_constraints(task, settings, pipeline, outcome)
    work = _work_of(pipeline.finish)
    _go_on_from(task, hp.values)
    epochs = hp.values.get(f"{OF_ALGORITHM}epochs", 0)
    values = configuration.to_json(config)
    trial = (task, settings.recipe, values, epochs, settings.patience)
    with when_free(lambda: TrialRun(*trial), SAME_FOLDER_SECONDS, NotOurs) as run:
        began, before = time.monotonic(), len(trained(task.folder)[0])
        facts = recipe.train(config, data, pipeline, run)
        outcome.trained_seconds = time.monotonic() - began
    history, best_epoch = trained(task.folder)
    outcome.epoch_seconds = outcome.trained_seconds / max(len(history) - before, 1)
    outcome.objective = facts.get("headline", recipe.HEADLINE.metric)
    outcome.curve = [row[outcome.objective] for row in history]
    if not outcome.curve or not math.isfinite(outcome.curve[best_epoch]):
        raise ConfigError(f"{outcome.objective} of the validation part was never a number")
    if _work_of(pipeline.finish) != work:  # the training chose another search for words
        _check_constraints(task, settings, pipeline, outcome)
    outcome.score = outcome.curve[best_epoch]


def _check_constraints(task: Task, settings: Settings, pipeline: Any, outcome: Outcome) -> None:
    """Note size and latency of a pipeline, trained or not.

    Raises:
        Refused: One of them is beyond what the search allows.
    """
    outcome.size = int(pipeline.model.count_params())
    if settings.max_parameters and outcome.size > settings.max_parameters:
        raise Refused(f"{outcome.size:,} weights, and {settings.max_parameters:,} are the most")
    if settings.measures_latency:
        with _alone(task.search / ".latency"):
            outcome.latency_ms = _latency(pipeline)
        if settings.max_latency_ms and outcome.latency_ms > settings.max_latency_ms:
            raise Refused(
                f"an answer takes {outcome.latency_ms:.1f} ms, and {settings.max_latency_ms:g} ms "
                "is the most"
            )


def _work_of(finish: Any) -> dict[str, Any]:
    """Return what of a pipeline's last part decides about the work it does: no fitted number."""
    return {name: v for name, v in finish.get_config().items() if not isinstance(v, float)}


def _go_on_from(task: Task, values: Mapping[str, Any]) -> None:
    """Take over the training of the trial that Hyperband promoted, once."""
    if (parent := values.get(f"{OF_ALGORITHM}trial_id")) is not None:
        _take_over(trial_folder(task.search, str(parent)), task.folder)


def _take_over(run: Path, ours: Path) -> None:
    """Let a training begin where that of another run folder stands, once."""
    if (ours / CHECKPOINT).exists() or not (run / CHECKPOINT).exists():
        return
    ours.mkdir(parents=True, exist_ok=True)
    for name in (HISTORY, CHECKPOINT):  # the checkpoint last: it says that this is done
        replace(ours / name, (run / name).read_bytes())


def train_unscored(recipe: str, config: Mapping[str, Any], run: Path, threads: int) -> int:
    """Train a configuration and leave the test part alone; `train_to_end` scores it later.

    The whole of a fresh process; returns its exit code.
    """
    from recipes import recipe as module_of

    use_cores(threads)
    module = module_of(recipe)
    try:
        values = configuration.from_json(module.Config, config)
        data = module.load(values)
        pipeline = module.build(values, data)
        with Run(run, recipe, configuration.to_json(values)) as opened:
            module.train(values, data, pipeline, opened)
    except SeqZooError as error:
        print(f"error: {error}")
        return 1
    return 0


def train_to_end(recipe: str, config: Mapping[str, Any], run: Path, threads: int) -> int:
    """Train a configuration by the recipe's own command, and score it on its test part.

    The whole of a fresh process; returns its exit code.
    """
    from recipes.__main__ import main

    use_cores(threads)
    file = run.with_name(f"{run.name}.json")
    replace(file, _json(config))
    return main([recipe, "train", "--config", str(file), "--run-dir", str(run)])


def finish_best(search: Path, trial: str, threads: int) -> int:
    """Train the best trial to its end, from where it stands; the whole of a fresh process."""
    best, config = best_folder(search, trial), read_trial_config(search, trial)
    assert config is not None, "a trial with a score has trained"
    _take_over(trial_folder(search, trial), best)
    return train_to_end(Settings.read(search).recipe, config, best, threads)


def use_cores(count: int) -> None:
    """Let TensorFlow and the rest of this process use so many cores, before it uses any."""
    import tensorflow as tf
    from threadpoolctl import threadpool_limits

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    threadpool_limits(count)  # of NumPy and scikit-learn


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Wait until no other trial on this machine measures, and keep the others waiting."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _latency(pipeline: Any) -> float:
    """Return the median milliseconds of one row, exported and asked over gRPC.

    Weights do not matter for it, so that a model that is too slow is never trained.
    """
    from serving import bench
    from serving.export import export
    from serving.parity import Probes
    from serving.server import launch

    with tempfile.TemporaryDirectory(prefix="seqzoo-latency-") as folder:
        run, models = Path(folder, "run"), Path(folder, "models")
        run.mkdir()
        pipeline.save(run)
        version = export(run, models, "trial")
        rows = bench.rows_of(Probes.read(version))
        with launch("trial", models / "trial") as server:
            load = bench.closed_loop("grpc", server.grpc_address, "trial", rows, 1, LATENCY_SECONDS)
    return load.p50_ms


def _json(values: Any) -> bytes:
    return (json.dumps(values, ensure_ascii=False) + "\n").encode()


def _first_line(error: Exception) -> str:
    """Return the gist of an error of TensorFlow, which goes on for pages."""
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}"[:300]
