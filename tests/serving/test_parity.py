"""The parity gate: it passes what is equal and stops what is not."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from serving.__main__ import main
from serving.client import Call, Client, MockTransport, Signature, TensorSpec, VersionStatus
from serving.errors import Unreachable
from serving.parity import FILE, Batching, Probes, ask_all, latest_version, serve_alone
from serving.server import configs
from zoo.errors import DataError, ParityError


@pytest.fixture(scope="module")
def probes(tiny_export: Path) -> Probes:
    return Probes.read(tiny_export)


def test_the_probe_rows_hold_edges_and_real_rows(probes: Probes) -> None:
    texts, status = probes.rows["text"], probes.answers["status"]
    assert b"" in texts
    assert max(map(len, texts)) == 100_000
    reasons = {value.decode() for value in status}
    assert reasons == {"", "text is empty", "text is not valid UTF-8"}
    assert np.sum(status == b"") > 60


def test_every_transport_and_batch_size_agrees(
    tiny_export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parity", str(tiny_export.parent)]) == 0
    *findings, verdict = capsys.readouterr().out.splitlines()
    told = [re.match(r"(.+?)  +batches of +(\d+): ", line) for line in findings]
    assert [match and match.groups() for match in told] == [
        (transport, size)
        for transport in ("in process", "REST", "gRPC", "REST batched", "gRPC batched")
        for size in ("1", "7", "64")
    ]
    assert verdict.startswith("parity: ok, largest difference ")


def test_a_copy_under_any_name_is_served_alone(tiny_export: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_export, tmp_path / "models" / "copy")
    (tmp_path / "models" / "9").mkdir()
    with serve_alone(copy, "any") as server, Client.grpc(server.grpc_address, "any") as client:
        assert client.status() == [VersionStatus(1, "AVAILABLE")]


def test_batching_is_written_as_the_server_reads_it(tmp_path: Path) -> None:
    on, file = Batching(rows=32, wait_micros=2000).flags(tmp_path)
    assert on == "--enable_batching=true"
    name, _, path = file.partition("=")
    assert name == "--batching_parameters_file"
    found = configs.batching_parameters(Path(path))
    assert found.max_execution_batch_size == 32
    assert found.batch_timeout_micros == 2000
    assert found.enable_large_batch_splitting and found.max_batch_size >= 1000


def test_calls_at_once_are_compared_one_by_one(probes: Probes) -> None:
    def answer(call: Call) -> dict[str, np.ndarray]:
        (wanted,) = call.inputs.values()
        (known,) = probes.rows.values()
        chosen = [known.tolist().index(row) for row in wanted]
        return {name: values[chosen] for name, values in probes.answers.items()}

    inputs = {name: TensorSpec.of("object", None) for name in probes.inputs}
    transport = MockTransport(answer, {"serving_default": Signature(inputs, {})})
    finding = ask_all(probes, "mock", Client(transport, "tiny"), 7, at_once=8)
    assert (finding.calls, finding.difference) == (-(-len(probes) // 7), 0.0)


def test_every_row_is_asked_once_per_batch_size(probes: Probes) -> None:
    for size in (1, 7, 64):
        batches = list(probes.batches(size))
        assert sorted(np.concatenate(batches)) == list(range(len(probes)))
        assert max(map(len, batches)) == size


def test_the_rows_survive_writing_and_reading(probes: Probes, tmp_path: Path) -> None:
    (tmp_path / "assets.extra").mkdir()
    probes.write(tmp_path)
    again = Probes.read(tmp_path)
    for ours, theirs in ((probes.rows, again.rows), (probes.answers, again.answers)):
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("probabilities", lambda values: values + 1e-3, "differs by 0.001, more than 1e-05"),
        ("probabilities", lambda values: values * np.nan, "differs by nan"),
        ("probabilities", lambda values: values[:, :1], "is missing or has another shape"),
        ("label", lambda values: np.full_like(values, b"other"), "is 'other', not"),
        ("status", lambda values: np.full_like(values, b"bad"), "is 'bad', not"),
    ],
)
def test_an_answer_that_differs_is_named(
    probes: Probes, name: str, change: object, message: str
) -> None:
    chosen = np.arange(len(probes))
    answers = {**probes.answers, name: change(probes.answers[name])}  # type: ignore[operator]
    with pytest.raises(ParityError, match=message):
        probes.difference(chosen, answers)


@pytest.mark.parametrize(
    ("received", "gap"),
    [
        ('[{"text": "a", "score": -65.0100}]', 0.0),
        ('[{"text": "a", "score": -65.0101}]', 1e-4 / 65.01),
        ('[{"text": "a", "score": -65.02}]', None),
        ('[{"text": "b", "score": -65.0100}]', None),
        ('[{"text": "a", "score": -65.0100, "more": 1.0}]', None),
        ("not JSON", None),
    ],
)
def test_numbers_in_json_are_compared_as_numbers(
    probes: Probes, received: str, gap: float | None
) -> None:
    rows = {"nbest": np.array([b'[{"text": "a", "score": -65.0100}]'], object)}
    stand_in = dataclasses.replace(probes, answers=rows, outputs={"nbest": None})
    given = {"nbest": np.array([received.encode()], object)}
    if gap is None:
        with pytest.raises(ParityError, match="output 'nbest' of row 0 (is|differs)"):
            stand_in.difference(np.array([0]), given)
    else:
        assert stand_in.difference(np.array([0]), given) == pytest.approx(gap, abs=1e-9)


def test_a_label_that_looks_like_a_number_is_a_text(probes: Probes) -> None:
    stand_in = dataclasses.replace(
        probes, answers={"label": np.array([b"0.500001"], object)}, outputs={"label": None}
    )
    with pytest.raises(ParityError, match="is '0.500002', not '0.500001'"):
        stand_in.difference(np.array([0]), {"label": np.array([b"0.500002"], object)})


def test_a_missing_output_is_named(probes: Probes) -> None:
    answers = {name: values for name, values in probes.answers.items() if name != "label"}
    with pytest.raises(ParityError, match="output 'label' is missing"):
        probes.difference(np.arange(len(probes)), answers)


def test_the_command_fails_loudly_when_an_answer_differs(
    tiny_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(tiny_export, tmp_path / "tiny" / "1")
    values = json.loads((folder / FILE).read_text())
    values["answers"]["probabilities"][-1][0] += 0.01
    (folder / FILE).write_text(json.dumps(values))
    assert main(["parity", str(folder)]) == 1
    captured = capsys.readouterr()
    assert "error: in process, rows [" in captured.err
    assert "ok" not in captured.out


def test_the_newest_version_is_taken_by_number(tmp_path: Path) -> None:
    for version in ("9", "10", "notes"):
        (tmp_path / version).mkdir()
    assert latest_version(tmp_path).name == "10"


@pytest.mark.parametrize("words", [["parity"], ["ask"], ["paritee"], []])
def test_misuse_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_folder_without_a_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["parity", str(tmp_path)], ["ask", str(tmp_path), "text"]):
        assert main(command) == 2
        assert "holds no exported model" in capsys.readouterr().err
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("")
    with pytest.raises(DataError, match="holds no readable"):
        Probes.read(tmp_path / "1")


def test_asking_prints_the_answer_over_both_transports(
    tiny_export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", str(tiny_export.parent), "a wonderful film", ""]) == 0
    curl, *answers = capsys.readouterr().out.splitlines()
    assert curl.startswith("curl http://127.0.0.1:")
    by_transport = [line.partition(": ") for line in answers]
    rest = [json.loads(answer) for name, _, answer in by_transport if name == "REST"]
    grpc = [json.loads(answer) for name, _, answer in by_transport if name == "gRPC"]
    assert rest == grpc
    assert [row["status"] for row in rest] == ["", "text is empty"]


def test_a_call_that_fails_counts_as_a_difference(probes: Probes) -> None:
    def refuse(call: Call) -> dict[str, np.ndarray]:
        raise Unreachable("the server is gone")

    text = TensorSpec.of("object", None)
    signature = Signature({"text": text}, {"label": text})
    client = Client(MockTransport(refuse, {"serving_default": signature}), "tiny")
    with pytest.raises(ParityError, match="the server is gone"):
        ask_all(probes, "mock", client, 7)
