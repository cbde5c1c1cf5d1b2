"""Rows between the shell and a model: words and files to inputs, answers to lines of JSON."""

from __future__ import annotations

import collections
import csv
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.protocol.rest import text_or_base64
from serving.values import TensorSpec
from zoo.errors import DataError
from zoo.sound import encode_wav, read_sound
from zoo.video import FILMS, read_frames, stacked

TABLE, LINES, OBJECTS = ".csv", ".txt", ".jsonl"
SOUNDS = (".flac", ".mp3", ".ogg")
SUFFIXES = (TABLE, LINES, OBJECTS, *SOUNDS, *FILMS, ".wav", ".png", ".jpg", ".jpeg", ".bmp")
"""Endings by which a single word is known to mean a file, even if there is none."""

FRAMES = 4
"""Axes of a video, which is not filled up: black frames would be taken for its end."""

MOST_FRAMES = 64
"""Of a video that is sent: models look at the last frames alone."""

Rows = dict[str, list[Any]]
"""The rows of each input; all of the same number."""


def read_rows(
    words: Sequence[str],
    inputs: Mapping[str, TensorSpec],
    every: int = 1,
    most: int = MOST_FRAMES,
) -> Rows:
    """Return the rows that the words of a command line stand for, one after the other.

    A word is the text of one row, or the name of a file:
        table.csv   a row per line, if the header names every input; else numbers: an input
                    [batch, columns] gets a row per line, or one of them all if there is a
                    single column; an input [batch, lines, columns] gets one row
        lines.txt   a row per line, for an input of strings
        rows.jsonl  a row per line: an object with a value for each input; or such an object
                    itself, where there are several inputs
        sound.flac  and .ogg, .mp3: as a WAV file, which is what models read
        film.mp4    and other videos, or a folder of pictures: its last frames as one row, for an
                    input of frames
        another     its bytes as one row, for an input of strings

    Rows of different lengths are filled up with zeros behind their end.

    Args:
        words: As they were typed.
        inputs: What the signature takes.
        every: Of so many frames of a video one is taken.
        most: Of the last ones of these so many.

    Raises:
        DataError: A word or a file does not fit the inputs.
    """
    return read_named_rows(words, inputs, every, most)[1]


def read_named_rows(
    words: Sequence[str],
    inputs: Mapping[str, TensorSpec],
    every: int = 1,
    most: int = MOST_FRAMES,
) -> tuple[list[str], Rows]:
    """Return the rows as `read_rows` does, and for each the word that it came from."""
    parts = [_rows(word, inputs, every, most) for word in words]
    joined = {name: [row for part in parts for row in part[name]] for name in inputs}
    sizes = [max(map(len, part.values())) for part in parts]
    names = [word for word, size in zip(words, sizes, strict=True) for _ in range(size)]
    return names, {name: filled(rows) for name, rows in joined.items()}


def filled(rows: Sequence[Any]) -> list[Any]:
    """Return arrays filled up with zeros behind their end to one length, others as they are."""
    if not all(isinstance(row, np.ndarray) and row.ndim for row in rows):
        return [*rows]
    if len({row.shape for row in rows}) > 1 and rows[0].ndim == FRAMES:
        shapes = ", ".join(str(list(row.shape)) for row in rows)
        raise DataError(
            "videos of one call must have as many frames of the same size, and are (time, height, "
            f"width, channels) {shapes}: call once for each"
        )
    most = max(map(len, rows), default=0)
    return [np.pad(row, [(0, most - len(row))] + [(0, 0)] * (row.ndim - 1)) for row in rows]


def json_lines(answer: Mapping[str, np.ndarray], count: int) -> Iterator[str]:
    """Yield a JSON object per row of an answer; one for all if an output is not by row."""
    if any(values.shape[:1] != (count,) for values in answer.values()):
        yield _json({name: _plain(values) for name, values in answer.items()})
        return
    for index in range(count):
        yield _json({name: _plain(values[index]) for name, values in answer.items()})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return arrays as nested lists, and bytes that are no text as {"b64": ...}."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return text_or_base64(value) if isinstance(value, str | bytes) else value


def _rows(word: str, inputs: Mapping[str, TensorSpec], every: int, most: int) -> Rows:
    """Return the rows of one word."""
    suffix = Path(word).suffix.lower()
    is_file = os.path.isfile(word)
    if not is_file and suffix in SUFFIXES and not word.split()[1:]:
        raise DataError(f"there is no file '{word}'")
    if is_file and suffix == TABLE:
        table = _table(word)
        if table and set(inputs) <= set(table[0]):
            return _by_column(word, table, inputs)
    if suffix == OBJECTS and is_file:
        lines = _read(word).splitlines() or [b""]
        return _by_name([(f"'{word}', line {n}", line) for n, line in enumerate(lines, 1)], inputs)
    if len(inputs) > 1 and word.lstrip().startswith("{"):
        return _by_name([("the row", word.encode())], inputs)
    name, spec = _only(inputs)
    if takes_frames(spec):
        return {name: [last_frames(Path(word), most, every)]}
    if spec.dtype == object:
        return {name: _strings(word, suffix) if is_file else [word]}
    if suffix != TABLE:
        raise DataError(f"input '{name}' takes {spec.type_name}: give a {TABLE} file, not '{word}'")
    return {name: _numeric(word, table, spec)}


def takes_frames(spec: TensorSpec) -> bool:
    """Say whether an input is one of videos."""
    return spec.dtype == np.uint8 and len(spec.shape or ()) == FRAMES + 1


def last_frames(path: Path, most: int = MOST_FRAMES, every: int = 1) -> np.ndarray:
    """Return the last frames of a video or of a folder of pictures.

    Args:
        path: Of the video or the folder.
        most: How many are wanted; fewer come of a shorter video.
        every: Of so many frames one is taken, the last one among them.

    Returns:
        `uint8[time, height, width, channels]`.

    Raises:
        DataError: It cannot be read, or its frames differ in size.
    """
    if every == 1:
        return stacked(collections.deque(read_frames(path), most), path)
    # Read twice, for only then it is known which ones are wanted: all between would be too many.
    last = sum(1 for _ in read_frames(path)) - 1
    first = max(last - (most - 1) * every, last % every)
    return stacked(itertools.islice(read_frames(path), first, None, every), path)


def _only(inputs: Mapping[str, TensorSpec]) -> tuple[str, TensorSpec]:
    """Return the only input."""
    if len(inputs) != 1:
        names = ", ".join(inputs)
        raise DataError(
            f"the signature takes {names}: give a {TABLE} file whose header names them, or a "
            f"{OBJECTS} file of objects with these names"
        )
    return next(iter(inputs.items()))


def _strings(file: str, suffix: str) -> list[str | bytes]:
    """Return the lines of a text file, a sound as the WAV file of it, or the bytes of another."""
    if suffix in SOUNDS:
        return [encode_wav(*read_sound(Path(file)))]
    content = _read(file)
    return list(content.splitlines()) if suffix == LINES else [content]


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read '{file}': {error.strerror}") from error


def _table(file: str) -> list[list[str]]:
    """Return the cells of a table, without empty lines."""
    try:
        lines = _read(file).decode("utf-8-sig").splitlines()
        return [[cell.strip() for cell in row] for row in csv.reader(lines) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{file}' is not a table in UTF-8: {error}") from error


def _by_column(file: str, table: list[list[str]], inputs: Mapping[str, TensorSpec]) -> Rows:
    """Return the columns that the header names, a value per row."""
    header, *body = table
    for number, row in enumerate(body, 2):
        if len(row) != len(header):
            raise DataError(f"row {number} of '{file}' has {len(row)} cells, not {len(header)}")
    places = {name: header.index(name) for name in inputs}
    return {
        name: [row[place] for row in body]
        if inputs[name].dtype == object
        else list(_numbers(file, [[row[place]] for row in body], inputs[name])[:, 0])
        for name, place in places.items()
    }


def _by_name(lines: Sequence[tuple[str, bytes]], inputs: Mapping[str, TensorSpec]) -> Rows:
    """Return JSON objects, each a row, by the names of the inputs."""
    found: Rows = {name: [] for name in inputs}
    for where, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where} is not JSON: {error}") from error
        if not isinstance(row, dict) or row.keys() != inputs.keys():
            raise DataError(f"{where} must be an object with {', '.join(inputs)}")
        for name, spec in inputs.items():
            found[name].append(_value(where, name, row[name], spec))
    if not any(found.values()):
        raise DataError(f"{lines[-1][0]}: there is no row")
    return found


def _value(where: str, name: str, value: Any, spec: TensorSpec) -> Any:
    """Return a JSON value as an input takes it; null in numbers is NaN."""
    if spec.dtype == object:
        return value
    whole = spec.dtype.kind in "iu"
    try:
        array = np.array(value, np.float64)
        # By way of fractions, since NumPy cuts them off where it is asked for whole numbers.
        if whole and not (array == np.floor(array)).all():
            raise ValueError(f"{value} is not whole")
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: '{name}' must hold {spec.type_name}: {error}") from error
    if spec.shape is not None and array.ndim != len(spec.shape) - 1:
        raise DataError(
            f"{where}: '{name}' must have {len(spec.shape) - 1} axes, and has {array.ndim}"
        )
    return (np.array(value, np.int64) if whole else array)[()]


def _numeric(file: str, table: list[list[str]], spec: TensorSpec) -> list[Any]:
    """Return a table of numbers as rows of the input's shape."""
    if table and not _is_number(table[0][0]):
        table = table[1:]  # the header
    numbers = _numbers(file, table, spec)
    axes = len(spec.shape or (None, None))
    if axes == 3:
        return [numbers]
    single = numbers.shape[1] == 1
    if axes == 2:
        as_series = single and (spec.shape is None or spec.shape[1] != 1)
        return [numbers[:, 0]] if as_series else list(numbers)
    if axes == 1 and single:
        return list(numbers[:, 0])
    raise DataError(
        f"'{file}' has {numbers.shape[1]} columns, which do not fit an input with {axes} axes"
    )


def _numbers(file: str, table: list[list[str]], spec: TensorSpec) -> np.ndarray:
    """Return cells as an array of the input's type."""
    if len({len(row) for row in table}) != 1:
        raise DataError(f"the rows of '{file}' must all have as many cells, and there must be some")
    kind = np.int64 if spec.dtype.kind in "iu" else np.float64
    try:
        return np.array(table).astype(kind)
    except ValueError as error:
        raise DataError(f"'{file}' holds what is no {spec.type_name}: {error}") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
