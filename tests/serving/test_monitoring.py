"""What tells how a container is doing: its health check, Prometheus, Grafana's dashboard."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from serving import containers
from serving.protocol.rest import METRICS_PATH
from tests.serving.rendered import CANARY, PLAIN, Rendered, every_bundle

PROVISIONING = "monitoring/grafana/provisioning"


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """The labels of every metric that a server exposes once it was asked, by the metric's name."""
    code = (
        "import sys\n"
        "from serving.server import metrics\n"
        "metrics.answered('a', 'Predict', 'GRPC', None, 0.1)\n"
        "metrics.ran('a', 'Predict', 'TF1', 0.1)\n"
        "metrics.warmed_up('/models/a/1', None, 0.1)\n"
        "metrics.batched('a', 'serving_default', 3, 4, 1, 0.1)\n"
        "sys.stdout.buffer.write(metrics.exposition())\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]  # apart: metrics are one for a process
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    samples = re.findall(r"^([a-zA-Z_:]+)(?:\{(.*)\})? \S+$", text, re.MULTILINE)
    return {name: set(re.findall(r'(\w+)="', labels)) for name, labels in samples}


class TestDashboard:
    DASHBOARD = json.loads(CANARY.texts[containers.DASHBOARD])
    QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

    def test_every_metric_and_label_in_it_is_one_that_the_server_has(
        self, exposed: dict[str, set[str]]
    ):
        (variable,) = self.DASHBOARD["templating"]["list"]
        for query in (*self.QUERIES, variable["query"]):
            names = re.findall(r":[a-z_:]+", query)
            assert names and set(names) <= set(exposed), query
            used = set(re.findall(r"(\w+) *(?:=~|!=|=)", query))
            for listing in re.findall(r"by \((.*?)\)", query):
                used |= set(listing.split(", "))
            assert all(used <= exposed[name] for name in names), query

    def test_it_shows_what_an_operator_looks_for(self):
        shown = " ".join(self.QUERIES)
        for name in ("request_count", "request_latency_bucket", "processed_batch_size_bucket"):
            assert name in shown
        for quantile in ("0.5", "0.95", "0.99"):
            assert f"histogram_quantile({quantile}, sum by (le)" in shown

    def test_panels_do_not_lie_on_each_other(self):
        places = [panel["gridPos"] for panel in self.DASHBOARD["panels"]]
        assert len({(place["x"], place["y"]) for place in places}) == len(places)
        assert {place["x"] + place["w"] for place in places} == {12, 24}


@every_bundle
class TestCompose:
    def test_prometheus_asks_the_server(self, bundle: Rendered):
        (job,) = bundle.yaml("monitoring/prometheus.yml")["scrape_configs"]
        (target,) = job["static_configs"][0]["targets"]
        service, _, port = target.partition(":")
        assert f"--rest_api_port={port}" in bundle.entrypoint and service in bundle.services
        assert job["metrics_path"] == METRICS_PATH

    def test_grafana_asks_prometheus(self, bundle: Rendered):
        (source,) = bundle.yaml(f"{PROVISIONING}/datasources/prometheus.yaml")["datasources"]
        service, _, port = source["url"].removeprefix("http://").partition(":")
        assert bundle.services[service]["ports"] == [f"127.0.0.1:{port}:{port}"]
        dashboard = json.loads(bundle.texts[containers.DASHBOARD])
        assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}

    def test_grafana_finds_the_dashboard(self, bundle: Rendered):
        (provider,) = bundle.yaml(f"{PROVISIONING}/dashboards/serving.yaml")["providers"]
        folder, grafana = provider["options"]["path"], bundle.services["grafana"]
        assert f"./monitoring/grafana/dashboards:{folder}:ro" in grafana["volumes"]
        home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        assert home == f"{folder}/{Path(containers.DASHBOARD).name}"


class TestHealthCheck:
    """The script, against a server that answers what TF Serving answers."""

    def check(self, port: int) -> int:
        script = PLAIN.texts["healthcheck.sh"]
        command = ["timeout", "10", "bash", "-c", script, "healthcheck.sh", str(port), "toy"]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode

    @pytest.mark.parametrize(
        ("state", "code"), [("AVAILABLE", 0), ("LOADING", 1), ("NOT_AVAILABLE", 1)]
    )
    def test_it_goes_by_the_state(self, state: str, code: int):
        status = {"model_version_status": [{"version": "1", "state": state}]}
        with answering(json.dumps(status, indent=1)) as (port, asked):
            assert self.check(port) == code
        assert asked == ["/v1/models/toy"]

    def test_it_fails_where_nobody_listens(self):
        assert self.check(9) not in (0, 124)


@contextmanager
def answering(body: str) -> Iterator[tuple[int, list[str]]]:
    """Run an HTTP server that gives one answer; yield its port and the paths it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running.server_port, asked
        running.shutdown()
        thread.join()
