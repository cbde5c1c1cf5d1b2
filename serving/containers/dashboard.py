"""Grafana's dashboard of a model server, made of the metrics that TF Serving exposes."""

from __future__ import annotations

from typing import Any

DATASOURCE = "prometheus"
"""Under which Grafana knows Prometheus."""

_MODEL = 'model_name=~"$model"'
_PER_ROW, _HEIGHT = 2, 8
_GRID = 24
"""Columns of Grafana's grid."""


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it from a file."""
    return {
        "uid": "serving",
        "title": "Model server",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [_model_variable()]},
        "panels": [_panel(index, *each) for index, each in enumerate(_panels())],
    }


def _panels() -> list[tuple[str, str, dict[str, str]]]:
    """Return title, unit and queries by legend of every panel."""
    by_model = f"{{{_MODEL}}}"
    failed = f'{{{_MODEL}, status!="OK"}}'
    return [
        (
            "Calls per second",
            "reqps",
            {"{{model_name}}": f"sum by (model_name) ({_rate('request_count', by_model)})"},
        ),
        (
            "Failed calls per second, by status",
            "reqps",
            {"{{status}}": f"sum by (status) ({_rate('request_count', failed)})"},
        ),
        ("Latency of calls", "µs", _quantiles("request_latency", by_model)),
        ("Latency of the graph alone", "µs", _quantiles("runtime_latency", by_model)),
        (
            "Rows per batch",
            "short",
            {
                **_mean("mean", "batching_session:processed_batch_size"),
                **_mean("mean of the rows that fill it up", "batching_session:padding_size"),
                "p95": _quantile(0.95, "batching_session:processed_batch_size"),
            },
        ),
        (
            "Models loaded and warmed up, by status",
            "short",
            {
                "{{model_path}} {{status}}": "sum by (model_path, status) "
                f"({_metric('model_warmup_latency_count')})"
            },
        ),
    ]


def _metric(name: str) -> str:
    return f":tensorflow:serving:{name}"


def _rate(name: str, selector: str = "") -> str:
    return f"rate({_metric(name)}{selector}[$__rate_interval])"


def _quantile(quantile: float, histogram: str, selector: str = "") -> str:
    buckets = _rate(f"{histogram}_bucket", selector)
    return f"histogram_quantile({quantile}, sum by (le) ({buckets}))"


def _quantiles(histogram: str, selector: str) -> dict[str, str]:
    return {f"p{q * 100:.0f}": _quantile(q, histogram, selector) for q in (0.5, 0.95, 0.99)}


def _mean(legend: str, histogram: str) -> dict[str, str]:
    return {legend: f"sum({_rate(f'{histogram}_sum')}) / sum({_rate(f'{histogram}_count')})"}


def _source() -> dict[str, str]:
    return {"type": "prometheus", "uid": DATASOURCE}


def _model_variable() -> dict[str, Any]:
    """Let people choose among the models that have been called."""
    return {
        "name": "model",
        "type": "query",
        "datasource": _source(),
        "query": f"label_values({_metric('request_count')}, model_name)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panel(index: int, title: str, unit: str, queries: dict[str, str]) -> dict[str, Any]:
    width = _GRID // _PER_ROW
    row, column = divmod(index, _PER_ROW)
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": title,
        "datasource": _source(),
        "gridPos": {"x": column * width, "y": row * _HEIGHT, "w": width, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": _source(), "expr": expr, "legendFormat": key}
            for n, (key, expr) in enumerate(queries.items())
        ],
    }
