"""The chief: hands trials out over KerasTuner's own gRPC protocol, and outlives its workers.

It may be killed at any moment: started again on the same folder it goes on, and its workers, which
train on in the meantime, find it again.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.engine.oracle import LOCKS, THREADS

from recipes.run import Run
from tuning.durable import Durable
from tuning.folder import (
    LOG,
    best_folder,
    read_oracle,
    read_search,
    refuse_other_search,
    when_free,
)
from tuning.options import SearchOptions, Settings, seconds
from tuning.oracles import check_epochs, oracle
from tuning.processes import Fresh, cause, last_line
from tuning.spaces import configuration, differences, discover, load_space
from tuning.trial import finish_best, use_cores
from tuning.trials import FAILED, REFUSED, RUNNING, Trial
from zoo.errors import ConfigError, DataError, MisuseError, SeqZooError, TrainingError

HOLD_SECONDS = 10.0
"""How long a folder is waited for that a chief which was just killed may still hold."""

FAREWELL_SECONDS = 10.0
"""How long workers are told, after the last trial, that there is no more."""

REPORT_SECONDS = 20.0
"""About what scoring the best trial, its baselines and its page take."""

HOPELESS = 5
"""Failed trials at the very beginning after which a search is given up."""

LONELY_SECONDS = 3600.0
"""Without a word from any worker, after which a chief whose workers are elsewhere gives up."""

CLOCK_SECONDS = 10.0
"""Of a budget that a chief which is killed may forget."""

_TICK = 0.2


@dataclass(frozen=True)
class Address:
    """Where the chief listens.

    Attributes:
        host: Of this machine; "0.0.0.0" for all of its networks.
        port: A free one for 0.
    """

    host: str
    port: int


def prepare(settings: Settings) -> tuple[Any, Any]:
    """Return the parameters of a search and its first configuration.

    Raises:
        MisuseError: The space or a field is at fault.
    """
    base = settings.start()
    space = load_space(settings.recipe, settings.space)
    found = discover(space, base, settings.fixed)
    return found, configuration(space, found, base, settings.fixed)


def check_data(settings: Settings) -> int:
    """Load the data and build the model of the first trial; the whole of a fresh process."""
    use_cores(1)
    try:
        _, first = prepare(settings)
        settings.module.build(first, settings.module.load(first))
    except SeqZooError as error:
        print(error)
        return 3
    return 0


class Servicer(OracleServicer):
    """KerasTuner's service on top of a `Durable` oracle, whose errors reach the caller.

    Args:
        oracle: What hands trials out.
    """

    def __init__(self, oracle: Durable) -> None:
        super().__init__(oracle)
        self.here: set[str] = set()
        self.heard = time.monotonic()
        self.fault: Exception | None = None

    def CreateTrial(self, request: Any, context: Any) -> Any:
        """Note who is here, until it is told that there is no more."""
        self.here.add(request.tuner_id)
        answer = self._guarded(super().CreateTrial, request, context)
        if answer.trial.status == protos.get_proto().TrialStatus.STOPPED:
            self.here.discard(request.tuner_id)
        return answer

    def UpdateTrial(self, request: Any, context: Any) -> Any:
        """Note a sign of life."""
        return self._guarded(super().UpdateTrial, request, context)

    def EndTrial(self, request: Any, context: Any) -> Any:
        """End a trial, once its outcome can be seen in the folder."""
        return self._guarded(super().EndTrial, request, context)

    def _guarded(self, call: Callable[..., Any], request: Any, context: Any) -> Any:
        self.heard = time.monotonic()
        if self.fault:  # a chief that cannot write its state must not hand trials out
            context.abort(grpc.StatusCode.INTERNAL, str(self.fault))
        try:
            return call(request, context)
        except LookupError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except Exception as error:
            self.fault = error
            # KerasTuner keeps the lock of a call that failed: other calls, and with them this
            # process, would never end.
            if THREADS[self.oracle] == threading.current_thread().name:
                THREADS[self.oracle] = None
                LOCKS[self.oracle].release()
            context.abort(grpc.StatusCode.INTERNAL, str(error))


class Chief:
    """Serves a search until it is over, and then trains its best trial to the end.

    Args:
        settings: What decides about the result.
        options: Trials, budget and lease.
        address: Where to listen.
        workers: Names of the only workers that there are; None if they are not known.

    Raises:
        MisuseError: Something is wrong with the space, the data, the folder or the port; nothing
            has been written.
    """

    def __init__(
        self,
        settings: Settings,
        options: SearchOptions[Any],
        address: Address,
        workers: list[str] | None = None,
    ) -> None:
        self._began = time.monotonic()
        self.settings, self.options, self.folder = settings, options, options.run_dir
        self.budget = seconds(options.budget, "budget")
        space, first = prepare(settings)
        start = settings.start()
        self._changes = [] if read_oracle(self.folder) else differences(first, start)
        self._epochs = getattr(start, "epochs", 0)
        check_epochs(settings.algorithm, self._epochs)
        refuse_other_search(self.folder, settings)
        self._server, self.port = _bind(address)
        if read_oracle(self.folder) is None:
            _check_data(settings)
        self._run = when_free(
            lambda: Run(self.folder, settings.recipe, settings.to_json()), HOLD_SECONDS
        )
        self.oracle = oracle(
            settings.algorithm,
            self._run,
            space,
            settings.module.HEADLINE,
            options.most,
            int(settings.base["seed"]),
            seconds(options.lease, "lease"),
            self._epochs,
        )
        if workers is not None:
            self.oracle.release([w for w in self.oracle.ongoing_trials if w not in workers])
        self._workers_are_known = workers is not None
        self._servicer = Servicer(self.oracle)
        self._told: set[str] = set()
        protos.get_service_grpc().add_OracleServicer_to_server(self._servicer, self._server)

    def serve(self) -> None:
        """Hand out trials until there are no more, or the budget is used up.

        Raises:
            ConfigError: The budget did not suffice for one trial.
            TrainingError: Every trial failed, the state cannot be written, or there is no worker.
        """
        self._server.start()
        for change in self._changes:
            print(f"the first trial has {change}", flush=True)
        before, saved = self.oracle.seconds, time.monotonic()
        while not (self.oracle.exhausted or self.oracle.stopped):
            time.sleep(_TICK)
            if time.monotonic() - saved > CLOCK_SECONDS and not self.oracle.idle:
                self.oracle.save()
                saved = time.monotonic()
            if fault := self._servicer.fault:
                raise TrainingError(f"the chief cannot go on: {fault}") from fault
            for worker in self.oracle.expire():
                print(f"no sign of life from {worker}: its trial goes to another", flush=True)
            self._tell_ended()
            self._refuse_to_be_alone()
            used = before + time.monotonic() - self._began
            if self.budget and used + self._finishing_seconds() > self.budget:
                self.oracle.stopped = True
            self._stop_if_all_fail()
        self._tell_ended()
        self._say_farewell()
        self.oracle.closed = True  # from here on the best trial stays the best
        if not self.oracle.finished:
            raise self._nothing()

    def finish(self) -> None:
        """Train the best trial to its end, if that has not been done; if it fails, the next best.

        Raises:
            TrainingError: None could be trained to its end, or what that takes is missing.
        """
        while (best := read_search(self.folder).best) is not None:
            print(
                f"best: trial {best.id}, trained to its end in {best_folder(self.folder, best.id)}",
                flush=True,
            )
            if not (failure := self._finish(best)):
                return
            self.oracle.fail(best.id, f"could not be trained to its end: {failure}")
            print(f"trial {best.id} could not be trained to its end: {failure}", flush=True)
        raise self._nothing()

    def _finish(self, best: Trial) -> str:
        """Train a trial to its end, and return why it failed; nothing if it did not.

        Raises:
            TrainingError: That was no fault of the trial's.
        """
        log = best_folder(self.folder, best.id) / LOG
        cores = self.options.threads or os.cpu_count() or 1
        for _ in range(2):  # what was killed once may have been killed by chance
            process = Fresh(finish_best, self.folder, best.id, cores, log=log, warm=False)
            process.join()
            if process.exit_code >= 0:
                break
        if process.exit_code == 0:
            return ""
        if process.exit_code == MisuseError.exit_code:
            raise TrainingError(f"trial {best.id} cannot be trained to its end: {last_line(log)}")
        return last_line(log) if process.exit_code > 0 else cause(process.exit_code)

    def close(self) -> None:
        """Stop listening and give the folder free."""
        self._server.stop(None)
        self._run.__exit__()

    def _tell_ended(self) -> None:
        """Print a line for every trial that ended since the last call."""
        if len(self._told) == len(self.oracle.end_order):
            return
        for trial in read_search(self.folder).trials:
            if trial.status != RUNNING and trial.id not in self._told:
                print(line_of(trial), flush=True)
                self._told.add(trial.id)

    def _finishing_seconds(self) -> float:
        """Return about how long the best trial so far will take to its end and its report."""
        best = next(iter(self.oracle.get_best_trials(1)), None)
        facts = self.oracle.facts(best.trial_id) if best else {}
        if not facts.get("curve"):
            return 0.0
        missing = max(self._epochs - len(facts["curve"]), 0) * facts["epoch_seconds"]
        return min(missing + facts["overhead_seconds"] + REPORT_SECONDS, self.budget / 2)

    def _stop_if_all_fail(self) -> None:
        # Those of this call alone, so that the same command tries others; what was refused, as
        # too large or too slow, did not fail.
        if self.oracle.failures >= HOPELESS and not self.oracle.finished:
            self.oracle.stopped = True

    def _refuse_to_be_alone(self) -> None:
        """Give up where workers are elsewhere and none has said a word for long.

        Those of this machine are started again by who started them.
        """
        lonely = time.monotonic() - self._servicer.heard
        if not self._workers_are_known and lonely > LONELY_SECONDS:
            raise TrainingError(f"no worker has asked for {LONELY_SECONDS / 60:.0f} minutes")

    def _say_farewell(self) -> None:
        """Answer until every worker knows that it is over."""
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self._servicer.here and time.monotonic() < deadline:
            time.sleep(_TICK)

    def _nothing(self) -> SeqZooError:
        failed = [t for t in read_search(self.folder).trials if t.status in (FAILED, REFUSED)]
        if failed:
            return TrainingError(
                f"none of {len(failed)} trials has a score; the last one, {failed[-1].id}: "
                f"{failed[-1].reason}"
            )
        return ConfigError(
            f"budget {self.options.budget} is too small for one trial: none has ended; the same "
            "command with a larger one goes on"
        )


def line_of(trial: Trial) -> str:
    """Return what is told of an ended trial."""
    score = trial.reason if trial.score is None else f"{trial.score:.4f}"
    values = "  ".join(f"{name} {value}" for name, value in trial.parameters.items())
    return f"trial {trial.id}  {trial.status} {score}  {trial.seconds:.0f} s  {values}"


def _bind(address: Address) -> tuple[grpc.Server, int]:
    # Without this option a second chief could listen on the same port.
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    try:
        port = server.add_insecure_port(f"{address.host}:{address.port}")
    except RuntimeError:
        port = 0
    if not port:
        raise ConfigError(
            f"cannot listen on {address.host}:{address.port}: the port is taken, or the address "
            "is not this machine's"
        )
    return server, port


def _check_data(settings: Settings) -> None:
    """Load data and build a model once, before anything is written, in a process that forgets it.

    Raises:
        DataError: That cannot be done.
    """
    with tempfile.TemporaryDirectory(prefix="seqzoo-check-") as folder:
        log = Path(folder, LOG)
        check = Fresh(check_data, settings, log=log, warm=False)
        check.join()
        if check.exit_code:
            raise DataError(last_line(log))
