"""Labelled texts from a file of the user's own: CSV, TSV or JSON lines, also gzipped.

- `.csv`: comma separated, quotes as in RFC 4180, the first row names the columns.
- `.tsv`: tab separated, no quoting: a field is what stands between two tabs.
- `.jsonl`: one JSON object per line.

All are UTF-8, with or without a byte order mark; blank lines are skipped. A column `split` with
the values train, validation and test, where there is one, says which part a row belongs to.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from zoo.datasets.examples import PARTS, TextExamples
from zoo.errors import DataError, UnknownNameError, suggestion

MIN_ROWS_PER_CLASS = 5
SPLIT_COLUMN = "split"

# The line that a row starts on, counted from 1, and the row's values by column.
Row = tuple[int, Mapping[str, object]]


def read_table(
    path: str | Path,
    text_column: str,
    label_column: str,
    min_rows_per_class: int = MIN_ROWS_PER_CLASS,
) -> TextExamples:
    """Return the rows of a table file; their labels become strings.

    Args:
        path: A file ending in .csv, .tsv or .jsonl, or one of these and .gz.
        text_column: The column with the raw texts; a text may be empty.
        label_column: The column with the class names; in JSON also a number or a truth value.
        min_rows_per_class: Fewer rows of a class than this are refused.

    Raises:
        UnknownNameError: If the file has no such column.
        DataError: If the file cannot be read as a table, a text or label is missing, there is
            one class only, or a class has too few rows; the message names the line.
    """
    path = Path(path)
    texts: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    for where, row in rows(path, text_column, label_column):
        texts.append(text_of(row, text_column, where))
        labels.append(_label(row, label_column, where))
        if splits or SPLIT_COLUMN in row:
            splits.append(part_of(row, where))
    if not any(text.strip() for text in texts):
        raise DataError(f"{path}: every text in '{text_column}' is blank")
    _check_classes(path, label_column, labels, min_rows_per_class)
    return TextExamples(path.name, tuple(texts), tuple(labels), splits=tuple(splits) or None)


def rows(path: Path, *columns: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield where each row of a table file stands, for messages, and its values by column.

    Args:
        path: A file ending in .csv, .tsv or .jsonl, or one of these and .gz.
        columns: Those that the file must have.

    Raises:
        UnknownNameError: The file lacks one of them.
        DataError: It cannot be read as a table; the message names the line.
    """
    read_rows = _reader(path)
    for number, (line, row) in enumerate(read_rows(path, _read_text(path))):
        if number == 0:
            _check_columns(path, row, *columns)
        yield f"{path}, line {line}", row


def check_labels(train_labels: Iterable[str], other_labels: Iterable[str], part: str) -> None:
    """Raise DataError if a part has a label that the training part lacks.

    Args:
        train_labels: The labels of the training rows.
        other_labels: The labels of the other part's rows.
        part: The other part's name, for the message.
    """
    known = set(train_labels)
    unseen = sorted(set(other_labels) - known)
    if unseen:
        raise DataError(
            f"label {unseen[0]!r} occurs in the {part} part but not in the training part, and a "
            f"model learns only labels that it is trained on{suggestion(unseen[0], known)}"
        )


def _reader(path: Path) -> Callable[[Path, str], Iterator[Row]]:
    """Return the reader for the file's suffix, after checking that the file exists."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; the data must be one file ({', '.join(_READERS)})")
    if not path.parent.is_dir():
        raise DataError(f"no file {path}: there is no folder {path.parent}")
    if not path.is_file():
        neighbours = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
        raise DataError(f"no file {path}{suggestion(path.name, neighbours)}")
    name = path.name.lower().removesuffix(".gz")
    for suffix, reader in _READERS.items():
        if name.endswith(suffix):
            return reader
    raise DataError(
        f"{path}: the name must end in one of {', '.join(_READERS)}, or one of these and .gz"
    )


def _read_text(path: Path) -> str:
    """Return the file's decoded contents without a byte order mark."""
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind the mark.
        bad = error.start + len(data) - len(error.object)
        line = data.count(b"\n", 0, bad) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{data[bad]:02x} is not UTF-8, which the file must be"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: a zero byte; the file must be UTF-8 text")
    if not text.strip():
        raise DataError(f"{path} is empty; it needs a row at least")
    return text


def _read_csv(path: Path, text: str) -> Iterator[Row]:
    """Yield the rows of a comma separated table."""
    limit = csv.field_size_limit(len(text) + 1)  # the reader's own limit is 131,072 characters
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        yield from _named(path, _numbered(path, reader))
    finally:
        csv.field_size_limit(limit)


def _numbered(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield each CSV row with the line that it starts on; a quoted field may span lines."""
    while True:
        line = reader.line_num + 1  # type: ignore[attr-defined]  # csv's readers have it
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: not a CSV row: {error}") from error
        if fields is None:
            return
        if fields:
            yield line, fields


def _read_tsv(path: Path, text: str) -> Iterator[Row]:
    """Yield the rows of a tab separated table."""
    lines = ((number, line.removesuffix("\r")) for number, line in _lines(text))
    return _named(path, ((number, line.split("\t")) for number, line in lines))


def _named(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    """Yield rows as mappings; the first row names the columns."""
    _, columns = next(rows)
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataError(f"{path}: column names must differ, and {twice[0]!r} stands there twice")
    empty = True
    for line, fields in rows:
        if len(fields) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(fields)} fields, but the header names {len(columns)}"
            )
        empty = False
        yield line, dict(zip(columns, fields, strict=True))
    if empty:
        raise DataError(f"{path} has a header and no rows; it needs one at least")


def _read_jsonl(path: Path, text: str) -> Iterator[Row]:
    """Yield the rows of a file with one JSON object per line."""
    for number, line in _lines(text):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{path}, line {number}: every line must be a JSON object, and this is {_kind(row)}"
            )
        yield number, row


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers from 1."""
    # Not splitlines(), which also divides at characters that occur inside of texts.
    return ((n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip())


_READERS: Mapping[str, Callable[[Path, str], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
}


def text_of(row: Mapping[str, object], column: str, where: str) -> str:
    """Return the text in a column if it is one that a model can be given.

    Raises:
        DataError: It is none.
    """
    value = row.get(column)
    if not isinstance(value, str):
        raise DataError(f"{where}: '{column}' must be a text, and is {_kind(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:  # JSON can escape half of a surrogate pair
        raise DataError(f"{where}: '{column}' holds half a character: {error.reason}") from error
    return value


def _label(row: Mapping[str, object], column: str, where: str) -> str:
    """Return a label as a string."""
    value = row.get(column)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise DataError(f"{where}: no label; every row needs one in '{column}'")
    return text_of(row, column, where)


def part_of(row: Mapping[str, object], where: str) -> str:
    """Return the part that a row names.

    Raises:
        DataError: It names none.
    """
    value = row.get(SPLIT_COLUMN)
    if value not in PARTS:
        raise DataError(f"{where}: {value!r} is not a part{suggestion(str(value), PARTS)}")
    return str(value)


def _kind(value: object) -> str:
    """Name the type of a JSON value as JSON does."""
    names = {
        type(None): "null or missing",
        bool: "true or false",
        str: "a string",
        list: "an array",
    }
    return names.get(type(value), "an object" if isinstance(value, dict) else "a number")


def _check_columns(path: Path, row: Mapping[str, object], *columns: str) -> None:
    for column in columns:
        if column not in row:
            raise UnknownNameError(f"column in {path}", column, row)


def _check_classes(path: Path, column: str, labels: list[str], min_rows: int) -> None:
    counts = Counter(labels)
    if len(counts) < 2:
        raise DataError(
            f"{path}: all {len(labels)} rows have the label {labels[0]!r} in '{column}'; a "
            "classifier needs at least two"
        )
    label, count = min(counts.items(), key=lambda item: (item[1], item[0]))
    if count < min_rows:
        raise DataError(
            f"{path}: label {label!r} has {count} row{'s' * (count != 1)}; each needs at least "
            f"{min_rows}"
        )
