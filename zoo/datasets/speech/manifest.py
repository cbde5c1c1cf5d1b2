"""Recordings of the user's own, listed in a table."""

from __future__ import annotations

from pathlib import Path

from zoo.datasets import table_file
from zoo.datasets.speech.examples import FileRecording, SpeechExamples
from zoo.errors import DataError

PATH, TEXT, SPEAKER = "path", "text", "speaker"


def read_manifest(path: Path, lower_case: bool = True) -> SpeechExamples:
    """Return the rows of a table with the columns path and text.

    The columns split (train, validation or test) and speaker are used where they are. Paths
    are seen from the folder of the table.

    Args:
        path: A file ending in .csv, .tsv or .jsonl, or one of these and .gz.
        lower_case: Fold the case of the texts.

    Raises:
        UnknownNameError: The table lacks a column.
        DataError: It cannot be read, or a row lacks a value; the message names the line.
    """
    recordings: list[FileRecording] = []
    texts: list[str] = []
    speakers: list[str] = []
    splits: list[str] = []
    for where, row in table_file.rows(path, PATH, TEXT):
        file = table_file.text_of(row, PATH, where).strip()
        if not file:
            raise DataError(f"{where}: no path; every row needs one in '{PATH}'")
        recordings.append(FileRecording(path.parent / file))
        text = " ".join(table_file.text_of(row, TEXT, where).split())
        texts.append(text.lower() if lower_case else text)
        if speakers or SPEAKER in row:
            # Each of those who are not named may be somebody else.
            speakers.append(table_file.text_of(row, SPEAKER, where).strip() or file)
        if splits or table_file.SPLIT_COLUMN in row:
            splits.append(table_file.part_of(row, where))
    if not any(texts):
        raise DataError(f"{path}: every text in '{TEXT}' is blank")
    return SpeechExamples(
        path.name,
        tuple(recordings),
        tuple(texts),
        tuple(speakers) or None,
        tuple(splits) or None,
    )
