"""Speed, noise, and the recordings that are made by rules."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from zoo.datasets import Fractions, cache, speech
from zoo.datasets.speech import noise, spoken_digits
from zoo.datasets.speech.espeak import espeak
from zoo.errors import ConfigError, DataError, UnknownNameError

TONES = speech.load("synthetic")


def power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


class TestSpeed:
    @pytest.mark.parametrize("speed", [0.5, 0.9, 0.95, 1.1, 2])
    def test_it_changes_length_and_pitch(self, speed: float):
        recording = TONES.recordings[0]
        plain, rate = recording.read()
        samples, same = speech.FasterRecording(recording, speed).read()
        assert same == rate
        assert samples.dtype == np.float32
        assert abs(len(samples) - len(plain) / speed) < 2
        peaks = [np.abs(np.fft.rfft(x)).argmax() / len(x) for x in (plain, samples)]
        assert peaks[1] / peaks[0] == pytest.approx(speed, rel=0.02)

    def test_an_impossible_speed_is_refused(self):
        with pytest.raises(ConfigError, match=r"from 0\.5 to 2 in steps of 0\.05, not 3"):
            speech.FasterRecording(TONES.recordings[0], 3)


class TestNoise:
    @pytest.mark.parametrize("kind", noise.NOISES)
    def test_it_is_as_strong_as_asked_and_the_same_again(self, kind: str):
        recording = TONES.recordings[3]
        plain, _ = recording.read()
        noisy = speech.NoisyRecording(recording, kind, snr_db=10.0, seed=4)
        samples, _ = noisy.read()
        assert samples.dtype == np.float32
        ratio = power(plain) / power(samples - plain)
        assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.1)
        np.testing.assert_array_equal(samples, noisy.read()[0])
        assert not np.array_equal(
            samples, speech.NoisyRecording(recording, kind, 10.0, seed=5).read()[0]
        )

    @pytest.mark.parametrize(("kind", "size"), [*itertools.product(noise.NOISES, [1, 7, 20_000])])
    def test_any_length_is_finite(self, kind: str, size: int):
        made = noise.NOISES[kind](np.random.default_rng(0), size, 8000)
        assert made.shape == (size,)
        assert np.isfinite(made).all()

    def test_an_unknown_noise_is_refused(self):
        with pytest.raises(UnknownNameError, match="unknown noise 'pinc'.*pink"):
            speech.NoisyRecording(TONES.recordings[0], "pinc", 10, 0)


class TestAugment:
    def test_every_row_comes_at_every_speed(self):
        rows = TONES.select(range(20))
        heard = speech.augment(rows, (0.9, 1.0), noise=0.5, seed=1)
        assert heard.texts == rows.texts * 2
        noisy = [isinstance(each, speech.NoisyRecording) for each in heard.recordings]
        assert 10 < sum(noisy) < 30
        slow, plain = (
            np.array([len(each.read()[0]) for each in half])
            for half in (heard.recordings[:20], heard.recordings[20:])
        )
        np.testing.assert_allclose(slow, plain / 0.9, atol=1)
        assert heard == speech.augment(rows, (0.9, 1.0), noise=0.5, seed=1)

    def test_noise_can_be_taken_off_again(self):
        rows = TONES.select(range(5))
        assert speech.without_noise(rows) is None
        assert speech.without_noise(speech.augment(rows, (1.0,), noise=1.0, seed=1)) == rows


class TestSpokenDigits:
    def test_sentences_differ(self):
        made = list(itertools.islice(spoken_digits.sentences(np.random.default_rng(0)), 500))
        assert len(set(made)) == 500
        assert any(set(text.split()) <= {*spoken_digits.DIGITS} for text in made)

    def test_voices_and_noise_of_the_test_part_are_its_own(self):
        for table in (spoken_digits.SPEAKERS, spoken_digits.NOISE_KINDS):
            others = {*table["train"], *table["validation"]}
            assert not others & {*table["test"]}

    def test_no_part_has_the_formants_of_another(self):
        voices = Path(pytest.importorskip("espeakng_loader").get_data_path(), "voices", "!v")

        def formants(name: str) -> tuple[str, ...]:
            lines = (voices / name).read_text(encoding="utf-8", errors="replace").splitlines()
            found = [line.split() for line in lines if line.startswith("formant")]
            return tuple(sorted(f"{words[1]} {words[2]}" for words in found))

        parts = [{*map(formants, names)} for names in spoken_digits.SPEAKERS.values()]
        for one, other in itertools.combinations(parts, 2):
            assert not one & other

    def test_a_small_one_is_made_once_and_read_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path))
        monkeypatch.setattr(spoken_digits, "COUNTS", {"train": 6, "validation": 2, "test": 3})
        first = spoken_digits.load()
        files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
        assert sorted(file.name for file in files) == ["index.json", "recordings.flac"]
        assert spoken_digits.load() == first
        assert files == {file: file.stat().st_mtime_ns for file in files}
        split = speech.split_speech(first, Fractions())
        assert [len(part) for part in split] == [6, 2, 3]
        assert not {*split.train.speakers} & {*split.test.speakers}
        samples, rate = split.test.recordings[2].read()
        assert rate == spoken_digits.RATE
        assert 0.5 < len(samples) / rate < 8
        assert "dB" in split.test.recordings[0].name

    def test_what_is_not_whole_is_made_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path))
        monkeypatch.setattr(spoken_digits, "COUNTS", {"train": 2, "validation": 1, "test": 1})
        folder = tmp_path / spoken_digits._FOLDER
        folder.mkdir(parents=True)
        (folder / "recordings.flac").write_bytes(b"half")
        assert len(spoken_digits.load()) == 4
        assert len(json.loads((folder / "index.json").read_text())) == 4

    def test_every_voice_exists(self):
        for speakers in spoken_digits.SPEAKERS.values():
            for speaker, language in itertools.product(speakers, spoken_digits.LANGUAGES):
                assert len(espeak().say("one", f"{language}+{speaker}", 200, 50)) > 1000

    def test_an_unknown_voice_is_refused(self):
        with pytest.raises(DataError, match="no voice 'xx-yy'"):
            espeak().say("one", "xx-yy", 200, 50)
