"""Recordings chunk by chunk, to a stand-in that counts the samples it has heard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serving import streams
from serving.__main__ import main
from serving.client import Client
from serving.commands import call as command
from serving.errors import RowError
from serving.streams import Stream, chunks, read_recording
from serving.transports import MockTransport
from serving.values import Call, Signature, TensorSpec
from tests.zoo.test_streaming import Pairs, RunningSum, Written
from zoo import streaming
from zoo.errors import DataError

RATE = 8000
STATE, TEXT = TensorSpec.of("float32", None, 1), TensorSpec.of("object", None)
AFTER = {"state": STATE, "text": TEXT}
CHUNK = {"samples": TensorSpec.of("float32", None, None), "length": TensorSpec.of("int32", None)}
SIGNATURES = {
    "stream_start": Signature({"stream": TEXT}, {**AFTER, "rate": TensorSpec.of("int32", None)}),
    "stream_step": Signature({**CHUNK, **AFTER}, {**AFTER, "status": TEXT}),
    "stream_end": Signature(AFTER, {"text": TEXT}),
}


def counting(call: Call) -> dict[str, np.ndarray]:
    """Answer as a model that says how many seconds it has heard, in whole seconds."""
    inputs = call.inputs
    if call.signature_name == "stream_start":
        rows = len(inputs["stream"])
        state, text = np.zeros((rows, 1), np.float32), np.array([""] * rows, object)
        return {"state": state, "text": text, "rate": np.full(rows, RATE, np.int32)}
    if call.signature_name == "stream_end":
        return {"text": np.array([f"{text}." for text in inputs["text"]], object)}
    assert (inputs["length"] == inputs["samples"].shape[1]).all()
    finite = np.isfinite(inputs["samples"]).all(axis=1)
    state = inputs["state"] + (inputs["length"] * finite)[:, None].astype(np.float32)
    return {
        "state": state,
        "text": np.array([f"{int(row[0]) // RATE} s" for row in state], object),
        "status": np.array(["" if good else "samples must be finite" for good in finite], object),
    }


def client() -> Client:
    return Client(MockTransport(counting, SIGNATURES), "counter")


@pytest.mark.parametrize("size", [1000, 3000, 20_000])
def test_any_chunks_are_heard_to_the_end(size: int):
    stream = Stream(client())
    assert stream.rate == RATE
    texts = [stream.feed(chunk) for chunk in chunks(np.zeros(20_000, np.float32), size)]
    assert texts[-1] == "2 s"
    assert len(texts) == -(-20_000 // size)
    assert stream.end() == "2 s."


def test_a_chunk_that_is_refused_is_as_if_never_sent():
    stream = Stream(client())
    stream.feed(np.zeros(RATE, np.float32))
    with pytest.raises(RowError, match="samples must be finite"):
        stream.feed(np.full(RATE, np.nan, np.float32))
    assert stream.feed(np.zeros(RATE, np.float32)) == "2 s"


def test_a_recording_becomes_mono_at_the_rate_of_the_model(tmp_path: Path):
    time = np.arange(44_100) / 44_100
    left, right = np.sin(2 * np.pi * 440 * time), np.zeros_like(time)
    soundfile.write(tmp_path / "tone.flac", np.stack([left, right], axis=1), 44_100)
    samples = read_recording(tmp_path / "tone.flac", RATE)
    assert samples.dtype == np.float32
    assert len(samples) == RATE
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(samples[100:-100], expected[100:-100], atol=2e-3)


def test_what_is_no_recording_is_named(tmp_path: Path):
    (tmp_path / "text.wav").write_text("not a sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    for name, reason in {
        "text.wav": "Format not recognised",
        "empty.wav": "holds no samples",
        "missing.wav": "there is no file",
    }.items():
        with pytest.raises(DataError, match=reason) as caught:
            read_recording(tmp_path / name, RATE)
        assert str(tmp_path / name) in str(caught.value)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command find the stand-in behind every address."""

    @contextmanager
    def found(options: object) -> Iterator[Client]:
        yield client()

    monkeypatch.setattr(command, "_client", found)


def test_call_shows_the_text_whenever_it_changes(
    served: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "two.wav"
    soundfile.write(file, np.zeros(2 * RATE), RATE)
    assert main(["call", "counter", str(file), "--stream", "--chunk", "250"]) == 0
    *partial, last = capsys.readouterr().out.splitlines()
    assert partial == ["   0.25 s  0 s", "   1.00 s  1 s", "   2.00 s  2 s"]
    assert json.loads(last) == {"audio": str(file), "text": "2 s."}


@pytest.mark.parametrize("chunk", ["0", "1e9", "nan"])
def test_a_chunk_must_have_a_length(chunk: str, capsys: pytest.CaptureFixture[str]):
    assert main(["call", "counter", "a.wav", "--stream", "--chunk", chunk]) == 2
    assert "--chunk must be from 1 to 60000 milliseconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--chunk", "50"], "--chunk belongs to --stream"),
        (["--stream", "--signature", "waveform"], "--stream has its own signatures"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["call", "counter", "a.wav", *words]) == 2
    assert message in capsys.readouterr().err


def test_client_and_model_call_the_signatures_by_the_same_names():
    endpoints = streaming.Stream(Pairs(), RunningSum(), Written(), rate=RATE).endpoints()
    assert [*endpoints] == [streams.START, streams.STEP, streams.END]
    for name, signature in SIGNATURES.items():
        assert {*endpoints[name].inputs} == {*signature.inputs}
        assert {*endpoints[name].outputs} == {*signature.outputs}
