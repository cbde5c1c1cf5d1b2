"""What the server counts, under the reference server's names, for Prometheus to collect.

Times come in as seconds and are counted in microseconds, as the reference does.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from serving.errors import ServingError, row_of

_PREFIX = ":tensorflow:serving:"
_MICROSECONDS = 1e6
_LATENCY = [10 * 1.8**power for power in range(33)]  # 10 microseconds to 25 minutes
_QUEUING = [100 * 1.2**power for power in range(52)]  # 0.1 milliseconds to 1 second
_ROWS = [2.0**power for power in range(15)]

disable_created_metrics()
_REGISTRY = CollectorRegistry()


def _histogram(name: str, meaning: str, labels: tuple[str, ...], buckets: list[float]) -> Histogram:
    return Histogram(_PREFIX + name, meaning, labels, registry=_REGISTRY, buckets=buckets)


_COUNT = f"{_PREFIX}request_count"
_REQUESTS = Counter(_COUNT, "Requests.", ("model_name", "status"), registry=_REGISTRY)
_REQUEST_LATENCY = _histogram(
    "request_latency",
    "Microseconds that a request takes.",
    ("model_name", "API", "entrypoint"),
    _LATENCY,
)
_RUNTIME_LATENCY = _histogram(
    "runtime_latency",
    "Microseconds that the graph takes.",
    ("model_name", "API", "runtime"),
    _LATENCY,
)
_WARM_UP_LATENCY = _histogram(
    "model_warmup_latency",
    "Microseconds that warming up takes.",
    ("model_path", "status"),
    _LATENCY,
)
_QUEUING_LATENCY = _histogram(
    "batching_session:queuing_latency",
    "Microseconds that a batch's first request waits.",
    ("thread_pool_name",),
    _QUEUING,
)
_INPUT_ROWS = _histogram("batching_session:input_batch_size", "Rows of a batch.", (), _ROWS)
_PROCESSED_ROWS = _histogram(
    "batching_session:processed_batch_size", "Rows of a batch with its padding.", (), _ROWS
)
_PADDING = _histogram("batching_session:padding_size", "Rows that fill a batch up.", (), _ROWS)


def answered(
    model: str, api: str, entrypoint: str, error: ServingError | None, seconds: float
) -> None:
    """Count a request.

    Args:
        model: Name that it was sent to.
        api: Its method, as the entry point names it.
        entrypoint: "GRPC" or "REST".
        error: Why it was refused; None if it was answered. Only then the time counts.
        seconds: How long it took.
    """
    _REQUESTS.labels(model, _status(error)).inc()
    if error is None:
        _REQUEST_LATENCY.labels(model, api, entrypoint).observe(_MICROSECONDS * seconds)


def ran(model: str, api: str, runtime: str, seconds: float) -> None:
    """Count a run of a graph."""
    _RUNTIME_LATENCY.labels(model, api, runtime).observe(_MICROSECONDS * seconds)


def warmed_up(model_path: str, error: ServingError | None, seconds: float) -> None:
    """Count the warm-up of a version."""
    _WARM_UP_LATENCY.labels(model_path, _status(error)).observe(_MICROSECONDS * seconds)


def batched(
    model: str, op: str, batch_size: int, processed_size: int, padding: int, queued_seconds: float
) -> None:
    """Count a batch.

    Args:
        model: Name of its model.
        op: What it was collected for: the name of the signature.
        batch_size: Rows that were sent.
        processed_size: Rows that the graph saw.
        padding: The difference of the two.
        queued_seconds: How long its first request waited.
    """
    _QUEUING_LATENCY.labels(f"{model}/{op}").observe(_MICROSECONDS * queued_seconds)
    _INPUT_ROWS.observe(batch_size)
    _PROCESSED_ROWS.observe(processed_size)
    _PADDING.observe(padding)


def exposition() -> bytes:
    """Return the page that Prometheus reads."""
    # The library ends the name of a counter in "_total", the reference does not.
    return generate_latest(_REGISTRY).replace(f"{_COUNT}_total".encode(), _COUNT.encode())


def _status(error: ServingError | None) -> str:
    return "OK" if error is None else row_of(error).name
