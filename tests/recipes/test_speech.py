"""The speech recipe: it learns, it answers files, samples and streams alike."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from recipes import speech as recipe
from recipes.__main__ import main
from recipes.config import from_json, to_json
from recipes.listening import wav
from recipes.report import aligned
from recipes.run import Run
from tests.recipes.searches import few_weights
from zoo.errors import ConfigError, DataError
from zoo.pipeline import Pipeline
from zoo.sound import encode_wav

TINY = recipe.PRESETS["tiny"]
STREAMING = dataclasses.replace(TINY, streaming=True, search="greedy", epochs=14)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `speech train --preset tiny`."""
    folder = tmp_path_factory.mktemp("runs") / "speech"
    with few_weights():
        assert main(["speech", "train", "--preset", "tiny", "--run-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A pipeline that can be streamed, trained until there are words."""
    data = recipe.load(STREAMING)
    pipeline = recipe.build(STREAMING, data)
    with Run(tmp_path_factory.mktemp("runs") / "streaming", "speech", {}) as run:
        recipe.train(STREAMING, data, pipeline, run)
    return pipeline


class TestTraining:
    def test_words_of_tones_are_learned_and_beat_the_baselines(self, run: Path):
        results = json.loads((run / "metrics.json").read_text())
        test = results["test"]
        assert test["wer"] < 0.05
        for baseline in results["baselines"].values():
            assert test["wer"] < baseline["wer"]
        for search in ("greedy", "beam", "lexicon"):
            assert {"wer", "cer"} == set(test[search])
        assert test["wer"] == test["lexicon"]["wer"]
        assert test["real_time_factor"] > 0
        assert results["left_out"] == 0

    def test_the_page_shows_what_was_heard(self, run: Path):
        page = (run / "index.html").read_text(encoding="utf-8")
        for text in ("test word error rate", "nearest_centroid", "lexicon and n-grams"):
            assert text in page
        assert (run / "spectrogram_right.png").stat().st_size > 10_000

    def test_predict_takes_files(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        test = recipe.load(TINY).test
        good, bad = tmp_path / "good.wav", tmp_path / "bad.wav"
        good.write_bytes(wav(test.recordings[0]))
        bad.write_text("not a sound")
        words = ["speech", "predict", "--run-dir", str(run), str(good), str(bad)]
        capsys.readouterr()
        assert main(words) == DataError.exit_code
        said = capsys.readouterr()
        (answer,) = map(json.loads, said.out.splitlines())
        assert answer["audio"] == str(good)
        assert answer["text"] == test.texts[0]
        assert f"{bad}: audio is not a WAV file" in said.err
        assert "Traceback" not in said.err
        assert main(["speech", "predict", "--run-dir", str(run), "none.wav"]) == 2
        assert "there is no file 'none.wav'" in capsys.readouterr().err

    def test_single_words_are_searched_for_too(self):
        data = recipe.load(TINY)
        words = [text.split()[0] for text in data.train.texts]
        single = data._replace(train=dataclasses.replace(data.train, texts=tuple(words)))
        pipeline = recipe.build(TINY, single)
        assert " " in pipeline.finish.alphabet  # type: ignore[attr-defined]


class TestConfig:
    def test_it_survives_json(self):
        config = recipe.PRESETS["an4"]
        values = json.loads(json.dumps(to_json(config)))
        assert from_json(recipe.Config, values) == config
        assert values == to_json(config)

    @pytest.mark.parametrize(
        ("fields", "rule"),
        [
            ({"units": 0}, "units must be at least 1"),
            ({"speeds": ()}, "speeds must be one or more from 0.5 to 2"),
            ({"speeds": (1.0, 3.0)}, "speeds must be one or more from 0.5 to 2"),
            ({"streaming": True}, "streaming takes front 'stack' and search 'greedy'"),
            ({"noise": 1.5}, "noise must be from 0 to 1"),
            ({"warp": 1.0}, "warp must be at least 0 and below 1, not 1.0"),
            ({"speeds": (0.98, 1.0)}, "speeds must be one or more from 0.5 to 2, in steps of 0.05"),
            ({"rate": 16_001}, "rate must be one of"),
            (
                {"max_seconds": float("inf")},
                "max_seconds must be above 0 and at most 3600, not inf",
            ),
            ({"test_fraction": 1.0}, "fraction"),
            ({"noise": 0.3}, "spoken-digits has its noise, and keeps kinds of it for the test"),
            ({"tokens": "words"}, "tokens 'words' takes search 'greedy' or 'beam', not 'lexicon'"),
            ({"warp": 0.1, "features": "mfcc"}, "warp takes features 'log_mel'.*not 'mfcc'"),
        ],
    )
    def test_a_bad_value_is_named(self, fields: dict[str, object], rule: str):
        with pytest.raises(ConfigError, match=rule):
            dataclasses.replace(recipe.PRESETS["base"], **fields)


class TestEndpoints:
    def test_samples_give_the_answer_of_their_file(self, run: Path):
        pipeline = Pipeline.load(run)
        endpoints = pipeline.endpoints()
        assert set(endpoints) == {"serving_default", "waveform"}
        test = recipe.load(TINY).test
        sounds = [np.round(each.read()[0] * 2**15) / 2**15 for each in test.recordings[:5]]
        lengths = np.array([len(sound) for sound in sounds], np.int32)
        rows = np.zeros((5, lengths.max()), np.float32)
        for row, sound in zip(rows, sounds, strict=True):
            row[: len(sound)] = sound
        raw = endpoints["waveform"].inputs.check({"samples": rows, "length": lengths})
        answer = endpoints["waveform"].call(raw)
        files = [encode_wav(sound, TINY.rate) for sound in sounds]
        expected = pipeline.predict({"audio": np.array(files, dtype=object)})
        assert answer["text"].numpy().tolist() == expected["text"].tolist()
        np.testing.assert_allclose(answer["confidence"], expected["confidence"], atol=1e-5)

    @pytest.mark.parametrize("milliseconds", [20, 100, 333])
    def test_a_stream_ends_with_the_text_of_the_whole(self, streaming: Pipeline, milliseconds: int):
        endpoints = streaming.endpoints()
        assert set(endpoints) == set(recipe.SIGNATURES)
        test = recipe.load(STREAMING).test
        size = milliseconds * STREAMING.rate // 1000
        texts: list[bytes] = []
        several = [row for row, text in enumerate(test.texts) if " " in text]
        for recording in test.select(several[:3]).recordings:
            samples = recording.read()[0][None]
            length = np.array([samples.shape[1]], np.int32)
            whole = endpoints["waveform"].call({"samples": samples, "length": length})
            after = endpoints["stream_start"].call({"stream": np.array([""])})
            after = {name: after[name] for name in ("state", "text")}
            for start in range(0, samples.shape[1], size):
                chunk = samples[:, start : start + size]
                length = np.array([chunk.shape[1]], np.int32)
                answer = endpoints["stream_step"].call(
                    {"samples": chunk, "length": length, **after}
                )
                after = {name: answer[name] for name in after}
            text = endpoints["stream_end"].call(after)["text"]
            assert text.numpy().tolist() == whole["text"].numpy().tolist()
            texts.append(text.numpy()[0])
        # There are words, and what parts them.
        assert b" " in b"".join(texts) and all(texts)

    def test_a_state_that_is_none_is_refused(self, streaming: Pipeline):
        endpoints = streaming.endpoints()
        state = endpoints["stream_start"].call({"stream": np.array([""] * 3)})["state"].numpy()
        state[0] = np.nan
        state[1] = 1e9
        chunk = {"samples": np.zeros((3, 160), np.float32), "length": np.full(3, 160, np.int32)}
        chunk["samples"][2, 100:] = np.nan
        chunk["length"][2] = 100
        after = {"state": state, "text": np.array([""] * 3)}
        answer = endpoints["stream_step"].call({**chunk, **after})
        assert answer["status"].numpy().tolist() == [
            b"state must be what stream_start or stream_step gave",
            b"",
            b"",
        ]
        assert len(endpoints["stream_end"].call(after)["text"]) == 3


class TestAlignment:
    def test_words_stand_above_their_partners(self):
        assert aligned("call one five", "call nine five two") == (
            "  said  call ONE  five ***\n  heard call NINE five TWO"
        )

    def test_missing_words_are_stars(self):
        assert aligned("one two", "") == "  said  ONE TWO\n  heard *** ***"
