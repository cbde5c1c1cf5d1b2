"""Speech data sets: reading, splitting by speaker, manifests, and what is missing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from zoo.datasets import Fractions, speech
from zoo.datasets.speech import an4, fsdd
from zoo.datasets.speech.examples import FileRecording, SpeechExamples
from zoo.errors import DataError, DataUnavailableError, UnknownNameError

TONE = 0.5 * np.sin(np.arange(800) / 5)


def put(folder: Path, name: str, samples: np.ndarray = TONE, rate: int = 8000) -> Path:
    """Write a sound file."""
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(place, samples, rate)
    return place


def examples(speakers: str | None, splits: tuple[str, ...] | None = None, rows: int = 0):
    """Return rows without files; a letter of `speakers` says each."""
    count = len(speakers) if speakers else rows
    recordings = tuple(FileRecording(Path(f"{row}.wav")) for row in range(count))
    who = tuple(speakers) if speakers else None
    return SpeechExamples("some", recordings, ("yes",) * count, who, splits)


class TestRecordings:
    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
    def test_channels_are_averaged(self, tmp_path: Path, suffix: str):
        file = put(tmp_path, f"a.{suffix}", np.stack([TONE, 0 * TONE], axis=1))
        samples, rate = FileRecording(file).read()
        assert rate == 8000
        assert samples.dtype == np.float32
        np.testing.assert_allclose(samples, TONE / 2, atol=0.02)

    def test_what_cannot_be_read_is_named_with_the_reason(self, tmp_path: Path):
        (tmp_path / "text.wav").write_text("hello")
        put(tmp_path, "empty.wav", np.zeros(0))
        for name, reason in {
            "text.wav": "Format not recognised",
            "empty.wav": "holds no samples",
            "none.wav": "there is no file",
        }.items():
            with pytest.raises(DataError, match=reason) as caught:
                FileRecording(tmp_path / name).read()
            assert str(tmp_path / name) in str(caught.value)

    def test_a_few_unreadable_ones_are_left_out_and_many_are_an_error(self, tmp_path: Path):
        files = [put(tmp_path, f"{row}.wav") for row in range(39)]
        bad = tmp_path / "bad.wav"
        bad.write_text("no")
        rows = tuple(FileRecording(each) for each in [*files, bad])
        good = speech.readable(SpeechExamples("mine", rows, ("a",) * 40), max_seconds=9)
        assert len(good) == 39
        assert [str(bad) in reason for reason in good.left_out] == [True]
        with pytest.raises(DataError, match=r"1 of 10 recordings cannot be used, more than 5%"):
            speech.readable(SpeechExamples("mine", rows[-10:], ("a",) * 10), max_seconds=9)
        with pytest.raises(DataError, match=r"0\.wav' is longer than 0\.01 seconds"):
            speech.readable(SpeechExamples("mine", rows[:9], ("a",) * 9), max_seconds=0.01)


class TestSplits:
    def test_nobody_is_heard_in_two_parts(self):
        split = speech.split_speech(examples("abcdefghij" * 5), Fractions(0.2, 0.2))
        speakers = [set(part.speakers or ()) for part in split]
        assert sum(map(len, speakers)) == 10
        assert [len(part) for part in split] == [30, 10, 10]
        again = speech.split_speech(examples("jihgfedcba" * 5), Fractions(0.2, 0.2))
        assert [set(part.speakers or ()) for part in again] == speakers

    def test_official_parts_stay_and_speakers_in_both_are_split_by_recording(self):
        apart = ("train",) * 20 + ("test",) * 5
        split = speech.split_speech(examples("aabbc" * 4 + "ddddd", apart), Fractions(0.1, 0.1))
        assert set(split.test.speakers or ()) == {"d"}
        assert not set(split.train.speakers or ()) & set(split.validation.speakers or ())
        split = speech.split_speech(examples("aabbc" * 5, apart), Fractions(0.1, 0.1))
        assert [len(part) for part in split] == [18, 2, 5]

    def test_recordings_without_speakers_are_split_by_name(self):
        split = speech.split_speech(examples(None, rows=50), Fractions(0.1, 0.2))
        assert [len(part) for part in split] == [36, 4, 10]

    def test_a_part_without_rows_is_refused(self):
        with pytest.raises(DataError, match="no row falls into the train part.* of 1 speakers"):
            speech.split_speech(examples("aaaa"), Fractions(0.1, 0.1))

    def test_one_speaker_is_left_out(self):
        split = speech.leave_one_out(examples("abc" * 10), "c", 0.2)
        assert [set(part.speakers or ()) for part in split] == [{*"ab"}, {*"ab"}, {"c"}]
        assert [len(part) for part in split] == [16, 4, 10]
        with pytest.raises(UnknownNameError, match="unknown speaker 'd'"):
            speech.leave_one_out(examples("abc"), "d", 0.2)
        with pytest.raises(DataError, match="takes two known speakers"):
            speech.leave_one_out(examples("aa"), "a", 0.2)

    def test_columns_of_other_lengths_and_other_parts_are_refused(self):
        with pytest.raises(DataError, match="2 recordings but 1 splits"):
            examples("ab", ("train",))
        with pytest.raises(DataError, match="'trian' is not a part; did you mean 'train'"):
            examples("a", ("trian",))


class TestManifests:
    def test_paths_are_seen_from_the_table(self, tmp_path: Path):
        put(tmp_path, "wavs/a.wav")
        table = tmp_path / "mine.tsv"
        table.write_text(
            "path\ttext\tspeaker\tsplit\nwavs/a.wav\t Turn  ON\tann\ttest\nb.flac\tno\tbob\ttrain\n"
        )
        read = speech.read_manifest(table)
        assert read.texts == ("turn on", "no")
        assert read.speakers == ("ann", "bob")
        assert read.splits == ("test", "train")
        assert len(read.recordings[0].read()[0]) == 800
        assert speech.read_manifest(table, lower_case=False).texts[0] == "Turn ON"

    def test_further_columns_need_not_be_there(self, tmp_path: Path):
        table = tmp_path / "mine.csv"
        table.write_text('path,text\na.wav,"yes, please"\n')
        read = speech.read_manifest(table)
        assert (read.texts, read.speakers, read.splits) == (("yes, please",), None, None)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("file,text\na,b\n", "unknown column in .* 'path'"),
            ("path,text\n,b\n", "line 2: no path; every row needs one"),
            ("path,text,split\na,b,tset\n", "line 2: 'tset' is not a part"),
            ("path,text\na,\n", "every text in 'text' is blank"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path: Path, content: str, message: str):
        table = tmp_path / "mine.csv"
        table.write_text(content)
        with pytest.raises((DataError, UnknownNameError), match=message):
            speech.read_manifest(table)


class TestPublishedSets:
    def test_an_unknown_name_and_missing_data_say_what_to_do(self, data_folder: Path):
        with pytest.raises(UnknownNameError, match="unknown speech data set 'am4'.*'an4'"):
            speech.load("am4")
        for name, origin in {"an4": an4.ARCHIVE, "fsdd": fsdd.ARCHIVE}.items():
            with pytest.raises(DataUnavailableError) as caught:
                speech.load(name)
            assert origin in str(caught.value)
            assert str(data_folder / name) in str(caught.value)

    def test_an4_is_read_as_it_is_published(
        self, data_folder: Path, monkeypatch: pytest.MonkeyPatch
    ):
        lines = {"train": "<s> R U B </s> (an1-ann-b)\n", "test": "GO ON (cen2-bob-b)\n"}
        pinned = {}
        for part, line in lines.items():
            place = data_folder / an4.TRANSCRIPTIONS[part][0]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(line)
            sha256 = hashlib.sha256(line.encode()).hexdigest()
            pinned[part] = (an4.TRANSCRIPTIONS[part][0], sha256)
        monkeypatch.setattr(an4, "TRANSCRIPTIONS", pinned)
        raw = data_folder / "an4/wav/an4_clstk/ann/an1-ann-b.raw"
        raw.parent.mkdir(parents=True)
        raw.write_bytes(np.round(TONE * 2**15).astype(">i2").tobytes())
        put(data_folder, "an4/wav/an4test_clstk/bob/cen2-bob-b.flac", rate=16_000)
        read = speech.load("an4")
        assert read.texts == ("r u b", "go on")
        assert read.speakers == ("ann", "bob")
        assert read.splits == ("train", "test")
        for recording in read.recordings:
            samples, rate = recording.read()
            assert rate == 16_000
            np.testing.assert_allclose(samples, TONE, atol=1e-4)

    def test_fsdd_is_compared_with_what_is_published(
        self, data_folder: Path, monkeypatch: pytest.MonkeyPatch
    ):
        names = ["0_george_0", "0_george_5", "9_lucas_49"]
        files = [put(data_folder, f"fsdd/recordings/{name}.wav") for name in names]
        first = hashlib.sha256(files[0].read_bytes()).hexdigest()
        monkeypatch.setattr(fsdd, "FIRST_SHA256", first)
        with pytest.raises(DataError, match="must hold the 3,000 published recordings"):
            speech.load("fsdd")
        lines = "".join(f"{name}.wav {first}\n" for name in names)
        monkeypatch.setattr(fsdd, "SHA256", hashlib.sha256(lines.encode()).hexdigest())
        read = speech.load("fsdd")
        assert read.texts == ("zero", "zero", "nine")
        assert read.speakers == ("george", "george", "lucas")
        assert read.splits == ("test", "train", "train")

    @pytest.mark.parametrize(
        ("name", "sizes", "speakers"), [("an4", (948, 130), 84), ("fsdd", (2700, 300), 6)]
    )
    def test_the_real_ones_have_their_counts(
        self, real_data: None, name: str, sizes: tuple[int, int], speakers: int
    ):
        try:
            read = speech.load(name)
        except DataUnavailableError:
            pytest.skip(f"{name} is in no cache folder")
        splits = read.splits or ()
        assert (splits.count("train"), splits.count("test")) == sizes
        assert len(set(read.speakers or ())) == speakers
        assert len(read.recordings[0].read()[0]) > 1000
