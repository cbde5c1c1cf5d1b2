"""The REST interface: status, metadata, wrong paths, compression, origins, metrics, connections."""

from __future__ import annotations

import gzip
import json
import re
import socket

import pytest

from tests.serving.conformance.calls import answer, assert_refused, predict, spec
from tests.serving.conformance.conftest import METRICS_PATH
from tests.serving.conformance.process import Server, wait_until

PREDICT = "/v1/models/half:predict"
BODY = {"instances": [2.0]}


class TestStatus:
    def entry(self, version: int) -> dict[str, object]:
        """Return what is told of an available version."""
        status = {"error_code": "OK", "error_message": ""}
        return {"version": str(version), "state": "AVAILABLE", "status": status}

    def test_every_version_is_told_the_newest_first(self, first: Server):
        entries = [self.entry(version) for version in (3, 2, 1)]
        for path in ("", "/labels/stable"):
            response = first.http.get(f"/v1/models/half{path}")
            assert answer(response) == {"model_version_status": entries}

    def test_one_version_can_be_asked_for(self, first: Server):
        response = first.http.get("/v1/models/half/versions/2")
        assert answer(response) == {"model_version_status": [self.entry(2)]}

    def test_paths_do_not_care_for_capital_letters(self, first: Server):
        response = first.http.get("/V1/Models/half/Versions/2")
        assert answer(response) == {"model_version_status": [self.entry(2)]}

    def test_unknown_models_and_versions_are_not_found(self, first: Server):
        text = "Could not find any versions of model nobody"
        assert_refused(first.http.get("/v1/models/nobody"), 404, text)
        text = "Could not find version 99 of model half"
        assert_refused(first.http.get("/v1/models/half/versions/99"), 404, text)


class TestMetadata:
    @pytest.mark.parametrize(
        ("path", "version"), [("", "3"), ("/versions/1", "1"), ("/labels/canary", "2")]
    )
    def test_tells_the_signatures(self, first: Server, path: str, version: str):
        told = answer(first.http.get(f"/v1/models/half{path}/metadata"))
        assert [*told] == ["model_spec", "metadata"]
        assert told["model_spec"] == {"name": "half", "signature_name": "", "version": version}
        signatures = told["metadata"]["signature_def"]["signature_def"]
        signature = signatures["serving_default"]
        assert signature["method_name"] == "tensorflow/serving/predict"
        assert signature["inputs"]["x"] == {
            "dtype": "DT_FLOAT",
            "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
            "name": "serving_default_x:0",
        }

    def test_of_an_unknown_model_is_not_found(self, first: Server):
        text = "Servable not found for request: Latest(nobody)"
        assert_refused(first.http.get("/v1/models/nobody/metadata"), 404, text)


class TestPaths:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/foo"),
            ("POST", "/v1/foo"),
            ("GET", "/v1/models/half/more"),
            ("GET", "/v1/models/half:predict"),
            ("GET", "/v1/models/half/"),
            ("POST", "/v1/models/half:predict?more=1"),
            ("POST", "/v1/models"),
            ("POST", "/v1/models/half"),
            ("POST", "/v1/models/half/metadata"),
            ("POST", "/v1/models/half:other"),
            ("POST", "/v1/models/half/versions/one:predict"),
            ("POST", "/v1/models/half/versions/1/labels/stable:predict"),
            ("PUT", "/v1/models/half"),
            ("DELETE", "/v1/models/half"),
        ],
    )
    def test_what_is_no_request_is_refused(self, first: Server, method: str, path: str):
        response = first.http.request(method, path)
        assert_refused(response, 400, f"Malformed request: {method} {path}")

    def test_what_follows_a_question_mark_is_part_of_the_name(self, first: Server):
        text = "Could not find any versions of model half?more=1"
        assert_refused(first.http.get("/v1/models/half?more=1"), 404, text)

    def test_a_model_must_be_named(self, first: Server):
        text = "Missing model name in request."
        assert_refused(first.http.get("/v1/models"), 400, text)

    def test_a_version_must_be_a_number_of_64_bits(self, first: Server):
        text = f"Failed to convert version: {2**63} to numeric."
        response = first.post(f"/v1/models/half/versions/{2**63}:predict", BODY)
        assert_refused(response, 400, text)

    def test_elsewhere_is_nothing(self, first: Server):
        for path in ("/", "/v2/models/half", "/index.html"):
            assert first.http.get(path).status_code == 404

    @pytest.mark.usefixtures("beyond_reference")
    @pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fhalf", "%2fetc", "half%00"])
    def test_names_do_not_lead_out_of_the_base_path(self, first: Server, name: str):
        with socket.create_connection(("127.0.0.1", first.rest_port)) as connection:
            connection.sendall(
                f"GET /v1/models/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
            )
            told = connection.makefile("rb").read()
        assert re.match(rb"HTTP/1.1 40[04] ", told)
        assert b"AVAILABLE" not in told


class TestCompression:
    def test_bodies_may_be_compressed(self, first: Server):
        packed = gzip.compress(json.dumps(BODY).encode())
        response = first.post(PREDICT, packed, **{"content-encoding": "gzip"})
        assert answer(response) == {"predictions": [4.0]}

    def test_answers_may_be_compressed_for_who_takes_it(self, first: Server):
        response = first.post(PREDICT, BODY, **{"accept-encoding": "gzip"})
        assert answer(response) == {"predictions": [4.0]}

    def test_what_cannot_be_unpacked_is_refused(self, first: Server):
        response = first.post(PREDICT, b"not packed", **{"content-encoding": "gzip"})
        assert_refused(response, 400)


class TestOrigins:
    HEADERS = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": "Content-Type",
    }
    ORIGIN = {"origin": "http://example.org", "access-control-request-method": "POST"}

    def test_other_origins_are_let_in_when_flagged(self, first: Server):
        for response in (
            first.post(PREDICT, BODY),
            first.post(PREDICT, ""),
            first.http.get("/v1/models/half"),
            first.http.options(PREDICT, headers=self.ORIGIN),
        ):
            assert self.HEADERS.items() <= {**response.headers}.items()

    def test_they_may_ask_before(self, first: Server):
        response = first.http.options(PREDICT, headers=self.ORIGIN)
        assert (response.status_code, response.content) == (200, b"")
        assert first.http.options(PREDICT).status_code == 400

    def test_no_other_origin_is_let_in_otherwise(self, second: Server):
        response = second.post("/v1/models/probe:predict", BODY)
        assert answer(response) == {"predictions": [2.0]}
        assert not {*self.HEADERS} & {*response.headers}


class TestMetrics:
    def lines(self, server: Server) -> list[str]:
        """Return the page of metrics."""
        response = server.http.get(METRICS_PATH)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain")
        return response.text.splitlines()

    def value(self, server: Server, name: str, **labels: str) -> float:
        """Return a number of that page; 0 when it is not there."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in self.lines(server):
            found = re.fullmatch(r"(:\S+?)\{(.*)\} (\S+)", line)
            if found and found[1] == f":tensorflow:serving:{name}":
                if {*found[2].split(",")} == wanted:
                    return float(found[3])
        return 0.0

    @pytest.mark.parametrize(("model", "code"), [("half", "OK"), ("nobody_counted", "NOT_FOUND")])
    def test_requests_are_counted_by_model_and_status(self, first: Server, model: str, code: str):
        labels = {"model_name": model, "status": code}
        before = self.value(first, "request_count", **labels)
        first.post(f"/v1/models/{model}:predict", BODY)
        wait_until(lambda: self.value(first, "request_count", **labels) == before + 1)

    def test_latencies_are_counted_by_interface(self, first: Server):
        names = {"model_name": "half", "API": "Predict", "entrypoint": "GRPC"}
        rest = {"model_name": "half", "API": "predict", "entrypoint": "REST"}
        run = {"model_name": "half", "API": "Predict", "runtime": "TF1"}
        wanted = [("request_latency_count", names), ("request_latency_count", rest)]
        wanted.append(("runtime_latency_count", run))
        before = [self.value(first, name, **labels) for name, labels in wanted]
        predict(first, "half", x=[2.0])
        first.post(PREDICT, BODY)
        after = [each + more for each, more in zip(before, (1, 1, 2), strict=True)]
        wait_until(lambda: [self.value(first, name, **labels) for name, labels in wanted] == after)

    def test_latencies_are_histograms_in_microseconds(self, first: Server):
        predict(first, spec("probe", "hold"), seconds=[0.2])
        told = self.lines(first)
        assert "# TYPE :tensorflow:serving:request_latency histogram" in told
        assert "# TYPE :tensorflow:serving:request_count counter" in told
        labels = {"model_name": "probe", "API": "Predict", "entrypoint": "GRPC"}
        assert self.value(first, "request_latency_sum", **labels) >= 200_000
        limits = [10 * 1.8**power for power in range(33)]
        edges = [f"{limit:g}" for limit in limits]
        found = [
            re.search(r'le="(.*?)"', line)[1]
            for line in told
            if line.startswith(":tensorflow:serving:request_latency_bucket")
            and all(f'{key}="{value}"' in line for key, value in labels.items())
        ]
        assert [f"{float(edge):g}" for edge in found[:-1]] == edges
        assert found[-1] == "+Inf"

    def test_warm_ups_are_counted(self, first: Server):
        assert any(
            line.startswith(":tensorflow:serving:model_warmup_latency_count") and "probe" in line
            for line in self.lines(first)
        )

    def test_are_where_they_were_put_and_nowhere_else(self, first: Server, second: Server):
        usual = "/monitoring/prometheus/metrics"
        for server, path in ((first, usual), (second, usual), (second, METRICS_PATH)):
            assert server.http.get(path).status_code == 404


class TestConnections:
    def test_stay_open_between_requests(self, first: Server):
        with socket.create_connection(("127.0.0.1", first.rest_port)) as connection:
            stream = connection.makefile("rb")
            for _ in range(2):
                connection.sendall(b"GET /v1/models/half HTTP/1.1\r\nHost: a\r\n\r\n")
                assert stream.readline().startswith(b"HTTP/1.1 200")
                headers = dict(line.split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
                length = {name.lower(): each for name, each in headers.items()}[b"content-length"]
                assert b"AVAILABLE" in stream.read(int(length))

    def test_bodies_may_come_in_chunks(self, first: Server):
        content = iter([b'{"instances": ', b"[2.0]}"])
        assert answer(first.http.post(PREDICT, content=content)) == {"predictions": [4.0]}
