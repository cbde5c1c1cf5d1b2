"""The workers of one training on several machines: who they are, and how they meet.

TensorFlow reads the same TF_CONFIG, but waits for a worker that is missing for ever and deaf
to signals, and lets workers that were started differently wait for each other in the middle
of a step. So they meet here before they meet there: each tells the first one, the chief, who
it is and what it was asked to train, and none goes on before all are there.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.errors import ConfigError, MisuseError, UnknownNameError

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")
EXAMPLE = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'
)
PATIENCE = 300.0
"""Seconds that workers may be started apart."""

_MOMENT = 1.0
_ANSWER = 5.0
_PAUSE = 0.2
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Cluster:
    """The workers of a training.

    Attributes:
        addresses: "host:port" of each, by rank; that of rank 0, the chief, first.
        rank: Which of them this process is.
    """

    addresses: tuple[str, ...]
    rank: int

    def name(self, rank: int) -> str:
        """Return how a message calls a worker."""
        return f"{f'worker {rank}' if rank else 'the chief'} at {self.addresses[rank]}"


def read(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Return the cluster that TF_CONFIG describes.

    Raises:
        ConfigError: There is none, or it describes no cluster or no place in it.
        UnknownNameError: It names a type of task other than chief and worker.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        raise ConfigError(
            f"--strategy multiworker needs {VARIABLE} in the environment of every worker, such "
            f"as {EXAMPLE}"
        )
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{VARIABLE} is not JSON: {error}") from None
    cluster, task = (
        values.get(key) if isinstance(values, dict) else None for key in ("cluster", "task")
    )
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise ConfigError(f'{VARIABLE} must have "cluster" and "task", such as {EXAMPLE}')
    for job in cluster:
        if job not in JOBS:
            raise UnknownNameError(f"task type in {VARIABLE}", job, JOBS)
    jobs = {job: _addresses(job, cluster[job]) for job in JOBS if job in cluster}
    addresses = [address for job in jobs.values() for address in job]
    if len(set(addresses)) < len(addresses) or len(jobs.get("chief", ())) > 1:
        raise ConfigError(
            f"{VARIABLE} must name every worker once, and one chief at most, not {addresses}"
        )
    kind = str(task.get("type"))
    if kind not in jobs:
        raise UnknownNameError(f"task type in {VARIABLE}", kind, jobs)
    before = 0 if kind == JOBS[0] else len(jobs.get("chief", ()))
    return Cluster(tuple(addresses), before + _index(task.get("index"), kind, len(jobs[kind])))


def _addresses(job: str, values: Any) -> list[str]:
    """Return the addresses of one job of the cluster."""
    if not isinstance(values, list) or not values:
        raise ConfigError(f'{VARIABLE} must list the addresses of "{job}", not {values!r}')
    for value in values:
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise ConfigError(f"an address in {VARIABLE} must be HOST:PORT, not {value!r}")
    return values


def _index(value: Any, kind: str, count: int) -> int:
    # Job files often fill it in as text.
    if not str(value).isdecimal() or int(value) >= count:
        raise ConfigError(
            f"the task index in {VARIABLE} must be from 0 to {count - 1}, that of the last {kind}, "
            f"not {value!r}"
        )
    return int(value)


def meet(cluster: Cluster, job: Mapping[str, Any], patience: float = PATIENCE) -> None:
    """Return when all workers are there and were asked for the same.

    Args:
        cluster: The workers.
        job: What this worker was asked for, as JSON values; must be equal for all.
        patience: Seconds to wait for others.

    Raises:
        ConfigError: The port is taken, or another worker was asked for something else.
        MisuseError: Somebody did not come in time.
    """
    wait = _Wait(patience)
    # Every worker's, since TensorFlow listens there afterwards.
    with _listening(cluster) as server:
        if cluster.rank == 0:
            _gather(cluster, server, job, wait)
    if cluster.rank:
        _report(cluster, job, wait)


def _listening(cluster: Cluster) -> socket.socket:
    address = cluster.addresses[cluster.rank]
    port = int(address.rpartition(":")[2])
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise ConfigError(
            f"port {port} of {cluster.name(cluster.rank)} cannot be used: "
            f"{os.strerror(error.errno or 0).lower()}; choose another in {VARIABLE} of all workers"
        ) from None


def _gather(cluster: Cluster, server: socket.socket, job: Mapping[str, Any], wait: _Wait) -> None:
    """Wait, as the chief, until every other worker has called, and let them all go."""
    others = {*range(1, len(cluster.addresses))}
    here: dict[int, socket.socket] = {}
    server.settimeout(_MOMENT)
    with contextlib.ExitStack() as calls:
        # One that went again, which is seen by its call, is missing as well.
        while missing := sorted(others - {rank for rank, call in here.items() if _holds(call)}):
            wait.for_one_of([cluster.name(rank) for rank in missing])
            try:
                call = calls.enter_context(server.accept()[0])
            except TimeoutError:
                continue
            message = _receive(call, _ANSWER)
            rank, theirs = message.get("rank"), message.get("job")
            if not isinstance(rank, int) or rank not in others or not isinstance(theirs, dict):
                continue  # somebody else, such as a probe of the port
            if difference := _difference(theirs, job):
                _send(call, {"refused": difference})
                raise ConfigError(f"{cluster.name(rank)} was started otherwise: {difference}")
            here[rank] = call
        for call in here.values():
            with contextlib.suppress(OSError):  # who goes at this very moment is missed later
                _send(call, {"go": True})


def _report(cluster: Cluster, job: Mapping[str, Any], wait: _Wait) -> None:
    """Tell the chief that this worker is there, and wait until it lets all go."""
    host, _, port = cluster.addresses[0].rpartition(":")
    while True:
        # A chief that is not up yet, or that went again, is called again.
        with contextlib.suppress(OSError):
            with socket.create_connection((host, int(port)), timeout=_ANSWER) as call:
                _send(call, {"rank": cluster.rank, "job": dict(job)})
                while not _comes(call, _MOMENT):
                    wait.for_one_of([cluster.name(0)])
                answer = _receive(call, _ANSWER)
            if refused := answer.get("refused"):
                raise ConfigError(f"{cluster.name(0)} was started otherwise: {refused}")
            if answer.get("go"):
                return
        wait.for_one_of([cluster.name(0)])
        time.sleep(_PAUSE)


class _Wait:
    """The patience of a worker: says what is waited for, and when it is over.

    Args:
        patience: In seconds.
    """

    def __init__(self, patience: float) -> None:
        self._patience, self._since, self._told = patience, time.monotonic(), ""

    def for_one_of(self, names: list[str]) -> None:
        """Say whose turn it is; names of workers.

        Raises:
            MisuseError: The first one is not waited for any longer.
        """
        waited = time.monotonic() - self._since
        if waited > self._patience:
            raise MisuseError(
                f"{names[0]} did not come within {self._patience:.0f} s: start every worker with "
                f"the same command, each with its own {VARIABLE}"
            )
        text = f"waiting for {' and '.join(names)}"
        if waited > 2 * _MOMENT and text != self._told:
            print(text, file=sys.stderr, flush=True)
            self._told = text


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return the first field in which two jobs differ, or ''."""
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            return (
                f"{name} is {theirs.get(name)!r} for a worker and {ours.get(name)!r} for the chief"
            )
    return ""


def _send(call: socket.socket, message: Mapping[str, Any]) -> None:
    call.sendall(json.dumps(message).encode() + b"\n")


def _receive(call: socket.socket, seconds: float) -> dict[str, Any]:
    """Return the message that is one line of JSON; nothing where none comes."""
    call.settimeout(seconds)
    try:
        with call.makefile("rb") as lines:
            message = json.loads(lines.readline(_LONGEST))
    except (OSError, ValueError):
        return {}
    return message if isinstance(message, dict) else {}


def _comes(call: socket.socket, seconds: float) -> bool:
    """Say whether there is something to read, which may be the end."""
    return bool(select.select([call], [], [], seconds)[0])


def _holds(call: socket.socket) -> bool:
    """Say whether the other side, which has nothing more to say, has not hung up."""
    return not _comes(call, 0)
