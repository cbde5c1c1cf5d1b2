"""`python -m serving bundle`: what it takes, measures, chooses, writes and refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import json_format
from tensorflow_serving.apis import predict_pb2

from serving import bench
from serving import bundle as bundling
from serving.__main__ import main
from serving.bench import Load
from serving.bundle import Plan, bundle
from serving.containers import measurement
from serving.containers.measurement import Goal, Measurement, choose, measure, report
from serving.errors import ServingError
from serving.parity import Batching, Probes
from zoo.errors import ConfigError, DataError, UnknownNameError
from zoo.ports import Port, Ports


def silent(_: str) -> None:
    """Tell nobody."""


def load(qps: float, p99_ms: float, errors: int = 0) -> Load:
    return Load("grpc", 32, qps, p99_ms / 4, p99_ms / 2, p99_ms, errors, 3.0)


def tree(folder: Path) -> set[str]:
    """Return the paths of all files in a folder."""
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


def save(version: Path, **inputs: Port) -> None:
    """Write what a bundle takes of an exported model: files, and rows to ask."""
    (version / "assets.extra").mkdir(parents=True)
    (version / "variables").mkdir()
    (version / "saved_model.pb").write_bytes(b"a graph")
    (version / "variables" / "variables.index").write_bytes(b"weights")
    ports = Ports(**(inputs or {"text": Port((), "string", "a text")}))
    rows = ports.dummy(3)
    if "text" in ports:
        rows["text"][:] = b"", b"\xff", "größer".encode()
    Probes(ports, ports, rows, rows).write(version)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder "tiny" with the versions 1, 2 and 10."""
    for version in ("1", "2", "10"):
        save(tmp_path / "tiny" / version)
    return tmp_path / "tiny"


class TestChoice:
    def chosen(self, p99_ms: float, *loads: Load) -> int:
        measurements = [Measurement(Batching(n, 0), each) for n, each in enumerate(loads)]
        return measurements.index(choose(measurements, p99_ms))

    def test_the_most_answers_within_the_bound(self):
        loads = load(100, 10), load(300, 101), load(200, 100), load(150, 5)
        assert self.chosen(100, *loads) == 2
        assert self.chosen(200, *loads) == 1

    def test_of_what_is_about_equal_the_shortest_wait(self):
        measurements = [
            Measurement(Batching(8, 4000), load(1000, 10)),
            Measurement(Batching(8, 1000), load(960, 10)),
            Measurement(Batching(16, 1000), load(970, 10)),
            Measurement(None, load(900, 10)),
        ]
        assert choose(measurements, 100) == measurements[2]
        measurements.append(Measurement(None, load(951, 10)))
        assert choose(measurements, 100) == measurements[4]

    def test_the_least_late_where_nothing_is_within_the_bound(self):
        assert self.chosen(1, load(100, 10), load(300, 30), load(200, 4)) == 2

    def test_never_one_with_failed_calls(self):
        assert self.chosen(100, load(100, 50), load(300, 5, errors=1)) == 0
        with pytest.raises(ServingError, match="calls failed with every way"):
            self.chosen(100, load(300, 5, errors=1))

    def test_the_report_says_what_was_wanted_and_found(self):
        measurements = [Measurement(None, load(100, 10)), Measurement(Batching(8, 0), load(9, 3))]
        found = report(measurements, Goal(p99_ms=5, concurrency=4, seconds=1))
        assert (found["chosen"], found["within_bound"], found["p99_bound_ms"]) == (1, True, 5)
        assert found["measurements"][0]["batching"] is None
        assert found["measurements"][1]["batching"] == {"rows": 8, "wait_micros": 0}
        assert found["measurements"][1]["qps"] == 9
        assert report(measurements, Goal(p99_ms=2))["within_bound"] is False
        json.dumps(found)


class TestGoal:
    def test_no_batching_and_sizes_that_suit_the_calls_in_flight(self):
        first, *others = Goal(concurrency=32).candidates
        assert first is None
        assert {each.rows for each in others} == {8, 16, 32}
        assert {each.rows for each in Goal(concurrency=2).candidates[1:]} == {1, 2}

    @pytest.mark.parametrize("name", ["p99_ms", "concurrency", "seconds"])
    @pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
    def test_numbers_must_be_positive(self, name: str, value: float):
        with pytest.raises(ConfigError, match=f"{name} must be a positive number, not {value}"):
            Goal(**{name: value})


class TestMeasurement:
    def test_every_candidate_is_served_with_the_file_that_the_bundle_gets(
        self, model: Path, monkeypatch: pytest.MonkeyPatch
    ):
        served: list[dict[str, Any]] = []

        @contextmanager
        def launch(name: str, base_path: Path, *flags: str) -> Iterator[SimpleNamespace]:
            files = [Path(flag.split("=")[1]) for flag in flags if "_file=" in flag]
            served.append({"flags": flags, "texts": [file.read_text() for file in files]})
            yield SimpleNamespace(grpc_address="127.0.0.1:9")

        def closed_loop(*arguments: Any) -> Load:
            transport, target, name, rows, concurrency, seconds = arguments
            assert (transport, target, name) == ("grpc", "127.0.0.1:9", "tiny")
            assert len(rows) == 3 and (concurrency, seconds) == (8, 0.5)
            return load(100 * len(served), 10)

        monkeypatch.setattr(measurement, "launch", launch)
        monkeypatch.setattr(bench, "closed_loop", closed_loop)
        told: list[str] = []
        goal = Goal(concurrency=8, seconds=0.5)
        contents = bundling.Contents("tiny", (2, 10), bench.BATCHING, False, 0)
        found = measure(contents, model, goal, told.append)
        assert [each.batching for each in found] == goal.candidates
        assert served[0] == {"flags": (), "texts": []}
        for candidate, server in zip(goal.candidates[1:], served[1:], strict=True):
            assert server["flags"][0] == "--enable_batching=true"
            (text,) = server["texts"]
            assert f"max_execution_batch_size {{ value: {candidate.rows} }}" in text
            assert f"batch_timeout_micros {{ value: {candidate.wait_micros} }}" in text
        assert len(told) == 2 + len(found)
        assert {len(line) for line in told[1:]} == {len(told[1])}

    def test_the_choice_goes_into_the_files(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def fake(*_: Any) -> list[Measurement]:
            return [Measurement(None, load(300, 200)), Measurement(Batching(16, 7), load(200, 9))]

        monkeypatch.setattr(measurement, "measure", fake)
        for bound, batching in ((100, Batching(16, 7)), (1000, None)):
            out = tmp_path / str(bound)
            contents = bundle(Plan(model, out, goal=Goal(p99_ms=bound)), silent)
            assert contents.batching == batching
            assert (out / "config" / "batching.config").exists() == bool(batching)
            assert ("batching" in (out / "Dockerfile").read_text()) == bool(batching)
            found = json.loads((out / "measurements.json").read_text())
            assert found == contents.report
            assert len(found["measurements"]) == 2
            assert json.loads((out / "bundle.json").read_text())["measured"] is True


class TestContents:
    def test_the_newest_version_is_taken_whole(self, model: Path, tmp_path: Path):
        contents = bundle(Plan(model, tmp_path / "b", goal=None), silent)
        assert contents.versions == (10,)
        copied = tmp_path / "b" / "models" / "tiny"
        assert tree(copied) == {f"10/{path}" for path in tree(model / "10")}
        for path in tree(copied):
            assert (copied / path).read_bytes() == (model / path).read_bytes()

    def test_an_older_version_may_be_beside_it(self, model: Path, tmp_path: Path):
        contents = bundle(Plan(model, tmp_path / "b", stable=2, goal=None), silent)
        assert contents.versions == (2, 10)
        assert {each.name for each in (tmp_path / "b/models/tiny").iterdir()} == {"2", "10"}
        same = bundle(Plan(model / "2", tmp_path / "c", stable=2, goal=None), silent)
        assert same.versions == (2,)

    def test_without_a_measurement_it_says_so(self, model: Path, tmp_path: Path):
        contents = bundle(Plan(model, tmp_path / "b", goal=None), silent)
        assert contents.batching == bench.BATCHING and contents.report is None
        assert not (tmp_path / "b" / "measurements.json").exists()
        assert json.loads((tmp_path / "b" / "bundle.json").read_text())["measured"] is False
        assert "Not measured" in (tmp_path / "b" / "README.md").read_text()

    def test_everybody_can_read_it(self, model: Path, tmp_path: Path):
        (model / "10" / "saved_model.pb").chmod(0o600)
        before = os.umask(0o077)
        try:
            bundle(Plan(model, tmp_path / "b", goal=None), silent)
        finally:
            os.umask(before)
        for entry in (tmp_path / "b", *(tmp_path / "b").rglob("*")):
            assert entry.stat().st_mode & 0o777 == (0o755 if entry.is_dir() else 0o644), entry

    def test_the_tag_tells_contents_apart(self, model: Path, tmp_path: Path):
        def tag(out: str, **changes: Any) -> str:
            return bundle(Plan(model, tmp_path / out, goal=None, **changes), silent).tag

        first = tag("a")
        assert re.fullmatch("10-[0-9a-f]{8}", first)
        assert tag("b") == first
        assert tag("c", stable=2).startswith("2-10-")
        with (model / "10" / "variables" / "variables.index").open("ab") as stream:
            stream.write(b"!")
        assert tag("d") != first

    def test_links_become_files(self, model: Path, tmp_path: Path):
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / "1").symlink_to(model / "2")
        contents = bundle(Plan(tmp_path / "linked", tmp_path / "b", goal=None), silent)
        assert not [each for each in (tmp_path / "b").rglob("*") if each.is_symlink()]
        assert (contents.model, contents.versions) == ("tiny", (2,))

    @pytest.mark.parametrize(
        ("shape", "more", "pads", "batched"),
        [
            ((3,), {}, False, True),
            ((None, 3), {"length": Port((), "int32", "steps that are real")}, True, True),
            ((None, 3), {}, False, False),
        ],
    )
    def test_calls_of_different_lengths_meet_only_where_the_length_is_told(
        self,
        tmp_path: Path,
        shape: tuple[int | None, ...],
        more: dict[str, Port],
        pads: bool,
        batched: bool,
    ):
        save(tmp_path / "x" / "1", series=Port(shape, "float32", "numbers"), **more)
        contents = bundle(Plan(tmp_path / "x", tmp_path / "b", goal=None), silent)
        assert (contents.pads, contents.batching is not None) == (pads, batched)
        readme = (tmp_path / "b" / "README.md").read_text()
        assert ("Calls of different sizes would have to be filled up" in readme) is not batched
        assert (tmp_path / "b" / "config" / "batching.config").exists() is batched

    def test_the_examples_ask_a_real_row(self, model: Path, tmp_path: Path):
        bundle(Plan(model, tmp_path / "b", goal=None), silent)
        requests = tmp_path / "b" / "requests"
        body = json.loads((requests / "rest.json").read_text())
        assert body == {"signature_name": "serving_default", "inputs": {"text": ["größer"]}}
        text = (requests / "grpc.json").read_text()
        message = json_format.Parse(text, predict_pb2.PredictRequest())
        assert message.model_spec.name == "tiny"
        assert list(message.inputs["text"].string_val) == ["größer".encode()]


class TestRefusals:
    @pytest.mark.parametrize("force", [False, True])
    def test_a_folder_that_is_no_bundle_stays(self, model: Path, tmp_path: Path, force: bool):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "bundle.json").write_text('["not ours"]')
        with pytest.raises(DataError, match="there already, and it is no bundle"):
            bundle(Plan(model, tmp_path / "mine", goal=None, force=force), silent)
        assert tree(tmp_path / "mine") == {"bundle.json"}

    def test_a_bundle_is_replaced_only_by_force(self, model: Path, tmp_path: Path):
        out = tmp_path / "b"
        bundle(Plan(model, out, goal=None), silent)
        (out / "old").touch()
        with pytest.raises(DataError, match="is a bundle already: --force replaces it"):
            bundle(Plan(model, out, goal=None), silent)
        assert (out / "old").exists()
        bundle(Plan(model, out, goal=None, force=True), silent)
        assert not (out / "old").exists() and (out / "Dockerfile").exists()
        assert {each.name for each in tmp_path.iterdir()} == {"tiny", "b"}

    @pytest.mark.parametrize("there", [False, True])
    def test_a_failure_leaves_everything_as_it_was(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
    ):
        out = tmp_path / "b"
        if there:
            bundle(Plan(model, out, goal=None), silent)
        before = tree(tmp_path)

        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(bundling.files, "write_tree", fail)
        with pytest.raises(DataError, match=r"cannot write '.*b': No space left on device"):
            bundle(Plan(model, out, goal=None, force=True), silent)
        assert tree(tmp_path) == before

    def test_a_folder_made_meanwhile_stays(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        out = tmp_path / "b"

        def meanwhile(*_: Any) -> list[Measurement]:
            out.mkdir()
            return [Measurement(None, load(1, 1))]

        monkeypatch.setattr(measurement, "measure", meanwhile)
        with pytest.raises(DataError, match="there already"):
            bundle(Plan(model, out, force=True), silent)
        assert not tree(out)

    def test_versions_and_names_that_do_not_fit(self, model: Path, tmp_path: Path):
        out = tmp_path / "b"
        with pytest.raises(UnknownNameError, match=r"version before 10 '3'.*\(known: 1, 2\)"):
            bundle(Plan(model, out, stable=3, goal=None), silent)
        with pytest.raises(DataError, match="holds no exported model"):
            bundle(Plan(tmp_path, out, goal=None), silent)
        odd = model.rename(tmp_path / "größe")
        with pytest.raises(DataError, match="letters a to z, digits, - and _ alone, not 'größe'"):
            bundle(Plan(odd, out, goal=None), silent)
        foreign = odd.rename(tmp_path / "foreign")
        (foreign / "10" / "assets.extra" / "parity.json").unlink()
        with pytest.raises(DataError, match="export the run anew"):
            bundle(Plan(foreign, out, goal=None), silent)
        (foreign / "10").rename(foreign / "latest")
        with pytest.raises(DataError, match="its name must be a number"):
            bundle(Plan(foreign / "latest", out, goal=None), silent)


class TestCommand:
    def test_it_says_what_it_made(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        words = ["bundle", str(model), "--out", str(tmp_path / "new" / "b"), "--stable", "2"]
        assert main([*words, "--skip-measurement"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "batching: up to 32 rows, 2000 µs wait (not measured)"
        assert re.fullmatch(r"bundle: .*/new/b, for the image tiny:2-10-[0-9a-f]{8}", lines[1])

    def test_misuse_is_one_line_and_code_2(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        out = str(tmp_path / "b")
        for words, message in (
            ([str(model)], "arguments are required: --out"),
            ([str(model), "--out", out, "--p99-ms", "0"], "p99_ms must be a positive number"),
            ([str(model), "--out", str(tmp_path), "--force"], "and it is no bundle"),
            ([str(tmp_path / "no"), "--out", out], "holds no exported model"),
        ):
            assert main(["bundle", *words]) == 2
            said = capsys.readouterr().err
            assert message in said and said.count("\n") == 1
        assert not Path(out).exists()

    @pytest.mark.slow
    def test_a_run_is_exported_measured_and_bundled(
        self, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        run = shutil.copytree(tiny_run, tmp_path / "run")
        words = ["bundle", str(run), "--out", str(tmp_path / "b"), "--seconds", "0.2"]
        assert main([*words, "--concurrency", "4", "--p99-ms", "1e6"]) == 0
        found = json.loads((tmp_path / "b" / "measurements.json").read_text())
        assert len(found["measurements"]) == len(Goal(concurrency=4).candidates)
        assert found["within_bound"] and not any(row["errors"] for row in found["measurements"])
        best = max(row["qps"] for row in found["measurements"])
        assert found["measurements"][found["chosen"]]["qps"] >= (1 - measurement.NOISE) * best
        printed = capsys.readouterr().out
        assert "measuring 10 ways of batching, 4 calls in flight\n" in printed
        assert (tmp_path / "b" / "models" / "sentiment" / "1" / "saved_model.pb").is_file()
