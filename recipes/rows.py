"""The rows that a pipeline is asked on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.errors import DataError
from zoo.pipeline import Pipeline

if TYPE_CHECKING:
    from zoo.datasets.series import SeriesExamples


class Rows(NamedTuple):
    """What is asked.

    Attributes:
        key: What the name of a row is called.
        names: One per row, as people know it; may be ''.
        raw: Rows by input name.
        every: Of so many frames of a video one was taken.
    """

    key: str
    names: list[str]
    raw: dict[str, Any]
    every: int = 1


def read(pipeline: Pipeline, words: Sequence[str], every: int = 1) -> Rows:
    """Return the rows that words and files hold.

    Args:
        pipeline: What is asked.
        words: Rows, or names of files.
        every: Of so many frames of a video one is taken, as in training.

    Raises:
        DataError: A file cannot be read, or does not fit the pipeline.
    """
    if "frames" in pipeline.inputs:
        return _films(pipeline, words, every)
    if "history" in pipeline.inputs:
        return _histories(pipeline, words)
    return _one_each(pipeline, words)


def shown(rows: Rows, index: int, answer: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return an answer as a person reads it; predicted frames become a GIF in `folder`.

    Args:
        rows: What was asked.
        index: Which row it was.
        answer: The answer to it, by output name.
        folder: Of the run.

    Raises:
        DataError: The folder cannot be written to.
    """
    if "frames" not in answer or answer.get("status"):
        return {key: _readable(value) for key, value in answer.items()}
    from serving.files import replace
    from zoo.video import encode_gif, frame_rate

    video = Path(rows.names[index])
    file = folder / f"predicted-{index + 1}-{video.stem}.gif"
    try:
        replace(file, encode_gif(answer["frames"], frame_rate(video) / rows.every))
    except OSError as error:
        raise DataError(f"'{file}' cannot be written: {error.strerror}") from error
    return {"predicted": str(file), "count": len(answer["frames"]), "status": ""}


def _readable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _films(pipeline: Pipeline, words: Sequence[str], every: int) -> Rows:
    """Return the last frames of videos, brought to the size of the model."""
    from serving.rows import last_frames

    prepare: Any = pipeline.prepare
    films = [prepare.fit(last_frames(Path(word), prepare.seen, every)) for word in words]
    # A shorter video stands still before it begins, as the pipeline itself has it.
    still = [
        np.concatenate([np.repeat(film[:1], prepare.seen - len(film), axis=0), film])
        for film in films
    ]
    return Rows("video", [*words], {"frames": np.stack(still)}, every)


def _one_each(pipeline: Pipeline, words: Sequence[str]) -> Rows:
    from serving.protocol.tensors import data_type
    from serving.rows import read_named_rows
    from serving.values import TensorSpec

    (port,) = pipeline.inputs
    inputs = {port: TensorSpec(data_type(pipeline.inputs[port].dummy(0).dtype), (None,))}
    named, rows = read_named_rows(words, inputs)
    pairs = zip(named, rows[port], strict=True)
    names = [row if isinstance(row, str) else word for word, row in pairs]
    return Rows(port, names, {port: np.array(rows[port], dtype=object)})


def _histories(pipeline: Pipeline, words: Sequence[str]) -> Rows:
    """Return the series of tables; those of one table are the channels of one that has some."""
    from serving.rows import filled
    from zoo.datasets.series import read_series
    from zoo.preprocessing import static_columns

    names: list[str] = []
    rows: list[dict[str, np.ndarray]] = []
    for word in words:
        found = read_series(Path(word), statics=static_columns(pipeline.inputs))
        for note in found.left_out:
            print(f"note: {found.name}: {note}", file=sys.stderr)
        if pipeline.inputs["history"].shape[1:]:
            names.append(word)
            rows.append(_channels(pipeline, found))
        else:
            names += found.ids
            rows += [_history(pipeline, found.select([place])) for place in range(len(found))]
    raw = {
        name: np.stack(filled([row[name] for row in rows]))
        for name in pipeline.inputs
        if name != "length"
    }
    lengths = np.array([len(row["history"]) for row in rows], np.int32)
    return Rows("unique_id", names, {**raw, "length": lengths})


def _history(pipeline: Pipeline, found: SeriesExamples) -> dict[str, np.ndarray]:
    """Return what a pipeline asks of one series, by input name."""
    from zoo.preprocessing import static_rows

    (values,), (name,) = found.values, found.ids
    asked: dict[str, np.ndarray] = {"history": values.astype(np.float32)}
    if "timestamps" in pipeline.inputs:
        if found.times is None:
            raise DataError(f"{found.name}: series '{name}' needs dates, and its steps are numbers")
        asked["timestamps"] = found.times[0]
    if "covariates" in pipeline.inputs:
        horizon = pipeline.inputs["future_covariates"].shape[0] or 0
        known = _covariates(pipeline, found)
        ahead = known[len(values) :]
        if len(ahead) < horizon:
            raise DataError(
                f"{found.name}: series '{name}' needs its covariates of {horizon} steps behind its "
                f"last value; it has those of {len(ahead)}"
            )
        asked["covariates"] = known[: len(values)].astype(np.float32)
        asked["future_covariates"] = ahead[:horizon].astype(np.float32)
    statics = static_rows(pipeline.inputs, found.statics, f"{found.name}: series '{name}'")
    return asked | {name: value[0] for name, value in statics.items()}


def _covariates(pipeline: Pipeline, found: SeriesExamples) -> np.ndarray:
    """Return what is known ahead of one series in the order of the training, whatever its own."""
    prepare: Any = pipeline.prepare
    places = [_place(found, found.covariate_names, name) for name in prepare.covariate_names]
    assert found.covariates is not None, "there are names of some"
    return found.covariates[0][:, places]


def _place(found: SeriesExamples, names: Sequence[str], wanted: str) -> int:
    """Return which of the columns of a table has a name.

    Raises:
        DataError: None has.
    """
    if wanted not in names:
        raise DataError(
            f"'{found.name}' needs the column '{wanted}', by which the model was trained; it has "
            f"{', '.join(map(repr, names)) or 'none of its kind'}"
        )
    return names.index(wanted)


def _channels(pipeline: Pipeline, found: SeriesExamples) -> dict[str, np.ndarray]:
    """Return what a pipeline asks of series that are observed together."""
    from zoo.datasets.series import together

    prepare: Any = pipeline.prepare
    places = [_place(found, found.ids, name) for name in prepare.channel_names]
    return _history(pipeline, together(found.select(places)))
