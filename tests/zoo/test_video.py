"""Video files: any kind in, frames out, and back; what cannot be read is named in a line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.errors import DataError
from zoo.video import (
    USUAL_RATE,
    encode_gif,
    encode_mp4,
    encode_png,
    frame_rate,
    read_frames,
    side_by_side,
    stacked,
)

pytest.importorskip("av")


def frames(time: int = 5, height: int = 16, width: int = 24, channels: int = 3) -> np.ndarray:
    """A bar that moves to the right over a slope."""
    film = np.zeros((time, height, width, channels), np.uint8)
    film[:] = np.linspace(0, 120, width, dtype=np.uint8)[:, None]
    for step, frame in enumerate(film):
        frame[:, 2 * step : 2 * step + 3] = 255
    return film


@pytest.mark.parametrize(("suffix", "encode"), [("gif", encode_gif), ("mp4", encode_mp4)])
def test_a_film_comes_back(tmp_path: Path, suffix: str, encode):
    file = tmp_path / f"film.{suffix}"
    file.write_bytes(encode(frames()))
    read = stacked(read_frames(file), file)
    assert read.shape == (5, 16, 24, 3)
    assert np.abs(read.astype(int) - frames()).mean() < 12


@pytest.mark.parametrize(("suffix", "encode"), [("gif", encode_gif), ("mp4", encode_mp4)])
def test_a_film_tells_how_fast_it_is(tmp_path: Path, suffix: str, encode):
    file = tmp_path / f"film.{suffix}"
    file.write_bytes(encode(frames(), Fraction(25)))
    assert frame_rate(file) == 25


def test_where_nothing_tells_how_fast_it_is_there_is_a_usual_rate(tmp_path: Path):
    (tmp_path / "0.png").write_bytes(encode_png(frames()[0]))
    (tmp_path / "rows.jsonl").write_text("{}")
    for path in (tmp_path, tmp_path / "0.png", tmp_path / "rows.jsonl", tmp_path / "nothing"):
        assert frame_rate(path) == USUAL_RATE


def test_an_odd_size_is_evened_for_mp4(tmp_path: Path):
    file = tmp_path / "odd.mp4"
    file.write_bytes(encode_mp4(frames(3, 15, 23, 1)))
    assert stacked(read_frames(file), file).shape == (3, 16, 24, 3)


def test_ten_bits_are_rounded(tmp_path: Path):
    import av

    file = tmp_path / "deep.mkv"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 24, 16, "yuv420p10le"
        for frame in frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    read = stacked(read_frames(file), file)
    assert read.dtype == np.uint8 and np.abs(read.astype(int) - frames()).mean() < 6


@pytest.mark.parametrize(
    ("mode", "channels", "first"),
    [("L", 1, 200), ("RGB", 3, 200), ("RGBA", 3, 200), ("LA", 1, 200), ("I;16", 1, 200)],
)
def test_pictures_of_every_kind(tmp_path: Path, mode: str, channels: int, first: int):
    file = tmp_path / "some.png"
    if mode == "I;16":
        Image.fromarray(np.full((4, 6), 200 * 257, np.uint16)).save(file)
    else:
        Image.new(
            mode, (6, 4), {"L": 200, "LA": (200, 7)}.get(mode, (200, 200, 200, 7)[: len(mode)])
        ).save(file)
    (frame,) = read_frames(file)
    assert frame.shape == (4, 6, channels) and frame[0, 0, 0] == first


def test_frames_are_read_one_at_a_time(tmp_path: Path):
    file = tmp_path / "film.gif"
    file.write_bytes(encode_gif(frames(30)))
    reading = read_frames(file)
    assert next(reading).shape == (16, 24, 3)
    reading.close()


def test_what_cannot_be_read_is_named(tmp_path: Path):
    for name, content in {"a.mp4": b"no film", "b.png": b"no picture", "c.gif": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"cannot read '.*{name}'"):
            list(read_frames(tmp_path / name))
    film = tmp_path / "cut.mp4"
    film.write_bytes(encode_mp4(frames(20))[:600])
    with pytest.raises(DataError, match="cannot read '.*cut.mp4'"):
        list(read_frames(film))
    with pytest.raises(DataError, match="there is no file"):
        list(read_frames(tmp_path / "nothing.mp4"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        list(read_frames(tmp_path / "empty"))


def test_a_path_that_cannot_be_examined_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="cannot read '.*': File name too long"):
        list(read_frames(tmp_path / ("x" * 300 + ".mp4")))


def test_a_name_with_a_colon_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    file = Path("clip-12:30:05.gif")
    file.write_bytes(encode_gif(frames(5), Fraction(4)))
    assert len([*read_frames(file)]) == 5
    assert frame_rate(file) == 4


@pytest.mark.parametrize("suffix", [".webp", ".png", ".tiff"])
def test_a_picture_that_moves_is_a_film(tmp_path: Path, suffix: str):
    pictures = [Image.new("RGB", (8, 6), (40 * number, 0, 0)) for number in range(4)]
    file = tmp_path / f"film{suffix}"
    pictures[0].save(file, save_all=True, append_images=pictures[1:], lossless=True)
    found = [*read_frames(file)]
    assert [each[0, 0].tolist() for each in found] == [[40 * number, 0, 0] for number in range(4)]
    assert len([*read_frames(tmp_path)]) == 1  # of a folder each is one frame


def test_frames_of_different_sizes_do_not_make_a_film(tmp_path: Path):
    for place, size in enumerate((8, 9)):
        (tmp_path / f"{place}.png").write_bytes(encode_png(np.zeros((size, 8, 1), np.uint8)))
    with pytest.raises(DataError, match="must be of one size, and are of: 8 x 8, 9 x 8"):
        stacked(read_frames(tmp_path), tmp_path)


def test_grey_and_colour_together_are_in_colour():
    mixed = [np.zeros((4, 4, 1), np.uint8), np.ones((4, 4, 3), np.uint8)]
    assert stacked(mixed, Path("some")).shape == (2, 4, 4, 3)


def test_side_by_side():
    both = side_by_side([frames(2), frames(4)], scale=2, gap=3)
    assert both.shape == (4, 32, 48 + 3 + 48, 3)
    np.testing.assert_array_equal(both[3, :, :48], both[1, :, :48])
    assert (both[:, :, 48:51] == 128).all()


def test_numbers_in_names_count(tmp_path: Path):
    for place in (1, 2, 10):
        picture = np.full((4, 4, 1), place, np.uint8)
        (tmp_path / f"frame{place}.png").write_bytes(encode_png(picture))
    (tmp_path / "._frame1.png").write_bytes(b"what a Mac leaves behind")
    assert [int(frame[0, 0, 0]) for frame in read_frames(tmp_path)] == [1, 2, 10]


def test_a_photograph_is_turned_as_it_is_to_be_shown(tmp_path: Path):
    file = tmp_path / "phone.jpg"
    notes = Image.Exif()
    notes[0x0112] = 6  # a quarter turn
    Image.new("RGB", (20, 10)).save(file, exif=notes)
    (frame,) = read_frames(file)
    assert frame.shape == (20, 10, 3)


def test_values_of_no_known_range_are_refused(tmp_path: Path):
    file = tmp_path / "rain.tiff"
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(file)
    with pytest.raises(DataError, match="rain.tiff': its values have no known range"):
        list(read_frames(file))


def test_grey_values_of_16_bits_become_8(tmp_path: Path):
    levels = np.array([[0, 65535], [257, 257 * 128]], np.uint16)
    file = tmp_path / "rain.pgm"
    file.write_bytes(b"P5 2 2 65535\n" + levels.astype(">u2").tobytes())
    (frame,) = read_frames(file)
    assert frame[..., 0].tolist() == [[0, 255], [1, 128]]


def test_of_a_film_that_is_damaged_further_on_what_came_before_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    av = pytest.importorskip("av")
    file = tmp_path / "film.avi"
    with av.open(str(file), "w") as film:
        stream = film.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
        for picture in noise:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode())
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = bytes(20_000)
    file.write_bytes(content)
    frames = [*read_frames(file)]
    assert 5 <= len(frames) < 20
    said = capsys.readouterr().err
    assert said == f"note: of the 20 frames of '{file}' {len(frames)} could be read\n"


def test_text_is_no_film(tmp_path: Path):
    pytest.importorskip("av")
    file = tmp_path / "notes.txt"
    file.write_text("one line\n" * 100)
    with pytest.raises(DataError, match="notes.txt': it holds no pictures"):
        list(read_frames(file))


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path):
    file = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(file)
    with pytest.raises(DataError, match="cannot read '.*bomb.png'"):
        list(read_frames(file))


def test_a_still_film_keeps_its_frames(tmp_path: Path):
    file = tmp_path / "still.gif"
    for channels in (1, 3):
        file.write_bytes(encode_gif(np.full((7, 8, 8, channels), 90, np.uint8)))
        assert len([*read_frames(file)]) == 7
