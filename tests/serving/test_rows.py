"""Words of a command line become rows, chosen by the signature and the kind of file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.rows import MOST_FRAMES, json_lines, read_rows
from serving.values import TensorSpec
from zoo.errors import DataError
from zoo.video import encode_gif, encode_png

TEXT = {"text": TensorSpec.of("object", None)}
MIXED = {"name": TensorSpec.of("object", None), "age": TensorSpec.of("int32", None)}


def numbers(*shape: int | None, dtype: str = "float32") -> dict[str, TensorSpec]:
    return {"x": TensorSpec.of(dtype, *shape)}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write files into the current folder, so that a word can name them."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: str | bytes) -> str:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write


def test_words_are_texts_and_names_of_files(write: Any) -> None:
    write("lines.txt", "first\nsecond ✓\r\n\n")
    write("yes.wav", b"RIFF\xff")
    write("photo.PNG", b"\x89PNG")
    write("bare", b"no ending")
    words = ["A joy. lines.txt", "lines.txt", "yes.wav", "photo.PNG", "bare", "x" * 5000]
    assert read_rows(words, TEXT) == {
        "text": [
            "A joy. lines.txt",
            b"first",
            "second ✓".encode(),
            b"",
            b"RIFF\xff",
            b"\x89PNG",
            b"no ending",
            "x" * 5000,
        ]
    }


def test_a_word_that_looks_like_a_file_has_to_be_one(write: Any) -> None:
    with pytest.raises(DataError, match="there is no file 'yse.wav'"):
        read_rows(["yse.wav"], TEXT)


def test_a_table_with_the_inputs_names_is_read_by_column(write: Any) -> None:
    write("people.csv", '\ufeffid,age,name\n1,30,"Ada, of course"\n\n2,41,Bo\n')
    rows = read_rows(["people.csv"], MIXED)
    assert rows == {"name": ["Ada, of course", "Bo"], "age": [30, 41]}
    write("reviews.csv", "text,stars\nA joy.,5\n")
    assert read_rows(["reviews.csv", "more"], TEXT) == {"text": ["A joy.", "more"]}


def test_a_table_without_them_is_bytes_for_an_input_of_strings(write: Any) -> None:
    write("data.csv", "1,2\n")
    assert read_rows(["data.csv"], TEXT) == {"text": [b"1,2\n"]}


@pytest.mark.parametrize(
    ("content", "shape", "expected"),
    [
        ("1,2\n3,4\n", (None, None), [[1, 2], [3, 4]]),
        ("a,b\n1,2\n3,4\n", (None, 2), [[1, 2], [3, 4]]),
        ("1\n2\n3\n", (None, None), [[1, 2, 3]]),
        ("1\n2\n3\n", (None, 1), [[1], [2], [3]]),
        ("1\n2\n3\n", (None,), [1, 2, 3]),
        ("1,2\n3,4\n", (None, None, 2), [[[1, 2], [3, 4]]]),
        ("1\n2\n", (None, None, 1), [[[1], [2]]]),
        ("nan,1e3\n", (None, 2), [[np.nan, 1000]]),
    ],
)
def test_numbers_take_the_inputs_shape(
    write: Any, content: str, shape: tuple[int | None, ...], expected: list[Any]
) -> None:
    rows = read_rows([write("table.csv", content)], numbers(*shape))
    np.testing.assert_array_equal(np.array(rows["x"]), np.array(expected))


def test_several_tables_are_several_rows(write: Any) -> None:
    words = [write("a.csv", "1\n2\n"), write("b.csv", "3\n4\n")]
    assert np.array(read_rows(words, numbers(None, None))["x"]).tolist() == [[1, 2], [3, 4]]


def test_whole_numbers_stay_whole(write: Any) -> None:
    large = 2**53 + 1
    rows = read_rows([write("a.csv", f"{large}\n")], numbers(None, dtype="int64"))
    assert rows["x"] == [large]


@pytest.mark.parametrize(
    ("content", "inputs", "message"),
    [
        ("1,2\n3\n", numbers(None, None), "must all have as many cells"),
        ("", numbers(None, None), "there must be some"),
        ("1\nx\n", numbers(None, None), "'table.csv' holds what is no float: .*'x'"),
        ("1.5\n", numbers(None, dtype="int32"), "holds what is no int32: .*'1.5'"),
        ("1,2\n", numbers(None), "has 2 columns, which do not fit an input with 1 axes"),
        ("1,2\n", numbers(None, 1, 1, 2), "do not fit an input with 4 axes"),
        ("name,age\na\n", MIXED, "row 2 of 'table.csv' has 1 cells, not 2"),
        ("nom,age\na,1\n", MIXED, "takes name, age: give a .csv file whose header names them"),
        (b"\xff\n", numbers(None), "is not a table in UTF-8"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    write: Any, content: str | bytes, inputs: dict[str, TensorSpec], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_rows([write("table.csv", content)], inputs)


def test_numbers_do_not_come_as_words(write: Any) -> None:
    with pytest.raises(DataError, match="'x' takes float: give a .csv file, not '1 2'"):
        read_rows(["1 2"], numbers(None))
    with pytest.raises(DataError, match="takes name, age: give a .csv file"):
        read_rows(["Ada"], MIXED)


def test_an_answer_is_a_line_per_row() -> None:
    answer = {
        "label": np.array(["é", b"\xff"], object),
        "scores": np.float32([[0.5, 0.5], [1, 0]]),
    }
    assert [json.loads(line) for line in json_lines(answer, 2)] == [
        {"label": "é", "scores": [0.5, 0.5]},
        {"label": {"b64": "/w=="}, "scores": [1, 0]},
    ]


def test_an_answer_that_is_not_by_row_is_one_line() -> None:
    answer = {"sum": np.int64(3), "names": np.array([["a", b"\xff"]], object)}
    assert [json.loads(line) for line in json_lines(answer, 2)] == [
        {"sum": 3, "names": [["a", {"b64": "/w=="}]]}
    ]


SERIES = {
    "history": TensorSpec.of("float32", None, None),
    "length": TensorSpec.of("int32", None),
}


def test_objects_name_their_inputs_and_rows_of_any_length_meet(write: Any) -> None:
    write("rows.jsonl", '{"history": [1, null, 3], "length": 3}\n\n{"length": 1, "history": [4]}\n')
    rows = read_rows(["rows.jsonl", ' {"history": [], "length": 0}'], SERIES)
    np.testing.assert_array_equal(rows["history"], [[1, np.nan, 3], [4, 0, 0], [0, 0, 0]])
    assert [int(length) for length in rows["length"]] == [3, 1, 0]
    assert read_rows(['{"name": "Ann", "age": 3}'], MIXED) == {"name": ["Ann"], "age": [3]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"history": [1]', "'rows.jsonl', line 2 is not JSON"),
        ('{"history": [1]}', "'rows.jsonl', line 2 must be an object with history, length"),
        ("[1, 2]", "'rows.jsonl', line 2 must be an object with history, length"),
        ('{"history": ["a"], "length": 1}', "line 2: 'history' must hold float"),
        ('{"history": [1], "length": [[1], 2]}', "line 2: 'length' must hold"),
        ('{"history": [1], "length": 1.5}', "line 2: 'length' must hold int.*: 1.5 is not whole"),
        ('{"history": [1], "length": null}', "line 2: 'length' must hold int"),
        ('{"history": 5, "length": 1}', "line 2: 'history' must have 1 axes, and has 0"),
    ],
)
def test_what_is_no_object_of_the_inputs_is_told_with_its_line(
    write: Any, line: str, reason: str
) -> None:
    write("rows.jsonl", '{"history": [1], "length": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=reason):
        read_rows(["rows.jsonl"], SERIES)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_objects_is_refused(write: Any, content: str) -> None:
    write("rows.jsonl", content)
    with pytest.raises(DataError, match="'rows.jsonl', line .: there is no row"):
        read_rows(["rows.jsonl"], SERIES)


FILM = {"frames": TensorSpec.of("uint8", None, None, None, None, None)}


class TestFilms:
    """Videos for an input of frames."""

    def film(self, time: int, size: int = 16) -> bytes:
        frames = np.zeros((time, size, size, 1), np.uint8)
        frames[:, 0, 0, 0] = np.arange(time) % 256
        return encode_gif(frames)

    def test_the_last_frames_are_a_row(self, write: Any) -> None:
        pytest.importorskip("av")
        (row,) = read_rows([write("film.gif", self.film(70))], FILM)["frames"]
        assert row.shape == (MOST_FRAMES, 16, 16, 3) and row.dtype == np.uint8
        assert row[:, 0, 0, 0].tolist() == list(range(6, 70))

    def test_every_third_frame_up_to_the_last_one(self, write: Any) -> None:
        pytest.importorskip("av")
        (row,) = read_rows([write("film.gif", self.film(9))], FILM, every=3)["frames"]
        assert row[:, 0, 0, 0].tolist() == [2, 5, 8]
        (row,) = read_rows([write("film.gif", self.film(200))], FILM, every=3)["frames"]
        assert row[:, 0, 0, 0].tolist() == list(range(10, 200, 3))

    def test_a_folder_of_pictures_is_a_film(self, write: Any) -> None:
        Path("frames").mkdir()
        for place in range(3):
            write(f"frames/{place}.png", encode_png(np.full((4, 6, 1), place, np.uint8)))
        (row,) = read_rows(["frames"], FILM)["frames"]
        assert row.shape == (3, 4, 6, 1) and row[:, 0, 0, 0].tolist() == [0, 1, 2]

    def test_films_of_different_forms_do_not_go_together(self, write: Any) -> None:
        pytest.importorskip("av")
        words = [write("a.gif", self.film(3)), write("b.gif", self.film(4))]
        with pytest.raises(DataError, match="as many frames of the same size, .*call once for"):
            read_rows(words, FILM)
        assert len(read_rows([words[0], words[0]], FILM)["frames"]) == 2

    def test_what_is_no_film_is_named(self, write: Any) -> None:
        pytest.importorskip("av")
        with pytest.raises(DataError, match="cannot read 'a.mp4'"):
            read_rows([write("a.mp4", b"no film")], FILM)
        with pytest.raises(DataError, match="there is no file 'b.mp4'"):
            read_rows(["b.mp4"], FILM)
