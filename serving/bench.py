"""How fast a served model answers: closed loops over gRPC and REST, batching off and on.

A load keeps a number of calls in flight, each with one of the model's probe rows in turn, and
sends the next as soon as one is answered. The loads of both transports, with batching off and
on, follow upon each other at each concurrency, so that a noisy machine is noisy for all.

What gRPC adds to running the signature is measured by calling both in turn, in one process.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving import load
from serving.errors import ServingError
from serving.parity import Batching, Probes, serve_alone
from serving.protocol import rest, rpc
from serving.server.engine import cores
from serving.transports import GRPC_OPTIONS, InProcessTransport
from serving.values import DEFAULT_SIGNATURE, Call, ModelRef, Signature
from zoo.environment import environment

TRANSPORTS = ("grpc", "rest")
PACKAGES = ("tensorflow", "tensorflow-text", "numpy", "protobuf", "grpcio", "uvicorn", "httptools")
CONCURRENCY = (1, 8, 32)
SECONDS = 10.0
BATCHING = Batching(rows=32, wait_micros=2000)
"""What "batching on" means, unless the server is somebody else's."""

EXTREME = 10
"""How much larger than the middle row a row is that does not count as ordinary."""

WARM_UP = 0.2
"""Part of a load's seconds that it runs for before anything is counted."""

BUSY = 0.8
"""Share of a core from which on the load client itself may be what limits."""


@dataclass(frozen=True)
class Load:
    """What one closed loop measured.

    Attributes:
        transport: "grpc" or "rest".
        concurrency: Number of calls in flight.
        qps: Calls answered per second.
        p50_ms: Milliseconds within which half of the calls were answered.
        p95_ms: Milliseconds within which 95 % were.
        p99_ms: Milliseconds within which 99 % were.
        errors: Calls that failed.
        seconds: Seconds that were counted.
    """

    transport: str
    concurrency: int
    qps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int
    seconds: float


@dataclass(frozen=True)
class Server:
    """A server that is to be measured.

    Attributes:
        targets: "host:port" by transport, of those that are to be measured.
        batching: Whether it batches; None if that is not known.
    """

    targets: Mapping[str, str]
    batching: bool | None


def closed_loop(
    transport: str,
    target: str,
    model: str,
    inputs: Sequence[Mapping[str, np.ndarray]],
    concurrency: int,
    seconds: float,
) -> Load:
    """Keep calls in flight and measure how they are answered.

    The client is a process of its own; where that can do no more, the load is measured again
    with twice as many, up to one per core, and the best of these counts.

    Args:
        transport: "grpc" or "rest".
        target: "host:port" of the server's interface.
        model: Name under which the model is served.
        inputs: What is asked, in rotation: the arrays of one call each.
        concurrency: Number of calls in flight.
        seconds: Seconds that are counted, after a fifth as many that are not.

    Raises:
        ServingError: Not one call succeeded; the message is that of the first.
        ValueError: There is no such transport.
    """
    if transport not in TRANSPORTS:
        raise ValueError(f"transport must be 'grpc' or 'rest', not '{transport}'")
    requests = tuple(_request(transport, target, _call(model, rows)) for rows in inputs)
    loads, clients, busy = [], 1, 1.0
    while busy > BUSY and clients <= min(concurrency, cores()):
        tasks = [
            load.Task(transport, target, requests, share, WARM_UP * seconds, seconds)
            for share in _shares(concurrency, clients)
        ]
        outcomes = load.run(tasks)
        loads.append(_summed(transport, concurrency, outcomes))
        busy = max(each.busy for each in outcomes)
        clients *= 2
    return max(loads, key=lambda each: each.qps)


def _shares(total: int, parts: int) -> list[int]:
    """Deal a number out as evenly as it goes."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def _summed(transport: str, concurrency: int, outcomes: Sequence[load.Outcome]) -> Load:
    """Return what several clients saw together."""
    latencies = np.concatenate([each.latencies for each in outcomes])
    if not len(latencies):
        raise ServingError(f"every call failed: {outcomes[0].first_error or 'none was made'}")
    p50, p95, p99 = (round(1e3 * float(q), 3) for q in np.percentile(latencies, [50, 95, 99]))
    seconds = max(each.seconds for each in outcomes)
    errors = sum(each.errors for each in outcomes)
    qps = round(len(latencies) / seconds, 1)
    return Load(transport, concurrency, qps, p50, p95, p99, errors, round(seconds, 2))


def _call(model: str, rows: Mapping[str, np.ndarray]) -> Call:
    return Call(ModelRef(model), DEFAULT_SIGNATURE, Signature({}, {}), rows)


def _request(transport: str, target: str, call: Call) -> bytes:
    """Return the bytes that ask for an answer."""
    if transport == "grpc":
        return rpc.predict(call).request
    return load.http_request(rest.predict(f"http://{target}", call))


def rows_of(probes: Probes) -> list[dict[str, np.ndarray]]:
    """Return the ordinary probe rows one by one, as the inputs of a call each.

    Left out are those that the model refuses, and those that are `EXTREME` times as large as
    the middle one: they are probes of correctness, and one of them slows its whole batch down.
    """
    status = probes.answers.get("status", np.full(len(probes), ""))
    rows = [
        {name: values[index : index + 1] for name, values in probes.rows.items()}
        for index in range(len(probes))
        if not status[index]
    ]
    sizes = [sum(map(_size, row.values())) for row in rows]
    middle = statistics.median(sizes)
    return [row for row, size in zip(rows, sizes, strict=True) if size <= EXTREME * middle]


def _size(array: np.ndarray) -> int:
    """Return the bytes of numbers, the characters or bytes of text."""
    return sum(map(len, array.flat)) if array.dtype.kind in "OSU" else array.nbytes


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        version: The exported version folder.
        name: Name under which it is served.
        targets: "host:port" by transport of a running server; empty to start our own.
        concurrency: Numbers of calls in flight.
        seconds: Seconds that each load counts.
    """

    version: Path
    name: str
    targets: Mapping[str, str]
    concurrency: Sequence[int] = CONCURRENCY
    seconds: float = SECONDS


def measure(plan: Plan, tell: Callable[[Load, bool | None], None]) -> dict[str, Any]:
    """Measure everything and return the record.

    Args:
        plan: What to measure.
        tell: Called with every load as soon as it is known, and whether it was batched.

    Raises:
        ServingError: A server cannot be reached, or answers nothing.
        DataError: The folder holds no exported model.
    """
    rows = rows_of(Probes.read(plan.version))
    loads = []
    with _servers(plan) as servers:
        in_turn = None
        if target := servers[0].targets.get("grpc"):
            in_turn = alternate(plan.version, target, plan.name, rows, plan.seconds)
        for concurrency, transport in itertools.product(plan.concurrency, TRANSPORTS):
            for server in servers:
                if target := server.targets.get(transport):
                    one = closed_loop(transport, target, plan.name, rows, concurrency, plan.seconds)
                    loads.append({**asdict(one), "batching": server.batching})
                    tell(one, server.batching)
    return {
        "model": plan.name,
        "rows": len(rows),
        "targets": dict(plan.targets) or "the embedded server",
        "batching_parameters": None if plan.targets else asdict(BATCHING),
        "summary": summarise(loads, in_turn),
        "in_turn": in_turn,
        "loads": loads,
        "environment": environment(*PACKAGES),
    }


@contextlib.contextmanager
def _servers(plan: Plan) -> Iterator[list[Server]]:
    """Yield the running server, or two of our own: without and with batching."""
    if plan.targets:
        yield [Server(plan.targets, None)]
        return
    with contextlib.ExitStack() as stack:
        servers = []
        for batching in (None, BATCHING):
            running = stack.enter_context(serve_alone(plan.version, plan.name, batching))
            rest_target = running.rest_url.removeprefix("http://")
            targets = {"grpc": running.grpc_address, "rest": rest_target}
            servers.append(Server(targets, batching is not None))
        yield servers


def alternate(
    version: Path, target: str, model: str, rows: Sequence[Mapping[str, np.ndarray]], seconds: float
) -> dict[str, float]:
    """Call a model over gRPC and in this process, in turn.

    Returns:
        Median milliseconds as "grpc_p50_ms" and "in_process_p50_ms", and the number of "calls"
        of each.

    Raises:
        ServingError: A call failed.
    """
    import grpc

    from serving.transports import grpc_failures

    calls = [_call(model, each) for each in rows]
    requests = [rpc.predict(call) for call in calls]
    local = InProcessTransport(version)
    taken: list[tuple[float, float]] = []
    with grpc_failures(target), grpc.insecure_channel(target, GRPC_OPTIONS) as channel:
        remote = channel.unary_unary(requests[0].method)
        begin = None
        for call, request in itertools.cycle(zip(calls, requests, strict=True)):
            start = time.perf_counter()
            remote(request.request)
            between = time.perf_counter()
            local.predict(call, seconds)
            done = time.perf_counter()
            begin = begin or done + WARM_UP * seconds  # the first calls take as long as they like
            if start > begin:
                taken.append((between - start, done - between))
            if taken and done > begin + seconds:
                break
    local.close()
    medians = [round(1e3 * statistics.median(each), 3) for each in zip(*taken, strict=True)]
    return {"grpc_p50_ms": medians[0], "in_process_p50_ms": medians[1], "calls": len(taken)}


def summarise(
    loads: Sequence[Mapping[str, Any]], in_turn: Mapping[str, float] | None
) -> dict[str, float | None]:
    """Return the three numbers that stand for all; None for what was not measured.

    Args:
        loads: Fields of `Load`, and "batching".
        in_turn: What `alternate` returned.

    Returns:
        grpc_overhead_ms: What gRPC adds to calling the signature in process, at the median.
        batching_gain_32: Calls per second with batching over those without; gRPC, 32 in flight.
        rest_vs_grpc: Calls per second over REST to those over gRPC at the highest concurrency;
            of batching off and on the worse.
    """
    qps = {
        (each["transport"], each["concurrency"], each["batching"]): each["qps"] for each in loads
    }
    highest = max((each["concurrency"] for each in loads), default=0)
    ratios = [
        qps["rest", highest, batching] / qps["grpc", highest, batching]
        for batching in (None, False, True)
        if ("rest", highest, batching) in qps and ("grpc", highest, batching) in qps
    ]
    off, on = (qps.get(("grpc", 32, batching)) for batching in (False, True))
    return {
        "grpc_overhead_ms": round(in_turn["grpc_p50_ms"] - in_turn["in_process_p50_ms"], 3)
        if in_turn
        else None,
        "batching_gain_32": round(on / off, 3) if on and off else None,
        "rest_vs_grpc": round(min(ratios), 3) if ratios else None,
    }
